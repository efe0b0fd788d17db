//! One topic that counts: `count` with 1, 2, 3, …

use std::{sync::Arc, time::Duration};

use engine::{
    keys,
    sequencer::{Body, Grouping, Publication},
    settings::Group,
    topic::pattern::Pattern,
};

use super::kind::{Context, Declared, Given, Kind, Running};
use crate::document::{read::Section, write::Text};

keys! {
    /// of kind = "counter": one topic, `count`, whose value grows by one.
    pub(super) struct CounterKeys in "source" {
        /// From number to number.
        interval: Duration = duration(1_000, 1..=3_600_000);
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    interval: Duration,
}

impl Declared for Counter {
    const NAME: &'static str = "counter";
    const GROUPS: &'static [Group] = &[Group::of::<CounterKeys>()];

    fn read(section: &mut Section, _: &Given) -> Option<Self> {
        let CounterKeys { interval } = section.keys();
        Some(Self { interval })
    }
}

impl Kind for Counter {
    fn write(&self, text: &mut Text) {
        text.keys(&CounterKeys { interval: self.interval });
    }

    fn topics(&self) -> Vec<Pattern> {
        vec![Pattern::of_topic("count".into())]
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move {
            let mut ticks = tokio::time::interval(self.interval);
            for number in 1u64.. {
                ticks.tick().await;
                let now = with.publisher.now();
                let body = Body::Data(number.to_string().into());
                let publication = Publication::new(Arc::<str>::from("count"), body, now.wall_us);
                with.publisher
                    .publish(&[publication], Grouping::Single)
                    .await
                    .map_err(|why| why.to_string())?;
                with.activity.touch(now.mono_us);
            }
            Ok(())
        })
    }
}
