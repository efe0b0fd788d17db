//! What a search found, as a table, as JSON and as a page with a plot.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    bisection::Found,
    flags::{SearchFlags, Vary},
    step::Step,
};
use crate::report::{
    html,
    plot::{Axes, Line, short},
};

/// A search that has ended.
pub struct Knee {
    vary: Vary,
    from: u32,
    to: u32,
    found: Found,
    interrupted: bool,
    expect: Vec<String>,
    url: String,
    steps: Vec<Step>,
}

impl Knee {
    pub(super) fn new(flags: &SearchFlags, found: Found, interrupted: bool, steps: Vec<Step>) -> Self {
        Self {
            vary: flags.vary,
            from: flags.from,
            to: flags.to,
            found,
            interrupted,
            expect: flags.load.expect.clone(),
            url: flags.load.url.clone().unwrap_or_default(),
            steps,
        }
    }

    /// One line.
    fn verdict(&self) -> String {
        let (vary, expect) = (self.vary.name(), self.expect.join(" and "));
        let verdict = match (self.found.best, self.found.failing) {
            (Some(best), Some(failing)) => format!("{vary} {best}: {expect}; {failing} fails"),
            (Some(best), None) if best == self.to => format!("{vary} {best} and maybe more: {expect}"),
            (Some(best), None) => format!("{vary} {best}: {expect}; more was not tried"),
            (None, _) => format!("not even {vary} {}: {expect}", self.from),
        };
        if self.interrupted { format!("{verdict} (interrupted)") } else { verdict }
    }

    /// The table and the verdict for a terminal, in the order of values.
    pub fn text(&self) -> String {
        let mut out = format!("{:>12} {:>6} {:>5}", self.vary.name(), "holds", "tries");
        for expect in &self.expect {
            let _ = write!(out, " {expect:>22}");
        }
        let _ = writeln!(out, " {:>10} {:>9} {:>9}", "frames/s", "server", "MiB");
        for step in self.by_value() {
            let verdict = if step.holds { "yes" } else { "no" };
            let _ = write!(out, "{:>12} {verdict:>6} {:>5}", step.value, step.tries);
            for at in 0..self.expect.len() {
                let figure = figure(step, at).map_or("-".into(), |figure| format!("{figure:.1}"));
                let _ = write!(out, " {figure:>22}");
            }
            let of = |value: Option<f64>, unit: &str| {
                value.map_or("-".into(), |value| format!("{value:.0}{unit}"))
            };
            let report = step.report.as_ref();
            let frames = of(report.map(|report| report.frames.per_s), "");
            let cpu = of(report.and_then(|report| report.server.cpu_percent), " %");
            let mib =
                of(report.and_then(|report| report.server.rss_bytes).map(|b| b as f64 / 1_048_576.0), "");
            let _ = writeln!(out, " {frames:>10} {cpu:>9} {mib:>9}");
            if let Some(reason) = &step.reason {
                let _ = writeln!(out, "{:>12} {reason}", "");
            }
        }
        let _ = writeln!(out, "{}", self.verdict());
        out
    }

    pub fn to_json(&self) -> Value {
        json!({
            "vary": self.vary.name(),
            "from": self.from,
            "to": self.to,
            "expect": self.expect,
            "best": self.found.best,
            "failing": self.found.failing,
            "interrupted": self.interrupted,
            "steps": self.steps,
        })
    }

    /// One page that needs nothing else.
    pub fn page(&self) -> String {
        let mut body = format!("<h1>{}</h1>", html::escape(&self.verdict()));
        let _ = write!(body, "<p class=\"soft\">{}</p>", html::escape(&self.url));
        self.plot(&mut body);
        let _ = write!(
            body,
            "<h2>Steps</h2><div class=\"wide\"><table><tr><th>{}</th><th>holds</th>",
            self.vary.name()
        );
        for expect in &self.expect {
            let _ = write!(body, "<th>{}</th>", html::escape(expect));
        }
        body.push_str("<th>frames/s</th><th>server CPU</th><th>tries</th><th>why not</th></tr>");
        for step in self.by_value() {
            let (class, verdict) = if step.holds { ("good", "✓") } else { ("bad", "✗") };
            let _ = write!(body, "<tr><td>{}</td><td class=\"{class}\">{verdict}</td>", step.value);
            let cell = |value: Option<f64>| value.map_or("–".into(), short);
            for at in 0..self.expect.len() {
                let _ = write!(body, "<td>{}</td>", cell(figure(step, at)));
            }
            let report = step.report.as_ref();
            let _ = write!(
                body,
                "<td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                cell(report.map(|report| report.frames.per_s)),
                cell(report.and_then(|report| report.server.cpu_percent)),
                step.tries,
                html::escape(step.reason.as_deref().unwrap_or_default())
            );
        }
        body.push_str("</table></div>");
        html::document(&format!("loadgen search: {}", self.verdict()), &body)
    }

    /// The first expectation's figure by value, with its bound and the knee.
    fn plot(&self, body: &mut String) {
        let points: Vec<(f64, f64)> =
            self.by_value().filter_map(|step| Some((f64::from(step.value), figure(step, 0)?))).collect();
        let bound = self.steps.iter().find_map(|step| Some(step.report.as_ref()?.expect.first()?.bound));
        let high = points.iter().map(|(_, y)| *y).chain(bound).fold(0.0, f64::max);
        let across = |y: f64| points.iter().map(|(x, _)| (*x, y)).collect();
        let knee = self.found.best.map_or(Vec::new(), |knee| vec![(knee.into(), 0.0), (knee.into(), high)]);
        let lines = [
            Line { name: "bound", points: bound.map_or(Vec::new(), across) },
            Line { name: "knee", points: knee },
            Line { name: "measured", points: points.clone() },
        ];
        let axes = Axes { x: self.vary.name(), y: &self.expect[0], x_label: &short, x_labels: 10 };
        let caption = format!("{} by {}", html::escape(&self.expect[0]), self.vary.name());
        html::figure(body, &caption, &axes, &lines);
    }

    fn by_value(&self) -> impl Iterator<Item = &Step> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by_key(|step| step.value);
        steps.into_iter()
    }
}

/// What expectation `at` came to.
fn figure(step: &Step, at: usize) -> Option<f64> {
    step.report.as_ref()?.expect.get(at)?.value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{figures::Report, outcome::Outcome};

    fn step(value: u32, ms: f64) -> Step {
        let holds = ms < 250.0;
        let mut report = Report::default();
        report.expect.push(Outcome {
            expect: "visible.p99<250ms".into(),
            value: Some(ms),
            bound: 250.0,
            holds,
        });
        let reason = (!holds).then(|| "visible.p99<250ms does not hold <b>".to_owned());
        Step { value, holds, tries: 1, reason, report: Some(report) }
    }

    fn knee(found: Found) -> Knee {
        Knee {
            vary: Vary::Connections,
            from: 100,
            to: 800,
            found,
            interrupted: false,
            expect: vec!["visible.p99<250ms".into()],
            url: "ws://127.0.0.1:9001/ws".into(),
            steps: vec![step(100, 20.0), step(400, 900.0), step(200, 60.0)],
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_values_and_ends_with_the_verdict() {
        let text = knee(Found { best: Some(200), failing: Some(400) }).text();
        let values: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(values[..4], ["connections", "100", "200", "400"], "{text}");
        assert!(text.ends_with("connections 200: visible.p99<250ms; 400 fails\n"), "{text}");
    }

    #[test]
    fn every_end_has_its_words() {
        assert!(knee(Found { best: Some(800), failing: None }).verdict().contains("and maybe more"));
        assert!(
            knee(Found { best: None, failing: Some(100) }).verdict().starts_with("not even connections 100")
        );
    }

    #[test]
    fn the_page_has_the_plot_with_bound_and_knee_and_needs_nothing_else() {
        let page = knee(Found { best: Some(200), failing: Some(400) }).page();
        for name in ["measured", "bound", "knee", "&lt;b&gt;"] {
            assert!(page.contains(name), "{name}");
        }
        assert!(page.contains("<svg") && !page.contains("src=") && !page.contains("href="));
    }
}
