//! The server's own figures: `GET /metrics` at both ends of the window.

use std::{collections::BTreeMap, io};

use super::{admin::Admin, http::Http};

/// Lines kept of a scrape.
const SAMPLES_MAX: usize = 500;

/// One line of Prometheus text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub value: f64,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, so that a difference says what happened between.
    Counter,
    Gauge,
}

/// All samples by name and labels; buckets of histograms are left out.
pub fn scrape(admin: &Admin) -> io::Result<BTreeMap<String, Sample>> {
    let body = Http::connect(admin)?.get("/metrics")?.good("/metrics")?;
    Ok(parse(&String::from_utf8_lossy(&body)))
}

fn parse(text: &str) -> BTreeMap<String, Sample> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            kinds.extend(declared.split_once(' '));
            continue;
        }
        let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else { continue };
        let base = name.split('{').next().unwrap_or(name);
        let Ok(value) = value.parse::<f64>() else { continue };
        if base.ends_with("_bucket") || samples.len() == SAMPLES_MAX {
            continue;
        }
        let family = ["_total", "_sum", "_count"].iter().find_map(|end| base.strip_suffix(end));
        let declared = kinds.get(base).or_else(|| kinds.get(family?));
        let rises = declared.is_some_and(|kind| *kind != "gauge");
        let kind = if rises { Kind::Counter } else { Kind::Gauge };
        samples.insert(name.to_owned(), Sample { value, kind });
    }
    samples
}

/// Counters as what they rose by, gauges as they are in `end`. A counter that fell began anew.
pub fn difference(begin: &BTreeMap<String, Sample>, end: &BTreeMap<String, Sample>) -> BTreeMap<String, f64> {
    let since = |(name, sample): (&String, &Sample)| {
        let before = begin.get(name).map_or(0.0, |sample| sample.value);
        let counts = sample.kind == Kind::Counter && before <= sample.value;
        (name.clone(), if counts { sample.value - before } else { sample.value })
    };
    end.iter().map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_differences_and_gauges_the_last_value() {
        let begin = parse(
            "# TYPE a counter\na_total{x=\"y z\"} 5\n# TYPE g gauge\ng 7\n# TYPE h histogram\nh_count 1\n",
        );
        let end = parse(
            "# HELP a text\n# TYPE a counter\na_total{x=\"y z\"} 8\n# TYPE g gauge\ng 3\n# TYPE h histogram\nh_bucket{le=\"1\"} 4\nh_count 4\n",
        );
        let difference = difference(&begin, &end);
        assert_eq!(difference.get("a_total{x=\"y z\"}"), Some(&3.0));
        assert_eq!((difference.get("g"), difference.get("h_count")), (Some(&3.0), Some(&3.0)));
        assert_eq!(difference.len(), 3, "no buckets: {difference:?}");
    }

    #[test]
    fn a_counter_that_began_anew_is_taken_as_it_is() {
        let of = |value| parse(&format!("# TYPE a counter\na_total {value}\n"));
        assert_eq!(difference(&of(9), &of(4)).get("a_total"), Some(&4.0));
    }
}
