//! Tasks on a pool of actors.

use crate::operator::Operator;
use crate::operators::{Meaning, OpKind};
use crate::plan::{OpSpec, PlanError};
use crate::pool::Pool;

pub(crate) struct Actors;

impl Meaning for Actors {
    fn check(&self, op: &OpSpec, _is_last: bool) -> Result<(), PlanError> {
        let OpKind::Actors(pool) = op.kind else {
            return Ok(());
        };
        if (1..=pool.actors_max).contains(&pool.actors_min) && pool.tasks_in_flight_max > 0 {
            return Ok(());
        }
        Err(PlanError::Pool {
            name: op.name.clone(),
            min: pool.actors_min,
            max: pool.actors_max,
            in_flight: pool.tasks_in_flight_max,
        })
    }

    fn takes_any_blocks(&self) -> bool {
        true
    }

    fn fills_blocks(&self) -> bool {
        true
    }

    fn begin(&self, spec: &OpSpec, operator: &mut Operator) {
        if let OpKind::Actors(pool) = spec.kind {
            operator.pool = Some(Pool::new(pool));
        }
    }
}
