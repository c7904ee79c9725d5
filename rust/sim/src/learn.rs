//! Learning from a recorded run: its plan, its cluster, and how long and large everything was, as a
//! scenario that can run elsewhere.
//!
//! Owns what is concluded from events and actions alone, so that a trace of a real run and one of
//! the simulator teach alike. Of a run that lost nodes with their blocks it learns some rows less
//! exactly: work that took blocks made again counts as work of its own. Knows nothing of what is
//! asked of the scenario later.

mod log;
mod tables;

use std::io::BufRead;

use millstream_core::{Event, OpId, OpKind, Plan, Span, Time};
use serde::Serialize;

use crate::faults::Faults;
use crate::learn::log::Log;
use crate::recorded::BeyondWork;
use crate::trace::{self, RecordedRun, ReplayError};
use crate::workload::{Delays, Network, Overheads, Scenario};

/// What a recorded run teaches.
#[derive(Clone, Debug, Serialize)]
pub struct Lesson {
    /// The run as a scenario on the same cluster.
    pub scenario: Scenario,
    /// How long it took.
    pub makespan: Span,
}

/// Learns from a trace.
///
/// # Errors
/// What is wrong with the trace.
pub fn learn(reader: impl BufRead) -> Result<Lesson, ReplayError> {
    let mut run = trace::read(reader)?;
    run.plan = listed(&run);
    if let Some(op) = run.plan.ops().iter().find(|op| !is_of_chain(&op.kind)) {
        return Err(ReplayError::NoChain { name: op.name.clone() });
    }
    let log = Log::of(&run);
    let tables = tables::tables(&run.plan, &log);
    let ops = (0..).map(OpId).take(run.plan.ops().len());
    let beyond_work: Vec<BeyondWork> = ops.map(|op| log.beyond_work(op)).collect();
    let worker_start = log.worker_start(&beyond_work);
    let unit_rows = (0..tables::units(&run.plan)).map(|unit| {
        let table = &tables[0];
        table.rows_before(unit + 1) - table.rows_before(unit)
    });
    let unit_rows: Vec<u64> = unit_rows.collect();
    let none = run.plan.ops().iter().skip(1).map(|_| Vec::new());
    let unit_rows = std::iter::once(unit_rows).chain(none).collect();
    let models = (0..).map(OpId).zip(tables.into_iter().zip(beyond_work));
    let models = models.map(|(op, (table, beyond))| log.model(op, table, beyond, worker_start));
    let span = |times: [Option<Time>; 2]| match times {
        [Some(first), Some(last)] => last.since(first),
        _ => Span::ZERO,
    };
    Ok(Lesson {
        makespan: span([run.turns.first(), run.turns.last()].map(|turn| turn.map(|turn| turn.now))),
        scenario: Scenario {
            seed: 0,
            unit_rows,
            models: models.collect(),
            consumer: log.consumer(),
            delays: Delays { order: log.order_span(), ..Delays::default() },
            network: Network::default(),
            overheads: Overheads { worker_start, call: Span::ZERO },
            listing: None,
            faults: comings_and_goings(&run),
            nodes: run.nodes,
            plan: run.plan,
        },
    })
}

/// The plan with all units of its sources, those that were listed while it ran among them.
fn listed(run: &RecordedRun) -> Plan {
    let mut ops = run.plan.ops().to_vec();
    for event in run.turns.iter().flat_map(|turn| &turn.events) {
        if let Event::SourceExtended { op, first, units: page } = event
            && let Some(OpKind::Source { units, is_open: true }) =
                ops.get_mut(op.0 as usize).map(|op| &mut op.kind)
            && units.len() as u64 == *first
        {
            units.extend(page);
        }
    }
    for op in &mut ops {
        if let OpKind::Source { is_open, .. } = &mut op.kind {
            *is_open = false;
        }
    }
    Plan::new(ops, *run.plan.config()).expect("because it is the plan of a run")
}

const fn is_of_chain(kind: &OpKind) -> bool {
    matches!(kind, OpKind::Source { .. } | OpKind::Tasks | OpKind::Actors(_) | OpKind::Sink)
}

/// The nodes that came and went, for a run on the same cluster.
fn comings_and_goings(run: &RecordedRun) -> Faults {
    let mut faults = Faults::default();
    for turn in &run.turns {
        for event in &turn.events {
            match event {
                Event::NodeJoined { node, resources, store } => {
                    let (resources, store) = (resources.clone(), *store);
                    let spec = trace::NodeSpec { node: *node, resources, store };
                    faults.joins.push((turn.now, spec));
                }
                Event::NodeDraining { node } => faults.drains.push((turn.now, *node)),
                Event::NodeLost { node } => faults.losses.push((turn.now, *node)),
                _ => {}
            }
        }
    }
    faults
}
