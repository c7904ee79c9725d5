//! Several runs on one cluster: how much of each node each of them may use.
//!
//! Owns the shares. A run is admitted as a whole or waits: what the smallest sizes of its pools take is
//! its own as long as it runs, since actors keep what they hold. Of those that have to wait, who came
//! first is admitted first; who came last waits again where losses leave no place for all. Beside that,
//! the next task of each run that has one gets a place beside what the run holds, in turns where there is
//! not enough for all: tasks end. Who leaves its place unused comes last.
//!
//! What is left is divided by weight between the runs that want more than they
//! have; what a run does not want, the others get (nothing lies idle while one of them wants it).
//! A share that is needed back is not taken by force: the borrower starts nothing there until
//! enough of its tasks have ended, and only then does the owner's share grow. What nobody wants at
//! the moment is divided too, so that a run that wants more need not ask for it first.
//!
//! News may be late: until a run says that it goes by its new share, it may hold as much as the old
//! one or the new one allows. So at each moment what all runs together may hold on a node is at most
//! what it has. Knows nothing of plans.

mod division;
pub(crate) mod floors;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::arbiter::division::{Claim, divide};
use crate::arbiter::floors::{Floor, Place, Room, has_place_for_each, place, take_at, taken};
use crate::protocol::Event;
use crate::resources::Resources;
use crate::units::{Bytes, NodeId, Slots};

/// A run, numbered by whoever drives it in the order in which they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u32);

/// What a run holds, and whether it could use more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What its tasks, actors and blocks hold, by node.
    pub held: BTreeMap<NodeId, (Resources, Bytes)>,
    /// What it goes by: its share of each node; all of it as long as it was told none.
    pub shares: BTreeMap<NodeId, (Resources, Bytes)>,
    /// What one more task would ask for, of each resource the most; zero where it wants none.
    pub slots_wanted: Resources,
    /// Bytes that one more task would ask for; zero where it wants none.
    pub store_wanted: Bytes,
    /// The actors of the smallest sizes of its pools.
    pub seats: Vec<Seat>,
    /// What a task of each operator without seats asks for, also of those that are done, since what they
    /// made may be lost. Each must have a place beside all seats of all runs, one at a time.
    pub tasks: Vec<Resources>,
    /// What its next task asks for; none if it would start none though it had the slots.
    pub task_wanted: Option<Resources>,
    /// The nodes where it would start that task if it had the slots there; none: at any.
    pub nodes_wanted: Vec<NodeId>,
    /// Whether nothing goes on in it before its consumer takes what it was given.
    pub is_at_rest: bool,
}

/// An actor that a run cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its slots.
    pub request: Resources,
    /// Where it is; none: it has not started.
    pub node: Option<NodeId>,
}

/// How a run stands among the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it was admitted. Until then its share is nothing.
    pub is_admitted: bool,
    /// Whether it waits for runs that all wait for their consumers: if one of those waits for this run,
    /// it does so forever. Of several such runs, the one that came last is said to be stuck, so that
    /// no more are given up than must be.
    pub is_stuck: bool,
    /// The other runs that hold slots, and how many.
    pub holders: Vec<(RunId, Resources)>,
}

#[derive(Clone, Debug)]
struct Run {
    weight: u32,
    demand: Demand,
    /// What it was told.
    shares: BTreeMap<NodeId, (Resources, Bytes)>,
    is_admitted: bool,
    /// Whether it had been admitted and waits again: what it holds is no reason to admit it.
    is_put_back: bool,
    /// Where its seats are, or would have a place.
    seats: floors::Slots,
    /// Where its next task was given a place by the last division, and how much is its own there.
    place: Option<(NodeId, Resources)>,
    /// In which division it held slots beyond those last, or left its place unused.
    served: u64,
}

impl Run {
    /// Whether it goes by what it was told of a node. Until then it is told nothing new.
    fn is_settled(&self, node: NodeId) -> bool {
        let told = self.shares.get(&node);
        told.is_none() || told == self.demand.shares.get(&node)
    }

    /// Its claim to one resource of a node, without its floor.
    fn claim(
        &self,
        node: NodeId,
        grain: u64,
        amount: impl Fn(&(Resources, Bytes)) -> u64,
    ) -> Claim {
        let of = |books: &BTreeMap<NodeId, (Resources, Bytes)>| books.get(&node).map_or(0, &amount);
        let held = of(&self.demand.held);
        let most = held.max(of(&self.demand.shares)).max(of(&self.shares));
        let (weight, grain) = if self.is_admitted { (self.weight, grain) } else { (0, 0) };
        Claim { weight, held, most, floor: 0, near: 0, grain }
    }

    /// Whether one of its actors has not started. Beside other runs it gets no more slots then than its seats
    /// and the place of its next task, so that they start where the seats are: elsewhere they may leave no
    /// place for the tasks of others, and the run would have to wait again.
    fn is_unseated(&self) -> bool {
        !self.seats.is_empty() && self.demand.seats.iter().any(|seat| seat.node.is_none())
    }

    /// The slots that it holds, by node.
    fn slots_held(&self) -> floors::Slots {
        self.demand.held.iter().map(|(node, (held, _))| (*node, slots_of(held))).collect()
    }

    /// All slots that it holds.
    fn held(&self) -> Resources {
        sum(self.slots_held().values())
    }

    /// The largest part that it holds of any resource of the cluster, for its weight.
    fn dominant_share(&self, all: &Resources) -> u128 {
        let held = self.held();
        let parts = all.named().map(|(name, all)| {
            let held = u128::from(held.amount(name).0) * MILLION;
            held / u128::from(all.0.max(1)) / u128::from(self.weight)
        });
        parts.max().unwrap_or(0)
    }

    /// A place for its next task, if it would start one.
    fn next_place(&self, room: &mut Room) -> Option<Place> {
        let task = self.demand.task_wanted.as_ref()?;
        room.take(task, &self.demand.nodes_wanted, &self.seats, &self.slots_held())
    }

    /// Whether it goes by a share that has the place for its next task, and did not start it: others
    /// come first then.
    fn has_passed(&self) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|(node, place)| {
            self.demand.shares.get(node).is_some_and(|(share, _)| share.fits_without_heap(place))
        })
    }

    /// Whether it holds slots of tasks, or of actors that it could do without.
    fn is_served(&self) -> bool {
        let mut seated = Resources::default();
        for seat in self.demand.seats.iter().filter(|seat| seat.node.is_some()) {
            seated.credit(&seat.request);
        }
        !self.held().beyond(&seated).is_zero()
    }
}

/// Divides the nodes of a cluster between runs.
#[derive(Clone, Debug, Default)]
pub struct Arbiter {
    nodes: BTreeMap<NodeId, (Resources, Bytes)>,
    runs: BTreeMap<RunId, Run>,
    divisions: u64,
}

impl Arbiter {
    /// An arbiter of these nodes, without runs.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = (NodeId, Resources, Bytes)>) -> Self {
        let nodes = nodes.into_iter().map(|(node, has, store)| (node, (has, store))).collect();
        Self { nodes, runs: BTreeMap::new(), divisions: 0 }
    }

    /// A node can be used, or has more than was known.
    pub fn join(&mut self, node: NodeId, resources: Resources, store: Bytes) {
        self.nodes.insert(node, (resources, store));
    }

    /// A node is gone.
    pub fn lose(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        for run in self.runs.values_mut() {
            run.shares.remove(&node);
            run.seats.remove(&node);
        }
    }

    /// A run begins. Of what several runs want, each gets in proportion to its weight; a weight of
    /// zero counts as one. Unless it is the only one, it must go by a share of nothing until it is
    /// told more.
    pub fn begin(&mut self, run: RunId, weight: u32) {
        let new = Run {
            weight: weight.max(1),
            demand: Demand::default(),
            shares: BTreeMap::new(),
            is_admitted: false,
            is_put_back: false,
            seats: floors::Slots::new(),
            place: None,
            served: 0,
        };
        self.runs.insert(run, new);
    }

    /// A run has ended; what it held is free.
    pub fn end(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// Notes what a run holds and wants now.
    pub fn report(&mut self, run: RunId, demand: Demand) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.demand = demand;
        }
    }

    /// How a run stands since the last division.
    #[must_use]
    pub fn standing(&self, id: RunId) -> Standing {
        let mut waiting = self.runs.iter().filter(|(_, run)| !run.is_admitted);
        let mut admitted = self.runs.values().filter(|run| run.is_admitted);
        let is_last = waiting.next_back().is_some_and(|(last, _)| *last == id);
        let holders = self.runs.iter().filter(|(other, _)| **other != id);
        let holders = holders.map(|(other, run)| (*other, run.held()));
        Standing {
            is_admitted: self.runs.get(&id).is_some_and(|run| run.is_admitted),
            is_stuck: is_last && admitted.all(|run| run.demand.is_at_rest),
            holders: holders.filter(|(_, held)| !held.is_zero()).collect(),
        }
    }

    /// Divides anew. What follows for each run whose share of a node has changed, as the event that
    /// tells it.
    pub fn divide(&mut self) -> Vec<(RunId, Event)> {
        self.divisions += 1;
        self.admit();
        let floors = self.floors();
        let mut changes = Vec::new();
        for (node, (has, store)) in &self.nodes {
            let floors: Vec<_> = floors.iter().map(|floor| floor.at(*node)).collect();
            let is_one = self.nodes.len() == 1;
            let shares = divide_node(&self.runs, *node, (has, *store), &floors, is_one);
            for ((id, run), (resources, store)) in self.runs.iter_mut().zip(shares) {
                let share = (resources.clone(), store);
                if run.is_settled(*node) && run.shares.get(node) != Some(&share) {
                    run.shares.insert(*node, share);
                    let event = Event::ShareChanged { node: *node, resources, store };
                    changes.push((*id, event));
                }
            }
        }
        changes
    }

    /// Finds the seats of runs that were admitted, and admits others.
    ///
    /// Those that hold something are there already. The others wait in the order in which they came; but
    /// a run without pools keeps nothing for long, so it need not wait for one that has some. And while a
    /// run waits for its consumer, it may be that this waits for a run that came later: then that one
    /// passes those that do not fit.
    fn admit(&mut self) {
        for run in self.runs.values_mut().filter(|run| !run.is_put_back) {
            run.is_admitted |= !run.held().is_zero();
        }
        let (there, waiting): (Vec<RunId>, Vec<RunId>) =
            self.runs.keys().copied().partition(|id| self.runs[id].is_admitted);
        self.seat_again(there);
        let is_any_at_rest = self.runs.values().any(|run| run.is_admitted && run.demand.is_at_rest);
        let mut has_passed_over = false;
        for id in waiting {
            let may_pass = is_any_at_rest || self.runs[&id].demand.seats.is_empty();
            if has_passed_over && !may_pass {
                continue;
            }
            let found = self.seats_of(id);
            has_passed_over |= found.is_none();
            if let (Some(seats), Some(run)) = (found, self.runs.get_mut(&id)) {
                (run.is_admitted, run.is_put_back, run.seats) = (true, false, seats);
            }
        }
    }

    /// Finds the seats of runs that were admitted: those that they had, as long as their actors started
    /// there and the tasks of all have a place beside them. Lets those that came last wait again until the
    /// others fit together: rows may have been lost that an operator which was done has to make again, or a
    /// node.
    fn seat_again(&mut self, mut admitted: Vec<RunId>) {
        loop {
            let anew = || self.seats_anew(&admitted);
            let (seats, is_good) =
                self.seats_as_they_were(&admitted).map_or_else(anew, |seats| (seats, true));
            if is_good || admitted.len() <= 1 {
                for (id, seats) in admitted.iter().zip(seats) {
                    self.runs.entry(*id).and_modify(|run| run.seats = seats);
                }
                return;
            }
            if let Some(run) = admitted.pop().and_then(|last| self.runs.get_mut(&last)) {
                (run.is_admitted, run.is_put_back) = (false, true);
                run.seats.clear();
            }
        }
    }

    /// The seats of runs where each of them had those that it needs, if that is still good.
    fn seats_as_they_were(&self, ids: &[RunId]) -> Option<Vec<floors::Slots>> {
        let mut left = self.has();
        let mut all = Vec::new();
        for run in ids.iter().map(|id| &self.runs[id]) {
            let seats = &run.demand.seats;
            let nodes = place(seats.iter(), run.seats.clone()).nodes;
            let is_there = |(seat, node): (&Seat, &Option<NodeId>)| {
                node.is_some() && (seat.node.is_none() || seat.node == *node)
            };
            let taken = taken(seats.iter().zip(nodes.iter().copied()));
            let has_place = |(node, taken): (&NodeId, &Resources)| {
                left.get(node).is_some_and(|left| left.fits(taken))
            };
            if !seats.iter().zip(&nodes).all(is_there) || !taken.iter().all(has_place) {
                return None;
            }
            for (node, taken) in &taken {
                take_at(&mut left, *node, taken);
            }
            all.push(taken);
        }
        has_place_for_each(&left, self.tasks(ids)).then_some(all)
    }

    /// Seats for runs wherever they have a place together. False: not all have one, or tasks have none beside
    /// them.
    fn seats_anew(&self, ids: &[RunId]) -> (Vec<floors::Slots>, bool) {
        let seats = || ids.iter().flat_map(|id| &self.runs[id].demand.seats);
        let placement = place(seats(), self.has());
        let is_good =
            placement.is_complete() && has_place_for_each(&placement.left, self.tasks(ids));
        let mut found = seats().zip(placement.nodes);
        let count = |id: &RunId| self.runs[id].demand.seats.len();
        (ids.iter().map(|id| taken(found.by_ref().take(count(id)))).collect(), is_good)
    }

    /// Where all seats of a run have a place beside those of the runs that were admitted, and a task of each
    /// operator of all of them beside all seats.
    fn seats_of(&self, id: RunId) -> Option<floors::Slots> {
        let seats = &self.runs[&id].demand.seats;
        let placement = place(seats.iter(), self.free_beside(id));
        let runs = self.runs.iter().filter(|(other, run)| run.is_admitted || **other == id);
        let ids: Vec<RunId> = runs.map(|(id, _)| *id).collect();
        let is_good =
            placement.is_complete() && has_place_for_each(&placement.left, self.tasks(&ids));
        is_good.then(|| taken(seats.iter().zip(placement.nodes)))
    }

    /// What the tasks of runs ask for.
    fn tasks(&self, ids: &[RunId]) -> impl Iterator<Item = &Resources> {
        ids.iter().flat_map(|id| &self.runs[id].demand.tasks)
    }

    /// What the seats of the other runs that were admitted leave.
    fn free_beside(&self, id: RunId) -> floors::Slots {
        let mut free = self.has();
        for (_, run) in self.runs.iter().filter(|(other, run)| **other != id && run.is_admitted) {
            for (node, seats) in &run.seats {
                take_at(&mut free, *node, seats);
            }
        }
        free
    }

    /// What each run gets whatever others want, in the order of the runs: its seats, and a place for its
    /// next task beside what it holds. Who had slots least recently comes first, then who has least.
    fn floors(&mut self) -> Vec<Floor> {
        for run in self.runs.values_mut().filter(|run| run.is_served() || run.has_passed()) {
            run.served = self.divisions;
        }
        let has = self.has();
        let all = sum(has.values());
        let runs = self.runs.values().map(|run| (&run.seats, run.slots_held()));
        let mut room = Room::new(has, runs);
        let mut admitted: Vec<RunId> =
            self.runs.iter().filter(|(_, run)| run.is_admitted).map(|(id, _)| *id).collect();
        admitted.sort_by_cached_key(|id| {
            let run = &self.runs[id];
            (run.served, run.dominant_share(&all))
        });
        let mut floors = BTreeMap::new();
        for id in admitted {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let mut floor = Floor::of(&run.seats);
            run.place = run.next_place(&mut room).map(|place| {
                floor.add(&place);
                (place.node, floor.at(place.node).0)
            });
            floors.insert(id, floor);
        }
        self.runs.keys().map(|id| floors.remove(id).unwrap_or_default()).collect()
    }

    /// What the nodes have.
    fn has(&self) -> floors::Slots {
        self.nodes.iter().map(|(node, (has, _))| (*node, slots_of(has))).collect()
    }
}

/// So fine are shares compared.
const MILLION: u128 = 1_000_000;

/// All of them together.
fn sum<'a>(amounts: impl Iterator<Item = &'a Resources>) -> Resources {
    let mut all = Resources::default();
    amounts.for_each(|amount| all.credit(amount));
    all
}

/// Without the heap, of which nobody is sure.
fn slots_of(has: &Resources) -> Resources {
    Resources { heap: Bytes::ZERO, ..has.clone() }
}

/// The share of each run of one node, in the order of the runs.
fn divide_node(
    runs: &BTreeMap<RunId, Run>,
    node: NodeId,
    (has, store): (&Resources, Bytes),
    floors: &[(Resources, Resources)],
    is_one_node: bool,
) -> Vec<(Resources, Bytes)> {
    let keeps_to_seats = |run: &Run| !is_one_node && runs.len() > 1 && run.is_unseated();
    let divided = |amount: &dyn Fn(&Resources) -> u64, total: u64, keep: bool| -> Vec<u64> {
        let claim = |(run, (floor, near)): (&Run, &(Resources, Resources))| {
            let grain = amount(&run.demand.slots_wanted);
            let claim = run.claim(node, grain, |(resources, _)| amount(resources));
            let is_kept = keep && keeps_to_seats(run);
            let (weight, grain) = if is_kept { (0, 0) } else { (claim.weight, claim.grain) };
            Claim { floor: amount(floor), near: amount(near), weight, grain, ..claim }
        };
        divide(total, &runs.values().zip(floors).map(claim).collect::<Vec<Claim>>())
    };
    let claims = |amount: &dyn Fn(&Resources) -> u64, total: u64| divided(amount, total, true);
    let cpu = claims(&|resources| resources.cpu.0, has.cpu.0);
    let gpu = claims(&|resources| resources.gpu.0, has.gpu.0);
    // Seats ask for none, so a run that keeps to them would have none.
    let heap = divided(&|resources| resources.heap.0, has.heap.0, false);
    let mut shares: Vec<(Resources, Bytes)> = cpu
        .into_iter()
        .zip(gpu)
        .zip(heap)
        .map(|((cpu, gpu), heap)| {
            let custom = BTreeMap::new();
            let (cpu, gpu, heap) = (Slots(cpu), Slots(gpu), Bytes(heap));
            (Resources { cpu, gpu, custom, heap }, Bytes::ZERO)
        })
        .collect();
    for name in has.custom.keys() {
        let amount = |resources: &Resources| resources.custom.get(name).map_or(0, |slots| slots.0);
        let amounts = claims(&amount, amount(has));
        for ((resources, _), share) in shares.iter_mut().zip(amounts) {
            resources.custom.insert(name.clone(), Slots(share));
        }
    }
    let claim = |run: &Run| run.claim(node, run.demand.store_wanted.0, |(_, bytes)| bytes.0);
    let stores = divide(store.0, &runs.values().map(claim).collect::<Vec<Claim>>());
    for (share, bytes) in shares.iter_mut().zip(stores) {
        share.1 = Bytes(bytes);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_changes_are_told() {
        let has = Resources::cpu(Slots::whole(8));
        let mut arbiter = Arbiter::new([(NodeId(0), has, Bytes(100))]);
        let wanting = Demand {
            slots_wanted: Resources::cpu(Slots::whole(1)),
            store_wanted: Bytes(10),
            ..Demand::default()
        };
        for run in [RunId(1), RunId(2)] {
            arbiter.begin(run, 1);
            arbiter.report(run, wanting.clone());
        }
        let share = Event::ShareChanged {
            node: NodeId(0),
            resources: Resources::cpu(Slots::whole(4)),
            store: Bytes(50),
        };
        assert_eq!(arbiter.divide(), [(RunId(1), share.clone()), (RunId(2), share)]);
        assert_eq!(arbiter.divide(), []);
        arbiter.end(RunId(1));
        assert_eq!(arbiter.divide(), [], "it has not said that it heard of its share");
        let half = (Resources::cpu(Slots::whole(4)), Bytes(50));
        let shares = BTreeMap::from([(NodeId(0), half)]);
        arbiter.report(RunId(2), Demand { shares, ..wanting });
        let all = Event::ShareChanged {
            node: NodeId(0),
            resources: Resources::cpu(Slots::whole(8)),
            store: Bytes(100),
        };
        assert_eq!(arbiter.divide(), [(RunId(2), all)]);
    }

    const CPUS: u64 = 4;

    fn one_node() -> Arbiter {
        Arbiter::new([(NodeId(0), Resources::cpu(Slots::whole(CPUS)), Bytes(100))])
    }

    fn cpus(count: u64) -> Resources {
        Resources::cpu(Slots::whole(count))
    }

    /// A pool of so many actors of one CPU, some of which have started, and a reader.
    fn pool(actors: usize, started: usize) -> Demand {
        let node = |at| (at < started).then_some(NodeId(0));
        let seats = (0..actors).map(|at| Seat { request: cpus(1), node: node(at) });
        let held = (cpus(started as u64), Bytes::ZERO);
        Demand {
            held: BTreeMap::from([(NodeId(0), held)]),
            seats: seats.collect(),
            tasks: alloc::vec![cpus(1)],
            task_wanted: Some(cpus(1)),
            slots_wanted: cpus(1),
            ..Demand::default()
        }
    }

    fn resting(demand: Demand) -> Demand {
        Demand { is_at_rest: true, task_wanted: None, slots_wanted: cpus(0), ..demand }
    }

    fn admitted(arbiter: &mut Arbiter, demands: &[Demand]) -> Vec<bool> {
        for (run, demand) in (0..).map(RunId).zip(demands) {
            if !arbiter.runs.contains_key(&run) {
                arbiter.begin(run, 1);
            }
            arbiter.report(run, demand.clone());
        }
        arbiter.divide();
        (0..).zip(demands).map(|(run, _)| arbiter.standing(RunId(run)).is_admitted).collect()
    }

    #[test]
    fn a_run_is_admitted_as_a_whole_or_waits() {
        let demands = [pool(1, 0), pool(1, 0), pool(1, 0), pool(1, 0)];
        let mut arbiter = one_node();
        assert_eq!(admitted(&mut arbiter, &demands), [true, true, true, false]);
        let share = arbiter.runs[&RunId(3)].shares[&NodeId(0)].clone();
        assert_eq!(share, (cpus(0), Bytes::ZERO));
        arbiter.end(RunId(0));
        arbiter.divide();
        assert!(arbiter.standing(RunId(3)).is_admitted);
    }

    #[test]
    fn who_came_first_is_admitted_first() {
        let demands =
            [pool(2, 2), pool(3, 0), pool(1, 0), Demand { seats: Vec::new(), ..pool(0, 0) }];
        let found = admitted(&mut one_node(), &demands);
        assert_eq!(found, [true, false, false, true], "what has no pool keeps nothing for long");
    }

    #[test]
    fn what_a_resting_run_may_wait_for_passes_others() {
        let demands = [resting(pool(2, 2)), pool(3, 0), pool(1, 0)];
        let mut arbiter = one_node();
        assert_eq!(admitted(&mut arbiter, &demands), [true, false, true]);
        assert!(!arbiter.standing(RunId(1)).is_stuck, "the last one goes on");
        let demands = [resting(pool(2, 2)), pool(3, 0), resting(pool(1, 1))];
        admitted(&mut arbiter, &demands);
        let standing = arbiter.standing(RunId(1));
        assert!(standing.is_stuck);
        assert_eq!(standing.holders, [(RunId(0), cpus(2)), (RunId(2), cpus(1))]);
    }

    #[test]
    fn a_place_for_one_task_goes_round() {
        let busy = |demand: Demand| Demand {
            held: BTreeMap::from([(NodeId(0), (cpus(2), Bytes::ZERO))]),
            ..demand
        };
        let demands = [busy(pool(1, 1)), pool(2, 2)];
        let mut arbiter = one_node();
        admitted(&mut arbiter, &demands);
        let floors = arbiter.floors();
        let due = |floor: &Floor| floor.at(NodeId(0)).0;
        assert_eq!(due(&floors[0]), cpus(1), "it had the place last");
        assert_eq!(due(&floors[1]), cpus(3));
    }

    #[test]
    fn a_place_for_a_task_is_where_it_would_start() {
        let nodes = [0, 1].map(|node| (NodeId(node), cpus(2), Bytes(100)));
        let mut arbiter = Arbiter::new(nodes);
        let wants_second = Demand { nodes_wanted: alloc::vec![NodeId(1)], ..pool(0, 0) };
        admitted(&mut arbiter, &[wants_second, pool(0, 0)]);
        let floors = arbiter.floors();
        let due = |at: usize, node| floors[at].at(NodeId(node)).0;
        assert_eq!((due(0, 0), due(0, 1)), (cpus(0), cpus(1)));
        assert_eq!((due(1, 0), due(1, 1)), (cpus(1), cpus(0)));
    }

    #[test]
    fn who_leaves_its_place_unused_comes_last() {
        let full = Demand {
            held: BTreeMap::from([(NodeId(0), (cpus(3), Bytes::ZERO))]),
            task_wanted: None,
            ..pool(3, 3)
        };
        let mut arbiter = one_node();
        let wanting = pool(0, 0);
        let all = [full, wanting.clone(), wanting.clone()];
        admitted(&mut arbiter, &all);
        let share = |arbiter: &Arbiter, run| arbiter.runs[&RunId(run)].shares[&NodeId(0)].0.clone();
        assert_eq!((share(&arbiter, 1), share(&arbiter, 2)), (cpus(1), cpus(0)));
        let passing = Demand { shares: arbiter.runs[&RunId(1)].shares.clone(), ..wanting.clone() };
        let settled = Demand { shares: arbiter.runs[&RunId(2)].shares.clone(), ..wanting.clone() };
        admitted(&mut arbiter, &[all[0].clone(), passing, settled]);
        assert_eq!(share(&arbiter, 1), cpus(0), "it had the place, and did not use it");
        let given_up = Demand { shares: arbiter.runs[&RunId(1)].shares.clone(), ..wanting.clone() };
        let next = Demand { shares: arbiter.runs[&RunId(2)].shares.clone(), ..wanting };
        admitted(&mut arbiter, &[all[0].clone(), given_up, next]);
        assert_eq!(share(&arbiter, 2), cpus(1));
    }

    #[test]
    fn seats_follow_the_actors_to_another_node() {
        let nodes = [0, 1].map(|node| (NodeId(node), cpus(2), Bytes(100)));
        let mut arbiter = Arbiter::new(nodes);
        admitted(&mut arbiter, &[pool(1, 0)]);
        assert_eq!(arbiter.runs[&RunId(0)].seats.keys().copied().collect::<Vec<_>>(), [NodeId(0)]);
        let mut moved = pool(1, 1);
        moved.seats[0].node = Some(NodeId(1));
        admitted(&mut arbiter, &[moved]);
        assert_eq!(arbiter.runs[&RunId(0)].seats.keys().copied().collect::<Vec<_>>(), [NodeId(1)]);
    }

    #[test]
    fn seats_stay_where_they_were_though_another_place_is_free() {
        let nodes = [0, 1].map(|node| (NodeId(node), cpus(2), Bytes(100)));
        let mut arbiter = Arbiter::new(nodes);
        let first = Demand { tasks: Vec::new(), ..pool(2, 0) };
        let second = Demand { tasks: Vec::new(), ..pool(1, 0) };
        admitted(&mut arbiter, &[first, second]);
        let seats = |arbiter: &Arbiter| arbiter.runs[&RunId(1)].seats.clone();
        assert_eq!(seats(&arbiter), BTreeMap::from([(NodeId(1), cpus(1))]));
        arbiter.end(RunId(0));
        arbiter.divide();
        assert_eq!(seats(&arbiter), BTreeMap::from([(NodeId(1), cpus(1))]));
    }

    #[test]
    fn a_run_that_keeps_to_its_seats_has_its_part_of_the_heap() {
        let has = Resources { heap: Bytes(100), ..cpus(CPUS) };
        let nodes = [0, 1].map(|node| (NodeId(node), has.clone(), Bytes(100)));
        let mut arbiter = Arbiter::new(nodes);
        let wanted = Resources { heap: Bytes(10), ..cpus(1) };
        let demand = |demand: Demand| Demand { slots_wanted: wanted.clone(), ..demand };
        admitted(&mut arbiter, &[demand(pool(2, 0)), demand(pool(0, 0))]);
        let share = &arbiter.runs[&RunId(0)].shares[&NodeId(0)].0;
        assert_eq!((share.cpu, share.heap), (Slots::whole(3), Bytes(50)), "two seats and a task");
    }

    /// A run without pools whose tasks go on forever: what it holds, and what its next task takes, in
    /// tenths of a CPU; none: it wants no more.
    #[derive(Clone, Debug)]
    struct Endless {
        held: [u64; 2],
        wanted: Option<u64>,
    }

    impl Endless {
        fn demand(&self, shares: BTreeMap<NodeId, (Resources, Bytes)>) -> Demand {
            let task = self.wanted.map(tenths);
            let books = |(node, held)| (NodeId(node), (tenths(held), Bytes::ZERO));
            Demand {
                held: (0..).zip(self.held).map(books).collect(),
                shares,
                slots_wanted: task.clone().unwrap_or_default(),
                tasks: task.clone().into_iter().collect(),
                task_wanted: task,
                ..Demand::default()
            }
        }

        /// Starts its next task where its share has room. Whether it did.
        fn launch(&mut self, shares: &BTreeMap<NodeId, (Resources, Bytes)>) -> bool {
            let Some(wanted) = self.wanted else { return false };
            for (node, held) in (0..).zip(&mut self.held) {
                let share = shares.get(&NodeId(node));
                if share.is_some_and(|(share, _)| share.fits(&tenths(*held + wanted))) {
                    *held += wanted;
                    self.wanted = None;
                    return true;
                }
            }
            false
        }
    }

    fn tenths(count: u64) -> Resources {
        Resources::cpu(Slots(Slots::whole(count).0 / 10))
    }

    /// Reports and divides until nobody launches and no share changes.
    fn settle(arbiter: &mut Arbiter, runs: &mut [Endless]) {
        for _ in 0..100 {
            let mut is_settled = true;
            for (id, run) in (0..).map(RunId).zip(runs.iter_mut()) {
                let shares = arbiter.runs[&id].shares.clone();
                is_settled &= !run.launch(&shares);
                arbiter.report(id, run.demand(shares));
            }
            if arbiter.divide().is_empty() && is_settled {
                return;
            }
        }
        panic!("shares change forever");
    }

    proptest! {
        #[test]
        fn what_the_first_in_turn_wants_and_nobody_holds_does_not_lie_idle(
            drawn in proptest::collection::vec(
                (0u64..12, 0u64..12, proptest::option::of(1u64..40), 1u32..4), 1..8,
            ),
        ) {
            let nodes = [0, 1].map(|node| (NodeId(node), cpus(CPUS), Bytes(100)));
            let mut arbiter = Arbiter::new(nodes);
            let mut left = [CPUS * 10; 2];
            let mut runs = Vec::new();
            for (id, (one, other, wanted, weight)) in (0..).map(RunId).zip(drawn) {
                let held = [one.min(left[0]), other.min(left[1])];
                left = [left[0] - held[0], left[1] - held[1]];
                arbiter.begin(id, weight);
                runs.push(Endless { held, wanted });
            }
            settle(&mut arbiter, &mut runs);
            let held = |node: usize| runs.iter().map(|run| run.held[node]).sum::<u64>();
            let free = [0, 1].map(|node| CPUS * 10 - held(node));
            let all = cpus(2 * CPUS);
            let wanting = arbiter.runs.values().filter(|run| run.demand.task_wanted.is_some());
            let first = wanting.min_by_key(|run| (run.served, run.dominant_share(&all)));
            if let Some(task) = first.and_then(|first| first.demand.task_wanted.as_ref()) {
                prop_assert!(free.iter().all(|free| !tenths(*free).fits(task)), "{runs:?}");
            }
        }
    }
}
