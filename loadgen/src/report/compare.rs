//! `loadgen compare A.json B.json`: ratios of two reports, and whether anything got worse.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use console::style;
use serde_json::Value;

use crate::{
    exit::{EXPECTATION_FAILED, USAGE},
    report::figures::Report,
};

/// Compares two reports of loadgen, figure by figure, and prints their ratios.
///
/// A figure is worse where it moved in its bad direction by more than --threshold, and by more than
/// the noise that it has anyway: 1 ms for visible_ms.p50, nothing for updates.lost, so that one lost
/// update after none is worse. A figure that only A has is worse too.
///
/// Exit codes: 0 no figure is worse, 2 bad usage, 3 some are.
#[derive(Debug, Parser)]
#[command(name = "loadgen compare", bin_name = "loadgen compare", version)]
pub struct Flags {
    /// The earlier report, a file that --report wrote
    a: PathBuf,
    /// The later report
    b: PathBuf,
    /// How much worse than in A a figure may be, in percent of A's
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    threshold: f64,
}

/// Which direction of a figure is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worse {
    Up,
    Down,
}

/// What is compared, with the least difference that is worth a word.
const FIGURES: [(&str, Worse, f64); 26] = [
    ("visible_ms.p50", Worse::Up, 1.0),
    ("visible_ms.p99", Worse::Up, 1.0),
    ("visible_ms.p999", Worse::Up, 2.0),
    ("arrival_ms.p50", Worse::Up, 1.0),
    ("arrival_ms.p99", Worse::Up, 1.0),
    ("setup.seconds", Worse::Up, 0.1),
    ("setup.handshake_ms.p99", Worse::Up, 5.0),
    ("setup.snapshot_ms.p99", Worse::Up, 5.0),
    ("frames.per_s", Worse::Down, 0.0),
    ("updates.per_s", Worse::Down, 0.0),
    ("clients.ratio_min", Worse::Down, 0.0),
    ("clients.gap_ms_max", Worse::Up, 5.0),
    ("connections.failed", Worse::Up, 0.0),
    ("connections.closed", Worse::Up, 0.0),
    ("updates.lost", Worse::Up, 0.0),
    ("updates.duplicated", Worse::Up, 0.0),
    ("updates.reordered", Worse::Up, 0.0),
    ("updates.torn", Worse::Up, 0.0),
    ("updates.violations", Worse::Up, 0.0),
    ("restart.seconds", Worse::Up, 0.5),
    ("publish.refused", Worse::Up, 0.0),
    ("tokens.refused", Worse::Up, 0.0),
    ("tokens.dropped", Worse::Up, 0.0),
    ("server.cpu_percent", Worse::Up, 1.0),
    ("server.rss_bytes", Worse::Up, 1_048_576.0),
    ("loadgen.cpu_percent", Worse::Up, 1.0),
];

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    name: &'static str,
    a: f64,
    b: f64,
    /// Worse by more than the threshold.
    regressed: bool,
}

/// `arguments` begin with the program's name.
pub fn main(arguments: &[String]) -> ExitCode {
    let flags = Flags::parse_from(arguments);
    if !(0.0..=1_000_000.0).contains(&flags.threshold) {
        return crate::exit::usage(&format!("--threshold {}: write 0 to 1000000 percent", flags.threshold));
    }
    match (read(&flags.a), read(&flags.b)) {
        (Ok(a), Ok(b)) => {
            let rows = compare(&a, &b, flags.threshold);
            different_loads(&a, &b).iter().for_each(|what| eprintln!("loadgen: {what}"));
            print!("{}", table(&rows));
            let gone = gone(&a, &b);
            gone.iter().for_each(|name| println!("{name:<24} B has no such figure, A has  worse"));
            let regressed = rows.iter().filter(|row| row.regressed).count() + gone.len();
            println!(
                "{regressed} of {} figures are worse by more than {} %",
                rows.len() + gone.len(),
                flags.threshold
            );
            if regressed > 0 { EXPECTATION_FAILED.into() } else { ExitCode::SUCCESS }
        }
        (a, b) => {
            [a.err(), b.err()].into_iter().flatten().for_each(|error| eprintln!("loadgen: {error}"));
            USAGE.into()
        }
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let refuse = |why: String| format!("{}: {why}", path.display());
    let text = fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|error| refuse(format!("not a report of loadgen ({error}); write one with --report")))?;
    Ok(report.to_json())
}

fn figure(report: &Value, name: &str) -> Option<f64> {
    name.split('.').try_fold(report, |value, key| value.get(key)).and_then(Value::as_f64)
}

/// Figures that `a` has and `b` lost, as when a server was gone.
fn gone(a: &Value, b: &Value) -> Vec<&'static str> {
    let gone = |name: &&str| figure(a, name).is_some() && figure(b, name).is_none();
    FIGURES.iter().map(|(name, ..)| *name).filter(gone).collect()
}

fn compare(a: &Value, b: &Value, threshold_percent: f64) -> Vec<Row> {
    let row = |&(name, worse, floor): &(&'static str, Worse, f64)| {
        let (a, b) = (figure(a, name)?, figure(b, name)?);
        let by = if worse == Worse::Up { b - a } else { a - b };
        let regressed = by > floor && by > a.abs() * threshold_percent / 100.0;
        Some(Row { name, a, b, regressed })
    };
    FIGURES.iter().filter_map(row).collect()
}

/// What makes the two hard to compare.
fn different_loads(a: &Value, b: &Value) -> Vec<String> {
    let of =
        [("machine", "run"), ("seconds", "window"), ("requested", "connections"), ("interval_ms", "window")];
    let different = |(key, section): &(&str, &str)| {
        let (a, b) = (&a[section][key], &b[section][key]);
        (a != b).then(|| format!("{section}.{key} differs: {a} and {b}"))
    };
    of.iter().filter_map(different).collect()
}

fn table(rows: &[Row]) -> String {
    let mut out = format!("{:<24} {:>14} {:>14} {:>8}\n", "", "A", "B", "B ÷ A");
    for row in rows {
        let ratio = if row.a == 0.0 { "-".into() } else { format!("{:.2}", row.b / row.a) };
        let mark = if row.regressed { style("  worse").red().to_string() } else { String::new() };
        out += &format!("{:<24} {:>14.3} {:>14.3} {ratio:>8}{mark}\n", row.name, row.a, row.b);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn regressed(a: &Value, b: &Value) -> Vec<&'static str> {
        compare(a, b, 10.0).into_iter().filter(|row| row.regressed).map(|row| row.name).collect()
    }

    #[test]
    fn each_figure_has_its_own_bad_direction() {
        let a = json!({"visible_ms": {"p99": 100.0}, "frames": {"per_s": 1000.0}});
        let worse = json!({"visible_ms": {"p99": 120.0}, "frames": {"per_s": 800.0}});
        assert_eq!(regressed(&a, &worse), ["visible_ms.p99", "frames.per_s"]);
        assert_eq!(regressed(&worse, &a), [""; 0]);
    }

    #[test]
    fn any_loss_is_worse_than_none_and_noise_is_not() {
        let a = json!({"updates": {"lost": 0}, "visible_ms": {"p50": 0.4}});
        let b = json!({"updates": {"lost": 1}, "visible_ms": {"p50": 0.9}});
        assert_eq!(regressed(&a, &b), ["updates.lost"]);
    }

    #[test]
    fn a_figure_that_one_report_lacks_is_not_compared() {
        assert!(
            compare(&json!({"visible_ms": {"p99": null}}), &json!({"visible_ms": {"p99": 1.0}}), 10.0)
                .is_empty()
        );
    }

    #[test]
    fn another_machine_or_load_is_told() {
        let report = |machine: &str| {
            let report = Report {
                run: crate::report::figures::Run { machine: machine.into(), ..Default::default() },
                ..Default::default()
            };
            report.to_json()
        };
        assert_eq!(different_loads(&report("x"), &report("x")), [""; 0]);
        assert_eq!(different_loads(&report("x"), &report("y")), [r#"run.machine differs: "x" and "y""#]);
    }

    #[test]
    fn a_figure_that_went_missing_is_told() {
        let (a, b) = (json!({"visible_ms": {"p99": 1.0}}), json!({"visible_ms": {"p99": null}}));
        assert_eq!((gone(&a, &b), gone(&b, &a)), (vec!["visible_ms.p99"], vec![]));
    }

    #[test]
    fn every_figure_is_one_of_the_report() {
        let figures = crate::report::figures::names();
        for (name, ..) in FIGURES {
            assert!(figures.iter().any(|figure| figure == name), "{name}");
        }
    }
}
