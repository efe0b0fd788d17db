//! `[server]`: where the gateway listens, and with which threads.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use engine::keys;
use net::Io;

use crate::{
    document::read::{Section, named},
    system::Machine,
    tls::files::Files,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub data: SocketAddr,
    /// `None`: no admin listener.
    pub admin: Option<SocketAddr>,
    pub tls: Option<Tls>,
    /// The admin listener speaks TLS too, with the same certificates.
    pub admin_tls: bool,
    /// `None`: io_uring where it works, else epoll.
    pub io: Option<Io>,
    pub shards: usize,
    /// CPUs to pin shards to, round robin. Never empty.
    pub cpus: Vec<usize>,
    pub drain: Duration,
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
        /// Where subscribers connect. Port 0 takes a free one.
        data: Option<SocketAddr> = address("127.0.0.1:9001");
        /// Where publishers connect, and what reads metrics and the page. Whoever reaches it may publish. Empty: there
        /// is no such listener.
        admin: Option<SocketAddr> = address("127.0.0.1:9002");
        /// Where subscribers connect that speak TLS (wss://), beside `data`. Default: nowhere.
        tls: Option<SocketAddr> = address(""), example("\"0.0.0.0:9443\"");
        /// PEM: the certificate and those that sign it, for clients that name no host, or one that no
        /// `[[certificate]]` is for.
        tls_cert: String = text_or(""), example("\"chain.pem\""), reloaded;
        /// PEM: its private key.
        tls_key: String = text_or(""), example("\"key.pem\""), reloaded;
        /// The admin listener speaks TLS too, and shows the same certificates. Needs `tls`.
        admin_tls: bool = flag(false);
        /// PEM: a client has to show a certificate that one of these signed. Default: it needs none.
        tls_client_ca: String = text_or(""), example("\"clients.pem\""), reloaded;
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
        drain: Duration = duration(10_000, 1..=3_600_000);
    }
}

/// Without `tls`, which is read from the keys when all files are known.
pub(super) fn server(section: &mut Section, machine: &Machine) -> (Server, ServerKeys) {
    let keys: ServerKeys = section.keys();
    let (data, admin, tls) =
        (named!(section, keys.data), named!(section, keys.admin), named!(section, keys.tls));
    if let (None, Some(line)) = (data.value, data.line) {
        section.problem(line, "data = \"\": clients need a listener; write an address and a port");
    }
    let (data_address, data_line) = (data.value.unwrap_or(([127, 0, 0, 1], 9001).into()), data.line);
    if let (Some(line), true) =
        (admin.line.or(data_line), admin.value == Some(data_address) && data_address.port() != 0)
    {
        section.problem(line, format!("data and admin are both {data_address}; give admin another port"));
    }
    if let (Some(tls), Some(line)) = (tls.value, tls.line)
        && tls.port() != 0
        && (tls == data_address || Some(tls) == admin.value)
    {
        section.problem(line, format!("tls is {tls}, like another listener; give it another port"));
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
        data: data_address,
        admin: admin.value,
        tls: None,
        admin_tls: keys.admin_tls,
        io: Io::ALL.into_iter().find(|io| io.name() == keys.io),
        shards: keys.shards.unwrap_or(machine.cpus_busy),
        cpus: chosen.value.unwrap_or_else(|| machine.cpus.clone()),
        drain: keys.drain,
    };
    (server, keys)
}

impl From<&Server> for ServerKeys {
    fn from(server: &Server) -> Self {
        let tls = server.tls.as_ref();
        let text = |path: Option<&PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
        let first = tls.map(|tls| &tls.certificates[0]);
        Self {
            data: Some(server.data),
            admin: server.admin,
            tls: tls.map(|tls| tls.address),
            tls_cert: text(first.map(|files| &files.cert)),
            tls_key: text(first.map(|files| &files.key)),
            admin_tls: server.admin_tls,
            tls_client_ca: text(tls.and_then(|tls| tls.client_ca.as_ref())),
            io: server.io.map_or("auto", Io::name).to_owned(),
            shards: Some(server.shards),
            cpus: Some(server.cpus.clone()),
            drain: server.drain,
        }
    }
}
