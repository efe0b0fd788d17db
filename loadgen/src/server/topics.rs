//! The gateway's own topics and values, by `GET /topics` of its admin listener.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    admin::Admin,
    http::{self, Http},
};
use crate::judge::values::GatewayValue;

/// Topics of one page of the list.
const PAGE: usize = 1000;
/// Topics whose values are asked for, evenly chosen.
const ASKED_MAX: usize = 4096;
/// Requests sent before their answers are read.
const PIPELINED_MAX: usize = 64;

/// `topic` and `v` of all topics of the gateway, in topic order.
pub fn list(admin: &Admin) -> io::Result<BTreeMap<String, u64>> {
    #[derive(Deserialize)]
    struct Item {
        topic: String,
        v: u64,
    }
    let mut http = Http::connect(admin)?;
    let mut topics: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let after = topics
            .last_key_value()
            .map_or(String::new(), |(last, _)| format!("&after={}", http::encode(last)));
        let body = http.get(&format!("/topics?limit={PAGE}{after}"))?.good("/topics")?;
        let page: Vec<Item> = serde_json::from_slice(&body)?;
        let (before, whole) = (topics.len(), page.len() < PAGE);
        topics.extend(page.into_iter().map(|item| (item.topic, item.v)));
        // A page that brings nothing new would be asked for again and again.
        if whole || topics.len() == before {
            return Ok(topics);
        }
    }
}

/// What the gateway has of `topics` now. Some may be gone meanwhile.
pub fn values(admin: &Admin, topics: &[&str]) -> io::Result<HashMap<String, GatewayValue>> {
    #[derive(Deserialize)]
    struct Item<'a> {
        v: u64,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let step = topics.len().div_ceil(ASKED_MAX).max(1);
    let asked: Vec<&str> = topics.iter().copied().step_by(step).collect();
    let mut http = Http::connect(admin)?;
    let mut values = HashMap::new();
    for some in asked.chunks(PIPELINED_MAX) {
        let mut requests = Vec::new();
        some.iter().for_each(|topic| http.ask(&mut requests, &format!("/topics/{}", http::encode(topic))));
        http.send(&requests)?;
        for topic in some {
            let answer = http.answer()?;
            if answer.status == 200 {
                let item: Item<'_> = serde_json::from_slice(&answer.body)?;
                values.insert((*topic).to_owned(), GatewayValue::new(item.v, item.data));
            }
        }
    }
    Ok(values)
}
