//! Draws what each signal of the control loop is for: the same simulated pipeline with the signal,
//! and with a driver that withholds it.
//!
//! `cargo run --release -p millstream-sim --example control_loop -- docs/control-loop.svg`
//!
//! The pipeline is `three_stage` of the published workloads in 3 GB, with blocks that the consumer
//! keeps for 0.6 s. Each withheld signal is replaced by what a driver without it would say.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use millstream_core::{Action, BlockId, Bytes, Event, Scheduler, Span, Time};
use millstream_sim::cluster::Cluster;
use millstream_sim::published;
use millstream_sim::trace::step;
use millstream_sim::workload::Scenario;

/// What the driver does not pass on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withheld {
    /// Nothing.
    Nothing,
    /// Credits: workers hand over whatever they have.
    Credits,
    /// When the consumer is done: it says so at once.
    Taken,
}

/// The state of a run at a moment.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    gigabytes: f64,
    blocks_out: f64,
}

fn main() -> Result<(), String> {
    let path = std::env::args().nth(1).ok_or("the path of the SVG is missing")?;
    let with = run(Withheld::Nothing)?;
    let rows = [
        ("credits (ResumeTask)", Withheld::Credits),
        ("the consumer's progress (OutputTaken)", Withheld::Taken),
    ];
    let mut drawing = Drawing::new(rows.len());
    for (row, (name, withheld)) in rows.into_iter().enumerate() {
        let without = run(withheld)?;
        drawing.add_row(row, name, &with, &without);
    }
    std::fs::write(&path, drawing.finish()).map_err(|error| format!("{path}: {error}"))
}

fn scenario() -> Result<Scenario, String> {
    let all = published::workloads();
    let row = all.iter().find(|w| w.name == "three_stage");
    let mut scenario = row.ok_or("three_stage is no published workload any more")?.scenario();
    let block_bytes = scenario.models[0].row_bytes;
    if let Some(last) = scenario.models.last_mut() {
        last.row_bytes = block_bytes;
    }
    scenario.nodes[0].store = Bytes(MEMORY_BLOCKS * block_bytes);
    scenario.consumer.block = CONSUMER_SPAN;
    Ok(scenario)
}

/// Runs the pipeline and samples it at each turn.
fn run(withheld: Withheld) -> Result<Vec<Sample>, String> {
    let scenario = scenario()?;
    let nodes = scenario.nodes.iter().cloned().map(Into::into).collect();
    let mut scheduler =
        Scheduler::submit(scenario.plan.clone(), nodes).map_err(|error| error.to_string())?;
    let mut driver = Driver { withheld, kept: BTreeSet::new() };
    let mut cluster = Cluster::new(&scenario);
    let (mut samples, mut events, mut blocks_out) = (Vec::new(), Vec::new(), 0.0);
    while !scheduler.is_done() || !driver.kept.is_empty() {
        for event in &events {
            blocks_out += f64::from(u8::from(matches!(event, Event::OutputTaken { .. })));
        }
        driver.release(&mut cluster, &events);
        let mut news = driver.told(events);
        loop {
            let actions = step(&mut scheduler, cluster.now(), news);
            news = driver.taken_at_once(&actions);
            cluster.perform(&driver.ordered(actions));
            if news.is_empty() {
                break;
            }
        }
        keep(&mut samples, sample(&cluster, blocks_out));
        let Some(next) = cluster.wait(scheduler.next_wakeup()) else { break };
        events = next;
    }
    Ok(samples)
}

/// Adds a sample, or makes it part of the last one if it is too near for the eye.
fn keep(samples: &mut Vec<Sample>, sample: Sample) {
    match samples.last_mut() {
        Some(last) if sample.seconds < last.seconds + SAMPLE_EVERY_S => {
            last.gigabytes = last.gigabytes.max(sample.gigabytes);
            last.blocks_out = sample.blocks_out;
        }
        _ => samples.push(sample),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a drawing needs few digits")]
fn sample(cluster: &Cluster<'_>, blocks_out: f64) -> Sample {
    let bytes: u64 = cluster.stores().values().map(|store| store.bytes).sum();
    let seconds = cluster.now().since(Time::default()).0 as f64 / 1e6;
    Sample { seconds, gigabytes: bytes as f64 / 1e9, blocks_out }
}

/// A driver that does not pass everything on.
struct Driver {
    withheld: Withheld,
    /// Blocks that the consumer still has though the scheduler was told that it does not.
    kept: BTreeSet<BlockId>,
}

impl Driver {
    /// What the scheduler hears of what happened.
    fn told(&self, events: Vec<Event>) -> Vec<Event> {
        let is_told = |event: &Event| {
            self.withheld != Withheld::Taken || !matches!(event, Event::OutputTaken { .. })
        };
        events.into_iter().filter(is_told).collect()
    }

    /// Says that the consumer is done with what it was just given.
    fn taken_at_once(&mut self, actions: &[Action]) -> Vec<Event> {
        if self.withheld != Withheld::Taken {
            return Vec::new();
        }
        let emitted = actions.iter().filter_map(|action| match action {
            Action::EmitBlock { block, .. } => Some(*block),
            _ => None,
        });
        let emitted: Vec<BlockId> = emitted.collect();
        self.kept.extend(emitted.iter().copied());
        emitted.into_iter().map(|block| Event::OutputTaken { block }).collect()
    }

    /// What the workers hear of what was ordered.
    fn ordered(&self, actions: Vec<Action>) -> Vec<Action> {
        let ordered = actions.into_iter().filter_map(|action| match (self.withheld, action) {
            (Withheld::Credits, Action::ResumeTask { .. }) => None,
            (Withheld::Credits, mut launch @ Action::LaunchTask { .. }) => {
                if let Action::LaunchTask { credit, .. } = &mut launch {
                    *credit = Bytes(u64::MAX);
                }
                Some(launch)
            }
            (_, Action::DropBlock { block }) if self.kept.contains(&block) => None,
            (_, action) => Some(action),
        });
        ordered.collect()
    }

    /// Forgets what the consumer is really done with.
    fn release(&mut self, cluster: &mut Cluster<'_>, events: &[Event]) {
        for event in events {
            if let Event::OutputTaken { block } = event
                && self.kept.remove(block)
            {
                cluster.perform(&[Action::DropBlock { block: *block }]);
            }
        }
    }
}

fn words(name: &str, samples: &[Sample]) -> String {
    let most = samples.iter().map(|s| s.gigabytes).fold(0.0, f64::max);
    let last = samples.last().map_or(0.0, |s| s.seconds);
    format!("{name} {last:.0} s, {most:.1} GB")
}

/// The panels: a row for each signal, bytes held at the left and blocks out at the right.
struct Drawing {
    svg: String,
}

impl Drawing {
    fn new(rows: usize) -> Self {
        let height = TOP + PITCH * rows;
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>"
        );
        let mut drawing = Self { svg };
        drawing.text(LEFT[0], 20, "#1f77b4", "with all signals");
        drawing.text(LEFT[0] + 130, 20, "#d62728", "without the one named");
        drawing.text(LEFT[0] + 290, 20, "#555", "dashed: the limit, 3 GB; horizontal: seconds");
        drawing
    }

    fn add_row(&mut self, row: usize, name: &str, with: &[Sample], without: &[Sample]) {
        let top = TOP + PITCH * row;
        self.text(LEFT[0], top - 8, "#000", &format!("Without {name}: GB held"));
        let ends = format!("{}; {}", words("with", with), words("without", without));
        self.text(LEFT[1], top - 8, "#000", &format!("blocks taken ({ends})"));
        let both = || with.iter().chain(without);
        let seconds = both().map(|s| s.seconds).fold(1.0, f64::max);
        let most = both().map(|s| s.gigabytes).fold(LIMIT_GB, f64::max) * 1.05;
        let blocks = both().map(|s| s.blocks_out).fold(1.0, f64::max);
        for (panel, most) in [most, blocks].into_iter().enumerate() {
            let axes = Axes { left: LEFT[panel], top, seconds, most };
            self.frame(&axes);
            let value = |s: &Sample| if panel == 0 { s.gigabytes } else { s.blocks_out };
            for (samples, color) in [(without, "#d62728"), (with, "#1f77b4")] {
                let points = samples.iter().map(|s| axes.point(s.seconds, value(s)));
                self.line(&points.collect::<Vec<String>>(), color, "");
            }
            if panel == 0 {
                let ends = [axes.point(0.0, LIMIT_GB), axes.point(seconds, LIMIT_GB)];
                self.line(&ends, "#555", "stroke-dasharray=\"4 3\"");
            }
        }
    }

    fn frame(&mut self, axes: &Axes) {
        let Axes { left, top, seconds, most } = axes;
        let _ = writeln!(
            self.svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\" \
             fill=\"none\" stroke=\"#bbb\"/>"
        );
        self.text(left - 30, top + 10, "#555", &format!("{most:.0}"));
        self.text(left - 12, top + PANEL_HEIGHT, "#555", "0");
        self.text(
            left + PANEL_WIDTH - 24,
            top + PANEL_HEIGHT + 14,
            "#555",
            &format!("{seconds:.0}"),
        );
    }

    fn line(&mut self, points: &[String], color: &str, style: &str) {
        let _ = writeln!(
            self.svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" {style}/>",
            points.join(" ")
        );
    }

    fn text(&mut self, x: usize, y: usize, color: &str, words: &str) {
        let _ = writeln!(self.svg, "<text x=\"{x}\" y=\"{y}\" fill=\"{color}\">{words}</text>");
    }

    fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// Where a panel is, and what its ends stand for.
struct Axes {
    left: usize,
    top: usize,
    seconds: f64,
    most: f64,
}

impl Axes {
    #[expect(clippy::cast_precision_loss, reason = "pixels are few")]
    fn point(&self, seconds: f64, value: f64) -> String {
        let x = self.left as f64 + seconds / self.seconds * PANEL_WIDTH as f64;
        let y = self.top as f64 + (1.0 - value / self.most) * PANEL_HEIGHT as f64;
        format!("{x:.1},{y:.1}")
    }
}

const MEMORY_BLOCKS: u64 = 30;
const LIMIT_GB: f64 = 3.0;
/// Longer than the pipeline takes for a block.
const CONSUMER_SPAN: Span = Span(600_000);
/// About a pixel.
const SAMPLE_EVERY_S: f64 = 1.0;
const WIDTH: usize = 900;
const LEFT: [usize; 2] = [45, 510];
const TOP: usize = 60;
const PITCH: usize = 200;
const PANEL_WIDTH: usize = 370;
const PANEL_HEIGHT: usize = 140;
