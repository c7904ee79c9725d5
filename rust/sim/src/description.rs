//! Scenarios as JSON, as Python and people write them.
//!
//! Owns the checks of what is read. Knows nothing of how a scenario runs.

use millstream_core::OpKind;
use thiserror::Error;

use crate::workload::Scenario;

/// Why a description is no scenario.
#[derive(Debug, Error)]
pub enum DescriptionError {
    /// It is not what it should be.
    #[error("the description of the simulated world is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Each operator needs its model.
    #[error("the plan has {ops} operators, but {models} are modelled")]
    Models {
        /// Operators of the plan.
        ops: usize,
        /// Models.
        models: usize,
    },
    /// Each unit needs its rows.
    #[error("the plan has {units} source units, but the rows of {rows} are given")]
    Units {
        /// Units of the plan.
        units: usize,
        /// Units whose rows are given.
        rows: usize,
    },
    /// Rows out for zero rows in.
    #[error("the model of operator '{name}' gives its rows out for no rows in")]
    Ratio {
        /// The operator.
        name: String,
    },
}

/// Reads a scenario.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Scenario, DescriptionError> {
    let scenario: Scenario = serde_json::from_str(text)?;
    let (ops, models) = (scenario.plan.ops(), &scenario.models);
    if ops.len() != models.len() {
        return Err(DescriptionError::Models { ops: ops.len(), models: models.len() });
    }
    let units = ops.iter().map(|op| match &op.kind {
        OpKind::Source { units, .. } => units.len(),
        _ => 0,
    });
    let rows = scenario.unit_rows.iter().map(Vec::len);
    if !units.clone().eq(rows.clone()) {
        return Err(DescriptionError::Units { units: units.sum(), rows: rows.sum() });
    }
    if let Some((op, _)) = ops.iter().zip(models).find(|(_, model)| model.ratio.per == 0) {
        return Err(DescriptionError::Ratio { name: op.name.clone() });
    }
    Ok(scenario)
}

/// Writes a scenario on one line.
///
/// # Panics
/// Never: a scenario is numbers and names.
#[must_use]
pub fn write(scenario: &Scenario) -> String {
    serde_json::to_string(scenario).expect("because numbers and names are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation;
    use crate::swarm;

    #[test]
    fn a_scenario_that_was_written_and_read_runs_alike() {
        for seed in 0..20 {
            let scenario = swarm::scenario(seed);
            let again = read(&write(&scenario)).expect("because it was written");
            let run =
                |scenario| simulation::run(scenario, None).map(|report| format!("{report:?}"));
            assert_eq!(run(&scenario), run(&again), "seed {seed}");
        }
    }

    #[test]
    fn each_malformed_description_has_its_own_error() {
        let scenario = (0..9).map(swarm::scenario).find(|world| world.unit_rows[0].len() > 1);
        let scenario = scenario.expect("because one of these seeds has units");
        let mut models = scenario.clone();
        models.models.clear();
        let mut units = scenario.clone();
        units.unit_rows[0].pop();
        let mut ratio = scenario.clone();
        ratio.models[0].ratio.per = 0;
        let cases = [
            ("{}".to_owned(), "missing field"),
            (write(&scenario).replacen("\"seed\"", "\"sead\"", 1), "unknown field `sead`"),
            (write(&models), "but 0 are modelled"),
            (write(&units), "source units, but the rows of"),
            (write(&ratio), "the model of operator 'Read0'"),
        ];
        for (text, words) in cases {
            let error = read(&text).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
