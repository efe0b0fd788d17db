//! Latencies in a histogram: recorded in µs, reported in ms, merged and never averaged.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Longer ones count as this.
const LONGEST_US: u64 = 600_000_000;

/// Latencies to three significant digits.
#[derive(Debug, Clone)]
pub struct Latency {
    us: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        let us = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that the histogram takes");
        Self { us }
    }
}

impl Latency {
    pub fn record(&mut self, us: u64) {
        self.us.saturating_record(us);
    }

    pub fn merge(&mut self, other: &Latency) {
        self.us.add(&other.us).expect("histograms of the same bounds");
    }

    pub fn clear(&mut self) {
        self.us.reset();
    }

    /// In ms; `None` without samples.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.us.is_empty()).then(|| self.us.value_at_quantile(quantile).min(self.us.max()) as f64 / 1000.0)
    }

    pub fn max_ms(&self) -> Option<f64> {
        (!self.us.is_empty()).then(|| self.us.max() as f64 / 1000.0)
    }

    /// Pairs of quantile and ms, denser towards the end, for a plot of percentiles.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.us.is_empty() {
            return Vec::new();
        }
        let ticks = self.us.iter_quantiles(5);
        let mut curve: Vec<(f64, f64)> = ticks
            .map(|step| {
                (step.quantile_iterated_to(), step.value_iterated_to().min(self.us.max()) as f64 / 1000.0)
            })
            .collect();
        curve.dedup_by_key(|(quantile, _)| *quantile);
        curve
    }

    /// The percentile distribution as text, in ms, as plotters of HdrHistogram read it.
    pub fn hgrm(&self) -> String {
        let mut text = format!(
            "{:>12} {:>14} {:>10} {:>14}\n\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        );
        let mut count = 0;
        for step in self.us.iter_quantiles(5) {
            count += step.count_since_last_iteration();
            let (ms, quantile) = (step.value_iterated_to() as f64 / 1000.0, step.quantile_iterated_to());
            let _ = write!(text, "{ms:>12.3} {quantile:>14.12} {count:>10}");
            let _ = match quantile {
                1.0 => writeln!(text),
                _ => writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)),
            };
        }
        let (mean, deviation) = (self.us.mean() / 1000.0, self.us.stdev() / 1000.0);
        let max = self.us.max() as f64 / 1000.0;
        let _ = writeln!(text, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
        let _ = writeln!(text, "#[Max     = {max:>12.3}, Total count    = {:>12}]", self.us.len());
        let _ = writeln!(text, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", self.us.buckets(), 2048);
        text
    }

    pub fn is_empty(&self) -> bool {
        self.us.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_all_samples_merged() {
        let (mut even, mut odd) = (Latency::default(), Latency::default());
        for us in 1..=1000 {
            if us % 2 == 0 { &mut even } else { &mut odd }.record(us);
        }
        even.merge(&odd);
        assert_eq!(even.quantile_ms(0.5), Some(0.5));
        assert_eq!(even.quantile_ms(0.99), Some(0.99));
        assert_eq!(even.max_ms(), Some(1.0));
    }

    #[test]
    fn without_samples_there_is_no_figure() {
        assert_eq!(Latency::default().quantile_ms(0.99), None);
    }
}
