//! Sources whose units are listed while they are read.
//!
//! Owns what a listing gives when, and what the scheduler is told of a source at submit. Knows nothing
//! of why more units are asked for.

use std::collections::BTreeMap;

use millstream_core::{Event, OpId, OpKind, Plan, Span, Time, Unit};
use serde::{Deserialize, Serialize};

/// How the units of all sources are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Units that are known at submit.
    pub known: u64,
    /// Units of a page.
    pub page: u64,
    /// How long a page takes, and the answer that there is none.
    pub latency: Span,
}

impl Listing {
    /// The plan as it is submitted: of each source the units that are known by then.
    ///
    /// # Panics
    /// Never: the units of a source are nothing that a plan is refused for.
    #[must_use]
    pub fn submitted(&self, plan: &Plan) -> Plan {
        let ops = plan.ops().iter().cloned().map(|mut op| {
            if let OpKind::Source { units, is_open } = &mut op.kind {
                units.truncate(position(self.known));
                *is_open = true;
            }
            op
        });
        Plan::new(ops.collect(), *plan.config()).expect("because it is the same plan")
    }
}

/// The listings of a run.
#[derive(Debug, Default)]
pub(crate) struct Lister {
    /// When the last page of each source has come.
    until: BTreeMap<OpId, Time>,
}

impl Lister {
    /// What answers a request, and how long after `now` each part of it is there. The end of the list is
    /// found where a page comes short, or is asked for and has nothing.
    pub(crate) fn answer(
        &mut self,
        listing: &Listing,
        plan: &Plan,
        (op, first, units): (OpId, u64, u64),
        now: Time,
        mut delay: impl FnMut() -> Span,
    ) -> Vec<(Time, Event)> {
        let OpKind::Source { units: all, .. } = &plan.ops()[op.0 as usize].kind else {
            return Vec::new();
        };
        let (mut next, wanted) = (position(first), position(first + units));
        let page = position(listing.page.max(1));
        let (mut at, mut answer) = (now, Vec::new());
        let last = self.until.entry(op).or_default();
        loop {
            at = at.after(listing.latency);
            // News of one list comes in its order.
            *last = (*last).max(at.after(delay()));
            let end = (next + page).min(all.len());
            if next == end {
                answer.push((*last, Event::SourceExhausted { op }));
                return answer;
            }
            answer.push((*last, extended(op, next, &all[next..end])));
            next = end;
            if next >= wanted {
                return answer;
            }
        }
    }
}

fn extended(op: OpId, first: usize, units: &[Unit]) -> Event {
    Event::SourceExtended { op, first: first as u64, units: units.to_vec() }
}

fn position(unit: u64) -> usize {
    usize::try_from(unit).unwrap_or(usize::MAX)
}
