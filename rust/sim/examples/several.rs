//! Runs the worlds of several runs of seeds, whether or not the swarm draws them, and prints those
//! that violate an oracle.
//!
//! `cargo run --release -p millstream-sim --example several -- [first] [end]`

use std::io::Write;

use millstream_sim::swarm::several;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: u64| arguments.next().map_or(Ok(default), |word| word.parse());
    let (first, end) = (next(0)?, next(1_000)?);
    let mut out = std::io::stdout();
    let mut failed = 0;
    for seed in first..end {
        if let Err(violation) = several::run_anyway(seed) {
            failed += 1;
            writeln!(out, "{seed} {violation}")?;
        }
        if (seed + 1) % PRINTED_EACH == 0 {
            writeln!(out, "up to {seed}: {failed} failed")?;
        }
    }
    writeln!(out, "{first} to {end}: {failed} failed")?;
    if failed > 0 { Err("an oracle was violated".into()) } else { Ok(()) }
}

const PRINTED_EACH: u64 = 1_000;
