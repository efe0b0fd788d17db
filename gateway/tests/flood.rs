//! A flood of updates: clients get their frames while it is taken in, and who asks is answered ahead of it.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{
    sequencer::Grouping::Single,
    shard::inbox::{Inbox, Message},
};

use support::{World, config};

#[test]
fn clients_have_their_turn_while_a_flood_is_taken_in() {
    let mut config = config();
    config.fanout.interval = Duration::ZERO;
    let mut world = World::new(config, 64, 1);
    let client = world.connect();
    world.subscribe(client, "", &["probe"], Some(0));
    world.settle();
    world.shard.set_turn_updates(100);
    world.publish("probe", "1");
    let flood: Vec<_> = (0..1000).map(|n| world.item(&format!("flood.t{}", n % 50), "0")).collect();
    for some in flood.chunks(100) {
        assert!(world.publisher.publish(some, Single));
    }
    // A turn takes a tenth of it, or the probe's value too, and then the client is sent what it has not.
    world.turn(1024);
    world.turn(1024);
    world.read(client, usize::MAX);
    let held =
        |world: &World| world.peers[client].model.sub("").unwrap().holds(world.publisher.current(), "probe");
    assert_eq!(held(&world), Some(1));
    assert!(world.shard.take_inbox(world.now), "most of the flood waits");
    // What a client asks for is there by the time that it is answered.
    world.publish("probe", "2");
    world.subscribe(client, "second", &["probe", "flood.*"], Some(0));
    world.turn(1024);
    assert!(!world.shard.take_inbox(world.now), "it was taken in whole for that");
    world.settle();
    assert_eq!(held(&world), Some(2));
}

#[test]
fn whether_a_shard_lives_is_asked_ahead_of_what_it_has_to_do() {
    let inbox = Inbox::new(10, 1000, net::Waker::unconnected());
    while inbox.push(Message::Drain { drain_us: 1 }).is_ok() {}
    let (ask, mut answer) = tokio::sync::oneshot::channel();
    inbox.push(Message::Scrape(Box::new(|stats| drop(ask.send(stats))))).unwrap();
    match inbox.pop() {
        Some(Message::Scrape(answer)) => answer(Box::default()),
        other => panic!("{other:?}"),
    }
    assert!(answer.try_recv().is_ok());
    assert!(matches!(inbox.pop(), Some(Message::Drain { .. })));
}
