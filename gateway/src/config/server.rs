//! `[server]`: where the gateway listens, and with which threads.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use engine::{
    http::proxies::{Forwarded, Proxies},
    keys,
    settings::Refusing,
};
use net::{Io, Networks, NoNetwork};

use crate::{
    document::read::{Section, named},
    system::Machine,
    tls::files::Files,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `None`: subscribers connect by TLS alone.
    pub data: Option<SocketAddr>,
    /// `None`: no admin listener.
    pub admin: Option<SocketAddr>,
    pub tls: Option<Tls>,
    /// The admin listener speaks TLS too, with the same certificates.
    pub admin_tls: bool,
    pub proxies: Proxies,
    /// Connections of the data listeners begin with a PROXY header of a trusted proxy.
    pub proxy_protocol: bool,
    /// `None`: io_uring where it works, else epoll.
    pub io: Option<Io>,
    pub shards: usize,
    /// CPUs to pin shards to, round robin. Never empty.
    pub cpus: Vec<usize>,
    pub drain: Duration,
    /// How a refusal of a WebSocket is told.
    pub refusing: Refusing,
}

/// The listener that speaks TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    pub address: SocketAddr,
    /// The first is for clients that name no host, or one that none of them is for. Never empty.
    pub certificates: Vec<Files>,
    /// Clients have to show a certificate that one of these has signed.
    pub client_ca: Option<PathBuf>,
}

keys! {
    /// Where the gateway listens, and with which threads.
    pub(super) struct ServerKeys in "server" {
        /// Where subscribers connect. Port 0 takes a free one. Empty: only `tls` is for them.
        data: Option<SocketAddr> = address("127.0.0.1:9001");
        /// Where publishers connect, and what reads metrics and the page. Where that is not loopback, `[[admin.key]]` has
        /// to say who may do what. Empty: there is no such listener.
        admin: Option<SocketAddr> = address("127.0.0.1:9002");
        /// Where subscribers connect that speak TLS (wss://), beside `data`. Default: nowhere.
        tls: Option<SocketAddr> = address(""), example("\"0.0.0.0:9443\"");
        /// PEM: the certificate and those that sign it, for clients that name no host, or one that no
        /// `[[certificate]]` is for. It is read again when it changes.
        tls_cert: String = text_or(""), example("\"chain.pem\""), reloaded;
        /// PEM: its private key. It is read again too.
        tls_key: String = text_or(""), example("\"key.pem\""), reloaded;
        /// The admin listener speaks TLS too, and shows the same certificates. Needs `tls`.
        admin_tls: bool = flag(false);
        /// PEM: a client has to show a certificate that one of these signed. It is read again
        /// too. Default: it needs none.
        tls_client_ca: String = text_or(""), example("\"clients.pem\""), reloaded;
        /// Addresses of proxies, and prefixes like "10.0.0.0/8", that are believed when they say whose a connection is.
        trusted_proxies: Vec<String> = texts(&[], TRUSTED), reloaded;
        /// "require": each connection to `data` and `tls` begins with a header of the PROXY protocol, version 1 or 2,
        /// before TLS. It has to come from one of `trusted_proxies`; others are closed without an answer.
        proxy_protocol: String = choice("off", &["off", "require"]), reloaded;
        /// The header in which `trusted_proxies` say for whom a request to `data` or `tls` is. Of the addresses in it the
        /// last one that is not trusted is the client's.
        forwarded: String = choice("off", &["off", "x-forwarded-for", "forwarded"]), reloaded;
        /// By which calls of the kernel shards move bytes: "io_uring" needs Linux 6.8, and containers mostly forbid it;
        /// "epoll" works everywhere, and the limit nofile then bounds the process; "auto" is io_uring where it works,
        /// else epoll.
        io: String = choice("auto", &["auto", "io_uring", "epoll"]);
        /// Threads that own clients. Default: one for each CPU that this process may run on and, where its control
        /// group has a quota (docker --cpus, a CPU limit of Kubernetes), may keep busy.
        shards: Option<usize> = count_found(1..=1024), example("1");
        /// CPUs to pin shards to, round robin. Default: all that this process may run on.
        cpus: Option<Vec<usize>> = counts_found(), example("[0]");
        /// On SIGTERM the gateway sends clients away, spread over so long.
        drain: Duration = duration(10_000, 1..=3_600_000), reloaded;
        /// How the gateway refuses a WebSocket for want of permission or room. "http": by a status. "close": by a
        /// handshake and a close frame, of which a browser tells its page. "auto": "close" where the request has an
        /// `Origin`. A page that may not connect at all always gets 403.
        refuse: String = choice("auto", &["auto", "http", "close"]), reloaded;
    }
}

const TRUSTED: &str = "write a list of addresses and prefixes, like [\"10.0.0.1\", \"2001:db8::/32\"]";

/// Without `tls`, which is read from the keys when all files are known.
pub(super) fn server(section: &mut Section, machine: &Machine) -> (Server, ServerKeys) {
    let keys: ServerKeys = section.keys();
    let (data, admin, tls) =
        (named!(section, keys.data), named!(section, keys.admin), named!(section, keys.tls));
    if let (None, Some(line), None) = (data.value, data.line, tls.value) {
        section.problem(
            line,
            "data = \"\": clients need a listener; write an address and a port, or name tls beside it",
        );
    }
    if let (Some(line), Some(address)) = (admin.line.or(data.line), data.value)
        && admin.value == Some(address)
        && address.port() != 0
    {
        section.problem(line, format!("data and admin are both {address}; give admin another port"));
    }
    if let (Some(address), Some(line)) = (tls.value, tls.line)
        && address.port() != 0
        && [data.value, admin.value].contains(&Some(address))
    {
        section.problem(line, format!("tls is {address}, like another listener; give it another port"));
    }
    let chosen = named!(section, keys.cpus);
    if let (Some(line), Some(chosen)) = (chosen.line, &chosen.value) {
        if chosen.is_empty() {
            section.problem(line, "cpus = []: name at least one CPU or leave it out");
        }
        if let Some(cpu) = chosen.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            let allowed = &machine.cpus;
            let text = format!("cpus: this process may not run on CPU {cpu}; choose of {allowed:?}");
            section.problem(line, text);
        }
    }
    let server = Server {
        data: data.value,
        admin: admin.value,
        tls: None,
        admin_tls: keys.admin_tls,
        proxies: proxies(section, &keys),
        proxy_protocol: keys.proxy_protocol == "require",
        io: Io::ALL.into_iter().find(|io| io.name() == keys.io),
        shards: keys.shards.unwrap_or(machine.cpus_busy),
        cpus: chosen.value.unwrap_or_else(|| machine.cpus.clone()),
        drain: keys.drain,
        refusing: Refusing::ALL.into_iter().find(|form| form.name() == keys.refuse).unwrap_or_default(),
    };
    (server, keys)
}

impl Server {
    /// Where subscribers connect: without TLS and with.
    pub fn listeners(&self) -> [Option<SocketAddr>; 2] {
        [self.data, self.tls.as_ref().map(|tls| tls.address)]
    }

    /// What is allowed and hardly meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.proxies.trusted.0.is_empty() {
            if self.proxy_protocol {
                let what = "proxy_protocol = \"require\": every connection is closed";
                warnings.push(what.to_owned());
            }
            if let Some(forwarded) = self.proxies.forwarded {
                warnings.push(format!("forwarded = \"{}\": nobody is believed", forwarded.name()));
            }
        }
        let told = |what| format!("[server] {what}, since trusted_proxies is empty; name your proxies there");
        warnings.into_iter().map(told).collect()
    }
}

/// A listener of subscribers that others than this machine reach: its key and address, and where they are named.
pub(super) fn exposed(section: &Section, keys: &ServerKeys) -> Option<(String, usize)> {
    let listeners = [("data", named!(section, keys.data)), ("tls", named!(section, keys.tls))];
    listeners.into_iter().find_map(|(key, named)| {
        let address = named.value.filter(|address| !address.ip().to_canonical().is_loopback())?;
        Some((format!("{key} = \"{address}\""), named.line.unwrap_or(0)))
    })
}

fn proxies(section: &mut Section, keys: &ServerKeys) -> Proxies {
    let mut trusted = Networks::default();
    for text in &keys.trusted_proxies {
        match text.parse() {
            Ok(network) => trusted.0.push(network),
            Err(NoNetwork) => section.problem(
                section.line_of("trusted_proxies"),
                format!("trusted_proxies: {text:?} is no address and no prefix; {TRUSTED}"),
            ),
        }
    }
    let forwarded = Forwarded::ALL.into_iter().find(|forwarded| forwarded.name() == keys.forwarded);
    Proxies { trusted, forwarded }
}

impl From<&Server> for ServerKeys {
    fn from(server: &Server) -> Self {
        let tls = server.tls.as_ref();
        let text = |path: Option<&PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
        let first = tls.map(|tls| &tls.certificates[0]);
        Self {
            data: server.data,
            admin: server.admin,
            tls: tls.map(|tls| tls.address),
            tls_cert: text(first.map(|files| &files.cert)),
            tls_key: text(first.map(|files| &files.key)),
            admin_tls: server.admin_tls,
            tls_client_ca: text(tls.and_then(|tls| tls.client_ca.as_ref())),
            trusted_proxies: server.proxies.trusted.0.iter().map(ToString::to_string).collect(),
            proxy_protocol: if server.proxy_protocol { "require" } else { "off" }.to_owned(),
            forwarded: server.proxies.forwarded.map_or("off", Forwarded::name).to_owned(),
            io: server.io.map_or("auto", Io::name).to_owned(),
            shards: Some(server.shards),
            cpus: Some(server.cpus.clone()),
            drain: server.drain,
            refuse: server.refusing.name().to_owned(),
        }
    }
}
