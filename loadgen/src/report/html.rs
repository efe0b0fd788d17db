//! `--html`: the report as one page that needs nothing else.

use std::fmt::Write as _;

use super::{
    figures::{Kinds, Moment, Quantiles, Report},
    plot::{self, Axes, Line, short},
};

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--card:#fff;--back:#f3f5f8;--line:#dde2e9;--good:#1a7f4b;--bad:#c0392b;--warn:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#9aa6b6;--card:#1b212b;--back:#12161d;--line:#313a48;--good:#5fd39a;--bad:#ff8577;--warn:#ffc66b}figure svg{filter:invert(.9) hue-rotate(180deg)}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:960px;margin:0 auto;padding:24px 16px 64px}h1{font-size:24px;margin:0}h2{font-size:17px;margin:32px 0 8px}
p{margin:4px 0}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{border-left:4px solid var(--warn);padding:6px 12px;background:var(--card);margin:8px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:20px 0}
.tile,figure{background:var(--card);border:1px solid var(--line);border-radius:8px}.tile{padding:10px 14px}.tile b{display:block;font-size:21px;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
figure{margin:0 0 12px;padding:8px;overflow:hidden}figure svg{width:100%;height:auto;display:block}figcaption{font-weight:600;padding:2px 6px}figcaption i{font:13px system-ui,sans-serif;color:var(--soft);border-left:14px solid;padding-left:5px;margin-left:18px}
table{border-collapse:collapse;width:100%;background:var(--card);font-variant-numeric:tabular-nums}td,th{border-bottom:1px solid var(--line);padding:4px 10px;text-align:right}td:first-child,th:first-child{text-align:left;overflow-wrap:anywhere}
details{margin:8px 0}summary{cursor:pointer}code{overflow-wrap:anywhere}.wide{overflow-x:auto}
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut body = String::with_capacity(64 << 10);
    head(&mut body, report);
    tiles(&mut body, report);
    plots(&mut body, report);
    tables(&mut body, report);
    document(&format!("loadgen: {}", report.run.url), &body)
}

/// A document of its own around `body`, which is HTML already.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

fn head(out: &mut String, report: &Report) {
    let connections = &report.connections;
    let _ = write!(
        out,
        "<h1>{} connections to {}</h1><p class=\"soft\">{:.0} s measured · {} · loadgen {}</p>",
        connections.established,
        escape(&report.run.url),
        report.window.seconds,
        escape(&report.run.machine),
        escape(&report.run.version)
    );
    let failed = report.expect.iter().filter(|outcome| !outcome.holds).count();
    if !report.expect.is_empty() {
        let (class, verdict) = if failed == 0 {
            ("good", "every expectation holds".into())
        } else {
            ("bad", format!("{failed} of {} expectations do not hold", report.expect.len()))
        };
        let _ = write!(out, "<p class=\"{class}\"><b>{verdict}</b></p>");
    }
    for warning in &report.warnings {
        let _ = write!(out, "<p class=\"warn\">{}</p>", escape(warning));
    }
}

fn tiles(out: &mut String, report: &Report) {
    let updates = &report.updates;
    let faults = [updates.lost, updates.duplicated, updates.reordered, updates.torn];
    let judged = faults.iter().all(Option::is_some);
    let broken = faults.iter().flatten().sum::<u64>() + updates.violations;
    let broken = if judged { broken.to_string() } else { "not judged".into() };
    let mib = |bytes: Option<u64>| {
        bytes.map_or("–".into(), |bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0))
    };
    let percent = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.0} %"));
    let tiles: [(&str, String); 12] = [
        ("visible p50", ms(report.visible_ms.p50)),
        ("visible p99", ms(report.visible_ms.p99)),
        ("visible max", ms(report.visible_ms.max)),
        ("frames a second", short(report.frames.per_s)),
        ("updates a second", short(updates.per_s)),
        ("broken promises", broken),
        (
            "fewest of expected frames",
            report.clients.ratio_min.map_or("–".into(), |ratio| format!("{:.1} %", ratio * 100.0)),
        ),
        ("largest gap", ms(report.clients.gap_ms_max)),
        ("established in", format!("{:.2} s", report.setup.seconds)),
        ("handshake p99", ms(report.setup.handshake_ms.p99)),
        ("server memory", mib(report.server.rss_bytes)),
        (
            "CPU server / loadgen",
            format!("{} / {}", percent(report.server.cpu_percent), percent(report.loadgen.cpu_percent)),
        ),
    ];
    out.push_str("<div class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(out, "<div class=\"tile\"><b>{value}</b><span>{name}</span></div>");
    }
    out.push_str("</div>");
}

fn plots(out: &mut String, report: &Report) {
    let curve = |name, points: &[(f64, f64)]| Line {
        name,
        points: points.iter().filter(|(q, _)| *q < 1.0).map(|(q, ms)| (-(1.0 - q).log10(), *ms)).collect(),
    };
    let percentiles = Axes { x: "percentile", y: "ms", x_label: &percentile, x_labels: 6 };
    let curves = &report.curves;
    figure(
        out,
        "Latency by percentile",
        &percentiles,
        &[curve("visible", &curves.visible), curve("arrival", &curves.arrival)],
    );
    let time = Axes { x: "seconds since the start", y: "ms", x_label: &short, x_labels: 10 };
    let of = |name, value: &dyn Fn(&Moment) -> Option<f64>| Line {
        name,
        points: report.timeline.iter().filter_map(|moment| Some((moment.at_s, value(moment)?))).collect(),
    };
    figure(
        out,
        "Latency over time",
        &time,
        &[of("visible p50", &|m| m.visible_p50_ms), of("visible p99", &|m| m.visible_p99_ms)],
    );
    let rate = Axes { y: "per second", ..time };
    figure(
        out,
        "Rate over time",
        &rate,
        &[of("frames", &|m| Some(m.frames_per_s)), of("updates", &|m| Some(m.updates_per_s))],
    );
    let open = Axes { y: "connections", ..rate };
    figure(
        out,
        "Connections",
        &open,
        &[of("open", &|m| Some(m.open as f64)), of("failed", &|m| Some(m.failed as f64))],
    );
    let cpu = Axes { y: "% of one core", ..open };
    figure(
        out,
        "CPU",
        &cpu,
        &[of("server", &|m| m.server_cpu_percent), of("loadgen", &|m| m.loadgen_cpu_percent)],
    );
    let memory = Axes { y: "MiB", ..cpu };
    let mib = |m: &Moment| m.server_rss_bytes.map(|bytes| bytes as f64 / 1_048_576.0);
    figure(out, "Server memory", &memory, &[of("resident", &mib)]);
}

/// A plot with its caption, which is HTML already, and the names of its lines.
pub fn figure(out: &mut String, caption: &str, axes: &Axes<'_>, lines: &[Line<'_>]) {
    let _ = write!(out, "<figure><figcaption>{caption}");
    for (at, line) in lines.iter().enumerate() {
        let _ = write!(out, "<i style=\"border-color:{}\">{}</i>", plot::colour(at), escape(line.name));
    }
    let body = plot::lines(axes, lines).unwrap_or_else(|| "<p class=\"soft\">no samples</p>".into());
    let _ = write!(out, "</figcaption>{body}</figure>");
}

/// The percentile at -log10(1 - quantile).
fn percentile(x: f64) -> String {
    let nines = x.round();
    if (x - nines).abs() > 1e-6 {
        return String::new();
    }
    let digits = (nines as usize).saturating_sub(2);
    format!("{:.digits$} %", 100.0 * (1.0 - 10f64.powf(-nines)))
}

fn tables(out: &mut String, report: &Report) {
    out.push_str("<h2>Latencies (ms)</h2><div class=\"wide\"><table><tr><th></th><th>p50</th><th>p90</th><th>p95</th><th>p99</th><th>p99.9</th><th>max</th></tr>");
    for (name, quantiles) in [
        ("visible", &report.visible_ms),
        ("arrival", &report.arrival_ms),
        ("handshake", &report.setup.handshake_ms),
        ("first snapshot", &report.setup.snapshot_ms),
        ("slow readers' visible", &report.slow.visible_ms),
        ("publish answered", &report.publish.answered_ms),
        ("ping answered", &report.pings.answered_ms),
        ("renewal of a token answered", &report.tokens.answered_ms),
    ] {
        latency_row(out, name, quantiles);
    }
    out.push_str("</table></div>");
    let updates = &report.updates;
    let promises = [
        ("lost", updates.lost),
        ("duplicated", updates.duplicated),
        ("reordered", updates.reordered),
        ("torn", updates.torn),
        ("other violations", Some(updates.violations)),
        ("conflated (as it should be)", Some(updates.conflated)),
        ("final values compared", Some(report.r#final.values)),
        ("final values compared with the gateway's", Some(report.r#final.gateway_values)),
        ("tables compared key by key", Some(report.r#final.tables)),
        ("final values that differ", report.r#final.differ),
        ("connections failed", Some(report.connections.failed)),
        ("connections closed by the server", Some(report.connections.closed)),
    ];
    let judged = promises.iter().filter_map(|(name, count)| Some(((*name).to_owned(), (*count)?)));
    counts(out, "Promises", judged);
    for (title, kinds) in [
        ("Violations", &report.violations),
        ("Failed connects", &report.failures),
        ("Closes", &report.closes),
        ("Errors", &report.errors),
        ("Notices", &report.notices),
    ] {
        kinds_table(out, title, kinds);
    }
    for (kind, ends) in &report.hostile {
        kinds_table(out, &format!("Hostile: {kind}"), ends);
    }
    expectations(out, report);
    if !report.server.metrics.is_empty() {
        out.push_str("<details><summary>The server's own metrics over the window</summary><table>");
        for (name, value) in &report.server.metrics {
            let _ = write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(name), short(*value));
        }
        out.push_str("</table></details>");
    }
    let _ = write!(
        out,
        "<details><summary>Command line</summary><p><code>loadgen {}</code></p></details>",
        escape(&report.run.flags.join(" "))
    );
}

fn latency_row(out: &mut String, name: &str, quantiles: &Quantiles) {
    if quantiles.max.is_none() {
        return;
    }
    let _ = write!(out, "<tr><td>{name}</td>");
    for value in [quantiles.p50, quantiles.p90, quantiles.p95, quantiles.p99, quantiles.p999, quantiles.max] {
        let _ = write!(out, "<td>{}</td>", value.map_or("–".into(), |ms| format!("{ms:.1}")));
    }
    out.push_str("</tr>");
}

fn kinds_table(out: &mut String, title: &str, kinds: &Kinds) {
    if !kinds.is_empty() {
        counts(out, title, kinds.iter().map(|(kind, count)| (kind.clone(), *count)));
    }
}

fn counts(out: &mut String, title: &str, rows: impl Iterator<Item = (String, u64)>) {
    let _ = write!(out, "<h2>{}</h2><table>", escape(title));
    for (name, count) in rows {
        let _ = write!(out, "<tr><td>{}</td><td>{count}</td></tr>", escape(&name));
    }
    out.push_str("</table>");
}

fn expectations(out: &mut String, report: &Report) {
    if report.expect.is_empty() {
        return;
    }
    out.push_str("<h2>Expectations</h2><table>");
    for outcome in &report.expect {
        let (class, mark) = if outcome.holds { ("good", "✓") } else { ("bad", "✗") };
        let value = outcome.value.map_or("no figure".into(), short);
        let _ = write!(
            out,
            "<tr><td class=\"{class}\">{mark} {}</td><td>{value}</td></tr>",
            escape(&outcome.expect)
        );
    }
    out.push_str("</table>");
}

fn ms(value: Option<f64>) -> String {
    value.map_or("–".into(), |ms| if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") })
}

/// A server chooses some of these texts.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_report_is_a_page_that_says_so() {
        let page = page(&Report::default());
        assert_eq!(page.matches("no samples").count(), 6, "one for each plot");
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn a_server_cannot_write_into_the_page() {
        let mut report = Report::default();
        let hostile = "4000 <script>alert('x')</script>\"".to_owned();
        report.closes.insert(hostile.clone(), 3);
        report.server.metrics.insert(hostile, 1.0);
        let page = page(&report);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let mut report = Report::default();
        let moment = |at| Moment { at_s: at, open: 5, visible_p99_ms: Some(at * 10.0), ..Moment::default() };
        report.timeline = vec![moment(1.0), moment(2.0)];
        report.curves.visible =
            vec![(0.0, 1.0), (0.5, 2.0), (0.9, 30.0), (0.99, 45.0), (0.999, 48.0), (1.0, 50.0)];
        let page = page(&report);
        for outside in ["src=", "href=", "url(", "@import", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.matches("<svg").count() >= 4 && page.contains("99 %"), "{page}");
    }
}
