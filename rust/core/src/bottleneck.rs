//! The one thing that a run would gain most from, named from a snapshot.
//!
//! Owns the names, and how they follow from the accounts of time. A share of a run's time has one
//! constraint; where that is a lack of workers, what the workers did meanwhile tells what for.

use alloc::collections::BTreeMap;

use crate::attribution::{Activity, Times};
use crate::constraint::Constraint;
use crate::snapshot::{OpSnapshot, Snapshot};
use crate::units::{OpId, Slots, Span};

/// What a run waits for most. Its name is the variant's in snake case.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Bottleneck {
    /// The source: nothing after it lacks workers.
    SlowRead,
    /// The listing of a source's units.
    SlowListing,
    /// CPUs.
    CpuShort,
    /// GPUs.
    GpuShort,
    /// Slots that are the share of other runs.
    OtherRuns,
    /// Room in the object store.
    StoreFull,
    /// Heap for one more task or actor.
    HeapFull,
    /// The consumer of the output.
    SlowConsumer,
    /// One piece of work that takes many times longer than the others.
    SkewedWork,
    /// Workers that start, and actors that load.
    SlowStart,
    /// The driver, which takes note of news too late.
    SlowDriver,
    /// The limit that an operator was given, of tasks or of actors.
    OwnLimit,
    /// An operator with less work than there are workers.
    FewTasks,
    /// Input on its way from other nodes.
    SlowTransfer,
}

/// A bottleneck and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub bottleneck: Bottleneck,
    /// The operator that it is about; none where it is the driver or the consumer.
    pub op: Option<OpId>,
    /// For how much of the run's time it was what the run waited for, in thousandths.
    pub share: u64,
}

impl Snapshot {
    /// What the run waited for most so far; none before any time has passed.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Finding> {
        let mut causes = Causes::default();
        for (position, op) in (0..).zip(&self.ops) {
            for (constraint, span) in &op.constraints {
                self.add(&mut causes, *constraint, (OpId(position), op), *span);
            }
        }
        causes.give_driver_its_part(self.driver_delay);
        let (bottleneck, op) = causes.most()?;
        let span = causes.of(bottleneck);
        let share = span.0.saturating_mul(1_000) / self.elapsed.0.max(1);
        Some(Finding { bottleneck, op, share })
    }

    fn add(
        &self,
        causes: &mut Causes,
        constraint: Constraint,
        (id, op): (OpId, &OpSnapshot),
        span: Span,
    ) {
        let is_source = op.is_source;
        match constraint {
            Constraint::Listing => causes.add(Bottleneck::SlowListing, Some(id), span),
            Constraint::OtherRuns => causes.add(Bottleneck::OtherRuns, Some(id), span),
            Constraint::Store => causes.add(Bottleneck::StoreFull, Some(id), span),
            Constraint::Heap => causes.add(Bottleneck::HeapFull, Some(id), span),
            Constraint::Consumer => causes.add(Bottleneck::SlowConsumer, None, span),
            Constraint::Straggler => causes.add(Bottleneck::SkewedWork, Some(id), span),
            Constraint::Loading => causes.add(Bottleneck::SlowStart, Some(id), span),
            Constraint::Cpu => {
                let (name, id) = self.cpu_taker();
                causes.split((name, Some(id)), &self.cpu_times, span);
            }
            Constraint::Gpu => {
                let id = self.taker(|op| op.gpu_each);
                causes.split((Bottleneck::GpuShort, Some(id)), &self.gpu_times, span);
            }
            Constraint::Limit | Constraint::LastWork if is_source => {
                causes.split((Bottleneck::SlowRead, Some(id)), &op.times, span);
            }
            Constraint::Limit => causes.split((Bottleneck::OwnLimit, Some(id)), &op.times, span),
            Constraint::LastWork => {
                causes.split((Bottleneck::FewTasks, Some(id)), &op.times, span);
            }
        }
    }
}

impl Snapshot {
    /// The operator that works on the most CPUs, and whether it is a source that has nearly all.
    fn cpu_taker(&self) -> (Bottleneck, OpId) {
        let id = self.taker(|op| op.cpu_each);
        let op = &self.ops[id.0 as usize];
        let own = op.times.of(Activity::Compute) * u128::from(op.cpu_each.0);
        let is_mostly = own * 4 >= self.cpu_times.of(Activity::Compute) * 3;
        let is_read = is_mostly && op.is_source && self.ops.len() > 1;
        (if is_read { Bottleneck::SlowRead } else { Bottleneck::CpuShort }, id)
    }

    /// The operator whose workers work for the longest on slots of a kind.
    fn taker(&self, each: fn(&OpSnapshot) -> Slots) -> OpId {
        let work = |op: &OpSnapshot| op.times.of(Activity::Compute) * u128::from(each(op).0);
        let most = (0..).zip(&self.ops).max_by_key(|(id, op)| (work(op), core::cmp::Reverse(*id)));
        OpId(most.map_or(0, |(id, _)| id))
    }
}

type Name = (Bottleneck, Option<OpId>);

/// What a run waited for, and for how long.
#[derive(Debug, Default)]
struct Causes {
    spans: BTreeMap<Name, Span>,
    /// The part of slow starts that is not the loading of actors.
    starting: Span,
}

impl Causes {
    fn add(&mut self, bottleneck: Bottleneck, op: Option<OpId>, span: Span) {
        *self.spans.entry((bottleneck, op)).or_default() += span;
    }

    /// Adds a time in which workers were what was short, by what the workers did.
    fn split(&mut self, (bottleneck, op): Name, times: &Times, span: Span) {
        let held = [Activity::Compute, Activity::Starting, Activity::Loading, Activity::Transfer];
        let whole: u128 = held.iter().map(|activity| times.of(*activity)).sum();
        let part = |activity| {
            let part = u128::from(span.0) * times.of(activity) / whole.max(1);
            Span(u64::try_from(part).expect("because a part is no more than the whole"))
        };
        let (starting, loading) = (part(Activity::Starting), part(Activity::Loading));
        let transfer = part(Activity::Transfer);
        self.add(Bottleneck::SlowStart, op, starting + loading);
        self.add(Bottleneck::SlowTransfer, op, transfer);
        self.add(bottleneck, op, span - starting - loading - transfer);
        self.starting += starting;
    }

    /// What workers lost before and after their tasks is the driver's as long as news waited for it.
    fn give_driver_its_part(&mut self, delay: Span) {
        let part = self.starting.min(delay);
        let mut left = part;
        for ((bottleneck, _), span) in &mut self.spans {
            if *bottleneck == Bottleneck::SlowStart {
                let taken = left.min(*span);
                *span -= taken;
                left -= taken;
            }
        }
        self.add(Bottleneck::SlowDriver, None, part);
    }

    fn of(&self, bottleneck: Bottleneck) -> Span {
        let own = self.spans.iter().filter(|((other, _), _)| *other == bottleneck);
        own.map(|(_, span)| *span).sum()
    }

    /// The longest cause, with the operator that has most of it.
    fn most(&self) -> Option<Name> {
        let most =
            self.spans.iter().max_by_key(|((bottleneck, _), span)| (self.of(*bottleneck), **span));
        most.filter(|(_, span)| **span > Span::ZERO).map(|(name, _)| *name)
    }
}
