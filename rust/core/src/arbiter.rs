//! Several runs on one cluster: how much of each node each of them may use.
//!
//! Owns the shares. What is there is divided by weight between the runs that want more than they
//! have; what a run does not want, the others get (nothing lies idle while one of them wants it).
//! A share that is needed back is not taken by force: the borrower starts nothing there until
//! enough of its tasks have ended, and only then does the owner's share grow. What nobody wants at
//! the moment is divided too, so that a run that wants more need not ask for it first.
//!
//! News may be late: until a run says that it goes by its new share, it may hold as much as the old
//! one or the new one allows. So at each moment what all runs together may hold on a node is at most
//! what it has. Knows nothing of plans.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::protocol::Event;
use crate::resources::Resources;
use crate::units::{Bytes, NodeId, Slots};

/// A run, numbered by whoever drives it.
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
}

#[derive(Clone, Debug)]
struct Run {
    weight: u32,
    demand: Demand,
    /// What it was told.
    shares: BTreeMap<NodeId, (Resources, Bytes)>,
}

impl Run {
    /// Whether it goes by what it was told of a node. Until then it is told nothing new.
    fn is_settled(&self, node: NodeId) -> bool {
        let told = self.shares.get(&node);
        told.is_none() || told == self.demand.shares.get(&node)
    }

    /// Its claim to one resource of a node.
    fn claim(
        &self,
        node: NodeId,
        grain: u64,
        amount: impl Fn(&(Resources, Bytes)) -> u64,
    ) -> Claim {
        let of = |books: &BTreeMap<NodeId, (Resources, Bytes)>| books.get(&node).map_or(0, &amount);
        let held = of(&self.demand.held);
        let most = held.max(of(&self.demand.shares)).max(of(&self.shares));
        Claim { weight: self.weight, held, most, grain }
    }
}

/// Divides the nodes of a cluster between runs.
#[derive(Clone, Debug, Default)]
pub struct Arbiter {
    nodes: BTreeMap<NodeId, (Resources, Bytes)>,
    runs: BTreeMap<RunId, Run>,
}

impl Arbiter {
    /// An arbiter of these nodes, without runs.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = (NodeId, Resources, Bytes)>) -> Self {
        let nodes = nodes.into_iter().map(|(node, has, store)| (node, (has, store))).collect();
        Self { nodes, runs: BTreeMap::new() }
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
        }
    }

    /// A run begins. Of what several runs want, each gets in proportion to its weight; a weight of
    /// zero counts as one. Unless it is the only one, it must go by a share of nothing until it is
    /// told more.
    pub fn begin(&mut self, run: RunId, weight: u32) {
        let shares = BTreeMap::new();
        self.runs.insert(run, Run { weight: weight.max(1), demand: Demand::default(), shares });
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

    /// Divides anew. What follows for each run whose share of a node has changed, as the event that
    /// tells it.
    pub fn divide(&mut self) -> Vec<(RunId, Event)> {
        let mut changes = Vec::new();
        for (node, (has, store)) in &self.nodes {
            let shares = divide_node(&self.runs, *node, has, *store);
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
}

/// The share of each run of one node, in the order of the runs.
fn divide_node(
    runs: &BTreeMap<RunId, Run>,
    node: NodeId,
    has: &Resources,
    store: Bytes,
) -> Vec<(Resources, Bytes)> {
    let claims = |amount: &dyn Fn(&Resources) -> u64, total: u64| -> Vec<u64> {
        let claim = |run: &Run| {
            run.claim(node, amount(&run.demand.slots_wanted), |(resources, _)| amount(resources))
        };
        divide(total, &runs.values().map(claim).collect::<Vec<Claim>>())
    };
    let cpu = claims(&|resources| resources.cpu.0, has.cpu.0);
    let gpu = claims(&|resources| resources.gpu.0, has.gpu.0);
    let heap = claims(&|resources| resources.heap.0, has.heap.0);
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

/// What a run has and wants of one resource of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    weight: u32,
    held: u64,
    /// The most that it may come to hold before it hears of its next share.
    most: u64,
    /// The least that more would help it; zero: it wants no more.
    grain: u64,
}

/// Each run's share of `total`: what is due to it, as far as the others cannot hold it.
fn divide(total: u64, claims: &[Claim]) -> Vec<u64> {
    let due = spread(total, due(total, claims), claims);
    let mut most: Vec<u64> = claims.iter().map(|claim| claim.most).collect();
    let mut shares = alloc::vec![0; claims.len()];
    for (position, due) in due.into_iter().enumerate() {
        let all: u64 = most.iter().sum();
        let free = total.saturating_sub(all - most[position]);
        // A run may always be told less than what it goes by.
        shares[position] = due.min(free.max(most[position]));
        most[position] = most[position].max(shares[position]);
    }
    shares
}

/// Adds what nobody wants, by weight.
fn spread(total: u64, mut due: Vec<u64>, claims: &[Claim]) -> Vec<u64> {
    let mut left = total.saturating_sub(due.iter().sum());
    let mut weights: u64 = claims.iter().map(|claim| u64::from(claim.weight)).sum();
    for (due, claim) in due.iter_mut().zip(claims) {
        let part = u128::from(left) * u128::from(claim.weight) / u128::from(weights);
        let part = u64::try_from(part).unwrap_or(left);
        *due += part;
        left -= part;
        weights -= u64::from(claim.weight);
    }
    due
}

/// What is due to each run: in proportion to its weight, but no more than it holds where it wants no
/// more; of what wants more, whole grains.
fn due(total: u64, claims: &[Claim]) -> Vec<u64> {
    let mut due = level(total, claims);
    for (due, claim) in due.iter_mut().zip(claims).filter(|(_, claim)| claim.grain > 0) {
        *due -= *due % claim.grain;
    }
    let mut left = total.saturating_sub(due.iter().sum());
    let next = |due: &[u64], left: u64| {
        let wanting = claims.iter().enumerate();
        let wanting = wanting.filter(|(_, claim)| claim.grain > 0 && claim.grain <= left);
        // Compares due over weight without a division.
        wanting.map(|(position, _)| position).min_by(|one, other| {
            let scaled = |of: usize, by: usize| u128::from(due[of]) * u128::from(claims[by].weight);
            scaled(*one, *other).cmp(&scaled(*other, *one))
        })
    };
    while let Some(position) = next(&due, left) {
        due[position] += claims[position].grain;
        left -= claims[position].grain;
    }
    due
}

/// Fills all claims to the same level for their weight; those that want no more stay at what they
/// hold, and the others get the difference.
fn level(total: u64, claims: &[Claim]) -> Vec<u64> {
    let mut shares: Vec<Option<u64>> = alloc::vec![None; claims.len()];
    loop {
        let open = || claims.iter().zip(&shares).filter(|(_, share)| share.is_none());
        let weights: u64 = open().map(|(claim, _)| u64::from(claim.weight)).sum();
        let left = total.saturating_sub(shares.iter().flatten().sum());
        let fair = |claim: &Claim| {
            let share = u128::from(left) * u128::from(claim.weight) / u128::from(weights.max(1));
            u64::try_from(share).unwrap_or(left)
        };
        let is_content = |claim: &Claim| claim.grain == 0 && claim.held <= fair(claim);
        let content: Vec<bool> = open().map(|(claim, _)| is_content(claim)).collect();
        let is_settled = !content.contains(&true);
        let settled: Vec<u64> = open()
            .zip(&content)
            .map(|((claim, _), content)| if *content { claim.held } else { fair(claim) })
            .collect();
        let open = shares.iter_mut().filter(|share| share.is_none());
        for ((share, amount), content) in open.zip(settled).zip(content) {
            if content || is_settled {
                *share = Some(amount);
            }
        }
        if is_settled {
            return shares.into_iter().flatten().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(weight: u32, held: u64, grain: u64) -> Claim {
        Claim { weight, held, most: held, grain }
    }

    #[test]
    fn runs_that_want_more_share_by_weight() {
        assert_eq!(divide(80, &[claim(1, 0, 10), claim(1, 0, 10)]), [40, 40]);
        assert_eq!(divide(80, &[claim(3, 0, 10), claim(1, 0, 10)]), [60, 20]);
        assert_eq!(divide(80, &[claim(1, 0, 10); 3]).iter().sum::<u64>(), 80, "whole grains");
    }

    #[test]
    fn what_one_does_not_want_the_other_gets() {
        assert_eq!(divide(80, &[claim(1, 10, 0), claim(1, 0, 10)]), [10, 70]);
        assert_eq!(divide(80, &[claim(1, 0, 0), claim(1, 40, 10)]), [0, 80]);
    }

    #[test]
    fn an_owner_gets_its_share_back_as_the_borrower_lets_go() {
        let shares = divide(80, &[claim(1, 0, 10), claim(1, 80, 10)]);
        assert_eq!(shares, [0, 40], "the borrower may start nothing, the owner not yet");
        assert_eq!(divide(80, &[claim(1, 0, 10), claim(1, 60, 10)]), [20, 40]);
        assert_eq!(divide(80, &[claim(1, 40, 10), claim(1, 40, 10)]), [40, 40]);
    }

    #[test]
    fn what_nobody_wants_is_divided_too() {
        assert_eq!(divide(80, &[claim(1, 10, 0)]), [80]);
        assert_eq!(divide(80, &[claim(1, 10, 0), claim(1, 20, 0)]), [35, 45]);
        assert_eq!(divide(85, &[claim(1, 0, 10), claim(1, 0, 10)]).iter().sum::<u64>(), 85);
    }

    #[test]
    fn a_share_that_others_may_still_use_is_not_given_to_two() {
        let busy = Claim { most: 80, ..claim(1, 20, 10) };
        assert_eq!(divide(80, &[busy, claim(1, 0, 10)]), [40, 0], "it may not have heard yet");
        assert_eq!(divide(80, &[claim(1, 20, 10), claim(1, 0, 10)]), [40, 40]);
    }

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

    proptest! {
        #[test]
        fn together_they_never_hold_more_than_there_is(
            total in 1u64..1_000,
            drawn in proptest::collection::vec((1u32..5, 0u64..300, 0u64..50), 1..6),
        ) {
            let mut left = total;
            let claims: Vec<Claim> = drawn
                .into_iter()
                .map(|(weight, held, grain)| {
                    let held = held.min(left);
                    left -= held;
                    claim(weight, held, grain)
                })
                .collect();
            let shares = divide(total, &claims);
            let most = claims.iter().zip(&shares).map(|(claim, share)| claim.held.max(*share));
            prop_assert!(most.sum::<u64>() <= total);
            let due = due(total, &claims);
            let unclaimed = total - due.iter().sum::<u64>();
            prop_assert!(claims.iter().all(|c| c.grain == 0 || c.grain > unclaimed));
        }
    }
}
