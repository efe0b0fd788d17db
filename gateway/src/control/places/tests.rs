use tokio::time::advance;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn taken(places: &Places) -> usize {
    places.seats().taken.len()
}

fn is_evicted(place: &Place) -> bool {
    !place.places.seats().taken.contains_key(&place.seat.number)
}

/// So many places, each of which is being asked for something.
fn busy(places: &Arc<Places>, count: usize, has_body: bool) -> Vec<(Place, Asking)> {
    let enter = |_| {
        let place = places.enter().0;
        let asking = place.ask(has_body);
        (place, asking)
    };
    (0..count).map(enter).collect()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_idle_connection_makes_room_and_no_busy_one() {
    let places = Places::new(3);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(places.enter().0);
        advance(MS).await;
    }
    advance(GRACE).await;
    let asking = held[0].ask(false);
    let (fourth, found) = places.enter();
    assert_eq!((found, is_evicted(&held[1]), is_evicted(&held[2])), (Found::Evicted, true, false));
    drop(asking);
    advance(MS).await;
    held[0].set_blocked(true);
    // What it was answered is not read yet, so that it is not idle.
    let (_fifth, found) = places.enter();
    assert_eq!((found, is_evicted(&held[0]), is_evicted(&held[2])), (Found::Evicted, false, true));
    assert!(!is_evicted(&fourth));
    assert_eq!(taken(&places), 3);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_may_say_something_before_the_next_one_takes_its_place() {
    let places = Places::new(2);
    let _busy = busy(&places, 1, false);
    let (first, _) = places.enter();
    let (second, found) = places.enter();
    assert_eq!((found, is_evicted(&first), second.is_in_reserve()), (Found::Free, false, true));
    advance(GRACE).await;
    let (_third, found) = places.enter();
    assert_eq!((found, is_evicted(&first)), (Found::Evicted, true));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_busy_the_oldest_in_reserve_makes_room() {
    let places = Places::new(2);
    let ordinary = busy(&places, 2, true);
    let mut reserve = busy(&places, RESERVE, false);
    assert!(!reserve[0].0.is_ordinary());
    for n in 0..3 {
        let (next, found) = places.enter();
        assert_eq!((found, is_evicted(&reserve[n].0)), (Found::Reset, true));
        assert!(!is_evicted(&reserve[n + 1].0));
        let asking = next.ask(true);
        reserve.push((next, asking));
    }
    // Whoever was answered makes room before.
    reserve[9].0.begin_lingering();
    assert_eq!((places.enter().1, is_evicted(&reserve[9].0)), (Found::Evicted, true));
    let (last, _) = reserve.pop().unwrap();
    ordinary[0].0.begin_lingering();
    assert!(last.is_ordinary() && !last.is_in_reserve(), "an ordinary place is idle");
    drop((last, reserve, ordinary));
    assert_eq!(taken(&places), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_reserve_ends() {
    let places = Places::new(1);
    let ordinary = busy(&places, 1, true).pop().unwrap();
    let began = Instant::now();
    let (place, _) = places.enter();
    place.lost().await;
    assert_eq!(began.elapsed(), RESERVE_TIME);
    let (place, _) = places.enter();
    ordinary.0.begin_lingering();
    assert!(place.is_ordinary());
    let forever = tokio::time::timeout(2 * RESERVE_TIME, place.lost());
    assert!(forever.await.is_err(), "it has an ordinary place");
}

#[tokio::test(start_paused = true)]
async fn who_never_catches_up_with_its_answers_makes_room_and_a_publisher_does_not() {
    let places = Places::new(4);
    let held = busy(&places, 4, true);
    let asks = |place: &Place, has_body| std::mem::forget(place.ask(has_body));
    // Request after request without a pause, whether it reads or not; and one that does not read at all.
    asks(&held[1].0, false);
    held[2].0.set_blocked(true);
    advance(STUCK / 2).await;
    held[3].0.seat().caught_up();
    asks(&held[3].0, false);
    assert!(places.enter().0.is_in_reserve());
    advance(STUCK / 2).await;
    for (at, found) in [(1, Found::Reset), (2, Found::Reset)] {
        let (next, how) = places.enter();
        assert_eq!((how, is_evicted(&held[at].0), next.is_in_reserve()), (found, true, false));
        asks(&next, true);
        std::mem::forget(next);
    }
    assert!(places.enter().0.is_in_reserve());
    assert!(!is_evicted(&held[0].0) && !is_evicted(&held[3].0));
}
