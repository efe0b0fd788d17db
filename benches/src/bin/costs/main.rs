//! What a client, a class, a topic or a restart costs, at two sizes of what exists.
//!
//! `costs --list` prints every cost as a JSON line, `costs NAME SIZE` measures one at one size: the median of
//! its samples, as JSON. `scripts/bench costs` runs all and compares them with their goals.
//!
//! A cost is a row of `COSTS` in the file that is about it; a new file is a line of [`FILES`].
#![forbid(unsafe_code)]

mod asking;
mod classes;
mod cost;
mod numbering;
mod patterns;
mod plane;
mod restart;
mod tokens;
mod wire;

use clap::Parser;
use serde_json::json;

use cost::{Cost, Meter};

/// The gateway's own, as what a cost grows with is partly its.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FILES: &[&[Cost]] =
    &[restart::COSTS, patterns::COSTS, classes::COSTS, numbering::COSTS, asking::COSTS, tokens::COSTS];

/// What it costs, at two sizes of what exists.
#[derive(Parser)]
struct Arguments {
    /// One JSON line for each cost: its name, what is measured, its two sizes and its goals.
    #[arg(long)]
    list: bool,
    /// Which one is measured.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// How much of it exists.
    #[arg(required_unless_present = "list")]
    size: Option<usize>,
    /// How often it is measured.
    #[arg(long, default_value_t = 15)]
    samples: usize,
}

fn main() {
    let arguments = Arguments::parse();
    let costs = || FILES.iter().copied().flatten();
    let (Some(name), Some(size), false) = (arguments.name, arguments.size, arguments.list) else {
        return costs().for_each(|cost| println!("{}", cost.row()));
    };
    let Some(cost) = costs().find(|cost| cost.name == name) else {
        eprintln!("there is no cost {name:?}; costs --list prints all");
        std::process::exit(2);
    };
    let mut meter = Meter::new(arguments.samples);
    (cost.run)(size, &mut meter);
    let (samples, ns, mib) = (meter.len(), meter.median_ns(), meter.mib());
    println!("{}", json!({"name": name, "size": size, "samples": samples, "ns": ns, "mib": mib}));
}
