//! Latencies in a histogram: recorded in µs, reported in ms, merged and never averaged.

use hdrhistogram::Histogram;

use crate::report::Quantiles;

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

    /// `{p50, p90, p99, p999, max}` in ms, each null without samples.
    pub fn report(&self) -> Quantiles {
        Quantiles {
            p50: self.quantile_ms(0.5),
            p90: self.quantile_ms(0.9),
            p99: self.quantile_ms(0.99),
            p999: self.quantile_ms(0.999),
            max: self.max_ms(),
        }
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
        assert_eq!(Latency::default().report().p99, None);
    }
}
