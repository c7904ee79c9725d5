//! Traces: what is recorded replays to the same actions, and what differs is found.

use millstream_sim::trace::{ReplayError, replay};
use millstream_sim::{simulation, swarm};

fn recorded(seed: u64) -> String {
    let mut bytes = Vec::new();
    let ended = simulation::run(&swarm::scenario(seed), Some(&mut bytes));
    assert!(ended.is_ok(), "{ended:?}");
    String::from_utf8(bytes).expect("because JSON is UTF-8")
}

#[test]
fn a_recorded_run_replays_to_the_same_actions() {
    for seed in 0..5 {
        let trace = recorded(seed);
        let replayed = replay(trace.as_bytes()).expect("the same scheduler acts the same");
        assert_eq!(replayed.turns, trace.lines().count() as u64 - 1);
        assert!(replayed.is_done && !replayed.is_cut);
        assert!(replayed.actions > 0);
    }
}

#[test]
fn another_action_is_found_with_its_line() {
    let trace = recorded(0).replacen("\"credit\":1", "\"credit\":2", 1);
    let error = replay(trace.as_bytes()).expect_err("the credit was changed");
    assert!(matches!(error, ReplayError::Differs { line: 2, .. }), "{error}");
    assert!(error.to_string().contains("\"credit\":2"), "{error}");
}

#[test]
fn a_trace_cut_off_by_a_crash_replays_up_to_there() {
    let trace = recorded(0);
    let cut = &trace[..trace.len() * 2 / 3];
    let replayed = replay(cut.as_bytes()).expect("the lines before the cut are whole");
    assert!(replayed.is_cut && !replayed.is_done);
}

#[test]
fn each_broken_trace_has_its_own_error() {
    let trace = recorded(0);
    let header = trace.lines().next().expect("because there is a header");
    let cases = [
        (String::new(), "the trace is empty"),
        ("{\n".to_owned(), "line 1 of the trace is malformed"),
        (header.replacen("\"version\":2", "\"version\":9", 1), "the trace has format 9"),
        (format!("{header}\n{{}}\n"), "line 2 of the trace is malformed"),
        (
            header.replacen("\"deaths_max\":", "\"deaths_max\":0,\"was\":", 1),
            "the configuration's deaths_max must be at least 1",
        ),
    ];
    for (trace, words) in cases {
        let error = replay(trace.as_bytes()).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}
