//! Prints what the scheduler costs with very many files and very many workers, as JSON.
//!
//! `cargo run --release -p millstream-sim --example scale`

use std::io::Write;

use millstream_sim::scale;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for outcome in scale::workloads() {
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&outcome)?)?;
    }
    Ok(())
}
