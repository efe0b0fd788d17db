use tokio::time::advance;

use super::*;

const ONE: Address = Address::V4([192, 0, 2, 1]);
const OTHER: Address = Address::V4([192, 0, 2, 2]);
const MS: Duration = Duration::from_millis(1);

fn taken(places: &Places) -> usize {
    places.seats().taken.len()
}

fn is_evicted(place: &Place) -> bool {
    !place.places.seats().taken.contains_key(&place.seat.number)
}

/// So many places, each of which is being asked for something.
fn busy(places: &Arc<Places>, count: usize, has_body: bool) -> Vec<(Place, Asking)> {
    busy_of(places, ONE, count, has_body)
}

fn busy_of(places: &Arc<Places>, address: Address, count: usize, has_body: bool) -> Vec<(Place, Asking)> {
    let enter = |_| {
        let place = places.enter(address).0;
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
        held.push(places.enter(ONE).0);
        advance(MS).await;
    }
    advance(GRACE).await;
    let asking = held[0].ask(false);
    let (fourth, found) = places.enter(ONE);
    assert_eq!((found, is_evicted(&held[1]), is_evicted(&held[2])), (Found::Evicted, true, false));
    drop(asking);
    advance(MS).await;
    held[0].set_blocked(true);
    // What it was answered is not read yet, so that it is not idle.
    let (_fifth, found) = places.enter(ONE);
    assert_eq!((found, is_evicted(&held[0]), is_evicted(&held[2])), (Found::Evicted, false, true));
    assert!(!is_evicted(&fourth));
    assert_eq!(taken(&places), 3);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_may_say_something_before_the_next_one_takes_its_place() {
    let places = Places::new(2);
    let _busy = busy(&places, 1, false);
    let (first, _) = places.enter(ONE);
    let (second, found) = places.enter(ONE);
    assert_eq!((found, is_evicted(&first), second.is_in_reserve()), (Found::Free, false, true));
    advance(GRACE).await;
    let (_third, found) = places.enter(ONE);
    assert_eq!((found, is_evicted(&first)), (Found::Evicted, true));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_may_say_something_before_one_in_reserve_takes_its_place() {
    let places = Places::new(4);
    let ordinary = busy(&places, 4, false);
    let (waiting, _) = places.enter(ONE);
    ordinary[0].0.begin_lingering();
    let (newcomer, _) = places.enter(ONE);
    assert!(waiting.is_in_reserve() && !newcomer.is_in_reserve());
    assert_eq!((waiting.promote(), is_evicted(&newcomer)), (None, false));
    advance(GRACE).await;
    assert_eq!((waiting.promote(), is_evicted(&newcomer)), (Some(Found::Evicted), true));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_busy_the_oldest_in_reserve_makes_room() {
    let places = Places::new(2);
    let ordinary = busy(&places, 2, true);
    let mut reserve = busy(&places, RESERVE, false);
    assert!(reserve[0].0.promote().is_none());
    for n in 0..3 {
        let (next, found) = places.enter(ONE);
        assert_eq!((found, is_evicted(&reserve[n].0)), (Found::Reset, true));
        assert!(!is_evicted(&reserve[n + 1].0));
        let asking = next.ask(true);
        reserve.push((next, asking));
    }
    // A connection that was answered makes room before.
    reserve[9].0.begin_lingering();
    assert_eq!((places.enter(ONE).1, is_evicted(&reserve[9].0)), (Found::Evicted, true));
    let (last, _) = reserve.pop().unwrap();
    ordinary[0].0.begin_lingering();
    assert!(last.promote().is_some() && !last.is_in_reserve(), "an ordinary place is idle");
    drop((last, reserve, ordinary));
    assert_eq!(taken(&places), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_reserve_ends() {
    let places = Places::new(1);
    let ordinary = busy(&places, 1, true).pop().unwrap();
    let began = Instant::now();
    let (place, _) = places.enter(ONE);
    place.lost().await;
    assert_eq!(began.elapsed(), RESERVE_TIME);
    let (place, _) = places.enter(ONE);
    ordinary.0.begin_lingering();
    assert!(place.promote().is_some());
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
    assert!(places.enter(ONE).0.is_in_reserve());
    advance(STUCK / 2).await;
    for (at, found) in [(1, Found::Reset), (2, Found::Reset)] {
        let (next, how) = places.enter(ONE);
        assert_eq!((how, is_evicted(&held[at].0), next.is_in_reserve()), (found, true, false));
        asks(&next, true);
        std::mem::forget(next);
    }
    assert!(places.enter(ONE).0.is_in_reserve());
    assert!(!is_evicted(&held[0].0) && !is_evicted(&held[3].0));
}

#[tokio::test(start_paused = true)]
async fn who_publishes_takes_the_place_of_the_address_that_holds_the_most() {
    let places = Places::new(6);
    let mut held = busy_of(&places, ONE, 1, true);
    advance(MS).await;
    held[0].0.seat().caught_up();
    held.extend(busy_of(&places, ONE, 3, true));
    let few = busy_of(&places, OTHER, 2, true);
    // Of the crowd the one that was always busy for longest.
    advance(MS).await;
    std::mem::forget(held[0].0.ask(true));
    let (next, found) = places.enter(OTHER);
    assert!(next.is_in_reserve() && found == Found::Free);
    assert_eq!(next.promote(), Some(Found::Reset));
    assert!(!next.is_in_reserve() && !is_evicted(&held[0].0) && is_evicted(&held[1].0));
    let _asking = next.ask(true);
    // Now both hold three.
    for address in [ONE, OTHER] {
        assert_eq!(places.enter(address).0.promote(), None);
    }
    let third = Address::V4([192, 0, 2, 3]);
    let (next, _) = places.enter(third);
    assert_eq!(next.promote(), Some(Found::Reset));
    assert_eq!(few.iter().chain(&held).filter(|(place, _)| is_evicted(place)).count(), 2);
    assert_eq!(taken(&places), 6);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_takes_no_idle_place_of_another_address() {
    let places = Places::new(4);
    let (idle, _) = places.enter(OTHER);
    idle.begin_lingering();
    let crowd = busy_of(&places, ONE, 3, true);
    advance(GRACE).await;
    let (next, found) = places.enter(ONE);
    assert_eq!((found, next.promote(), is_evicted(&idle)), (Found::Free, None, false));
    crowd[0].0.begin_lingering();
    let (own, found) = places.enter(ONE);
    assert_eq!((found, is_evicted(&crowd[0].0), is_evicted(&idle)), (Found::Evicted, true, false));
    let _asking = own.ask(true);
    let (_few, found) = places.enter(Address::V4([192, 0, 2, 3]));
    assert_eq!((found, is_evicted(&idle)), (Found::Evicted, true));
}
