//! What is published of changes that come, and what is asked for.

use engine::topic::changes::Changes;

use super::*;

/// Room for some hundred changes.
const BYTES: usize = 100 * (CHANGE_BYTES + KEY_BYTES + 6);

/// `"5"` counts one, `"3-5"` several, `"4>5"` names the one before, `"~5"` tells no hole.
fn seq(text: &str) -> Seq {
    let number = |text: &str| text.parse().unwrap();
    match (text.split_once('-'), text.split_once('>'), text.strip_prefix('~')) {
        (Some((first, last)), ..) => Seq::span(number(first), number(last)),
        (_, Some((previous, last)), _) => Seq::after(number(previous), number(last)),
        (_, _, Some(last)) => Seq::sparse(number(last)),
        _ => Seq::one(number(text)),
    }
}

fn publication(base: Base, count: &str, at_us: i64) -> Publication {
    let mut changes = Changes::new(base);
    changes.set("k", count.as_bytes()).unwrap();
    Publication { seq: Some(seq(count)), ..Publication::new("t", Body::Changes(changes.into()), at_us) }
}

/// What is published: `w5` a whole, `5` a change, `5!` one with which the count begins anew, `lost` that something is missing.
fn shown(out: &[Publication]) -> String {
    let one = |publication: &Publication| match &publication.body {
        Body::Unread(_) => "lost".to_owned(),
        _ => {
            let last = publication.seq.map_or("-".to_owned(), |seq| seq.last.to_string());
            let whole = if is_whole(publication) { "w" } else { "" };
            format!("{whole}{last}{}", if publication.seq_reset { "!" } else { "" })
        }
    };
    out.iter().map(one).collect::<Vec<_>>().join(" ")
}

struct Venue(Stitch, Repair);

impl Venue {
    fn new(repair: Repair) -> Self {
        Self(Stitch::new(2, BYTES), repair)
    }

    /// Changes and, with a `w` before it, wholes that come by themselves.
    fn brings(&mut self, counts: &str) -> (String, Vec<Need>) {
        let (mut out, mut needs) = (Vec::new(), Vec::new());
        for count in counts.split(' ') {
            let (base, count) =
                count.strip_prefix('w').map_or((Base::Held, count), |count| (Base::Empty, count));
            let need = self.0.take(publication(base, count, 0), self.1, None, &mut out);
            needs.extend(Some(need).filter(|need| *need != Need::Nothing));
        }
        (shown(&out), needs)
    }

    fn answers(&mut self, count: u64) -> (String, Need) {
        let mut out = Vec::new();
        let need = self.0.join(publication(Base::Whole, &count.to_string(), 0), count, &mut out);
        (shown(&out), need)
    }
}

fn nothing(published: &str) -> (String, Vec<Need>) {
    (published.to_owned(), Vec::new())
}

#[test]
fn changes_wait_for_the_whole_and_those_that_it_holds_are_left_out() {
    let mut venue = Venue::new(Repair::Ask);
    assert_eq!(venue.brings("4 5 6 7"), (String::new(), vec![Need::Whole]));
    assert_eq!(venue.answers(5), ("w5 6 7".to_owned(), Need::Nothing));
    assert_eq!(venue.brings("8 9"), nothing("8 9"));
    assert_eq!(venue.answers(9), (String::new(), Need::Nothing), "nobody asked");
    assert_eq!(venue.0.bytes, 0);
}

#[test]
fn a_whole_that_is_older_than_what_waits_is_asked_for_again() {
    for (counts, older, joins) in [("5 6", 3, 4), ("5-6", 3, 4), ("4>6", 3, 4), ("4>6", 3, 5)] {
        let mut venue = Venue::new(Repair::Ask);
        venue.brings(counts);
        assert_eq!(venue.answers(older), (String::new(), Need::Whole), "{counts}");
        let (published, need) = venue.answers(joins);
        assert_eq!((&published[..2], need), (&*format!("w{joins}"), Need::Nothing), "{counts}");
        assert!(published.ends_with(" 6"), "{counts}: {published}");
    }
    let mut venue = Venue::new(Repair::Ask);
    venue.brings("~5 ~9");
    assert_eq!(
        venue.answers(5),
        ("w5 9".to_owned(), Need::Nothing),
        "of a sparse count only what is older is left out"
    );
}

#[test]
fn a_whole_that_is_newer_than_all_waits_for_nothing() {
    let mut venue = Venue::new(Repair::Ask);
    venue.brings("5 6");
    assert_eq!(venue.answers(9), ("w9".to_owned(), Need::Nothing));
    assert_eq!(venue.brings("7 8 9"), nothing("7 8 9"), "known already: left out where all are numbered");
    assert_eq!(venue.brings("10 11"), nothing("10 11"));
}

#[test]
fn a_gap_is_told_and_the_whole_asked_for_again() {
    for (gap, joined) in [("9", 8), ("9-10", 8), ("8>10", 8)] {
        let mut venue = Venue::new(Repair::Ask);
        venue.brings("5");
        venue.answers(5);
        assert_eq!(venue.brings("6"), nothing("6"));
        assert_eq!(venue.brings(gap), ("lost".to_owned(), vec![Need::Whole]), "{gap}");
        let (published, need) = venue.answers(joined);
        assert_eq!((&published[..3], need), ("w8 ", Need::Nothing), "{gap}");
    }
    // One that names the count before it is broken by a step of one as well.
    let mut venue = Venue::new(Repair::None);
    assert_eq!(venue.brings("w5 5>60 61>70"), nothing("w5 60 70"), "the step is told where all are numbered");
    let mut venue = Venue::new(Repair::Reconnect);
    let (published, needs) = venue.brings("w5 5>60 61>70");
    assert_eq!((&*published, needs.len()), ("w5 60 lost", 1));
    assert!(
        matches!(&needs[0], Need::Reconnect(why) if why == "t: seq stepped from 60 to 70: 1 updates are missing")
    );
}

#[test]
fn a_count_that_goes_back_is_a_gap_too() {
    let mut venue = Venue::new(Repair::Ask);
    venue.brings("500");
    venue.answers(500);
    assert_eq!(venue.brings("501 1"), ("501 lost".to_owned(), vec![Need::Whole]));
    assert_eq!(venue.brings("2 3"), nothing(""));
    assert_eq!(venue.answers(2), ("w2 3".to_owned(), Need::Nothing));
    assert_eq!(venue.brings("4"), nothing("4"));
    let mut venue = Venue::new(Repair::None);
    assert_eq!(venue.brings("w500 501 1 2"), nothing("w500 501 lost 1! 2"));
    // While changes wait those of before are of no use.
    let mut venue = Venue::new(Repair::Ask);
    venue.brings("500 501 1 2");
    assert_eq!(venue.answers(500), (String::new(), Need::Whole), "it may be of the counts before");
    assert_eq!(venue.answers(1), ("w1 2".to_owned(), Need::Nothing));
    // A change may name a lower count as the one that it goes on to.
    let mut venue = Venue::new(Repair::None);
    assert_eq!(venue.brings("w9 9>10 10>3 3>5"), nothing("w9 10 3 5"));
}

#[test]
fn a_whole_that_comes_by_itself_begins_anew() {
    let mut venue = Venue::new(Repair::None);
    assert_eq!(venue.brings("w100 101 w1 2 3"), nothing("w100 101 w1 2 3"));
    // Changes before it and older ones after it.
    assert_eq!(Venue::new(Repair::None).brings("3 w5 4 6"), nothing("3 w5 4 6"));
    assert_eq!(Venue::new(Repair::None).brings("w5 3 4 6"), nothing("w5 3 4 6"));
    let mut venue = Venue::new(Repair::Ask);
    venue.brings("3 4");
    assert_eq!(venue.brings("w5 6"), nothing("w5 6"), "nothing waits any more");
    assert_eq!(venue.answers(4), (String::new(), Need::Nothing));
}

#[test]
fn a_whole_that_stays_ahead_of_its_changes_is_no_whole_of_theirs() {
    let mut venue = Venue::new(Repair::Ask);
    venue.brings("5");
    venue.answers(9_000);
    let mut take = |count: &str, at_us| {
        let mut out = Vec::new();
        let need = venue.0.take(publication(Base::Held, count, at_us), Repair::Ask, None, &mut out);
        (shown(&out), need)
    };
    assert_eq!(take("6", 1_000_000), ("6".to_owned(), Need::Nothing));
    assert_eq!(take("7", AHEAD_US), ("7".to_owned(), Need::Nothing));
    assert_eq!(take("8", AHEAD_US + 1_000_001), ("lost".to_owned(), Need::Whole));
    assert_eq!(venue.answers(8), ("w8".to_owned(), Need::Nothing));
    let mut stitch = Stitch::new(2, BYTES);
    let mut out = Vec::new();
    for (base, count, at_us) in [
        (Base::Whole, "9000", 0),
        (Base::Held, "5", 0),
        (Base::Held, "6", AHEAD_US + 1),
        (Base::Held, "7", AHEAD_US + 2),
    ] {
        stitch.take(publication(base, count, at_us), Repair::None, None, &mut out);
    }
    assert_eq!(shown(&out), "w9000 5 lost 6! 7");
}

#[test]
fn what_waits_is_bounded_and_so_are_tables() {
    let mut venue = Venue::new(Repair::Ask);
    let counts: Vec<String> = (1..=400).map(|count| count.to_string()).collect();
    venue.brings(&counts.join(" "));
    assert!(venue.0.bytes <= BYTES && venue.0.dropped > 100, "{} {}", venue.0.bytes, venue.0.dropped);
    assert_eq!(venue.answers(10).1, Need::Whole, "what was dropped is missing");
    let (published, need) = venue.answers(399);
    assert_eq!((&*published, need), ("w399 400", Need::Nothing));
    assert_eq!(venue.0.bytes, 0);
    let mut other = |topic: &str| venue.0.expect(&topic.into());
    assert_eq!([other("t"), other("u"), other("u"), other("v")], [false, true, false, false]);
    let mut out = Vec::new();
    let change = Publication { topic: "v".into(), ..publication(Base::Held, "1", 0) };
    assert_eq!(venue.0.take(change, Repair::Ask, None, &mut out), Need::Nothing);
    assert_eq!(shown(&out), "lost", "it is told that its book cannot be had");
    assert!(venue.0.waits("u") && !venue.0.waits("v"));
    venue.0.clear();
    assert!(!venue.0.waits("u"));
}

#[test]
fn a_whole_that_lacks_what_found_no_room_is_told_to_and_asked_for_again() {
    for sparse in ["", "~"] {
        let mut venue = Venue::new(Repair::Ask);
        let counts: Vec<String> = (1..=400).map(|count| format!("{sparse}{count}")).collect();
        let mut last = 0;
        for count in &counts {
            let (published, _) = venue.brings(count);
            last += 1;
            if venue.0.dropped > 0 {
                assert_eq!(published, "lost", "{count}");
                break;
            }
        }
        assert_eq!(
            venue.answers(last - 1),
            (String::new(), Need::Whole),
            "nothing waits, and one is missing"
        );
        assert_eq!(venue.answers(last), (format!("w{last}"), Need::Nothing));
        let next = last + 1;
        assert_eq!(venue.brings(&format!("{sparse}{next}")), nothing(&next.to_string()));
    }
}

#[test]
fn the_first_change_of_a_connection_may_be_the_whole() {
    for base in [Base::Whole, Base::Empty] {
        let mut stitch = Stitch::new(2, BYTES);
        let mut out = Vec::new();
        for count in ["5", "6"] {
            stitch.take(publication(Base::Held, count, 0), Repair::None, Some(base), &mut out);
        }
        assert_eq!(shown(&out), "w5 6");
        assert!(matches!(&out[0].body, Body::Changes(changes) if changes.base == base));
    }
}

mod random;
