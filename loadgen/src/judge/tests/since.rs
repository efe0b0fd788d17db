//! What follows a `since`, and another life of the gateway.

use super::*;

#[test]
fn since_goes_on_where_it_stopped() {
    let mut court = Court::live();
    court.subscription.disconnected(true);
    assert_eq!(court.subscription.since(), Some((u64::from_str_radix(EPOCH, 16).unwrap(), 10)));
    court.subscribed(10);
    let answer = batch(10, 14, &update("a", 6)).replace(r#""oldest":100,"#, "");
    court.take(&answer);
    court.take(&batch(14, 15, &update("a", 7)));
    assert_eq!((court.counts(), court.v("b")), (CLEAN, Some((2, false))));
}

#[test]
fn since_may_be_answered_with_nothing_or_a_snapshot() {
    let mut court = Court::live();
    court.subscription.disconnected(true);
    court.subscribed(10);
    court.take(&batch(10, 10, ""));
    court.take(&batch(10, 11, &update("a", 6)));
    assert_eq!(court.counts(), CLEAN);
    court.subscription.disconnected(true);
    court.subscribed(30);
    court.take(&snapshot(30, &update("a", 8)));
    assert_eq!((court.counts(), court.v("b")), (CLEAN, None));
}

#[test]
fn since_that_skips_is_lost_and_one_that_goes_back_is_a_violation() {
    let resumed = |from| {
        let mut court = Court::live();
        court.subscription.disconnected(true);
        court.subscribed(10);
        court.take(&batch(from, 14, &update("a", 6)));
        court.counts()
    };
    assert_eq!((resumed(12), resumed(9)), (LOST, VIOLATION));
}

#[test]
fn another_epoch_ends_what_was_held() {
    let mut court = Court::live();
    court.subscription.disconnected(true);
    court.take(
        r#"{"op":"subscribed","class":3,"topics":["*"],"interval_ms":100,"epoch":"0000000000000001","version":2}"#,
    );
    court.take(&snapshot(2, &update("a", 1)));
    court.take(&batch(2, 3, &update("a", 2)));
    assert_eq!((court.counts(), court.v("a"), court.v("b")), (CLEAN, Some((2, false)), None));
    court.take(
        r#"{"op":"snapshot","class":3,"ts":1,"version":1,"epoch":"0000000000000002","updates":[{"topic":"a","v":1,"ts":1}]}"#,
    );
    assert_eq!((court.counts(), court.v("a"), court.subscription.epoch()), (CLEAN, Some((1, false)), 2));
}
