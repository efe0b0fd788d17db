//! Certificates: which is shown, how they are read again, and what becomes of those that cannot be used.
#![forbid(unsafe_code)]

mod contract;
mod wss;

use std::{
    fs::{self, File},
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use contract::{Gateway, Socket, command};
use rustls::{ClientConfig, HandshakeKind};
use wss::{Authority, Files, Stream, client, connect, metric, shown, subscribe, wait_for, wait_until};

#[test]
fn the_name_chooses_the_certificate() {
    let (first, other, wild) = (Files::new("localhost"), Files::new("other.test"), Files::new("*.wild.test"));
    let more: String = [&other, &wild]
        .map(|files| {
            format!(
                "[[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n",
                files.cert.display(),
                files.key.display()
            )
        })
        .concat();
    let gateway = Gateway::start(&first.server(), &more);
    let config = client(&[&first, &other, &wild], rustls::ALL_VERSIONS);
    for (host, files) in
        [("localhost", &first), ("other.test", &other), ("a.wild.test", &wild), ("OTHER.test", &other)]
    {
        let mut socket = subscribe(&gateway.tls, &config, host, "/ws");
        assert_eq!(shown(socket.stream()), files.der, "{host}");
    }
    // Who asks for another one is shown the first, and may not like it.
    let mut stream = connect(&gateway.tls, &config, "unknown.test");
    let error = stream.write_all(b"GET").and_then(|()| stream.flush()).unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

/// Why a client that is refused its certificate, or has none, hears nothing.
fn refusal(gateway: &Gateway, config: &Arc<ClientConfig>) -> String {
    let mut stream = connect(&gateway.tls, config, "localhost");
    let asked = stream.write_all(b"GET /ws HTTP/1.1\r\n").and_then(|()| stream.read_exact(&mut [0]));
    asked.unwrap_err().to_string()
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let (files, authority) = (Files::new("localhost"), Authority::new());
    let server = format!("{}\ntls_client_ca = \"{}\"", files.server(), authority.file.display());
    let gateway = Gateway::start(&server, "");
    let none = client(&[&files], rustls::ALL_VERSIONS);
    assert!(refusal(&gateway, &none).contains("CertificateRequired"));
    let expired = authority.client(&[&files], true);
    assert!(refusal(&gateway, &expired).contains("CertificateExpired"));
    assert_eq!(metric(&gateway, "fanwire_tls_failed_total{reason=\"certificate\"} "), 2);
    let signed = authority.client(&[&files], false);
    subscribe(&gateway.tls, &signed, "localhost", "/ws?topics=a").until("snapshot");
}

#[test]
fn whom_clients_are_signed_by_is_read_again_too() {
    let (files, authority) = (Files::new("localhost"), Authority::new());
    let server = format!("{}\ntls_client_ca = \"{}\"", files.server(), authority.file.display());
    let gateway = Gateway::start(&server, "[fanout]\ninterval_ms = 0\n");
    let before = authority.client(&[&files], false);
    let mut held = subscribe(&gateway.tls, &before, "localhost", "/ws?topics=a");
    held.until("snapshot");
    // No ticket stands for a certificate.
    let mut again = subscribe(&gateway.tls, &before, "localhost", "/ws?topics=a");
    again.until("snapshot");
    assert_eq!(again.stream().conn.handshake_kind(), Some(HandshakeKind::Full));

    let successor = authority.succeeded();
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") >= 1);
    let error = refusal(&gateway, &before);
    assert!(error.contains("UnknownCA") || error.contains("DecryptError"), "{error}");
    let mut fresh = subscribe(&gateway.tls, &successor.client(&[&files], false), "localhost", "/ws?topics=a");
    gateway.publish("a", "1");
    for socket in [&mut held, &mut again, &mut fresh] {
        socket.update("a", |update| update["data"] == 1);
    }
}

#[test]
fn certificates_are_read_again_and_nobody_is_dropped() {
    let mut files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    let before = client(&[&files], rustls::ALL_VERSIONS);
    let mut held = subscribe(&gateway.tls, &before, "localhost", "/ws?topics=a");
    held.until("snapshot");
    let old = shown(held.stream());

    files.renew("localhost");
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") >= 1);
    let mut fresh =
        subscribe(&gateway.tls, &client(&[&files], rustls::ALL_VERSIONS), "localhost", "/ws?topics=a");
    assert!(shown(fresh.stream()) == files.der && files.der != old);
    gateway.publish("a", "1");
    for socket in [&mut held, &mut fresh] {
        socket.update("a", |update| update["data"] == 1);
    }

    fs::write(&files.cert, "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reload_errors_total ") >= 1);
    let config = client(&[&files], rustls::ALL_VERSIONS);
    subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a").until("snapshot");

    // And without being told.
    let reloads = metric(&gateway, "fanwire_certificate_reloads_total ");
    files.renew("localhost");
    wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") > reloads);
    gateway.publish("a", "2");
    held.update("a", |update| update["data"] == 2);
}

#[test]
fn a_thousand_clients_stay_while_certificates_are_read_again() {
    const CLIENTS: usize = 1000;
    const TIMES: u64 = 5;
    let mut files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let mut sockets: Vec<Socket<Stream>> =
        (0..CLIENTS).map(|_| subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a")).collect();
    for time in 1..=TIMES {
        files.renew("localhost");
        gateway.publish("a", &format!("\"before {time}\""));
        gateway.signal("HUP");
        wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") >= time);
        gateway.publish("a", &time.to_string());
        // Who comes now is shown the new one, beside all those who hold the old ones.
        let fresh = client(&[&files], rustls::ALL_VERSIONS);
        sockets.push(subscribe(&gateway.tls, &fresh, "localhost", "/ws?topics=a"));
        for socket in &mut sockets {
            socket.update("a", |update| update["data"] == time);
        }
    }
    assert_eq!(metric(&gateway, "fanwire_tls_sessions "), CLIENTS as u64 + TIMES);
    assert_eq!(metric(&gateway, "fanwire_accepted_total "), CLIENTS as u64 + TIMES);
}

#[test]
fn a_certificate_that_has_expired_is_told_and_takes_no_others_place() {
    let mut files = Files::expired("localhost");
    let (cert, log) = (files.cert.display().to_string(), files.cert.with_extension("log"));
    let config = format!("[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{}\n", files.server());
    let told = format!("the certificate {cert} expired on Jan  1 00:00:00 2020 +00:00");
    let checked = contract::output(command(&config).arg("--check"));
    let stderr = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && stderr.contains(&format!("warning: {told}")), "{stderr}");

    // Who does not look at dates is served, as after a restart in the night.
    let log_file = File::create(&log).unwrap();
    let gateway = Gateway::spawn(command(&config).env("RUST_LOG", "warn").stderr(log_file));
    assert!(fs::read_to_string(&log).unwrap().contains(&told));
    let expires = format!("fanwire_certificate_expires_seconds{{cert=\"{cert}\"}} ");
    assert_eq!(metric(&gateway, &expires), 1_577_836_800);
    let mut stream = connect(&gateway.tls, &client(&[&files], rustls::ALL_VERSIONS), "localhost");
    let error = stream.write_all(b"GET").and_then(|()| stream.flush()).unwrap_err();
    assert!(error.to_string().contains("certificate expired"), "{error}");
    wait_until(|| metric(&gateway, "fanwire_tls_failed_total{reason=\"alert\"} ") == 1);

    files.renew("localhost");
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") >= 1);
    let config = client(&[&files], rustls::ALL_VERSIONS);
    subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a").until("snapshot");
    assert!(metric(&gateway, &expires) > 1_577_836_800);

    files.let_expire("localhost");
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reload_errors_total ") >= 1);
    subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a").until("snapshot");
    assert!(fs::read_to_string(&log).unwrap().matches(&told).count() >= 2);
}

#[test]
fn a_source_whose_certificate_has_expired_is_not_believed() {
    let files = Files::expired("localhost");
    let first = Gateway::start(&files.server(), "");
    first.publish("a", "1");
    let (port, ca) = (first.tls.rsplit_once(':').unwrap().1, files.cert.display());
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [[source]]\nkind = \"fanwire\"\nname = \"up\"\nurl = \"wss://localhost:{port}/ws\"\nca = \"{ca}\"\n"
    );
    let log = files.cert.with_extension("log");
    let second = Gateway::spawn(command(&config).env("RUST_LOG", "warn").stderr(File::create(&log).unwrap()));
    wait_until(|| metric(&second, "fanwire_source_ended_total{source=\"up\",reason=\"tls\"} ") > 0);
    assert_eq!(metric(&second, "fanwire_topics "), 0);
    let told = fs::read_to_string(&log).unwrap();
    assert!(told.contains("certificate expired"), "{told}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let (files, other) = (Files::new("localhost"), Files::new("localhost"));
    let (cert, key) = (files.cert.display(), other.key.display());
    let torn = files.cert.with_extension("torn");
    fs::write(&torn, "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    let torn = torn.display();
    for (config, told) in [
        ("[server]\nadmin_tls = true\n".to_owned(), "admin_tls needs tls"),
        (
            "[server]\ntls = \"127.0.0.1:0\"\n".to_owned(),
            "gateway.toml:2: [server] tls = \"127.0.0.1:0\" needs tls_cert",
        ),
        (
            format!("[server]\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
            "certificates without a listener",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\n"),
            "tls_cert and tls_key go together",
        ),
        (
            "[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"no.pem\"\ntls_key = \"no.key\"\n".to_owned(),
            "cannot read the certificate ",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"/\"\ntls_key = \"{key}\"\n"),
            "cannot read the certificate /: it is no file",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{key}\"\ntls_key = \"{key}\"\n"),
            "it holds none in PEM",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{torn}\"\ntls_key = \"{key}\"\n"),
            "a -----BEGIN line has no -----END line",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
            "is not the key of the first certificate in ",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:9001\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
            "another port",
        ),
    ] {
        let output = contract::output(contract::command(&config).arg("--check"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{config}: {stderr}");
        let told = told.strip_prefix("gateway.toml").unwrap_or(told);
        assert!(stderr.contains(told), "{config}: {stderr}");
    }
}

#[test]
fn what_is_wrong_with_a_key_is_told_without_the_key() {
    let files = Files::new("localhost");
    let whole = fs::read_to_string(&files.key).unwrap();
    let secret = whole.lines().nth(1).unwrap();
    let broken = files.key.with_extension("broken");
    let (cert, key) = (files.cert.display(), broken.display());
    let config = format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n");
    fs::write(&broken, whole.replace("PRIVATE", "ENCRYPTED PRIVATE")).unwrap();
    let output = contract::output(command(&config).arg("--check"));
    assert!(String::from_utf8(output.stderr).unwrap().contains(": it is encrypted; "));
    for text in [
        whole.replace('\n', ""),
        whole.replace('\n', "\\n"),
        whole.replace("END", "FIN"),
        whole.replace('M', "*"),
    ] {
        fs::write(&broken, text).unwrap();
        let output = contract::output(command(&config).arg("--check"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains("cannot read the private key") && !stderr.contains(&secret[10..]),
            "{stderr}"
        );
    }
}

#[test]
fn a_certificate_of_tomorrow_is_taken_tomorrow() {
    let mut files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "");
    let before = client(&[&files], rustls::ALL_VERSIONS);
    files.hold_from_in(Duration::from_secs(7), "localhost");
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reload_errors_total ") >= 1);
    subscribe(&gateway.tls, &before, "localhost", "/ws?topics=a").until("snapshot");
    // Nobody touches the file or asks again.
    wait_for(Duration::from_secs(20), || metric(&gateway, "fanwire_certificate_reloads_total ") >= 1);
    let after = client(&[&files], rustls::ALL_VERSIONS);
    subscribe(&gateway.tls, &after, "localhost", "/ws?topics=a").until("snapshot");
}

#[test]
fn a_certificate_that_nobody_is_shown_is_told() {
    let (first, same, other) = (Files::new("localhost"), Files::new("localhost"), Files::new("other.test"));
    let more: String = [&same, &other]
        .map(|files| {
            let (cert, key) = (files.cert.display(), files.key.display());
            format!("[[certificate]]\ncert = \"{cert}\"\nkey = \"{key}\"\n")
        })
        .concat();
    let config = format!("[server]\n{}\n{more}", first.server());
    let checked = contract::output(command(&config).arg("--check"));
    let stderr = String::from_utf8(checked.stderr).unwrap();
    let told = format!("warning: nobody is ever shown the certificate {}: ", same.cert.display());
    assert!(checked.status.success() && stderr.contains(&told), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_file_that_hangs_keeps_nobody_waiting() {
    let files = Files::new("localhost");
    let mut gateway = Gateway::start(&files.server(), "");
    fs::remove_file(&files.key).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&files.key).status().unwrap().success());
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reload_errors_total ") >= 1);
    gateway.publish("a", "1");
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(Duration::from_secs(10)), Some(0));
}
