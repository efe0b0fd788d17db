//! Metrics in the form that Prometheus expects.

use std::fmt;

use net::metric::{Kind, Label, Metric, Values};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Upper bounds of the histograms' buckets in seconds, as Prometheus expects them.
const BUCKETS_S: [f64; 16] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, f64::INFINITY];

/// Writes one metric after the other.
pub(super) struct Out<'a>(pub DescriptorEncoder<'a>);

impl Out<'_> {
    /// What all `parts` count together; nothing where there is none.
    pub fn all<T>(&mut self, metrics: &[Metric<T>], parts: &[&T]) -> fmt::Result {
        if parts.is_empty() {
            return Ok(());
        }
        metrics.iter().try_for_each(|metric| self.sum(metric, parts))
    }

    fn sum<T>(&mut self, metric: &Metric<T>, parts: &[&T]) -> fmt::Result {
        let kind = metric.kind;
        match metric.values {
            Values::One(of) => {
                write_whole(self.begin(metric)?, kind, parts.iter().map(|part| of(part)).sum())
            }
            Values::Real(of) => {
                write_real(self.begin(metric)?, kind, parts.iter().map(|part| of(part)).sum())
            }
            Values::By(label, of) => {
                let mut sums: Vec<(Label, u64)> = Vec::new();
                for (at, (value, count)) in parts.iter().flat_map(|part| of(part).into_iter().enumerate()) {
                    match sums.get_mut(at) {
                        Some((_, sum)) => *sum += count,
                        None => sums.push((value, count)),
                    }
                }
                let mut family = self.begin(metric)?;
                sums.iter().try_for_each(|(value, count)| {
                    write_whole(family.encode_family(&[(label, &**value)])?, kind, *count)
                })
            }
            Values::Times(of) => self.times(metric, parts.iter().flat_map(|part| of(part))),
        }
    }

    /// What each part counts by itself, told by `label`; nothing where there is none.
    pub fn each<'p, T: 'p>(
        &mut self,
        metrics: &[Metric<T>],
        label: &str,
        parts: impl Iterator<Item = (&'p str, &'p T)> + Clone,
    ) -> fmt::Result {
        if parts.clone().next().is_none() {
            return Ok(());
        }
        for metric in metrics {
            let mut family = self.begin(metric)?;
            for (name, part) in parts.clone() {
                match metric.values {
                    Values::One(of) => {
                        write_whole(family.encode_family(&[(label, name)])?, metric.kind, of(part))?;
                    }
                    Values::Real(of) => {
                        write_real(family.encode_family(&[(label, name)])?, metric.kind, of(part))?;
                    }
                    Values::By(by, of) => {
                        for (value, count) in of(part) {
                            let labels = [(label, name), (by, &*value)];
                            write_whole(family.encode_family(&labels)?, metric.kind, count)?;
                        }
                    }
                    Values::Times(_) => unreachable!("{} is not of each", metric.name),
                }
            }
        }
        Ok(())
    }

    /// What something is, in words. A gauge that is 1, as not every reader knows the type "info".
    pub fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        write_whole(family.encode_family(&labels)?, Kind::Gauge, 1)
    }

    fn begin<T>(&mut self, metric: &Metric<T>) -> Result<MetricEncoder<'_>, fmt::Error> {
        let kind = match (&metric.values, metric.kind) {
            (Values::Times(_), _) => MetricType::Histogram,
            (_, Kind::Counter) => ConstCounter::new(0u64).metric_type(),
            (_, Kind::Gauge) => ConstGauge::new(0u64).metric_type(),
        };
        self.0.encode_descriptor(metric.name, metric.help, None, kind)
    }

    /// Of microseconds and how often each was, in seconds.
    fn times<T>(&mut self, metric: &Metric<T>, steps: impl Iterator<Item = (u64, u64)>) -> fmt::Result {
        let mut buckets = BUCKETS_S.map(|bound| (bound, 0));
        let (mut sum_s, mut count) = (0.0, 0);
        for (value_us, samples) in steps {
            let value_s = value_us as f64 / 1e6;
            let bucket = BUCKETS_S.partition_point(|bound| *bound < value_s);
            buckets[bucket].1 += samples;
            sum_s += value_s * samples as f64;
            count += samples;
        }
        self.begin(metric)?.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)
    }
}

fn write_whole(encoder: MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => ConstCounter::new(value).encode(encoder),
        Kind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}

fn write_real(encoder: MetricEncoder<'_>, kind: Kind, value: f64) -> fmt::Result {
    match kind {
        Kind::Counter => ConstCounter::new(value).encode(encoder),
        Kind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}
