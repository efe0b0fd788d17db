//! A subscription can ride on the URL; a bad one is refused before the upgrade.
#![forbid(unsafe_code)]

mod support;

use proto::encode::Opcode;
use support::{
    EPOCH, World, config,
    subscriber::{Asked, AskedOp},
};

fn world() -> World {
    let mut config = config();
    config.fanout.interval = std::time::Duration::ZERO;
    World::new(config, 64, 1)
}

/// Dials with a subscription on the URL, which the model is told of.
fn dial(
    world: &mut World,
    target: &str,
    topics: &[&str],
    interval_ms: Option<u64>,
    since: Option<u64>,
) -> usize {
    let peer = world.dial_to(target);
    let topics = topics.iter().map(|t| t.to_string()).collect();
    let since = since.map(|version| (EPOCH.to_owned(), version));
    let op = AskedOp::Subscribe { sub: String::new(), topics, interval_ms, since };
    world.peers[peer].model.asked.push_back(Asked { id: None, op });
    world.settle();
    assert!(world.peers[peer].open, "{:?}", world.peers[peer]);
    peer
}

#[test]
fn it_is_answered_like_an_op_of_its_own() {
    let mut world = world();
    world.publish("a.b", "1");
    let peer = dial(&mut world, "/ws?topics=a.*,c&interval_ms=100", &["a.*", "c"], Some(100), None);
    let subscribed = &world.peers[peer].frames("subscribed")[0];
    assert_eq!(subscribed["id"], serde_json::Value::Null);
    assert_eq!(world.peers[peer].frames("snapshot")[0]["updates"][0]["topic"], "a.b");
    world.publish("c", "1");
    world.advance(std::time::Duration::from_millis(200));
    world.peers[peer].model.check_newest(&world.publisher.epochs);
}

#[test]
fn since_on_the_url_is_answered_with_a_batch() {
    let mut world = world();
    world.publish("a", "1");
    world.publish("b", "1");
    let peer = dial(&mut world, &format!("/ws?since={EPOCH}:1&topics=*"), &["*"], None, Some(1));
    let batch = &world.peers[peer].frames("batch")[0];
    assert_eq!((&batch["from"], &batch["updates"][0]["topic"]), (&1.into(), &"b".into()));
}

#[test]
fn percent_encoding_and_parameters_nobody_knows_do_no_harm() {
    let mut world = world();
    dial(&mut world, "/ws?x=%41&topics=a%2E%2A%2Cb&y", &["a.*", "b"], None, None);
    dial(&mut world, "http://localhost/ws?topics=a", &["a"], None, None);
}

#[test]
fn ops_may_follow_in_the_same_packet() {
    let mut world = world();
    world.publish("a", "1");
    let peer = world.dial();
    let op = |topics: &str| AskedOp::Subscribe {
        sub: String::new(),
        topics: vec![topics.to_owned()],
        interval_ms: None,
        since: None,
    };
    world.peers[peer].model.asked.push_back(Asked { id: None, op: op("a") });
    world.handshake(peer, "/ws?topics=a", false);
    world.ask(peer, op("b"));
    world.send_frame(peer, Opcode::Ping, b"!");
    world.settle();
    assert_eq!(world.peers[peer].model.sub("").unwrap().patterns.len(), 2);
    assert_eq!(world.peers[peer].pongs, [b"!"]);
}

#[test]
fn bad_values_are_refused_with_400_before_the_upgrade() {
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    for query in [
        "topics=",
        "topics=a,,b",
        "topics=a*.b",
        "topics=%zz",
        "topics=a&interval_ms=soon",
        "topics=a&interval_ms=-1",
        "topics=a&since=yesterday",
        "topics=a&since=8f0c2a77d1e94b02",
        &format!("topics={}", many.join(",")),
    ] {
        let mut world = world();
        let peer = world.dial_to(&format!("/ws?{query}"));
        world.settle();
        let answer = String::from_utf8_lossy(&world.peers[peer].http).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{query}: {answer}");
        assert!(!world.peers[peer].open);
    }
}
