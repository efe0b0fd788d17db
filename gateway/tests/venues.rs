//! The shipped configurations of Coinbase, Binance and Kraken, each against a server that sends messages in the venue's
//! shapes. Those of configs/venues are played recordings by scripts/check venues.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use contract::{Gateway, http};
use serde_json::json;
use upstream::Said;

const WAIT: Duration = Duration::from_secs(10);

/// A shipped configuration with free ports, and `url` where the test's server is.
fn shipped(venue: &str, addr: SocketAddr) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../configs/{venue}.toml"));
    let text = fs::read_to_string(path).unwrap();
    let url = text.lines().find_map(|line| line.strip_prefix("url = \"wss://")).unwrap();
    let (authority, _) = url.split_once('/').unwrap();
    let text = text.replace(&format!("url = \"wss://{authority}"), &format!("url = \"ws://{addr}"));
    format!("[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{text}")
}

/// Serves these messages once the gateway has sent `texts` texts.
fn venue(texts: usize, messages: &'static [&'static str]) -> SocketAddr {
    upstream::start(move |_, mut peer| {
        peer.accept()?;
        for _ in 0..texts {
            let Said::Text(text) = peer.hear()? else { return Err(std::io::ErrorKind::InvalidData.into()) };
            assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
        }
        for message in messages {
            peer.text(message)?;
        }
        peer.wait()
    })
}

/// The topic as `GET /topics/NAME` has it, once its `data` is this.
fn await_data(gateway: &Gateway, topic: &str, data: &serde_json::Value) -> serde_json::Value {
    let end = Instant::now() + WAIT;
    loop {
        let answer = http(&gateway.admin, "GET", &format!("/topics/{topic}"), "", "");
        if answer.status == 200 {
            let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            if value["data"] == *data {
                return value;
            }
        }
        assert!(Instant::now() < end, "{topic}: {answer:?}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn coinbase_tickers_trades_and_books_arrive() {
    let addr = venue(
        1,
        &[
            r#"{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD"]}]}"#,
            r#"{"type":"snapshot","product_id":"BTC-USD","asks":[["97000.50","0.25"],["97001.00","1.5"]],"bids":[["96999.00","0.4"]]}"#,
            r#"{"type":"l2update","product_id":"BTC-USD","changes":[["sell","97000.50","0.00000000"],["buy","96998.10","2.0"]],"time":"2025-01-02T03:04:05.000006Z"}"#,
            r#"{"type":"ticker","sequence":9,"product_id":"BTC-USD","price":"97000.10","time":"2025-01-02T03:04:05.5Z"}"#,
            r#"{"type":"last_match","trade_id":4,"side":"buy","size":"9","price":"1","product_id":"BTC-USD","time":"2025-01-02T03:04:00Z"}"#,
            r#"{"type":"match","trade_id":5,"side":"sell","size":"0.10","price":"97000.10","product_id":"BTC-USD","time":"2025-01-02T03:04:06Z"}"#,
        ],
    );
    let gateway = Gateway::start_config(&shipped("coinbase", addr));
    let book = json!({"a97001.00": "1.5", "b96999.00": "0.4", "b96998.10": "2.0"});
    let book = await_data(&gateway, "coinbase.book.BTC-USD", &book);
    assert_eq!(book["ts"], 1_735_787_045_000_006_i64);
    let ticker = json!({"type": "ticker", "sequence": 9, "product_id": "BTC-USD", "price": "97000.10", "time": "2025-01-02T03:04:05.5Z"});
    assert_eq!(await_data(&gateway, "coinbase.ticker.BTC-USD", &ticker)["ts"], 1_735_787_045_500_000_i64);
    let trade = json!({"type": "match", "trade_id": 5, "side": "sell", "size": "0.10", "price": "97000.10", "product_id": "BTC-USD", "time": "2025-01-02T03:04:06Z"});
    let trade = await_data(&gateway, "coinbase.trade.BTC-USD", &trade);
    assert_eq!((&trade["ts"], &trade["v"]), (&1_735_787_046_000_000_i64.into(), &1.into()));
}

#[test]
fn binance_best_prices_trades_and_depths_arrive() {
    let addr = venue(
        0,
        &[
            r#"{"stream":"btcusdt@bookTicker","data":{"u":77,"s":"BTCUSDT","b":"96999.00","B":"0.4","a":"97001.00","A":"1.5"}}"#,
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1735787046001,"s":"BTCUSDT","t":5,"p":"97000.10","q":"0.10","T":1735787046000,"m":true}}"#,
            r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1735787045000,"s":"BTCUSDT","U":70,"u":78,"b":[["96999.00","0.40"]],"a":[["97001.00","1.5"],["97002.00","0.000"]]}}"#,
            r#"{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":78,"bids":[["96999.00","0.40"]],"asks":[["97009.00","9"]]}}"#,
            r#"{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":79,"bids":[["96999.00","0.41"]],"asks":[["97001.00","1.5"]]}}"#,
        ],
    );
    let gateway = Gateway::start_config(&shipped("binance", addr));
    let ticker = json!({"u": 77, "s": "BTCUSDT", "b": "96999.00", "B": "0.4", "a": "97001.00", "A": "1.5"});
    await_data(&gateway, "binance.ticker.BTCUSDT", &ticker);
    let trade = json!({"e": "trade", "E": 1_735_787_046_001_i64, "s": "BTCUSDT", "t": 5, "p": "97000.10", "q": "0.10", "T": 1_735_787_046_000_i64, "m": true});
    assert_eq!(await_data(&gateway, "binance.trade.BTCUSDT", &trade)["ts"], 1_735_787_046_000_000_i64);
    let depth = json!({"b96999.00": "0.40", "a97001.00": "1.5"});
    assert_eq!(await_data(&gateway, "binance.depth.BTCUSDT", &depth)["ts"], 1_735_787_045_000_000_i64);
    let top = json!({"b96999.00": "0.41", "a97001.00": "1.5"});
    await_data(&gateway, "binance.top.btcusdt@depth20@100ms", &top);
}

#[test]
fn kraken_tickers_trades_and_books_arrive() {
    let addr = venue(
        3,
        &[
            r#"{"channel":"status","type":"update","data":[{"system":"online","version":"2.0.0"}]}"#,
            r#"{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}"#,
            r#"{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":96999.0,"ask":97001.0,"last":97000.1}]}"#,
            r#"{"channel":"trade","type":"snapshot","data":[{"symbol":"BTC/USD","side":"buy","price":1.0,"qty":1.0,"trade_id":1,"timestamp":"2025-01-02T03:00:00Z"}]}"#,
            r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":96999.0,"qty":0.40000000}],"asks":[{"price":97001.0,"qty":1.5},{"price":97001.5,"qty":2}],"checksum":1}]}"#,
            r#"{"channel":"heartbeat"}"#,
            r#"{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":96999.0,"qty":0},{"price":96999.0,"qty":0.30000000}],"asks":[{"price":97001.5,"qty":0.00000000}],"checksum":2,"timestamp":"2025-01-02T03:04:05.000006Z"}]}"#,
            r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":97000.1,"qty":0.10000000,"trade_id":5,"timestamp":"2025-01-02T03:04:06Z"},{"symbol":"ETH/USD","side":"buy","price":3300.5,"qty":1.0,"trade_id":6,"timestamp":"2025-01-02T03:04:07Z"}]}"#,
        ],
    );
    let gateway = Gateway::start_config(&shipped("kraken", addr));
    let ticker = json!({"symbol": "BTC/USD", "bid": 96999.0, "ask": 97001.0, "last": 97000.1});
    await_data(&gateway, "kraken.ticker.BTC/USD", &ticker);
    let book = await_data(&gateway, "kraken.book.BTC/USD", &json!({"b96999.0": 0.3, "a97001.0": 1.5}));
    assert_eq!((&book["ts"], &book["v"]), (&1_735_787_045_000_006_i64.into(), &2.into()));
    for (topic, side, price, qty, id, second) in
        [("BTC/USD", "sell", 97000.1, 0.1, 5, 6), ("ETH/USD", "buy", 3300.5, 1.0, 6, 7)]
    {
        let timestamp = format!("2025-01-02T03:04:0{second}Z");
        let trade = json!({"symbol": topic, "side": side, "price": price, "qty": qty, "trade_id": id, "timestamp": timestamp});
        let trade = await_data(&gateway, &format!("kraken.trade.{topic}"), &trade);
        assert_eq!(
            (&trade["ts"], &trade["v"]),
            (&(1_735_787_040_000_000_i64 + second * 1_000_000).into(), &1.into())
        );
    }
}

/// A book as its venue has it, of prices in tenths, and what it sends to who subscribed to `depth` levels.
struct Market {
    random: fastrand::Rng,
    depth: usize,
    mid: i64,
    /// Bids and asks: price to size.
    sides: [BTreeMap<i64, u32>; 2],
}

impl Market {
    fn best(&self, side: usize) -> BTreeMap<i64, u32> {
        let levels = self.sides[side].iter().map(|(price, size)| (*price, *size));
        match side {
            0 => levels.rev().take(self.depth).collect(),
            _ => levels.take(self.depth).collect(),
        }
    }

    /// Something happens; gives the changes of both sides within the depth. Nothing is said of what falls out
    /// of it, nor of what goes while it is out of it.
    fn step(&mut self) -> [Vec<(i64, u32)>; 2] {
        let before = [self.best(0), self.best(1)];
        self.mid += self.random.i64(-3..=3);
        let mid = self.mid;
        self.sides[0].retain(|price, _| *price < mid);
        self.sides[1].retain(|price, _| *price > mid);
        for _ in 0..4 {
            let (side, off) = (self.random.usize(0..2), self.random.i64(1..=25));
            let price = if side == 0 { mid - off } else { mid + off };
            match self.sides[side].remove(&price) {
                Some(_) if self.random.bool() => {}
                _ => drop(self.sides[side].insert(price, self.random.u32(1..100))),
            }
        }
        [0, 1].map(|side| {
            let after = self.best(side);
            let gone = before[side].keys().filter(|price| !self.sides[side].contains_key(price));
            let changed = after.iter().filter(|(price, size)| before[side].get(price) != Some(size));
            gone.map(|price| (*price, 0)).chain(changed.map(|(price, size)| (*price, *size))).collect()
        })
    }

    fn table(&self) -> serde_json::Value {
        let side = |side: usize, prefix: &'static str| {
            let best = self.best(side).into_iter();
            best.map(move |(price, size)| (format!("{prefix}{}", tenths(price)), json!(size)))
        };
        side(0, "b").chain(side(1, "a")).collect::<serde_json::Map<_, _>>().into()
    }
}

fn tenths(price: i64) -> String {
    format!("{}.{}", price / 10, price % 10)
}

fn kraken_book(kind: &str, sides: &[Vec<(i64, u32)>; 2]) -> String {
    let levels = |levels: &[(i64, u32)]| {
        let level = |(price, size): &(i64, u32)| format!(r#"{{"price":{},"qty":{size}}}"#, tenths(*price));
        levels.iter().map(level).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{}],"asks":[{}],"checksum":1,"timestamp":"2025-01-02T03:04:05Z"}}]}}"#,
        levels(&sides[0]),
        levels(&sides[1])
    )
}

#[test]
fn a_kraken_book_is_the_venue_s_best_levels_after_every_message() {
    const STEPS: usize = 400;
    let mut market =
        Market { random: fastrand::Rng::with_seed(11), depth: 10, mid: 100_000, sides: Default::default() };
    for off in 1..=30 {
        market.sides[0].insert(market.mid - off, 1);
        market.sides[1].insert(market.mid + off, 1);
    }
    let whole = [market.best(0), market.best(1)].map(|side| side.into_iter().collect());
    let mut messages = vec![kraken_book("snapshot", &whole)];
    let mut tables = vec![market.table()];
    for _ in 0..STEPS {
        messages.push(kraken_book("update", &market.step()));
        tables.push(market.table());
    }
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        let goes = goes.lock().unwrap();
        for message in &messages {
            goes.recv().map_err(std::io::Error::other)?;
            peer.text(message)?;
        }
        peer.wait()
    });
    let config = shipped("kraken", addr).replace("depth = 100", "depth = 10");
    let gateway = Gateway::start_config(&config);
    for table in &tables {
        go.send(()).unwrap();
        await_data(&gateway, "kraken.book.BTC/USD", table);
    }
}

#[test]
fn a_whole_coinbase_book_of_a_large_market_arrives() {
    const SIDE: u32 = 95_000;
    let level = |cents: u32| format!("[\"{}.{:02}\",\"0.12345678\"]", cents / 100, cents % 100);
    let side = |levels: &mut dyn Iterator<Item = u32>| levels.map(level).collect::<Vec<_>>().join(",");
    let bids = side(&mut (0..SIDE).map(|n| 9_699_999 - n));
    let asks = side(&mut (0..SIDE).map(|n| 9_700_000 + n));
    let book = format!(r#"{{"type":"snapshot","product_id":"BTC-USD","asks":[{asks}],"bids":[{bids}]}}"#);
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        peer.hear()?;
        peer.text(&book)?;
        peer.text(r#"{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.00","1"]],"time":"2025-01-02T03:04:05Z"}"#)?;
        peer.wait()
    });
    let gateway = Gateway::start_config(&shipped("coinbase", addr));
    let end = Instant::now() + WAIT;
    loop {
        let answer = http(&gateway.admin, "GET", "/topics/coinbase.book.BTC-USD", "", "");
        if answer.status == 200 && answer.body.contains("\"b1.00\"") {
            let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(value["data"].as_object().unwrap().len(), 2 * SIDE as usize + 1);
            break;
        }
        assert!(Instant::now() < end, "{}", answer.status);
        sleep(Duration::from_millis(20));
    }
}
