//! A bare, reused compressor of the library that `proto` uses, on the lines of a file: µs a line, and what it
//! makes of them.
#![forbid(unsafe_code)]

use std::{error::Error, fs, path::PathBuf};

use benches::timed::best_ns;
use clap::Parser;
use flate2::{Compress, Compression, FlushCompress};

#[derive(Parser)]
struct Args {
    /// Each line is compressed by itself.
    file: PathBuf,
    #[arg(long, default_value_t = 1)]
    level: u32,
    #[arg(long, default_value_t = 15)]
    window_bits: u8,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let text = fs::read_to_string(&args.file)?;
    let lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    let longest = lines.iter().map(|line| line.len()).max().ok_or("the file is empty")?;
    let mut compress = Compress::new_with_window_bits(Compression::new(args.level), false, args.window_bits);
    let mut out = vec![0; longest * 2 + 256];
    let mut made = 0;
    let mut one = |line: &[u8]| {
        compress.reset();
        compress.compress(line, &mut out, FlushCompress::Sync).expect("there is room");
        compress.total_out()
    };
    for line in &lines {
        made += one(line);
    }
    let before: usize = lines.iter().map(|line| line.len()).sum();
    let mut at = 0;
    let ns = best_ns(20_000, || {
        at = (at + 1) % lines.len();
        one(lines[at])
    });
    let (mean, to) = (before / lines.len(), made as f64 / before as f64);
    println!("us={:.3} bytes={mean} to={to:.3}", ns / 1000.0);
    Ok(())
}
