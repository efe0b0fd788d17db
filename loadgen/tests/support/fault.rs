//! What the server does wrong, or oddly.

/// Broken once to every connection, at the same batch, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A batch is left out.
    Skip,
    /// A batch is left out and the next one pretends to begin where the last one ended: for `latest`
    /// topics that is conflation, for a `stream` a loss.
    Conflate,
    /// The same, and its updates tell how many were left out: no fault for either.
    Gap,
    /// They tell one less.
    GapLie,
    /// A batch is sent twice.
    Repeat,
    /// A batch brings the values of the last one once more.
    RepeatValues,
    /// A batch from long ago is sent again.
    Old,
    /// Two batches change places.
    Reorder,
    /// The members of an atomic group come in two batches.
    Tear,
    /// A batch says that it begins above where the last one ended, though nothing is missing.
    BeginAbove,
    /// A batch begins long before where the last one ended: overlap is normal.
    BeginBelow,
    /// A batch brings values older than those of the last one.
    Stale,
    /// A new snapshot does.
    StaleSnapshot,
    /// A snapshot from long ago is sent, and what follows continues it.
    OldSnapshot,
    /// From some batch on the first connection is sent heartbeats only.
    Withhold,
    /// From some batch on every connection is told another value under the same `v`.
    OtherValue,
    /// A batch of a class that nobody subscribed to.
    OtherClass,
    /// A batch with a topic that nobody subscribed to.
    OtherTopic,
    /// A batch whose `oldest` is later than its updates.
    LateOldest,
    /// A batch with updates and without `oldest`.
    NoOldest,
    /// A part of one batch is followed by another batch.
    PartBroken,
    /// `subscribed` comes again, unasked.
    SubscribedAgain,
    /// The first snapshot is at another version than `subscribed` said.
    SnapshotElsewhere,
    /// A batch comes where the first snapshot is due.
    BatchFirst,
    /// Times are a minute ahead.
    Future,
    /// Text that is not JSON.
    NotJson,
    /// A batch without a field that it must have.
    NoVersion,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A compressed message that is none.
    NotDeflate,
    /// A text message, also where another encoding was agreed.
    Text,
    /// A binary message.
    Binary,
    /// Close frame 1011.
    Close,
    /// Close frame 4501, which says that coming back does not help.
    Bar,
    /// `notice` `draining`, then close frame 1001.
    Drain,
    /// The stream ends without a close frame.
    End,
    /// The connection is reset.
    Reset,
    /// All connections end at one moment and none is answered for 300 ms; then there is another epoch.
    Restart,
    /// Every upgrade is answered with 503.
    Refuse,
    /// The first four upgrades are.
    RefuseFirst,
    /// A `since` is answered exactly.
    Resume,
    /// A `since` is answered from one version earlier.
    ResumeElsewhere,
    /// A `since` is answered from one version later.
    ResumeLater,
    /// A keyed topic, whose changes all come.
    Tables,
    /// To the first connection one batch leaves out a key that is set.
    KeyLeftOut,
    /// There it has the key's value of before.
    KeyStale,
    /// There it leaves out a key that is deleted.
    DelLeftOut,
    /// There it begins the table anew and has only what changed.
    ResetTorn,
    /// Its snapshot does not say that the table begins anew.
    TableBare,
    /// Not Fanwire's protocol: messages that carry only their send time.
    Stamped,
}

impl Fault {
    /// Whether the feed is a keyed topic.
    pub fn has_tables(self) -> bool {
        use Fault::{DelLeftOut, KeyLeftOut, KeyStale, ResetTorn, TableBare, Tables};
        matches!(self, Tables | KeyLeftOut | KeyStale | DelLeftOut | ResetTorn | TableBare)
    }
}
