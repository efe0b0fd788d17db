//! What a source says and shows to its venue, filled with the time, a token and a signature.

use std::sync::Arc;

use super::{
    braced::{Braced, Filling},
    ended::Ended,
    headers,
    keys::{SYMBOL, Websocket},
    opening::{Opening, Opens, Target},
    script::{Beat, Line, Script},
};
use crate::{intake::clocked::ClockedSequencer, source::url::Url};

/// One connection's texts are filled by it as it was when the connection began.
#[derive(Clone)]
pub struct Voice {
    source: Arc<Websocket>,
    sequencer: Arc<ClockedSequencer>,
    /// What `[source.token]` answered for this connection.
    token: Option<Arc<str>>,
}

impl Voice {
    pub fn new(source: Arc<Websocket>, sequencer: Arc<ClockedSequencer>) -> Self {
        Self { source, sequencer, token: None }
    }

    fn with<T>(&self, names: &[(&str, &str)], fill: impl FnOnce(&Filling<'_>) -> T) -> T {
        let sign = self.source.sign.as_ref().map(|sign| |now_us: i64| sign.sign(now_us));
        let sign = sign.as_ref().map(|sign| sign as &dyn Fn(i64) -> String);
        let now_us = self.sequencer.now().wall_us;
        fill(&Filling {
            names,
            value: None,
            token: self.token.as_deref(),
            now_us,
            sign,
            hides_secrets: false,
        })
    }

    fn say(&self, text: &Braced, symbol: Option<&str>) -> String {
        let names = symbol.map(|symbol| (SYMBOL, symbol));
        self.with(names.as_slice(), |with| text.fill(with))
    }

    /// Without it the venue would refuse the connect.
    async fn renew_token(&mut self) -> Result<(), Ended> {
        let Some(token) = &self.source.token else { return Ok(()) };
        let url = || format!("{:?}", token.url);
        let headers = self.with(&[], |with| headers::filled(&token.headers, with)).map_err(Ended::Header)?;
        let answer = token.ask(&headers, self.source.link.ca.as_deref()).await;
        self.token = Some(answer.map_err(|failed| Ended::no_token(url(), &failed))?);
        Ok(())
    }

    fn target(&self) -> Result<Target, Ended> {
        let link = &self.source.link;
        let mut target = Target::of(link);
        if let Some(url) = &self.source.url {
            let filled = self.with(&[], |with| url.fill_url(with));
            let wrong = |wrong| Ended::NoUrl(format!("its answer makes no url: {wrong}"));
            target.url = Url::parse(&filled).map_err(wrong)?;
            if link.host == link.url.host {
                target.host.clone_from(&target.url.host);
            }
        }
        target.headers =
            self.with(&[], |with| headers::filled(&self.source.headers, with)).map_err(Ended::Header)?;
        Ok(target)
    }

    /// Each text of `send`, and one with a symbol in it once for each.
    fn lines(self: Arc<Self>) -> impl Iterator<Item = Line> + Send {
        let source = self.source.clone();
        (0..source.send.len()).flat_map(move |nth| {
            let has_symbol = source.send[nth].has_name(SYMBOL);
            let times = if has_symbol { source.symbols.len() } else { 1 };
            let voice = self.clone();
            (0..times).map(move |at| -> Line {
                let voice = voice.clone();
                Box::new(move || {
                    let symbol = voice.source.symbols.get(at).filter(|_| has_symbol);
                    voice.say(&voice.source.send[nth], symbol.map(String::as_str))
                })
            })
        })
    }

    fn script(&self) -> Script {
        let voice = Arc::new(self.clone());
        let beat = self.source.ping.as_ref().map(|ping| {
            let (text, voice) = (ping.text.clone(), voice.clone());
            Beat { every: ping.every, text: Box::new(move || voice.say(&text, None)) }
        });
        Script::new(Box::new(voice.lines()), self.source.send_every, beat)
    }
}

impl Opens for Voice {
    async fn open(&mut self) -> Result<Opening, Ended> {
        self.renew_token().await?;
        Ok(Opening { target: self.target()?, script: self.script() })
    }
}
