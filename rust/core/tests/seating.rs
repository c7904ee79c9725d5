//! Beside other runs, the actors that a run cannot do without start where it has seats for them.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use millstream_core::{
    Action, Bytes, Config, Event, NodeId, OpSpec, Plan, PoolSpec, Resources, Scheduler, Slots, Time,
};

use common::source;

const STORE: Bytes = Bytes(1 << 30);

fn cpus(count: u64) -> Resources {
    Resources::cpu(Slots::whole(count))
}

/// A source whose tasks take two CPUs, and a pool of two actors of one CPU, on two nodes of four CPUs.
fn scheduler() -> Scheduler {
    let pool = PoolSpec { actors_min: 2, actors_max: 2, tasks_in_flight_max: 2 };
    let read = OpSpec { resources: cpus(2), ..source(4) };
    let infer = OpSpec { resources: cpus(1), ..common::actors(0, pool) };
    let nodes = [0, 1].map(|node| (NodeId(node), cpus(4), STORE));
    let plan = Plan::new(vec![read, infer], Config::default()).unwrap();
    Scheduler::submit(plan, nodes.to_vec()).unwrap()
}

fn tell(scheduler: &mut Scheduler, event: Event) -> Vec<Action> {
    scheduler.handle(Time(0), event);
    let actions = std::iter::from_fn(|| scheduler.poll_action()).collect();
    scheduler.assert_invariants();
    actions
}

/// Tells shares of CPUs at the two nodes.
fn share(scheduler: &mut Scheduler, shares: [u64; 2]) -> Vec<Action> {
    for (node, share) in (0..).map(NodeId).zip(shares) {
        scheduler
            .handle(Time(0), Event::ShareChanged { node, resources: cpus(share), store: STORE });
    }
    tell(scheduler, Event::TimePassed)
}

fn started(actions: &[Action]) -> Vec<NodeId> {
    let node = |action: &Action| match action {
        Action::StartActor { node, .. } => Some(*node),
        _ => None,
    };
    actions.iter().filter_map(node).collect()
}

#[test]
fn no_actor_starts_before_the_shares_have_a_place_for_all_seats() {
    let mut scheduler = scheduler();
    let nothing = share(&mut scheduler, [0, 1]);
    assert_eq!(started(&nothing), [], "that may be a part of the place of a task");
    let all = share(&mut scheduler, [2, 2]);
    assert_eq!(started(&all), [NodeId(0), NodeId(0)], "each is where the arbiter places it");
}

#[test]
fn a_seat_at_a_node_that_goes_is_looked_for_elsewhere() {
    let mut scheduler = scheduler();
    share(&mut scheduler, [0, 0]);
    tell(&mut scheduler, Event::NodeDraining { node: NodeId(0) });
    let all = share(&mut scheduler, [2, 4]);
    assert_eq!(started(&all), [NodeId(1), NodeId(1)]);
}
