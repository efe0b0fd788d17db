//! Publishes over HTTP that name what they write, so that it is written once though it may come again.

use std::time::Duration;

use engine::{
    sequencer::{
        Grouping, Publication, Refused, Why,
        once::{Begun, Name},
    },
    settings::Limits,
};
use tokio::time::Instant;

use super::publisher::Publisher;

/// What `[limits]` says of such names.
#[derive(Debug, Clone, Copy)]
pub struct OnceBounds {
    pub names_max: usize,
    pub keep: Duration,
}

impl OnceBounds {
    pub fn of(limits: &Limits) -> Self {
        Self { names_max: limits.once_names, keep: limits.once_for }
    }
}

impl Publisher {
    /// [`Publisher::publish_by`], without what was written before. `key`: the name of the key that publishes.
    pub async fn publish_once(
        &self,
        publications: &[Publication],
        grouping: Grouping,
        key: Option<&str>,
        bounds: OnceBounds,
        deadline: Instant,
    ) -> Result<(), Refused> {
        if publications.iter().all(|publication| publication.once.is_none()) {
            return self.publish_by(publications, grouping, deadline).await.map(|_| ());
        }
        match grouping {
            Grouping::Atomic => self.publish_new((publications, grouping), 0, key, bounds, deadline).await,
            Grouping::Single => {
                for (index, one) in publications.chunks(1).enumerate() {
                    self.publish_new((one, grouping), index, key, bounds, deadline).await?;
                }
                Ok(())
            }
        }
    }

    /// A group, of which the first has this `index`.
    async fn publish_new(
        &self,
        (group, grouping): (&[Publication], Grouping),
        index: usize,
        key: Option<&str>,
        OnceBounds { names_max, keep }: OnceBounds,
        deadline: Instant,
    ) -> Result<(), Refused> {
        // Held until all is numbered, so that nobody comes between.
        let once = tokio::time::timeout_at(deadline, self.once.lock()).await;
        let mut once = once.map_err(|_| Refused { index, why: Why::Late })?;
        let now_us = self.now().mono_us;
        let (mut new, mut names, mut places) = (Vec::with_capacity(group.len()), Vec::new(), Vec::new());
        let mut full = None;
        for (place, publication) in group.iter().enumerate() {
            if let Some(name) = Name::of(publication, key) {
                match once.begin(&name, (), names_max, now_us) {
                    Begun::First(()) => names.push(name),
                    Begun::Written((), ()) | Begun::Waits => continue,
                    Begun::Full(()) => {
                        full =
                            Some(Refused { index: index + place, why: Why::TooManyNames { max: names_max } });
                        break;
                    }
                }
            }
            new.push(publication.clone());
            places.push(place);
        }
        let published = match full {
            Some(refused) => Err(refused),
            None if new.is_empty() => Ok(()),
            None => {
                let published = self.publish_by(&new, grouping, deadline).await;
                published
                    .map(|_| ())
                    .map_err(|Refused { index: at, why }| Refused { index: index + places[at], why })
            }
        };
        for name in names {
            once.end(name, published.is_ok().then_some(()), keep, now_us);
        }
        published
    }
}
