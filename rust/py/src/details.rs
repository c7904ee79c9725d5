//! What a reason or a cause of the core carries, by the names of its fields.
//!
//! Owns the conversion to a dict. The words for people are in Python (`observe/words.py`).

use std::collections::BTreeMap;

use millstream_core::{FailCause, Reason};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::Value;

/// Field name to value.
pub(crate) type Details = BTreeMap<String, Detail>;

/// A number, or what people read in place of several.
#[derive(Clone, Debug, PartialEq, FromPyObject, IntoPyObject)]
pub(crate) enum Detail {
    Count(u64),
    Text(String),
}

/// What a failed run is told with.
pub(crate) fn of_cause(cause: FailCause) -> Details {
    fields(&cause)
}

/// What an operator that holds is told with.
pub(crate) fn of_reason(reason: &Reason) -> Details {
    let mut details = fields(reason);
    if let Reason::NoFreeSlot { needs } | Reason::ShareHeld { needs } = reason {
        details.insert("needs".to_owned(), Detail::Text(needs.to_string()));
    }
    details
}

/// The numbers that a variant carries.
fn fields(variant: &impl Serialize) -> Details {
    let value = serde_json::to_value(variant).expect("because numbers always serialize");
    let Value::Object(variants) = value else { return Details::new() };
    let fields = variants.into_values().filter_map(|fields| match fields {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    fields.flatten().filter_map(|(name, value)| Some((name, number(&value)?))).collect()
}

fn number(value: &Value) -> Option<Detail> {
    match value {
        Value::Bool(flag) => Some(Detail::Count(u64::from(*flag))),
        _ => value.as_u64().map(Detail::Count),
    }
}
