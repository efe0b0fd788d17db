//! What a token says (RFC 7519), read from its payload once its signature was found good.

use serde_json::{Map, Value, json};

use super::{
    bad::Bad,
    grants::Grants,
    rules::{Role, Rules},
    verify::Named,
};
use crate::topic::{encoded::SUB_BYTES_MAX, pattern::Pattern};

const JTI_BYTES_MAX: usize = 255;
/// An hour, as in the configuration.
const INTERVAL_MS_MAX: u64 = 3_600_000;
/// The year 10000: whatever is later is as late.
const SECONDS_MAX: f64 = 253_402_300_800.0;

/// What a good token says, as far as the gateway looks at it. Times are µs since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub sub: Option<Box<str>>,
    pub jti: Option<Box<str>>,
    pub exp_us: i64,
    /// Its own.
    pub grants: Grants,
    pub interval_ms_min: Option<u64>,
    /// Connections that its subject may have at once.
    pub connections: Option<usize>,
    /// Roles of the configuration that it has, by their places.
    pub roles: u64,
}

impl Token {
    /// Reads and judges a payload.
    pub fn read(payload: &str, rules: &Rules, now_us: i64) -> Result<Self, Bad> {
        let payload: Value =
            serde_json::from_str(payload).map_err(|_| Bad::Malformed("its payload is not JSON"))?;
        let claims = payload.as_object().ok_or(Bad::Malformed("its payload is no JSON object"))?;
        let exp_us = check_times(claims, rules, now_us)?;
        check_issuer(claims, rules)?;
        check_audience(claims, rules)?;
        let sub = text(claims, "sub", SUB_BYTES_MAX, "a text of 1 to 128 bytes")?;
        let jti = text(claims, "jti", JTI_BYTES_MAX, "a text of 1 to 255 bytes")?;
        let token = Self { jti, ..Self::of(sub, exp_us, roles(&payload, rules)) };
        match payload.pointer(&rules.claim) {
            None => Ok(token),
            Some(Value::Object(own)) => token.with(own),
            Some(_) => Err(Bad::Grants(format!("what stands at {} is no object", rules.claim))),
        }
    }

    /// What a certificate stands for: it grants nothing itself, and of roles it has those that its `sub` is enough for.
    pub fn certified(named: Named, rules: &Rules, now_us: i64) -> Result<Self, Bad> {
        let Named { sub, exp_us } = named;
        if exp_us.saturating_add(rules.leeway_us) <= now_us {
            return Err(Bad::Expired);
        }
        if sub.as_ref().is_some_and(|sub| !(1..=SUB_BYTES_MAX).contains(&sub.len())) {
            return Err(Bad::Claim { claim: "sub", wanted: "the certificate names 1 to 128 bytes" });
        }
        let payload = sub.as_ref().map_or_else(|| json!({}), |sub| json!({ "sub": sub }));
        Ok(Self::of(sub, exp_us, roles(&payload, rules)))
    }

    fn of(sub: Option<Box<str>>, exp_us: i64, roles: u64) -> Self {
        Self {
            sub,
            jti: None,
            exp_us,
            grants: Grants::default(),
            interval_ms_min: None,
            connections: None,
            roles,
        }
    }

    /// With what stands under `[access] claim`.
    fn with(mut self, own: &Map<String, Value>) -> Result<Self, Bad> {
        let [mut subscribe, mut publish, mut auto] = [const { Vec::new() }; 3];
        for (name, value) in own {
            let bad = |wanted: &str| Bad::Grants(format!("{name:?} is bad: {wanted}"));
            match name.as_str() {
                "subscribe" => subscribe = patterns(name, value)?,
                "publish" => publish = patterns(name, value)?,
                "auto" => auto = patterns(name, value)?,
                "interval_ms_min" => {
                    let ms = value.as_u64().filter(|ms| *ms <= INTERVAL_MS_MAX);
                    self.interval_ms_min = Some(ms.ok_or_else(|| bad("milliseconds, 0 to 3600000"))?);
                }
                "connections" => {
                    let count = value.as_u64().filter(|count| *count > 0);
                    self.connections = Some(count.ok_or_else(|| bad("a whole number, 1 or more"))? as usize);
                }
                // Nothing may be done for others yet.
                "act_for" if value.is_boolean() => {}
                "act_for" => return Err(bad("true or false")),
                _ => {
                    let known = "subscribe, publish, auto, interval_ms_min, connections and act_for";
                    return Err(Bad::Grants(format!("{:?} is unknown; there are {known}", shown(name))));
                }
            }
        }
        self.grants = Grants::new([&subscribe, &publish, &auto]);
        Ok(self)
    }
}

/// Those of the configuration that ask for what a payload says, by their places.
fn roles(payload: &Value, rules: &Rules) -> u64 {
    let holds = |role: &Role| {
        let stands = |pointer: &str| payload.pointer(pointer);
        role.when.iter().all(|(at, wanted)| stands(at.as_str()).is_some_and(|found| wanted.is_met(found)))
    };
    let roles = rules.roles.iter().enumerate().filter(|(_, role)| holds(role));
    roles.fold(0, |roles, (i, _)| roles | 1 << i)
}

/// `exp`, after it was compared with the others.
fn check_times(claims: &Map<String, Value>, rules: &Rules, now_us: i64) -> Result<i64, Bad> {
    let exp_us = time_us(claims, "exp")?.ok_or(Bad::Missing("exp"))?;
    let (nbf_us, iat_us) = (time_us(claims, "nbf")?, time_us(claims, "iat")?);
    if exp_us.saturating_add(rules.leeway_us) <= now_us {
        return Err(Bad::Expired);
    }
    if nbf_us.is_some_and(|nbf_us| nbf_us > now_us.saturating_add(rules.leeway_us)) {
        return Err(Bad::NotYet);
    }
    if iat_us.is_some_and(|iat_us| iat_us > now_us.saturating_add(rules.leeway_us)) {
        // Or a token could live for as long as it likes, from a moment that is far off.
        return Err(Bad::Claim { claim: "iat", wanted: "it was issued in the future" });
    }
    let lives_us = exp_us.saturating_sub(iat_us.unwrap_or(now_us));
    match rules.lifetime_max_us {
        Some(max_us) if lives_us > max_us => Err(Bad::TooLong {
            lives_s: lives_us.unsigned_abs().div_ceil(1_000_000),
            max_s: max_us.unsigned_abs() / 1_000_000,
        }),
        _ => Ok(exp_us),
    }
}

/// A number of seconds since the Unix epoch, in µs, the year 10000 at most.
fn time_us(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<i64>, Bad> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.ok_or(Bad::Claim { claim, wanted: "a number of seconds since 1970" })?;
    Ok(Some((seconds.min(SECONDS_MAX) * 1e6) as i64))
}

fn text(
    claims: &Map<String, Value>,
    claim: &'static str,
    bytes_max: usize,
    wanted: &'static str,
) -> Result<Option<Box<str>>, Bad> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let text = value.as_str().filter(|text| (1..=bytes_max).contains(&text.len()));
    text.map(|text| Some(text.into())).ok_or(Bad::Claim { claim, wanted })
}

fn check_issuer(claims: &Map<String, Value>, rules: &Rules) -> Result<(), Bad> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let is_known = issuer.is_some_and(|issuer| rules.issuer.iter().any(|known| known == issuer));
    if rules.issuer.is_empty() || is_known { Ok(()) } else { Err(Bad::Issuer) }
}

fn check_audience(claims: &Map<String, Value>, rules: &Rules) -> Result<(), Bad> {
    let is_ours = |value: &Value| value.as_str().is_some_and(|of| rules.audience.iter().any(|us| us == of));
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().all(Value::is_string) && all.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    };
    if rules.audience.is_empty() || is_for_us { Ok(()) } else { Err(Bad::Audience) }
}

fn patterns(name: &str, value: &Value) -> Result<Vec<Pattern>, Bad> {
    let wanted = || Bad::Grants(format!("{name:?} is bad: a list of patterns"));
    let list = value.as_array().ok_or_else(wanted)?;
    let pattern = |value: &Value| {
        let text = value.as_str().ok_or_else(wanted)?;
        Pattern::parse(text).map_err(|bad| Bad::Grants(format!("in {name:?}: {bad}")))
    };
    list.iter().map(pattern).collect()
}

/// As much of a name as is told.
fn shown(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}

#[cfg(test)]
mod tests {
    use crate::access::{claims::*, grant::Grant, grants::Right, holder::Holder, rules::*};
    use crate::json::{pointer::Pointer, wanted::Wanted};

    const NOW_US: i64 = 1_700_000_000_000_000;
    const NOW: i64 = NOW_US / 1_000_000;

    fn read(rules: &Rules, claims: Value) -> Result<Token, Bad> {
        Token::read(&claims.to_string(), rules, NOW_US)
    }

    #[test]
    fn a_token_says_who_it_is_of_and_what_it_grants() {
        let claims = json!({
            "sub": "alice", "jti": "7", "exp": NOW + 60, "more": {"x": 1},
            "fanwire": {"subscribe": ["fx.*", "news"], "publish": [], "interval_ms_min": 200, "connections": 3},
        });
        let token = read(&Rules::default(), claims).unwrap();
        assert_eq!((token.sub.as_deref(), token.jti.as_deref()), (Some("alice"), Some("7")));
        assert_eq!(token.exp_us, NOW_US + 60_000_000);
        assert_eq!(
            token.grants.of(Right::Subscribe).map(|p| p.to_string()).collect::<Vec<_>>(),
            ["fx.*", "news"]
        );
        assert_eq!((token.interval_ms_min, token.connections), (Some(200), Some(3)));
        let bare = read(&Rules::default(), json!({"exp": NOW as f64 + 0.5})).unwrap();
        assert_eq!((bare.sub, bare.exp_us), (None, NOW_US + 500_000));
    }

    #[test]
    fn times_are_judged_with_the_leeway_and_by_the_longest_life() {
        let rules = Rules::default();
        let of = |claims: Value| read(&rules, claims).err();
        assert_eq!(of(json!({"exp": NOW - 29})), None);
        assert_eq!(of(json!({"exp": NOW - 30})), Some(Bad::Expired));
        assert_eq!(of(json!({})), Some(Bad::Missing("exp")));
        assert_eq!(of(json!({"exp": NOW + 60, "nbf": NOW + 30})), None);
        assert_eq!(of(json!({"exp": NOW + 60, "nbf": NOW + 31})), Some(Bad::NotYet));
        assert_eq!(of(json!({"exp": NOW + 86_400})), None);
        let too_long = Some(Bad::TooLong { lives_s: 86_401, max_s: 86_400 });
        assert_eq!(of(json!({"exp": NOW + 86_401})), too_long);
        assert_eq!(of(json!({"exp": NOW + 1, "iat": NOW - 86_400})), too_long);
        assert!(of(json!({"exp": NOW + 10_000_000, "iat": NOW + 9_999_999})).is_some());
        assert!(of(json!({"exp": 1e30})).is_some());
        let any = Rules { lifetime_max_us: None, ..Rules::default() };
        assert!(read(&any, json!({"exp": 1e30})).is_ok());
    }

    #[test]
    fn what_is_of_another_kind_than_it_should_be_makes_a_token_bad() {
        let bad = [
            json!({"exp": "1800000000"}),
            json!({"exp": null}),
            json!({"exp": [NOW + 60]}),
            json!({"exp": -1}),
            json!({"exp": true}),
            json!({"exp": NOW + 60, "nbf": "0"}),
            json!({"exp": NOW + 60, "iat": {}}),
            json!({"exp": NOW + 60, "sub": 7}),
            json!({"exp": NOW + 60, "sub": ""}),
            json!({"exp": NOW + 60, "sub": ["alice"]}),
            json!({"exp": NOW + 60, "sub": "x".repeat(129)}),
            json!({"exp": NOW + 60, "sub": null}),
            json!({"exp": NOW + 60, "jti": 1}),
            json!({"exp": NOW + 60, "fanwire": []}),
            json!({"exp": NOW + 60, "fanwire": null}),
            json!({"exp": NOW + 60, "fanwire": {"subscribe": "fx.*"}}),
            json!({"exp": NOW + 60, "fanwire": {"subscribe": [1]}}),
            json!({"exp": NOW + 60, "fanwire": {"subscribe": ["a*"]}}),
            json!({"exp": NOW + 60, "fanwire": {"subscribe": ["user.{sub}"]}}),
            json!({"exp": NOW + 60, "fanwire": {"subscrbe": ["a"]}}),
            json!({"exp": NOW + 60, "fanwire": {"interval_ms_min": -1}}),
            json!({"exp": NOW + 60, "fanwire": {"connections": 0}}),
            json!({"exp": NOW + 60, "fanwire": {"act_for": 1}}),
            // Nested claims are nobody's.
            json!({"payload": {"exp": NOW + 60}}),
            json!([{"exp": NOW + 60}]),
            json!("exp"),
        ];
        for claims in bad {
            assert!(read(&Rules::default(), claims.clone()).is_err(), "{claims}");
        }
        assert!(Token::read("{\"exp\":", &Rules::default(), NOW_US).is_err());
    }

    #[test]
    fn a_certificate_says_who_and_until_when() {
        let named = |sub: &str, exp_us| Named { sub: Some(sub.into()), exp_us };
        let when = vec![(Pointer::parse("/sub").unwrap(), Wanted::Text("feed".into()))];
        let rules = Rules { roles: vec![Role { when, granted: Granted::default() }], ..Rules::default() };
        let read = |named| Token::certified(named, &rules, NOW_US);
        let feed = read(named("feed", NOW_US + 1)).unwrap();
        assert_eq!((feed.sub.as_deref(), feed.exp_us, feed.roles), (Some("feed"), NOW_US + 1, 1));
        assert_eq!(read(named("other", i64::MAX)).unwrap().roles, 0);
        assert_eq!(read(named("feed", NOW_US - 30_000_000)), Err(Bad::Expired));
        assert!(read(named(&"x".repeat(129), NOW_US + 1)).is_err());
        assert_eq!(read(Named { sub: None, exp_us: NOW_US + 1 }).unwrap().sub, None);
    }

    #[test]
    fn an_issuer_and_an_audience_that_are_configured_have_to_be_there() {
        let both =
            Rules { issuer: vec!["a".into(), "b".into()], audience: vec!["us".into()], ..Rules::default() };
        let with =
            |iss: Value, aud: Value| read(&both, json!({"exp": NOW + 60, "iss": iss, "aud": aud})).err();
        assert_eq!(with(json!("b"), json!("us")), None);
        assert_eq!(with(json!("a"), json!(["them", "us"])), None);
        for iss in [json!("c"), json!(["a"]), json!(null), json!("")] {
            assert_eq!(with(iss, json!("us")), Some(Bad::Issuer));
        }
        for aud in [json!("them"), json!([]), json!({"us": 1}), json!(["us", 1]), json!(null), json!("US")] {
            assert_eq!(with(json!("a"), aud), Some(Bad::Audience));
        }
        assert!(
            read(&Rules::default(), json!({"exp": NOW + 60, "iss": 7, "aud": 7})).is_ok(),
            "not looked at"
        );
    }

    #[test]
    fn grants_of_everyone_roles_and_the_token_add_up() {
        let granted = |subscribe: &[&str], interval_ms_min| Granted {
            subscribe: subscribe.iter().map(|text| Grant::parse(text).unwrap()).collect(),
            interval_ms_min,
            ..Granted::default()
        };
        let role = |pointer: &str, wanted, granted| Role {
            when: vec![(Pointer::parse(pointer).unwrap(), wanted)],
            granted,
        };
        let rules = Rules {
            is_open: false,
            everyone: granted(&["user.{sub}.*"], Some(500)),
            roles: vec![
                role("/groups", Wanted::Text("l2".into()), granted(&["nasdaq.*"], Some(100))),
                role("/level", Wanted::Whole(3), granted(&["lse.*"], Some(50))),
                role("/groups", Wanted::Text("admin".into()), granted(&["*"], Some(1))),
            ],
            ..Rules::default()
        };
        let hold = |claims: Value| {
            let token = read(&rules, claims).unwrap();
            Holder::new(&token, token.grants.clone().into(), NOW_US)
        };
        let may = |holder: &Holder, text: &str| {
            let pattern = Pattern::parse(text).unwrap();
            rules.not_covered(Right::Subscribe, Some(holder), 1, &[pattern]).is_none()
        };
        let holder = hold(json!({
            "sub": "a@b.c", "exp": NOW + 60, "groups": ["x", "l2"], "level": 3.0,
            "fanwire": {"subscribe": ["fx.*.bid"]},
        }));
        for yes in ["user.a@b@x2Ec.*", "user.a@b@x2Ec.inbox", "nasdaq.*", "lse.x", "fx.EUR.bid", "fx.*.bid"] {
            assert!(may(&holder, yes), "{yes}");
        }
        for no in ["user.a@b.c.x", "user.*", "*", "fx.*", "fx.*.*", "nasdaq"] {
            assert!(!may(&holder, no), "{no}");
        }
        assert_eq!(rules.interval_ms_min(Some(&holder)), Some(50));
        let plain = hold(json!({"exp": NOW + 60, "groups": {"l2": 1}}));
        assert!(!may(&plain, "nasdaq.x") && !may(&plain, "user.x"));
        assert_eq!(rules.interval_ms_min(Some(&plain)), Some(500));
        let own = hold(json!({"exp": NOW + 60, "level": 3, "fanwire": {"interval_ms_min": 900}}));
        assert_eq!(rules.interval_ms_min(Some(&own)), Some(900));
    }

    #[test]
    fn a_holder_is_told_a_minute_before_or_at_half_of_what_is_left() {
        let holder = |seconds: i64| {
            let token =
                read(&Rules::default(), json!({"sub": "a", "jti": "b", "exp": NOW + seconds})).unwrap();
            Holder::new(&token, token.grants.clone().into(), NOW_US)
        };
        let mut long = holder(600);
        assert_eq!((long.sub(), long.jti()), (Some("a"), Some("b")));
        assert_eq!(long.due_us(30_000_000), NOW_US + 540_000_000);
        long.is_told = true;
        assert_eq!(long.due_us(30_000_000), NOW_US + 630_000_000);
        assert_eq!(holder(20).due_us(30_000_000), NOW_US + 10_000_000);
        // Within the leeway there is nothing to tell any more.
        assert_eq!(holder(-10).due_us(30_000_000), NOW_US + 20_000_000);
    }
}
