//! What clients' tokens cost where frames are handed out: nobody looks at them there.

use std::sync::Arc;

use engine::access::{
    bad::Bad,
    rules::Rules,
    tokens::Tokens,
    verify::{Check, Named, Verdict, Verified, Verify},
};

use super::{
    cost::{Cost, Meter},
    plane::{Plane, WALL_US},
};

pub const COSTS: &[Cost] = &[Cost {
    name: "frame-tokens",
    what: "ten frames to each of 1,000 clients of one class; those of them that have shown a token of their own",
    sizes: [0, CLIENTS],
    ratio_max: 1.02,
    ms_max: None,
    is_counted: true,
    run: frames,
}];

const CLIENTS: usize = 1_000;
const FRAMES: usize = 10;
const DATA: &str = r#"{"bid":1.0841,"ask":1.0843}"#;
const LIVES_S: i64 = 3_600;

/// Believes everyone: a token is the subject's name.
#[derive(Debug)]
struct Believer;

impl Verify for Believer {
    fn has_keys(&self) -> bool {
        true
    }

    fn verify(&self, token: &str) -> Verdict {
        let exp_s = WALL_US / 1_000_000 + LIVES_S;
        let grants = format!(r#"{{"subscribe":["own.*","user.{token}.*"]}}"#);
        let payload = format!(r#"{{"sub":"{token}","jti":"of-{token}","exp":{exp_s},"fanwire":{grants}}}"#);
        Verdict::Known(Verified::Ok(payload.into()))
    }

    fn begin(&self, check: Check) {
        unreachable!("{check:?} was known at once");
    }

    fn named_by(&self, _certificate: &[u8]) -> Result<Named, Bad> {
        Err(Bad::Unreadable)
    }

    fn is_code_of(&self, _cookie: &str, _shown: &str) -> bool {
        false
    }
}

fn frames(holders: usize, meter: &mut Meter) {
    // Where all have one, nobody may be without.
    let rules = Rules { is_open: holders < CLIENTS, ..Rules::default() };
    let tokens = Tokens::new(Some(Arc::new(Believer)), 1, 1, 1);
    let mut plane = Plane::with_tokens(CLIENTS, tokens, |config| config.access.tokens.rules = rules.into());
    let topic: [Arc<str>; 1] = ["own.topic".into()];
    plane.publish(&topic, DATA);
    for client in 0..CLIENTS {
        let shown = format!("Bearer client{client}");
        let fields = [("Authorization", &*shown)];
        let fields = if client < holders { &fields[..] } else { &[] };
        plane.join_with("topics=own.*&interval_ms=0", fields);
        plane.settle();
    }
    let stats = plane.shard.stats();
    assert_eq!((stats.tokens_accepted, stats.classes), (holders as u64, 1), "they share a class");
    for _ in meter.samples() {
        let sends = plane.wire.sends;
        meter.sample(|| (0..FRAMES).for_each(|_| plane.publish(&topic, DATA)));
        assert_eq!(plane.wire.sends - sends, (FRAMES * CLIENTS) as u64);
    }
}
