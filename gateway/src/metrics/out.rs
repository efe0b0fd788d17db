//! Metrics in the form that Prometheus expects.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Upper bounds of the histograms' buckets in seconds, as Prometheus expects them.
const BUCKETS_S: [f64; 16] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, f64::INFINITY];

/// Writes one metric after the other.
pub(super) struct Out<'a>(pub DescriptorEncoder<'a>);

impl Out<'_> {
    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, &ConstCounter::new(value))
    }

    pub fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.metric(name, help, &ConstCounter::new(value))
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, &ConstGauge::new(value))
    }

    pub fn gauge_s(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.metric(name, help, &ConstGauge::new(value))
    }

    pub fn counters<L: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in values {
            ConstCounter::new(count).encode(family.encode_family(&[(label, value.as_ref())])?)?;
        }
        Ok(())
    }

    /// Counters with two labels.
    pub fn pairs<L: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: impl IntoIterator<Item = (L, &'static str, u64)>,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (first, second, count) in values {
            let labels = [(labels[0], first.as_ref()), (labels[1], second)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub fn gauges<L: AsRef<str>, N: EncodeGaugeValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, N)>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in values {
            ConstGauge::new(count).encode(family.encode_family(&[(label, value.as_ref())])?)?;
        }
        Ok(())
    }

    /// The sum of histograms of microseconds, in seconds.
    pub fn histogram<'h>(
        &mut self,
        name: &str,
        help: &str,
        parts: impl Iterator<Item = &'h Histogram<u64>>,
    ) -> fmt::Result {
        let mut buckets = BUCKETS_S.map(|bound| (bound, 0));
        let (mut sum_s, mut count) = (0.0, 0);
        for part in parts {
            for step in part.iter_recorded() {
                let value_s = step.value_iterated_to() as f64 / 1e6;
                let samples = step.count_at_value();
                let bucket = BUCKETS_S.partition_point(|bound| *bound < value_s);
                buckets[bucket].1 += samples;
                sum_s += value_s * samples as f64;
                count += samples;
            }
        }
        let kind = MetricType::Histogram;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        metric.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)
    }
}
