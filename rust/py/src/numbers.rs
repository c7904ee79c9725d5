//! Amounts of resources between Python's floats and the core's integers.
//!
//! Owns the checks of that conversion. Knows nothing of what the amounts are for.

use std::collections::BTreeMap;

use millstream_core::{Bytes, Resources, Slots};
use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

/// The resources that `cpu`, `gpu`, `custom` and `heap` describe.
pub(crate) fn resources(
    cpu: f64,
    gpu: f64,
    custom: BTreeMap<String, f64>,
    heap: u64,
) -> PyResult<Resources> {
    let custom = custom
        .into_iter()
        .map(|(name, amount)| {
            let slots = slots(&format!("custom[{name:?}]"), amount)?;
            Ok((name, slots))
        })
        .collect::<PyResult<_>>()?;
    Ok(Resources { cpu: slots("cpu", cpu)?, gpu: slots("gpu", gpu)?, custom, heap: Bytes(heap) })
}

/// `amount` as a float.
pub(crate) fn float(amount: Slots) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "amounts are checked to be exact in a float")]
    let shares = amount.0 as f64;
    shares / SHARES_PER_UNIT
}

/// The custom resources of `resources` as floats.
pub(crate) fn custom(resources: &Resources) -> BTreeMap<String, f64> {
    resources.custom.iter().map(|(name, amount)| (name.clone(), float(*amount))).collect()
}

/// `amount` in shares of 1/10000, rounded to the nearest one as Ray does.
fn slots(name: &str, amount: f64) -> PyResult<Slots> {
    let shares = (amount * SHARES_PER_UNIT).round();
    let problem = if amount.is_nan() {
        "must be a number"
    } else if amount < 0.0 {
        "must not be negative"
    } else if shares > SHARES_MAX {
        "must be below 900719925474"
    } else if amount > 0.0 && shares == 0.0 {
        "must be zero or at least 0.0001, the smallest share there is,"
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, not negative and below 2^53"
        )]
        return Ok(Slots(shares as u64));
    };
    Err(PyValueError::new_err(format!("{name} {problem} but is {amount}")))
}

#[expect(clippy::cast_precision_loss, reason = "ten thousand is exact in a float")]
const SHARES_PER_UNIT: f64 = Slots::PER_UNIT as f64;
/// Above 2^53 a float no longer holds every whole number.
const SHARES_MAX: f64 = 9_007_199_254_740_992.0;
