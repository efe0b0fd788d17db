//! Bugs that the simulation has to find, one at a time. They stand in a copy of the engine alone, which
//! `scripts/check planted` makes: this file is its `planted.rs`, and `bugs.patch` has the lines that ask [`planted`].

use std::cell::Cell;

macro_rules! bugs {
    ($($(#[doc = $what:literal])* $name:ident,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $what])* $name,)*
        }

        impl Bug {
            pub const ALL: &[Bug] = &[$(Bug::$name,)*];
        }
    };
}

bugs! {
    /// A class's cursor moves one further than what was sent.
    CursorTooFar,
    /// A catch-up frame is found for any position.
    CacheWithoutFrom,
    /// A catch-up frame is found for any patterns of its class.
    CacheWithoutPatterns,
    /// Cached frames outlive the updates they lack.
    CacheOutlives,
    /// A tombstone is dropped without raising the position below which it is missed.
    FloorForgotten,
    /// A position below the floor is answered by a batch.
    FloorIgnored,
    /// Removed topics stand in snapshots.
    GoneInSnapshot,
    /// A removed topic is left out of batches.
    GoneUnsent,
    /// A heartbeat moves the position past what was not looked at.
    HeartbeatTooFar,
    /// `oldest` is later than it may be.
    OldestTooLate,
    /// Updates of a frame are not in version order.
    Unsorted,
    /// The frames before the last do not say that more follow.
    MoreForgotten,
    /// Subscriptions of a connection share a class.
    ClassShared,
    /// A position inside an atomic publish.
    AtomicTorn,
    /// A busy client counts as sent to.
    BusyCursor,
    /// What a subscription is owed is not sent before it changes.
    SettleForgotten,
    /// `subscribed` tells a version that was not reached.
    SubscribedTooHigh,
    /// `since` of any epoch is honoured.
    ForeignEpoch,
    /// A topic's `v` stands still.
    VStands,
    /// The snapshot that begins an epoch does not say so.
    EpochUntold,
    /// Positions of an epoch that has ended go on to count.
    EpochCursor,
    /// In a new epoch positions before it are answered.
    EpochFloor,
    /// What is on its way to a class's members goes on after its epoch has ended.
    EpochOutlived,
    /// Deleted keys are left out of batches.
    DelForgotten,
    /// A key's tombstone is dropped without raising the position below which it is missed.
    KeyFloorForgotten,
    /// A table that begins anew does not say so.
    ResetForgotten,
    /// Of the keys set since, the first is left out.
    SetTooLate,
    /// A key that is set again keeps its place among the older ones.
    RecencyStays,
    /// Who stood before a reset is told only what came after it.
    EmptyForgotten,
    /// Updates dropped from a history are not told.
    GapUntold,
    /// A gap is told as one less than it is.
    GapTooLow,
    /// The first update after a position is left out.
    StreamTooLate,
    /// Who is behind on a stream that closes is not closed.
    LapseIgnored,
    /// Who waits for a frame to be built is forgotten.
    WaitForgotten,
    /// A class's frame overtakes what a member waits for.
    WaitOvertaken,
    /// A star within a pattern stands for two segments too.
    StarAcrossDot,
    /// A new topic is not found by patterns with a star within.
    StarMissed,
    /// A pattern that nobody holds for a while misses new topics.
    KeptForgotten,
    /// A pattern misses topics that are born while its topics are looked for.
    BirthMissed,
    /// A topic that is live again stands on where it was told to be stale.
    StaleSurvives,
    /// An answer is sent between the fragments of a message.
    AnswerWithin,
    /// A close waits for the end of the message that is being sent.
    CloseWaits,
    /// What is left of a message follows the close frame that passed it.
    RestAfterClose,
    /// A client that is busy at its moment to leave is not told to.
    BusyStays,
    /// A class that is busy at its moment is given no other.
    GridForgets,
    /// Of the classes that are to be looked at at once, only the first is.
    StirForgotten,
    /// A class is flushed early one update too late.
    EarlyTooLate,
    /// An update that two patterns match counts twice for an early flush.
    EarlyCountedTwice,
    /// A class is flushed twice in its interval.
    IntervalHalved,
    /// A class is flushed every other interval.
    IntervalDoubled,
    /// A shard that keeps up goes on leaving things out.
    RungStays,
    /// What is due at a lengthened interval counts as looked through.
    StretchLost,
    /// A client that comes during an overload is not told of it.
    GreetForgotten,
    /// A heartbeat that a reload has shortened comes when it was due before.
    HeartbeatStays,
    /// What addresses hold is counted on where a reload has ended the limit.
    SharesStay,
    /// Who has reached its age stays.
    AgeForgotten,
    /// Who leaves for its age is not told to come back.
    AgeUntold,
    /// A subscriber counts as silent from the start, whatever it says.
    SilentFromStart,
    /// What a renewed token does not grant stays subscribed.
    GrantForgotten,
    /// A connection outlives its token.
    ExpiryForgotten,
    /// What was subscribed for a client outlives its grant.
    AutoOutlives,
    /// A reload leaves what clients hold as it was granted before.
    GrantsStay,
    /// A connection that is gone goes on to count for its subject.
    SubjectKept,
    /// Of the addresses that proxies told the first counts, whoever wrote it.
    ForwardedFirst,
    /// A connection that is gone goes on to count for its address.
    PlaceKept,
    /// A part of a batch tells where a stream stands.
    IdOfPart,
    /// Who gets bare values is handed its class's frame, though it got some of it by itself.
    ValueTwice,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// For this thread.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
