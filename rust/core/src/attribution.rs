//! Where the workers' time went.
//!
//! Owns integrals over time, in whole numbers. Between two moments nothing changes, so each step of
//! the clock adds what every operator's workers did meanwhile, from counts that the books keep
//! anyway: it costs a look at the operators, never at tasks or nodes. Policies must not read it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::constraint::{self, Constraint, Hold};
use crate::operator::{Operator, Task};
use crate::pool::Pool;
use crate::protocol::Reason;
use crate::state::State;
use crate::units::{Bytes, OpId, Slots, Span, Time};

/// What a worker's time goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Work, as finished tasks report it, and all that tasks under way do while they are not paused.
    Compute,
    /// There was nothing to work on.
    InputWait,
    /// A block could not be handed over, or the store was full of blocks for the consumer.
    OutputBlocked,
    /// There was work, but no room for what it would put out.
    MemoryHeld,
    /// A task was ordered and not at work yet, or through and not noticed yet.
    Starting,
    /// An actor started and loaded its state.
    Loading,
    /// The same as starting, of tasks whose input lay on other nodes.
    Transfer,
    /// No operator wanted the worker.
    Idle,
}

impl Activity {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Compute,
        Self::InputWait,
        Self::OutputBlocked,
        Self::MemoryHeld,
        Self::Starting,
        Self::Loading,
        Self::Transfer,
        Self::Idle,
    ];
}

/// Time of workers by what it went to: in workers times microseconds for an operator, in 1/10000 of
/// a CPU or GPU times microseconds for the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times([u128; Activity::ALL.len()]);

impl Times {
    /// The time that went to one activity.
    #[must_use]
    pub const fn of(&self, activity: Activity) -> u128 {
        self.0[activity as usize]
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, activity: Activity, amount: u128) {
        self.0[activity as usize] += amount;
    }

    fn add_times(&mut self, other: &Self, factor: Slots) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own += more * u128::from(factor.0);
        }
    }
}

/// How long a worker has been taken, and for how much of that it was paused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch {
    since: Time,
    paused: Span,
    paused_since: Option<Time>,
}

impl Stretch {
    pub(crate) fn start(now: Time) -> Self {
        Self { since: now, ..Self::default() }
    }

    pub(crate) fn set_paused(&mut self, now: Time, is_paused: bool) {
        if let Some(since) = self.paused_since.take() {
            self.paused += now.since(since);
        }
        self.paused_since = is_paused.then_some(now);
    }

    /// When the task was launched.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    pub(crate) fn age(&self, now: Time) -> Span {
        now.since(self.since)
    }

    /// The part of its age in which it was not paused.
    pub(crate) fn moving(&self, now: Time) -> Span {
        let mut until_now = *self;
        until_now.set_paused(now, false);
        self.age(now).saturating_sub(until_now.paused)
    }
}

/// The workers of one operator by what they do.
#[derive(Clone, Copy, Debug)]
struct Workers {
    working: u64,
    paused: u64,
    loading: u64,
    waiting: u64,
}

impl Workers {
    fn of(operator: &Operator) -> Self {
        let Some(pool) = &operator.pool else {
            let paused = operator.paused.len() as u64;
            let working = operator.live.len() as u64 - paused;
            return Self { working, paused, loading: 0, waiting: 0 };
        };
        let (working, loading) = (u64::from(pool.moving()), u64::from(pool.starting()));
        let paused = u64::from(pool.occupied()) - working;
        let waiting = u64::from(pool.alive()) - loading - working - paused;
        Self { working, paused, loading, waiting }
    }

    const fn total(self) -> u64 {
        self.working + self.paused + self.loading + self.waiting
    }
}

/// The account of one operator's time.
#[derive(Clone, Debug)]
struct Account {
    hold: Hold,
    hold_since: Time,
    held: BTreeMap<&'static str, Span>,
    working: u128,
    paused: u128,
    loading: u128,
    waiting: Times,
    finished: Finished,
    constraints: BTreeMap<Constraint, Span>,
}

/// What is known of tasks that finished.
#[derive(Clone, Copy, Debug, Default)]
struct Finished {
    /// How long they held their workers.
    held: Span,
    /// How long of that they were paused.
    paused: Span,
    /// How long they worked, as they report.
    busy: Span,
    /// How long those with input from other nodes held theirs neither paused nor at work.
    copying: Span,
}

impl Account {
    fn new() -> Self {
        Self {
            hold: Hold::of(&Reason::InputEmpty),
            hold_since: Time::default(),
            held: BTreeMap::new(),
            working: 0,
            paused: 0,
            loading: 0,
            waiting: Times::default(),
            finished: Finished::default(),
            constraints: BTreeMap::new(),
        }
    }

    fn add(&mut self, workers: Workers, span: Span) {
        let time = |count: u64| u128::from(count) * u128::from(span.0);
        self.working += time(workers.working);
        self.paused += time(workers.paused);
        self.loading += time(workers.loading);
        self.waiting.add(self.hold.wait, time(workers.waiting));
    }

    /// The operator's time. What finished tasks held their workers for is split by what they
    /// report: work first, then pauses; what is left over went into getting started.
    fn times(&self) -> Times {
        let Finished { held, paused, busy, copying } = self.finished;
        let worked = busy.min(held);
        let blocked = paused.min(held - worked);
        let left_over = held - worked - blocked;
        let copying = copying.min(left_over);
        let wide = |span: Span| u128::from(span.0);
        let mut times = self.waiting;
        times.add(Activity::Loading, self.loading);
        times.add(Activity::Transfer, wide(copying));
        times.add(Activity::Starting, wide(left_over - copying));
        times.add(Activity::OutputBlocked, self.paused + wide(blocked) - wide(paused));
        times.add(Activity::Compute, self.working + wide(worked) - wide(held - paused));
        times
    }
}

/// The slots of one kind at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) free: Slots,
    pub(crate) taken: Slots,
    pub(crate) paused: Slots,
    /// What the free ones wait for.
    wait: Activity,
}

impl Kind {
    const fn of(capacity: Slots) -> Self {
        Self { free: capacity, taken: Slots::ZERO, paused: Slots::ZERO, wait: Activity::Idle }
    }

    fn take(&mut self, each: Slots, workers: Workers) {
        let taken = each.times(workers.total());
        self.free = self.free.saturating_sub(taken);
        self.taken += taken;
        self.paused += each.times(workers.paused);
    }

    /// Free slots wait for what is hardest to come by, if several operators could use them.
    fn wait_for(&mut self, activity: Activity) {
        let rank = |activity| match activity {
            Activity::MemoryHeld => 0,
            Activity::OutputBlocked => 1,
            Activity::InputWait => 2,
            _ => 3,
        };
        if rank(activity) < rank(self.wait) {
            self.wait = activity;
        }
    }
}

/// The accounts of a run's time.
#[derive(Clone, Debug)]
pub(crate) struct Attribution {
    /// When the run started, and up to when its time is booked.
    booked: Option<(Time, Time)>,
    ops: Vec<Account>,
    free_cpu: Times,
    free_gpu: Times,
    delayed: Span,
}

impl Attribution {
    pub(crate) fn new(operators: usize) -> Self {
        Self {
            booked: None,
            ops: alloc::vec![Account::new(); operators],
            free_cpu: Times::default(),
            free_gpu: Times::default(),
            delayed: Span::ZERO,
        }
    }

    /// Books the time up to `now`, in which the state was as it is.
    pub(crate) fn advance(&mut self, state: &State, now: Time) {
        let (started, until) = *self.booked.get_or_insert((now, now));
        let span = now.since(until);
        if span == Span::ZERO {
            return;
        }
        self.booked = Some((started, now));
        let capacity = state.ledger.capacity();
        let (mut cpu, mut gpu) = (Kind::of(capacity.cpu), Kind::of(capacity.gpu));
        for (op, account) in state.op_ids().zip(&mut self.ops) {
            let operator = state.op(op);
            let workers = Workers::of(operator);
            account.add(workers, span);
            let request = &state.spec(op).resources;
            for (kind, each) in [(&mut cpu, request.cpu), (&mut gpu, request.gpu)] {
                kind.take(each, workers);
                if each > Slots::ZERO && wants_workers(operator) {
                    kind.wait_for(account.hold.wait);
                }
            }
        }
        for (free, kind) in [(&mut self.free_cpu, cpu), (&mut self.free_gpu, gpu)] {
            free.add(kind.wait, u128::from(kind.free.0) * u128::from(span.0));
        }
        self.book_constraint(state, span, &Slotting { cpu, gpu, now: until });
    }

    /// Books what kept the run from being faster. While slots are what it lacks, those of paused
    /// workers lack room.
    fn book_constraint(&mut self, state: &State, span: Span, slotting: &Slotting) {
        let Some(binding) = constraint::binding(state, self, slotting) else { return };
        let account = &mut self.ops[binding.op.0 as usize];
        let (paused, taken) = binding.paused_of;
        let without_room = Span(if taken == 0 { 0 } else { scaled(span.0, paused, taken) });
        for (constraint, span) in [
            (binding.constraint, span - without_room),
            (constraint::store_or_consumer(state), without_room),
        ] {
            if span > Span::ZERO {
                *account.constraints.entry(constraint).or_default() += span;
            }
        }
    }

    /// Notes what holds an operator from now on.
    pub(crate) fn hold(&mut self, op: OpId, now: Time, reason: &Reason) {
        let account = &mut self.ops[op.0 as usize];
        let hold = Hold::of(reason);
        if hold != account.hold {
            *account.held.entry(account.hold.name).or_default() += now.since(account.hold_since);
            (account.hold, account.hold_since) = (hold, now);
        }
    }

    /// Notes that a task finished that held its worker for `stretch` and says how long it worked.
    pub(crate) fn settle(&mut self, op: OpId, now: Time, task: &Task, busy: Span) {
        let mut stretch = task.stretch;
        stretch.set_paused(now, false);
        let (held, paused) = (stretch.age(now), stretch.paused);
        let finished = &mut self.ops[op.0 as usize].finished;
        finished.held += held;
        finished.paused += paused;
        finished.busy += busy;
        if task.copies > Bytes::ZERO {
            finished.copying += held.saturating_sub(paused).saturating_sub(busy);
        }
    }

    /// Notes that news waited for the driver.
    pub(crate) fn delay(&mut self, by: Span) {
        self.delayed += by;
    }

    pub(crate) fn hold_of(&self, op: OpId) -> Hold {
        self.ops[op.0 as usize].hold
    }

    /// For how long the finished tasks of an operator held their workers without being paused.
    pub(crate) fn taken_by_finished(&self, op: OpId) -> Span {
        let Finished { held, paused, .. } = self.ops[op.0 as usize].finished;
        held.saturating_sub(paused)
    }

    pub(crate) fn elapsed(&self) -> Span {
        self.booked.map_or(Span::ZERO, |(started, until)| until.since(started))
    }

    pub(crate) fn delayed(&self) -> Span {
        self.delayed
    }

    pub(crate) fn op_times(&self, op: OpId) -> Times {
        self.ops[op.0 as usize].times()
    }

    /// How long an operator was held by which reason, by the reason's name.
    pub(crate) fn held(&self, op: OpId) -> BTreeMap<&'static str, Span> {
        let account = &self.ops[op.0 as usize];
        let mut held = account.held.clone();
        if let Some((started, until)) = self.booked {
            let since = account.hold_since.max(started);
            *held.entry(account.hold.name).or_default() += until.since(since);
        }
        held.retain(|_, span| *span > Span::ZERO);
        held
    }

    pub(crate) fn constraints(&self, op: OpId) -> &BTreeMap<Constraint, Span> {
        &self.ops[op.0 as usize].constraints
    }

    /// The time of all CPUs, and of all GPUs.
    pub(crate) fn slot_times(&self, state: &State) -> (Times, Times) {
        let (mut cpu, mut gpu) = (self.free_cpu, self.free_gpu);
        for (op, account) in state.op_ids().zip(&self.ops) {
            let (times, request) = (account.times(), &state.spec(op).resources);
            cpu.add_times(&times, request.cpu);
            gpu.add_times(&times, request.gpu);
        }
        (cpu, gpu)
    }
}

/// The slots at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slotting {
    pub(crate) cpu: Kind,
    pub(crate) gpu: Kind,
    pub(crate) now: Time,
}

/// Whether an operator would take free slots if nothing held it.
fn wants_workers(operator: &Operator) -> bool {
    let may_grow = |pool: &Pool| pool.alive() < pool.spec.actors_max;
    !operator.is_done && operator.pool.as_ref().is_none_or(may_grow)
}

/// `amount * part / whole` for a part of the whole.
fn scaled(amount: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(amount) * u128::from(part) / u128::from(whole);
    u64::try_from(scaled).expect("because a part is no more than the whole")
}
