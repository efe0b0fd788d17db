//! The two forms in which Prometheus and others read metrics: OpenMetrics 1.0, and the text form before it.

pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a reader's `Accept` names OpenMetrics.
pub fn takes_openmetrics(accept: &str) -> bool {
    accept.split(',').any(|form| form.trim_start().starts_with("application/openmetrics-text"))
}

/// OpenMetrics in the older form: there a counter is described by the name that its samples have, and nothing marks
/// the end.
pub fn older(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
            if line != "# EOF" {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        };
        let total = if kind == "counter" { "_total" } else { "" };
        if let Some((_, text)) = help.take() {
            out.push_str(&format!("# HELP {name}{total} {text}\n"));
        }
        out.push_str(&format!("# TYPE {name}{total} {kind}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_names_counters_as_their_samples_are_and_has_no_end() {
        let openmetrics = "# HELP a Of a.\n# TYPE a counter\na_total 1\n# HELP b Of b.\n# TYPE b gauge\nb{c=\"d e\"} 2\n# EOF\n";
        let text = "# HELP a_total Of a.\n# TYPE a_total counter\na_total 1\n# HELP b Of b.\n# TYPE b gauge\nb{c=\"d e\"} 2\n";
        assert_eq!(older(openmetrics), text);
    }

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        assert!(takes_openmetrics(
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        ));
        assert!(takes_openmetrics("text/plain, application/openmetrics-text"));
        assert!(!takes_openmetrics("*/*") && !takes_openmetrics(""));
    }
}
