//! Traces: what went into a scheduler and what came out, as JSON lines.
//!
//! Owns the format, recording and replay. A trace is a header (version, plan, nodes) and then one
//! line for each turn: the time, the events, and the actions that they caused. Knows nothing of who
//! drove the scheduler: a trace of a real run and one of the simulator are alike.

use std::io::{self, BufRead, Write};

use millstream_core::{
    Action, Bytes, Event, NodeId, Plan, Resources, Scheduler, SubmitError, Time,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A node as it was at the start of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its number.
    pub node: NodeId,
    /// Its CPUs, GPUs and custom resources.
    pub resources: Resources,
    /// The object-store bytes that the run may hold there.
    pub store: Bytes,
}

impl From<NodeSpec> for (NodeId, Resources, Bytes) {
    fn from(spec: NodeSpec) -> Self {
        (spec.node, spec.resources, spec.store)
    }
}

/// Writes a trace.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    writer: W,
}

impl<W: Write> Recorder<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn start(mut writer: W, plan: &Plan, nodes: &[NodeSpec]) -> io::Result<Self> {
        write_line(&mut writer, &HeaderOut { version: VERSION, plan, nodes })?;
        Ok(Self { writer })
    }

    /// Writes one turn.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn record(&mut self, now: Time, events: &[Event], actions: &[Action]) -> io::Result<()> {
        write_line(&mut self.writer, &TurnOut { now, events, actions })
    }

    /// Hands all lines on to where they belong.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// What a replay that agreed with its trace went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Turns.
    pub turns: u64,
    /// Events in them.
    pub events: u64,
    /// Actions in them.
    pub actions: u64,
    /// Whether nothing was left to do at the end.
    pub is_done: bool,
    /// Whether the last line was cut off, as it is when the driver was killed. It was not replayed.
    pub is_cut: bool,
}

/// Why a replay does not agree with its trace.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The trace cannot be read.
    #[error("the trace cannot be read: {0}")]
    Read(#[from] io::Error),
    /// There is no line at all.
    #[error("the trace is empty")]
    Empty,
    /// A line is not what it should be.
    #[error("line {line} of the trace is malformed: {source}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The format is another one.
    #[error("the trace has format {found}, this version reads format {VERSION}")]
    Version {
        /// The trace's format.
        found: u32,
    },
    /// The plan cannot run on the nodes.
    #[error("the plan of the trace is refused: {0}")]
    Submit(Box<SubmitError>),
    /// It is not known what the run would have been elsewhere.
    #[error(
        "operator '{name}' of the trace is a limit, a union or a zip: what a run would have been \
         elsewhere is only told of chains of tasks and actors"
    )]
    NoChain {
        /// The operator.
        name: String,
    },
    /// The scheduler acted differently.
    #[error(
        "the replay differs from line {line} of the trace, at {}.{:06} s:\n  recorded: {recorded}\n  replayed: {replayed}",
        now.0 / 1_000_000,
        now.0 % 1_000_000
    )]
    Differs {
        /// The line, from 1.
        line: u64,
        /// When.
        now: Time,
        /// The recorded turn.
        recorded: String,
        /// The replayed turn.
        replayed: String,
    },
}

/// A trace that was read.
#[derive(Debug)]
pub(crate) struct RecordedRun {
    pub(crate) plan: Plan,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) turns: Vec<Turn>,
}

/// Reads a trace, up to where it is cut off.
pub(crate) fn read(mut reader: impl BufRead) -> Result<RecordedRun, ReplayError> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(ReplayError::Empty);
    }
    let Header { plan, nodes } = header(&line)?;
    let mut turns = Vec::new();
    for number in 2.. {
        line.clear();
        reader.read_line(&mut line)?;
        let Some(recorded) = line.strip_suffix('\n') else { break };
        turns.push(turn(number, recorded)?);
    }
    Ok(RecordedRun { plan, nodes, turns })
}

/// Feeds the events of a trace to a new scheduler and compares the actions byte by byte.
///
/// # Errors
/// The first difference, or why the trace cannot be replayed.
pub fn replay(mut reader: impl BufRead) -> Result<Replayed, ReplayError> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(ReplayError::Empty);
    }
    let mut scheduler = submit(&line)?;
    let mut replayed =
        Replayed { turns: 0, events: 0, actions: 0, is_done: false, is_cut: !line.ends_with('\n') };
    for number in 2.. {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let Some(recorded) = line.strip_suffix('\n') else {
            replayed.is_cut = true;
            break;
        };
        replay_turn(&mut scheduler, number, recorded, &mut replayed)?;
    }
    replayed.is_done = scheduler.is_done();
    Ok(replayed)
}

/// One turn of a driver: hands over the events and collects the actions.
///
/// A turn without events tells the scheduler that time has passed.
pub fn step(scheduler: &mut Scheduler, now: Time, events: Vec<Event>) -> Vec<Action> {
    if events.is_empty() {
        scheduler.handle(now, Event::TimePassed);
    }
    for event in events {
        scheduler.handle(now, event);
    }
    std::iter::from_fn(|| scheduler.poll_action()).collect()
}

fn header(line: &str) -> Result<Header, ReplayError> {
    let malformed = |source| ReplayError::Malformed { line: 1, source };
    let Version { version: found } = serde_json::from_str(line).map_err(malformed)?;
    if found != VERSION {
        return Err(ReplayError::Version { found });
    }
    serde_json::from_str(line).map_err(malformed)
}

fn submit(line: &str) -> Result<Scheduler, ReplayError> {
    let header = header(line)?;
    Scheduler::submit(header.plan, header.nodes.into_iter().map(Into::into).collect())
        .map_err(|error| ReplayError::Submit(Box::new(error)))
}

fn turn(line: u64, recorded: &str) -> Result<Turn, ReplayError> {
    serde_json::from_str(recorded).map_err(|source| ReplayError::Malformed { line, source })
}

fn replay_turn(
    scheduler: &mut Scheduler,
    line: u64,
    recorded: &str,
    replayed: &mut Replayed,
) -> Result<(), ReplayError> {
    let turn = turn(line, recorded)?;
    let actions = step(scheduler, turn.now, turn.events.clone());
    let again = TurnOut { now: turn.now, events: &turn.events, actions: &actions };
    let again =
        serde_json::to_string(&again).map_err(|source| ReplayError::Malformed { line, source })?;
    if again != recorded {
        let recorded = recorded.to_owned();
        return Err(ReplayError::Differs { line, now: turn.now, recorded, replayed: again });
    }
    replayed.turns += 1;
    replayed.events += turn.events.len() as u64;
    replayed.actions += actions.len() as u64;
    Ok(())
}

fn write_line(writer: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, line)?;
    writer.write_all(b"\n")
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Header {
    plan: Plan,
    nodes: Vec<NodeSpec>,
}

#[derive(Serialize)]
struct HeaderOut<'a> {
    version: u32,
    plan: &'a Plan,
    nodes: &'a [NodeSpec],
}

#[derive(Debug, Deserialize)]
pub(crate) struct Turn {
    pub(crate) now: Time,
    pub(crate) events: Vec<Event>,
    pub(crate) actions: Vec<Action>,
}

#[derive(Serialize)]
struct TurnOut<'a> {
    now: Time,
    events: &'a [Event],
    actions: &'a [Action],
}

/// Rises when old traces can no longer be read.
const VERSION: u32 = 2;
