//! Runs the farm of the cost measurement once and prints what it cost, as JSON.
//!
//! `cargo run --release -p millstream-sim --example farm -- [nodes] [blocks]`
//!
//! With the feature `profile` it also draws a flame graph into the file that `FLAMEGRAPH` names.

use std::io::Write;

use millstream_sim::cost::{self, Size};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: u64| arguments.next().map_or(Ok(default), |word| word.parse());
    let nodes = u32::try_from(next(u64::from(Size::LARGE.nodes))?)?;
    let size = Size::LARGE.on_nodes(nodes);
    let size = Size { blocks: next(size.blocks)?, ..size };
    #[cfg(feature = "profile")]
    let profiler = pprof::ProfilerGuard::new(SAMPLES_PER_S)?;
    let cost = cost::run(&size);
    #[cfg(feature = "profile")]
    if let Some(path) = std::env::var_os("FLAMEGRAPH") {
        profiler.report().build()?.flamegraph(std::fs::File::create(path)?)?;
    }
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&cost)?)?;
    Ok(())
}

/// A prime, so that it keeps no step with anything periodic.
#[cfg(feature = "profile")]
const SAMPLES_PER_S: i32 = 997;
