//! How a run goes: on a terminal a view that is redrawn in place, elsewhere a line a second. On stderr.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IsTerminal},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::report::{figures::Moment, plot::short};

/// Seconds that a sparkline shows.
const SPARK_S: usize = 30;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connect,
    WarmUp,
    Measure,
    /// Final values are on their way.
    Settle,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stage::Connect => "connect",
            Stage::WarmUp => "warm up",
            Stage::Measure => "measure",
            Stage::Settle => "settle",
        })
    }
}

/// Shows how a run goes. What a terminal showed is gone once this is dropped.
#[derive(Debug)]
pub enum Progress {
    Lines,
    View(Box<View>),
}

impl Progress {
    pub fn new() -> Self {
        if io::stderr().is_terminal() { Self::View(Box::new(View::new())) } else { Self::Lines }
    }

    /// How far a stage is: a part of a whole in any unit.
    pub fn stage(&self, stage: Stage, (part, whole): (u64, u64)) {
        if let Self::View(view) = self {
            view.bar.set_prefix(format!("{stage:<8}"));
            view.bar.set_length(whole);
            view.bar.set_position(part.min(whole));
        }
    }

    /// A second has passed.
    pub fn show(&mut self, moment: &Moment, requested: u64, stage: Stage) {
        match self {
            Self::Lines => eprintln!("{}", line(moment, requested, stage)),
            Self::View(view) => view.show(moment, requested),
        }
    }
}

fn line(moment: &Moment, requested: u64, stage: Stage) -> String {
    format!(
        "{:>4.0}s {stage:<9} connections {}/{requested} failed {} frames {:.0}/s updates {:.0}/s p99 {}",
        moment.at_s,
        moment.open,
        moment.failed,
        moment.frames_per_s,
        moment.updates_per_s,
        ms(moment.visible_p99_ms)
    )
}

/// The lines on a terminal. indicatif draws them anew, cuts what is too wide, and leaves colours
/// out where `NO_COLOR` is set.
#[derive(Debug)]
pub struct View {
    all: MultiProgress,
    bar: ProgressBar,
    lines: [ProgressBar; 4],
    frames_per_s: VecDeque<f64>,
    p99_ms: VecDeque<f64>,
}

impl View {
    fn new() -> Self {
        let all = MultiProgress::new();
        let style = |template| ProgressStyle::with_template(template).expect("a template that is right");
        let bar = all.add(ProgressBar::new(1));
        bar.set_style(style("{prefix:.bold} {wide_bar:.cyan/dim} {percent:>3} %  {elapsed:>4}"));
        let line = || all.add(ProgressBar::new(1).with_style(style("{wide_msg}")));
        let lines = [line(), line(), line(), line()];
        Self { bar, lines, all, frames_per_s: VecDeque::new(), p99_ms: VecDeque::new() }
    }

    fn show(&mut self, moment: &Moment, requested: u64) {
        remember(&mut self.frames_per_s, moment.frames_per_s);
        remember(&mut self.p99_ms, moment.visible_p99_ms.unwrap_or(0.0));
        let (frames, p99) = (sparkline(&self.frames_per_s), sparkline(&self.p99_ms));
        let texts = [
            format!("open     {:>8} of {requested}, {} failed", moment.open, moment.failed),
            format!(
                "frames   {:>8}/s  {frames}  updates {}/s",
                short(moment.frames_per_s),
                short(moment.updates_per_s)
            ),
            format!(
                "visible  {:>10}  {p99}  p99, p50 {}",
                ms(moment.visible_p99_ms),
                ms(moment.visible_p50_ms)
            ),
            machine(moment),
        ];
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text);
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // What cannot be cleared is only in the way of the summary.
        let _ = self.all.clear();
    }
}

fn machine(moment: &Moment) -> String {
    let percent = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0} %"));
    let mib =
        moment.server_rss_bytes.map_or("-".into(), |bytes| format!("{:.0} MiB", bytes as f64 / 1_048_576.0));
    let (server, own) = (percent(moment.server_cpu_percent), percent(moment.loadgen_cpu_percent));
    format!("cpu      server {server}, {mib}; loadgen {own} of a core")
}

fn ms(value: Option<f64>) -> String {
    value.map_or("-".into(), |ms| format!("{ms:.1} ms"))
}

fn remember(values: &mut VecDeque<f64>, value: f64) {
    if values.len() == SPARK_S {
        values.pop_front();
    }
    values.push_back(value);
}

/// One character a value, scaled to the largest.
fn sparkline(values: &VecDeque<f64>) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| match most {
        0.0 => BARS[0],
        most => BARS[((value / most * 7.0).round() as usize).min(7)],
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_is_scaled_to_its_largest_value() {
        assert_eq!(sparkline(&[0.0, 1.0, 7.0, 3.5].into()), "▁▂█▅");
        assert_eq!(sparkline(&[0.0, 0.0].into()), "▁▁");
    }

    #[test]
    fn only_the_last_values_are_remembered() {
        let mut values = VecDeque::new();
        (0..100).for_each(|value| remember(&mut values, f64::from(value)));
        assert_eq!((values.len(), values[0]), (SPARK_S, 70.0));
    }

    #[test]
    fn a_line_says_what_is_not_known() {
        let line = line(&Moment { at_s: 3.2, open: 5, ..Moment::default() }, 10, Stage::Connect);
        assert_eq!(line, "   3s connect   connections 5/10 failed 0 frames 0/s updates 0/s p99 -");
    }
}
