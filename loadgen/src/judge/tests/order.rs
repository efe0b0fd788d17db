//! The order in which batches, parts and snapshots come, and what is missing between them.

use super::*;

#[test]
fn continuous_batches_are_clean_and_bring_what_they_say() {
    let mut court = Court::live();
    court.take(&batch(10, 12, &format!("{},{}", update("a", 6), update("c", 1))));
    court.take(&batch(12, 13, &update("b", 3)));
    assert_eq!(court.counts(), CLEAN);
    assert_eq!((court.subscription.position(), court.conflated, court.fresh.len()), (13, 0, 3));
    assert_eq!((court.v("a"), court.v("c")), (Some((6, false)), Some((1, false))));
}

#[test]
fn steps_above_one_are_conflation_not_loss() {
    let mut court = Court::live();
    court.take(&batch(10, 20, &update("a", 9)));
    assert_eq!((court.counts(), court.conflated), (CLEAN, 3));
}

#[test]
fn a_batch_that_begins_above_the_position_is_lost_once() {
    let mut court = Court::live();
    court.take(&batch(11, 12, &update("a", 7)));
    court.take(&batch(12, 13, &update("a", 8)));
    assert_eq!(court.counts(), LOST);
    assert_eq!(court.conflated, 0, "what is missing through a loss is not conflated");
}

#[test]
fn a_heartbeat_moves_the_position_and_may_stand_below_it() {
    let mut court = Court::live();
    court.take(&batch(10, 15, ""));
    court.take(&batch(9, 9, ""));
    court.take(&batch(15, 16, &update("a", 6)));
    assert_eq!((court.counts(), court.subscription.position()), (CLEAN, 16));
}

#[test]
fn a_heartbeat_above_the_position_is_a_loss_too() {
    let mut court = Court::live();
    court.take(&batch(12, 15, ""));
    assert_eq!(court.counts(), LOST);
}

#[test]
fn a_batch_repeated_is_duplicated() {
    let mut court = Court::live();
    court.take(&batch(10, 12, &update("a", 6)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), DUPLICATED);
}

#[test]
fn overlap_is_normal_as_long_as_it_leads_further() {
    let mut court = Court::live();
    court.take(&batch(7, 12, &format!("{},{}", update("a", 5), update("b", 3))));
    assert_eq!((court.counts(), court.conflated, court.fresh.len()), (CLEAN, 0, 1));
    court.take(&batch(10, 13, &format!("{},{}", update("a", 4), update("b", 4))));
    assert_eq!(court.counts(), CLEAN, "an older v in an overlap is ignored");
    assert_eq!(court.v("a"), Some((5, false)));
}

#[test]
fn without_overlap_a_held_v_is_duplicated_and_a_lower_one_reordered() {
    let mut court = Court::live();
    court.take(&batch(10, 12, &update("a", 5)));
    assert_eq!(court.counts(), DUPLICATED);
    let mut court = Court::live();
    court.take(&batch(10, 12, &update("a", 4)));
    assert_eq!(court.counts(), REORDERED);
}

#[test]
fn two_batches_in_the_wrong_order_are_seen_as_such() {
    let mut court = Court::live();
    court.take(&batch(12, 14, &update("b", 3)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), REORDERED);
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), [0, 1, 1, 0, 0], "the hole is filled only once");
}

#[test]
fn what_stays_missing_is_lost_though_a_part_of_it_comes_late() {
    let mut court = Court::live();
    court.take(&batch(14, 16, &update("b", 3)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), [1, 0, 1, 0, 0], "12 to 14 is still missing");
    court.take(&batch(12, 14, &update("a", 7)));
    assert_eq!(court.counts(), [0, 0, 2, 0, 0], "all came after all");
    let mut court = Court::live();
    court.take(&batch(14, 16, &update("b", 3)));
    court.take(&batch(12, 14, &update("a", 7)));
    assert_eq!(court.counts(), [1, 0, 1, 0, 0], "10 to 12 is still missing");
    let mut court = Court::live();
    court.take(&batch(16, 18, &update("b", 3)));
    court.take(&batch(12, 14, &update("a", 7)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), [1, 0, 2, 0, 0], "14 to 16 is still missing");
}

#[test]
fn parts_are_one_batch_applied_at_the_last() {
    let part = |more, topic, v| {
        let last = if more { r#""more":true"# } else { r#""oldest":100"# };
        let update = update(topic, v);
        format!(r#"{{"op":"batch","class":3,"ts":1,"from":10,"version":12,{last},"updates":[{update}]}}"#)
    };
    let mut court = Court::live();
    court.take(&part(true, "a", 6));
    assert_eq!((court.v("a"), court.subscription.position()), (Some((5, false)), 10));
    court.take(&part(false, "b", 3));
    assert_eq!((court.v("a"), court.v("b")), (Some((6, false)), Some((3, false))));
    assert_eq!((court.counts(), court.subscription.position()), (CLEAN, 12));
}

#[test]
fn a_frame_between_parts_breaks_them() {
    let mut court = Court::live();
    let part = batch(10, 12, &update("a", 6)).replace(r#""oldest":100"#, r#""more":true"#);
    court.take(&part);
    court.take(&batch(12, 13, &update("b", 3)));
    assert_eq!(court.counts(), [1, 0, 0, 0, 1]);
    assert_eq!(court.v("a"), Some((5, false)), "the part that was given up is not applied");
}

#[test]
fn subscribed_in_parts_is_one_answer() {
    let mut court = Court::new();
    let answer = r#"{"op":"subscribed","id":1,"sub":"","class":3,"topics":["*"],"interval_ms":100,"epoch":""#;
    court.take(&format!(r#"{answer}{EPOCH}","version":10,"more":true}}"#));
    court.subscribed(10);
    court.take(&snapshot(10, &update("a", 1)));
    assert_eq!((court.v("a"), court.counts()), (Some((1, false)), CLEAN));
}

#[test]
fn a_snapshot_in_parts_replaces_only_when_it_is_whole() {
    let mut court = Court::new();
    court.subscribed(10);
    court.take(&snapshot(10, &update("a", 1)).replace(r#""version""#, r#""more":true,"version""#));
    assert!(!court.subscription.is_live() || court.v("a").is_none());
    court.take(&snapshot(10, &update("b", 1)));
    assert_eq!((court.v("a"), court.v("b"), court.counts()), (Some((1, false)), Some((1, false)), CLEAN));
}

#[test]
fn a_later_snapshot_replaces_everything_and_never_goes_back() {
    let mut court = Court::live();
    court.take(&snapshot(20, &update("a", 9)));
    assert_eq!((court.v("a"), court.v("b"), court.counts()), (Some((9, false)), None, CLEAN));
    court.take(&batch(20, 21, &update("b", 4)));
    assert_eq!(court.counts(), CLEAN);
    court.take(&snapshot(19, &update("a", 9)));
    assert_eq!(court.counts(), REORDERED);
    court.take(&snapshot(30, &update("a", 8)));
    assert_eq!(court.counts(), [0, 0, 2, 0, 0], "v went back");
}

#[test]
fn a_removed_topic_holds_its_number() {
    let mut court = Court::live();
    court.take(&batch(10, 11, r#"{"topic":"a","v":6,"ts":150,"gone":true}"#));
    assert_eq!(court.v("a"), Some((6, true)));
    court.take(&batch(11, 12, &update("a", 7)));
    assert_eq!((court.v("a"), court.counts(), court.conflated), (Some((7, false)), CLEAN, 0));
    court.take(&batch(12, 13, r#"{"topic":"a","v":7,"ts":150,"gone":true}"#));
    assert_eq!(court.counts(), [0, 1, 0, 0, 1], "v 7 is held, and it was a value");
}

#[test]
fn a_stream_counts_every_update() {
    let mut court = Court::live();
    court.take(&batch(10, 11, &update("trade.x", 1)));
    court.take(&batch(11, 13, &format!("{},{}", update("trade.x", 2), update("trade.x", 3))));
    assert_eq!((court.counts(), court.conflated), (CLEAN, 0));
    court.take(&batch(13, 15, &update("trade.x", 5)));
    assert_eq!(court.counts(), LOST);
    court.take(&batch(15, 20, r#"{"topic":"trade.x","v":9,"ts":150,"gap":3,"data":1}"#));
    assert_eq!((court.counts(), court.conflated), (LOST, 3));
    court.take(&batch(20, 25, r#"{"topic":"trade.x","v":12,"ts":150,"gap":1,"data":1}"#));
    assert_eq!(court.counts(), [2, 0, 0, 0, 0]);
    court.take(&batch(25, 26, r#"{"topic":"trade.x","v":13,"ts":150,"gap":9,"data":1}"#));
    assert_eq!(court.counts(), [2, 0, 0, 0, 0], "a gap may cover what the client holds");
}
