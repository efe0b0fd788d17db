//! What a request to be a subscriber is answered: for a WebSocket, for a stream over HTTP, for the values of one topic.

use proto::{Request, handshake};

use super::{
    answers::{self, Answer, BAD_TOKEN, NO_TOKEN, Upgrade, closes, refusal, refuse_by_http, refuse_with},
    cors::{Cors, Field},
    gate::{host_forwarded, pass_origin},
    query::Query,
    refused::Refused,
    situation::Situation,
    stream,
};
use crate::{
    access::{
        rules::Place,
        shown::{Found, Wrong, shown},
        verify::{Compact, Credential, Verify},
    },
    http::host::Host,
    protocol::{
        encoding::{Encoding, Wire},
        request::Subscribe,
    },
    settings::{Compression, Refusing},
};

/// What is asked for.
#[derive(Debug)]
pub(super) enum Entry {
    /// A WebSocket that speaks a subprotocol.
    WebSocket,
    /// An HTTP answer that goes on.
    Stream(Encoding),
    /// A WebSocket with the values of a topic, or why there is no such topic.
    Raw(Result<String, String>),
    /// A WebSocket that says what it hears.
    Echo,
}

impl Entry {
    fn is_subscriber(&self) -> bool {
        !matches!(self, Entry::Echo)
    }
}

/// A request, and what its refusal depends on.
#[derive(Clone, Copy)]
struct Asking<'a, 'r> {
    request: &'a Request<'r>,
    entry: &'a Entry,
    refusing: Refusing,
    cors: &'a Cors,
    situation: &'a Situation<'a>,
}

/// Who asks first, what is asked last: a page that may not connect takes nothing of what others may have.
pub(super) fn answer(
    request: &Request<'_>,
    entry: &Entry,
    named: Option<Host>,
    situation: &Situation<'_>,
) -> Answer {
    let host = situation.is_proxied.then(|| host_forwarded(request)).flatten().or(named);
    if let Err(reason) = pass_origin(request, host.as_ref(), situation.origins) {
        situation.tell(&reason, situation.origins_told);
        return refuse_by_http(Refused::Origin, &reason, &[]);
    }
    let is_stream = matches!(entry, Entry::Stream(_));
    let cors = if is_stream { Cors::of(request, situation.rules) } else { Cors::default() };
    if request.method() == "OPTIONS" {
        return stream::preflight(&cors);
    }
    let refusing = if is_stream { Refusing::Http } else { situation.refusing };
    let asking = Asking { request, entry, refusing, cors: &cors, situation };
    let later = |refused: Refused, retry_after_s: Option<u64>| {
        let seconds = retry_after_s.map(|seconds| seconds.to_string());
        let fields: Option<Field<'_>> = seconds.as_deref().map(|seconds| ("Retry-After", seconds));
        asking.turn_away(refused, refused.text(), fields.as_slice())
    };
    if situation.draining {
        return later(Refused::Draining, None);
    }
    if let Some(refused) = situation.refused {
        return later(refused, refused.retry_after_s());
    }
    if let Err(over) = situation.handshakes.begin(situation.peer, situation.now) {
        return later(over.rate, Some(over.wait_us.div_ceil(1_000_000).max(1)));
    }
    match asking.query() {
        Ok(query) => asking.let_in(query),
        Err(reason) => asking.malformed(&reason),
    }
}

/// The same of a server that says what it hears: it refuses nobody who asks well.
pub(super) fn echo(request: &Request<'_>, situation: &Situation<'_>) -> Answer {
    let query = Query::parse(request.query().unwrap_or(""), situation.patterns_max).unwrap_or_default();
    let (entry, cors) = (&Entry::Echo, &Cors::default());
    Asking { request, entry, refusing: situation.refusing, cors, situation }.let_in(query)
}

impl<'r> Asking<'_, 'r> {
    fn query(&self) -> Result<Query, String> {
        let text = self.request.query().unwrap_or("");
        match self.entry {
            Entry::Raw(topic) => Query::parse_raw(text, topic.as_deref()?),
            Entry::Stream(encoding) => {
                let mut query = Query::parse(text, self.situation.patterns_max)?;
                if let (Some(subscribe), Some(since)) =
                    (&mut query.subscribe, stream::last_event(self.request, *encoding))
                {
                    subscribe.since = Some(since);
                }
                Ok(query)
            }
            Entry::WebSocket | Entry::Echo => Query::parse(text, self.situation.patterns_max),
        }
    }

    fn turn_away(&self, refused: Refused, reason: &str, fields: &[Field<'_>]) -> Answer {
        let fields: Vec<Field<'_>> = fields.iter().copied().chain(self.cors.fields()).collect();
        answers::turn_away(self.request, self.refusing, refused, reason, &fields)
    }

    fn malformed(&self, reason: &str) -> Answer {
        let fields: Vec<Field<'_>> = self.cors.fields().collect();
        refuse_with(400, reason, &fields)
    }

    fn let_in(&self, query: Query) -> Answer {
        match self.entry {
            Entry::Stream(encoding) => self.stream(*encoding, query.subscribe),
            Entry::WebSocket | Entry::Raw(_) | Entry::Echo => self.upgrade(query),
        }
    }

    fn stream(&self, encoding: Encoding, subscribe: Option<Subscribe>) -> Answer {
        let token = match self.token([].into_iter()) {
            Ok(token) => token,
            Err(refused) => return refused,
        };
        Answer::Upgrade(Box::new(Upgrade {
            head: stream::head(encoding, self.cors),
            wire: Wire { encoding, window_bits: None },
            deflate: None,
            declined: false,
            subscribe,
            token,
            closes: false,
            cors: self.cors.clone(),
            is_head: false,
        }))
    }

    fn upgrade(&self, query: Query) -> Answer {
        let Situation { compression, dictionaries, peer, .. } = self.situation;
        let upgrade = match self.request.upgrade() {
            Ok(upgrade) => upgrade,
            Err(refused) => {
                return Answer::Http { status: refused.status, bytes: refusal(&refused), refused: None };
            }
        };
        let speaks = matches!(self.entry, Entry::WebSocket);
        let chosen = upgrade.protocols().find_map(Encoding::of).filter(|_| speaks);
        let token = match self.token(upgrade.protocols()) {
            Ok(token) => token,
            Err(refused) => return refused,
        };
        let mut head = Vec::with_capacity(192);
        let agree = |takes_context| upgrade.deflate(compression.window_bits, takes_context);
        let wanted = !query.uncompressed && wants_compression(self.request, compression);
        let wanted = wanted.then(|| agree(true)).flatten();
        let takes_context = || dictionaries.have_room(*peer);
        let deflate =
            if wanted.is_some() && takes_context() { wanted } else { wanted.and_then(|_| agree(false)) };
        let subprotocol = chosen.and_then(Encoding::subprotocol);
        handshake::accept(&mut head, upgrade.key(), subprotocol, deflate.as_ref());
        let encoding = match self.entry {
            Entry::Raw(_) => Encoding::Raw,
            _ => chosen.unwrap_or_default(),
        };
        let wire = Wire { encoding, window_bits: deflate.map(|agreed| agreed.server_window_bits) };
        Answer::Upgrade(Box::new(Upgrade {
            head,
            wire,
            deflate,
            declined: wanted.is_some() && deflate.is_none(),
            subscribe: query.subscribe,
            token,
            closes: closes(self.request, self.refusing),
            cors: Cors::default(),
            is_head: false,
        }))
    }

    /// The token that a request shows, or how it is refused for what it shows, or for showing none where one is needed.
    fn token(&self, protocols: impl Iterator<Item = &'r str>) -> Result<Option<Credential>, Answer> {
        let Situation { rules, verifier, has_certificate, .. } = self.situation;
        // Where nobody needs a token, and none could be good, what a client shows is for somebody else.
        let looks =
            |verifier: &&dyn Verify| self.entry.is_subscriber() && (!rules.is_open || verifier.has_keys());
        let verifier = verifier.filter(looks);
        let has_certificate = self.entry.is_subscriber() && *has_certificate;
        let shown =
            shown(self.request, protocols, rules, verifier, has_certificate).map_err(
                |wrong| match wrong {
                    Wrong::Token(bad) => {
                        self.turn_away(Refused::Token, &format!("bad token: {bad}"), BAD_TOKEN)
                    }
                    Wrong::Code(param) => {
                        let fields: Vec<Field<'_>> = self.cors.fields().collect();
                        let reason = format!("{param} in the URL is not the code of the cookie");
                        refuse_by_http(Refused::Code, &reason, &fields)
                    }
                },
            )?;
        let may_show_later = matches!(self.entry, Entry::WebSocket) && rules.from.contains(&Place::Op);
        if shown.is_none() && self.entry.is_subscriber() && rules.wants_token() && !may_show_later {
            return Err(self.turn_away(Refused::Token, Refused::Token.text(), NO_TOKEN));
        }
        Ok(shown.map(|found| match found {
            Found::Token(token) => Credential::Token(Compact(token.into_owned())),
            Found::Certificate => Credential::Certificate,
        }))
    }
}

/// Whether an offer to compress is taken: not from a browser that is known to get it wrong.
fn wants_compression(request: &Request<'_>, compression: &Compression) -> bool {
    let bad = |agent: &str| compression.user_agents_off.iter().any(|part| agent.contains(&**part));
    compression.enabled && !request.header("user-agent").is_some_and(bad)
}
