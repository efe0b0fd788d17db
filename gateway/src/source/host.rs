//! Figures of this machine: `host.cpu`, `host.memory`, `host.load`, `host.net.<if>`, `host.disk.<dev>`, `host.process.top`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{
    keys,
    sequencer::{Body, Grouping, NotPublished, Publication, Refused, Why, seq::Feed},
    settings::Group,
    topic::{name::check_topic, pattern::Pattern},
};
use serde_json::{Value, json};
use sysinfo::{Disks, Networks, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::time::MissedTickBehavior;

use super::{
    activity::Activity,
    kind::{Context, Declared, Given, Kind, Running},
    refusals::Refusals,
};
use crate::{
    document::{read::Section, write::Text},
    intake::clocked::ClockedSequencer,
    names::Names,
};

/// How long to wait before an inbox that was full is tried again.
const RETRY: Duration = Duration::from_millis(1);
/// Processes of `host.process.top`, and interfaces and disks that get a topic.
const TOP: usize = 10;
const DEVICES_MAX: usize = 256;

keys! {
    /// of kind = "host": this machine, as topics host.cpu, host.memory, host.load, host.net.<if>, host.disk.<dev>,
    /// host.process.top.
    pub(super) struct HostKeys in "source" {
        /// From reading to reading.
        interval: Duration = duration(1_000, 100..=3_600_000);
        /// What becomes of bytes of interfaces' and disks' names that no topic may hold. "encode": `@x` and two
        /// hexadecimal digits. "replace": `_`.
        names: Names = choice("encode", &["encode", "replace"]);
    }
}

/// Figures of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct HostFigures {
    pub interval: Duration,
    /// Of interfaces and disks.
    pub names: Names,
}

impl Declared for HostFigures {
    const NAME: &'static str = "host";
    const GROUPS: &'static [Group] = &[Group::of::<HostKeys>()];

    fn read(section: &mut Section, _: &Given) -> Option<Self> {
        let HostKeys { interval, names } = section.keys();
        Some(Self { interval, names })
    }
}

impl Kind for HostFigures {
    fn write(&self, text: &mut Text) {
        text.keys(&HostKeys { interval: self.interval, names: self.names });
    }

    fn topics(&self) -> Vec<Pattern> {
        vec![Pattern::below("host")]
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move { run(&with.publisher, self.interval, self.names, &with.activity).await })
    }
}

/// Publishes a sample every `interval`, for good. Where an inbox stays full for so long, the next
/// sample replaces what was not published.
async fn run(
    sequencer: &ClockedSequencer,
    interval: Duration,
    names: Names,
    activity: &Activity,
) -> Result<(), String> {
    let mut host = Host::new(names)?;
    let (feed, mut refusals) = (Feed { source: sequencer.enroll(), connection: 0 }, Refusals::default());
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let due_us = sequencer.now().wall_us;
        // Reading all of /proc takes milliseconds, which other tasks need not wait for.
        let sampled = tokio::task::spawn_blocking(move || {
            let sample = host.sample();
            (host, sample)
        });
        let (returned, sample) = sampled.await.map_err(|e| format!("sampling failed: {e}"))?;
        host = returned;
        let publications: Vec<Publication> = sample?
            .into_iter()
            .map(|(topic, value)| {
                let body = Body::Data(value.to_string().into());
                Publication { feed: Some(feed), ts_us: Some(due_us), ..Publication::new(topic, body, due_us) }
            })
            .collect();
        for why in publish(sequencer, &publications, Instant::now() + interval).await {
            refusals.tell(&activity.name, &why, sequencer);
        }
        activity.touch(sequencer.now().mono_us);
    }
}

/// Gives why some were left out.
async fn publish(sequencer: &ClockedSequencer, publications: &[Publication], until: Instant) -> Vec<Why> {
    let (mut done, mut refused) = (0, Vec::new());
    while done < publications.len() {
        match sequencer.try_publish(&publications[done..], Grouping::Single) {
            Ok(published) => done += published.accepted,
            Err(NotPublished::Refused(Refused { index, why })) => {
                done += index + 1;
                refused.push(why);
            }
            Err(NotPublished::Full) if Instant::now() < until => tokio::time::sleep(RETRY).await,
            Err(NotPublished::Full) => {
                sequencer.count_conflated((publications.len() - done) as u64);
                return refused;
            }
        }
    }
    refused
}

struct Host {
    system: System,
    networks: Networks,
    disks: Disks,
    sampled: Instant,
    names: Names,
}

impl Host {
    fn new(names: Names) -> Result<Self, String> {
        let failed = |e: sysinfo::Error| format!("cannot read this host's figures: {e}");
        Ok(Self {
            system: System::new().map_err(failed)?,
            networks: Networks::new_with_refreshed_list().map_err(failed)?,
            disks: Disks::new_with_refreshed_list().map_err(failed)?,
            sampled: Instant::now(),
            names,
        })
    }

    /// Rates are since the last sample.
    fn sample(&mut self) -> Result<BTreeMap<String, Value>, String> {
        let elapsed_s = self.sampled.elapsed().as_secs_f64().max(0.001);
        self.sampled = Instant::now();
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        self.networks.refresh(true);
        self.disks.refresh(true);

        let system = &self.system;
        let load = System::load_average().map_err(|e| format!("cannot read the load: {e}"))?;
        let cores: Vec<f64> = system.cpus().iter().map(|cpu| tenths(cpu.usage())).collect();
        let mut sample = BTreeMap::from([
            ("host.cpu".to_owned(), json!({"percent": tenths(system.global_cpu_usage()), "cores": cores})),
            ("host.memory".to_owned(), memory(system)),
            ("host.load".to_owned(), json!({"one": load.one, "five": load.five, "fifteen": load.fifteen})),
            ("host.process.top".to_owned(), top(system)),
        ]);
        let rate = |bytes: u64| (bytes as f64 / elapsed_s).round();
        for (name, net) in self.networks.iter().take(DEVICES_MAX) {
            let value = json!({
                "received_bytes_per_s": rate(net.received()),
                "sent_bytes_per_s": rate(net.transmitted()),
                "received_bytes": net.total_received(),
                "sent_bytes": net.total_transmitted(),
            });
            sample.extend(topic("host.net", name, self.names).map(|topic| (topic, value)));
        }
        for disk in self.disks.iter().take(DEVICES_MAX) {
            let usage = disk.usage();
            let value = json!({
                "total_bytes": disk.total_space(),
                "available_bytes": disk.available_space(),
                "read_bytes_per_s": rate(usage.read_bytes),
                "written_bytes_per_s": rate(usage.written_bytes),
            });
            sample.extend(topic("host.disk", disk.name(), self.names).map(|topic| (topic, value)));
        }
        Ok(sample)
    }
}

fn memory(system: &System) -> Value {
    json!({
        "total_bytes": system.total_memory(),
        "used_bytes": system.used_memory(),
        "available_bytes": system.available_memory(),
        "swap_used_bytes": system.used_swap(),
    })
}

fn top(system: &System) -> Value {
    let mut processes: Vec<_> = system.processes().values().collect();
    processes.sort_unstable_by(|a, b| b.cpu_usage().total_cmp(&a.cpu_usage()).then(a.pid().cmp(&b.pid())));
    let shown = processes.iter().take(TOP).map(|process| {
        json!({
            "pid": process.pid().as_u32(),
            "name": process.name().to_string_lossy(),
            "percent": tenths(process.cpu_usage()),
            "memory_bytes": process.memory(),
        })
    });
    shown.collect()
}

/// A device's topic, whose name is one segment; the `/dev/` of a disk is dropped. `None`: no topic is so long.
fn topic(parent: &str, device: &(impl AsRef<OsStr> + ?Sized), names: Names) -> Option<String> {
    let name = device.as_ref().as_encoded_bytes();
    let name = name.strip_prefix(b"/dev/").unwrap_or(name);
    let mut topic = format!("{parent}.");
    names.push_segment(&mut topic, if name.is_empty() { b"_" } else { name });
    check_topic(&topic).is_ok().then_some(topic)
}

fn tenths(percent: f32) -> f64 {
    (f64::from(percent) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use crate::source::host::*;

    #[test]
    fn a_sample_holds_the_promised_topics_by_valid_names() {
        let sample = Host::new(Names::Encode).unwrap().sample().unwrap();
        for topic in ["host.cpu", "host.memory", "host.load", "host.process.top"] {
            assert!(sample.contains_key(topic), "{topic} of {:?}", sample.keys());
        }
        assert!(sample.keys().all(|topic| check_topic(topic).is_ok()), "{:?}", sample.keys());
    }

    #[test]
    fn names_of_devices_become_topics() {
        for (device, encoded, replaced) in [
            ("/dev/nvme0n1p2", "host.disk.nvme0n1p2", "host.disk.nvme0n1p2"),
            ("a.b c", "host.disk.a@x2Eb@x20c", "host.disk.a_b_c"),
            ("", "host.disk._", "host.disk._"),
        ] {
            for (names, expected) in [(Names::Encode, encoded), (Names::Replace, replaced)] {
                assert_eq!(topic("host.disk", device, names).as_deref(), Some(expected));
            }
        }
        assert_eq!(topic("host.net", &*"x".repeat(300), Names::Encode), None);
    }
}
