//! Publishes over HTTP that name what they write, so that it is written once though it may come again.

use std::sync::Arc;

use engine::sequencer::{
    Grouping, Publication, Refused, Why,
    once::{Begun, Bounds, Name},
};
use tokio::time::Instant;

use super::publisher::Publisher;

impl Publisher {
    /// [`Publisher::publish_by`], without what was written before. `key`: the name of the key that publishes.
    pub async fn publish_once(
        self: &Arc<Self>,
        publications: &[Publication],
        grouping: Grouping,
        key: Option<&str>,
        bounds: Bounds,
        deadline: Instant,
    ) -> Result<(), Refused> {
        if publications.iter().all(|publication| publication.once.is_none()) {
            return self.publish_by(publications, grouping, deadline).await.map(|_| ());
        }
        let (publisher, key) = (self.clone(), key.map(str::to_owned));
        let publications = publications.to_vec();
        // A request that is dropped must not leave a name of which nobody knows whether it was written.
        let task = tokio::spawn(async move {
            publisher.publish_new(publications, grouping, key.as_deref(), bounds, deadline).await
        });
        task.await.unwrap_or(Err(Refused { index: 0, why: Why::Late }))
    }

    async fn publish_new(
        &self,
        publications: Vec<Publication>,
        grouping: Grouping,
        key: Option<&str>,
        bounds: Bounds,
        deadline: Instant,
    ) -> Result<(), Refused> {
        // Held until all is numbered, so that nobody comes between.
        let once = tokio::time::timeout_at(deadline, self.once.lock()).await;
        let mut once = once.map_err(|_| Refused { index: 0, why: Why::Late })?;
        let now_us = self.now().mono_us;
        let (mut new, mut places, mut names, mut full) = (Vec::new(), Vec::new(), Vec::new(), None);
        for (place, publication) in publications.into_iter().enumerate() {
            if let Some(name) = Name::of(&publication, key) {
                match once.begin(&name, (), bounds, now_us) {
                    Begun::First(()) => names.push((new.len(), name)),
                    // Also what stands in one body twice.
                    Begun::Written((), ()) | Begun::Waits => continue,
                    Begun::Full(()) => {
                        full =
                            Some(Refused { index: place, why: Why::TooManyNames { max: bounds.names_max } });
                        break;
                    }
                }
            }
            new.push(publication);
            places.push(place);
        }
        let published = match full {
            Some(ref refused) if grouping == Grouping::Atomic => Err((0, refused.clone())),
            _ if new.is_empty() => Ok(()),
            _ => self.publish_by(&new, grouping, deadline).await.map(|_| ()).map_err(|refused| {
                let done = if grouping == Grouping::Single { refused.index } else { 0 };
                (done, Refused { index: places[refused.index], why: refused.why })
            }),
        };
        let done = published.as_ref().err().map_or(new.len(), |(done, _)| *done);
        for (at, name) in names {
            once.end(name, (at < done).then_some(()), now_us);
        }
        published.map_err(|(_, refused)| refused)?;
        full.map_or(Ok(()), Err)
    }
}
