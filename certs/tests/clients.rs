//! TLS on a server's own premises: the listener for clients and the connector to adapters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    io::Write,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    sync::{Arc, atomic::AtomicU64},
    thread,
};

use certs::{
    PrivateKey, Role, Subject, TestAuthority, TrustedAuthority, Validity,
    tls::{
        self, ReplaceableIdentity, adapter_connector, client_listener, describe, describe_chain,
        peer_certificate_digest,
    },
};
use rustls::{
    ClientConfig, Error, HandshakeKind, NamedGroup, ServerConfig, ServerConnection,
    client::{ClientSessionMemoryCache, Resumption},
    crypto::aws_lc_rs::kx_group,
    pki_types::ServerName,
    server::ServerSessionMemoryCache,
};
use support::{
    NOW, Workplace, authority, issued,
    tls::{Clock, Shows, shaken},
};
use trust::Digest;

#[test]
fn certificates_of_other_roles_are_no_tls_identity() {
    let authority = authority();
    let (key, der) = issued(&authority, &support::member("VN/GOV/G01"));
    for role in [Role::Authentication, Role::Client, Role::Listener] {
        let error = ReplaceableIdentity::of(role, &[&der], &key).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("it is a signing certificate, but"),
            "{error}"
        );
    }
    let (key, der) = issued(&authority, &client_named("system"));
    assert!(ReplaceableIdentity::of(Role::Client, &[&der], &key).is_ok());
    assert!(ReplaceableIdentity::of(Role::Listener, &[&der], &key).is_err());
    assert!(ReplaceableIdentity::of(Role::Authentication, &[&der], &key).is_err());
    let stranger = PrivateKey::generate().unwrap();
    assert!(ReplaceableIdentity::of(Role::Client, &[&der], &stranger).is_err());
}

#[test]
fn the_client_listener_takes_no_certificate_or_any_whose_key_is_proven() {
    let authority = authority();
    let listener = listener_of(&authority);
    let trusted = [authority.trusted().unwrap()];
    let localhost = || ServerName::try_from("localhost").unwrap();

    let connector = at_now(adapter_connector(&trusted, None).unwrap());
    let (client, server) = shaken(connector, localhost(), listener.clone()).unwrap();
    assert_eq!(peer_certificate_digest(server.peer_certificates()), None);
    assert_eq!(client.alpn_protocol(), Some(tls::HTTP2));

    // Of an issuer that nobody here knows, as agencies' own authorities are.
    let unknown = self::authority();
    let (key, der) = issued(&unknown, &client_named("tax office"));
    let identity = ReplaceableIdentity::of(Role::Client, &[&der], &key).unwrap();
    let connector = at_now(adapter_connector(&trusted, Some(identity)).unwrap());
    let (_, server) = shaken(connector, localhost(), listener.clone()).unwrap();
    assert_eq!(
        peer_certificate_digest(server.peer_certificates()),
        Some(Digest::of(&der))
    );

    // The same certificate without its key.
    let thief = PrivateKey::generate().unwrap();
    let connector = at_now(adapter_connector(&trusted, None).unwrap());
    let mut connector = ClientConfig::clone(&connector);
    connector.client_auth_cert_resolver = Arc::new(Shows::stolen(&der, &thief));
    let refused = shaken(Arc::new(connector), localhost(), listener).unwrap_err();
    assert!(
        matches!(
            refused.by_listener(),
            Error::InvalidCertificate(rustls::CertificateError::BadSignature)
        ),
        "{refused:?}"
    );
}

#[test]
fn neither_listener_nor_connector_resumes() {
    let authority = authority();
    let ours = listener_of(&authority);
    let trusted = [authority.trusted().unwrap()];
    let connector = at_now(adapter_connector(&trusted, None).unwrap());
    let mut eager = ClientConfig::clone(&connector);
    eager.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    let eager = Arc::new(eager);
    let mut lenient = ServerConfig::clone(&ours);
    lenient.session_storage = ServerSessionMemoryCache::new(8);
    lenient.send_tls13_tickets = 2;
    let lenient = Arc::new(lenient);
    let second = |client: &Arc<ClientConfig>, listener: &Arc<ServerConfig>| {
        let name = || ServerName::try_from("localhost").unwrap();
        shaken(client.clone(), name(), listener.clone()).unwrap();
        let (client, _) = shaken(client.clone(), name(), listener.clone()).unwrap();
        client.handshake_kind().unwrap()
    };
    assert_eq!(second(&eager, &lenient), HandshakeKind::Resumed);
    assert_eq!(second(&connector, &lenient), HandshakeKind::Full);
    // Asked by a client that holds no ticket of the lenient one.
    let mut fresh = ClientConfig::clone(&eager);
    fresh.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    assert_eq!(second(&Arc::new(fresh), &ours), HandshakeKind::Full);
}

#[test]
fn the_adapter_connector_wants_the_right_authority_and_name() {
    let authority = authority();
    let listener = listener_of(&authority);
    let attempt = |trusted: &[TrustedAuthority], name: &str| {
        shaken(
            at_now(adapter_connector(trusted, None).unwrap()),
            ServerName::try_from(name.to_owned()).unwrap(),
            listener.clone(),
        )
    };
    let trusted = [authority.trusted().unwrap()];
    attempt(&trusted, "bus.example.vn").unwrap();
    attempt(&trusted, "127.0.0.1").unwrap();
    let words = describe(
        &attempt(&trusted, "other.example.vn")
            .unwrap_err()
            .by_client(),
    );
    assert!(words.contains("for the name it is called by"), "{words}");
    let stranger = [self::authority().trusted().unwrap()];
    assert!(attempt(&stranger, "localhost").is_err());
    assert!(adapter_connector(&[], None).is_err());
}

#[test]
fn classical_key_exchange_is_a_fallback_and_nothing_else_is_taken() {
    let authority = authority();
    let listener = listener_of(&authority);
    let trusted = [authority.trusted().unwrap()];
    let with = |group| {
        let mut provider = rustls::crypto::CryptoProvider::clone(&tls::provider());
        provider.kx_groups = vec![group];
        let mut roots = rustls::RootCertStore::empty();
        let der = trusted[0].certificate().der().to_vec();
        roots.add(der.into()).unwrap();
        let config = ClientConfig::builder_with_details(
            Arc::new(provider),
            Arc::new(Clock(AtomicU64::new(NOW.unsigned_abs()))),
        )
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        shaken(Arc::new(config), name, listener.clone())
            .map(|(client, _)| client.negotiated_key_exchange_group().unwrap().name())
    };
    assert_eq!(with(kx_group::X25519).unwrap(), NamedGroup::X25519);
    assert_eq!(with(kx_group::SECP256R1).unwrap(), NamedGroup::secp256r1);
    let refused = with(kx_group::SECP384R1).unwrap_err();
    let words = describe(&refused.by_listener());
    assert!(words.contains("no key exchange in common"), "{words}");
    assert_eq!(
        tls::provider()
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect::<Vec<_>>(),
        tls::KEY_EXCHANGE
    );
}

#[test]
fn a_refusal_is_found_inside_errors_of_sockets() {
    let inner = Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
    let words = describe(&inner);
    assert!(
        words.contains("asks for a certificate and we showed none"),
        "{words}"
    );
    let socket = std::io::Error::new(std::io::ErrorKind::InvalidData, inner);
    let outer = std::io::Error::other(socket);
    assert_eq!(describe_chain(&outer), Some(words));
    assert_eq!(describe_chain(&std::io::Error::other("unplugged")), None);
}

#[test]
fn openssl_as_a_client_is_served_tls13_only() {
    let place = Workplace::new();
    let now = file_time(&place);
    let authority = TestAuthority::create("Now", Validity::days(now, 30)).unwrap();
    place.write_certificate("ca.pem", authority.certificate().der());
    let made = |subject: &Subject| {
        let key = PrivateKey::generate().unwrap();
        let der = authority
            .issue_for(&key, subject, Validity::days(now, 10))
            .unwrap();
        (key, der)
    };
    let (key, der) = made(&Subject::Listener {
        name: "bus".into(),
        names: Vec::new(),
    });
    let identity = ReplaceableIdentity::of(Role::Listener, &[&der], &key).unwrap();
    let config = client_listener(identity).unwrap();
    let (key, client_der) = made(&client_named("system"));
    key.write(&place.path("client.key")).unwrap();
    place.write_certificate("client.pem", &client_der);

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let accepting = thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = socket.accept().unwrap();
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let outcome = connection.complete_io(&mut stream).map(|_| ());
            // The bytes after the handshake tell that the client was content with it.
            if outcome.is_ok() {
                connection.writer().write_all(b"welcome").unwrap();
                connection.send_close_notify();
            }
            let _ = connection.complete_io(&mut stream);
            seen.push((
                outcome.is_ok(),
                peer_certificate_digest(connection.peer_certificates()),
            ));
        }
        seen
    });
    let connect = |options: &str| {
        place.openssl(&format!(
            "s_client -connect 127.0.0.1:{port} -CAfile ca.pem -verify_return_error \
             -verify_hostname localhost -alpn h2 {options}"
        ))
    };
    let text = support::succeeded(&connect("-cert client.pem -key client.key"));
    assert!(text.contains("New, TLSv1.3"), "{text}");
    assert!(text.contains("ALPN protocol: h2"), "{text}");
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    assert!(!connect("-tls1_2").status.success());
    assert_eq!(
        accepting.join().unwrap(),
        [(true, Some(Digest::of(&client_der))), (false, None)]
    );
}

fn client_named(name: &str) -> Subject {
    Subject::Client { name: name.into() }
}

fn listener_of(authority: &TestAuthority) -> Arc<ServerConfig> {
    let subject = Subject::Listener {
        name: "bus".into(),
        names: vec!["bus.example.vn".into()],
    };
    let (key, der) = issued(authority, &subject);
    client_listener(ReplaceableIdentity::of(Role::Listener, &[&der], &key).unwrap()).unwrap()
}

/// The same configuration at the fixed time of these tests.
fn at_now(config: Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&config);
    config.time_provider = Arc::new(Clock(AtomicU64::new(NOW.unsigned_abs())));
    Arc::new(config)
}

/// The time of this machine, by a file it just wrote: OpenSSL has no other here.
fn file_time(place: &Workplace) -> i64 {
    std::fs::metadata(place.write("now", "")).unwrap().mtime()
}
