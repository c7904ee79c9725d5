//! Reads many listed files once and prints what it cost, as JSON.
//!
//! `cargo run --release -p millstream-sim --example files -- [files]`

use std::io::Write;

use millstream_sim::cost;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = std::env::args().nth(1).map_or(Ok(FILES), |word| word.parse())?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&cost::many_files(files))?)?;
    Ok(())
}

const FILES: u64 = 10_000_000;
