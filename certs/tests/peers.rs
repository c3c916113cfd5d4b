//! TLS between security servers: what is negotiated, who is refused, and in which words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    io::{Read, Write},
    sync::Arc,
};

use certs::{
    PrivateKey, Role,
    tls::{self, PeerTls, ReplaceableIdentity, describe, peer_certificate_digest, peer_name},
};
use rustls::{
    ClientConfig, Error, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    client::{ClientSessionMemoryCache, Resumption},
    server::ServerSessionMemoryCache,
};
use support::{
    DAY, NOW, Workplace, issued, server,
    tls::{Shows, World, id, shaken, transfer},
};
use trust::Digest;

#[test]
fn peers_negotiate_tls13_with_hybrid_key_exchange_and_know_each_other() {
    let world = World::new();
    let (mut client, mut listener) = shaken(
        world.one.connector(&id("VN/GOV/G02/server-1")).unwrap(),
        peer_name(),
        world.two.listener().unwrap(),
    )
    .unwrap();
    for (version, group, protocol) in [
        (
            client.protocol_version(),
            client.negotiated_key_exchange_group(),
            client.alpn_protocol(),
        ),
        (
            listener.protocol_version(),
            listener.negotiated_key_exchange_group(),
            listener.alpn_protocol(),
        ),
    ] {
        assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
        assert_eq!(group.unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(protocol, Some(tls::HTTP2));
    }
    assert_eq!(
        peer_certificate_digest(listener.peer_certificates()),
        Some(world.identity_one.digest())
    );
    assert_eq!(
        peer_certificate_digest(client.peer_certificates()),
        Some(world.identity_two.digest())
    );

    client.writer().write_all(b"a frame").unwrap();
    transfer(&mut client, &mut listener).unwrap();
    let mut received = [0; 7];
    listener.reader().read_exact(&mut received).unwrap();
    assert_eq!(&received, b"a frame");
}

#[test]
fn a_server_is_refused_until_it_is_registered_and_again_when_it_is_not() {
    let world = World::new();
    let listener = world.two.listener().unwrap();
    let connector = world.one.connector(&id("VN/GOV/G02/server-1")).unwrap();
    let attempt = || shaken(connector.clone(), peer_name(), listener.clone());
    attempt().unwrap();

    let digest = world.identity_one.digest();
    let registered = world.registry.remove(&digest);
    let refused = attempt().unwrap_err();
    let words = describe(&refused.by_listener());
    assert!(words.starts_with("we refused the other side:"), "{words}");
    assert!(words.contains("CN=VN/GOV/G01/server-1"), "{words}");
    assert!(
        words.contains(&format!("register its digest {digest}")),
        "{words}"
    );
    let words = describe(&refused.by_client());
    assert!(
        words.contains("refused our certificate: it is not registered"),
        "{words}"
    );

    world.registry.insert(digest, registered);
    attempt().unwrap();

    // The other way round: the one that listens is not registered.
    world.registry.remove(&world.identity_two.digest());
    let refused = attempt().unwrap_err();
    let words = describe(&refused.by_client());
    assert!(words.contains("CN=VN/GOV/G02/server-1"), "{words}");
    assert!(
        words.contains("registered for no security server"),
        "{words}"
    );
}

#[test]
fn a_deregistered_client_cannot_resume() {
    let world = World::new();
    // A client that wants to resume, unlike ours.
    let mut eager = ClientConfig::clone(&world.one.connector(&id("VN/GOV/G02/server-1")).unwrap());
    eager.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    let eager = Arc::new(eager);
    let digest = world.identity_one.digest();

    // With the sessions that rustls would keep by itself, it gets in without being registered.
    let mut lenient = ServerConfig::clone(&world.two.listener().unwrap());
    lenient.session_storage = ServerSessionMemoryCache::new(8);
    lenient.send_tls13_tickets = 2;
    let lenient = Arc::new(lenient);
    shaken(eager.clone(), peer_name(), lenient.clone()).unwrap();
    let registered = world.registry.remove(&digest);
    let (_, resumed) = shaken(eager.clone(), peer_name(), lenient).unwrap();
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));

    // With ours it does not.
    world.registry.insert(digest, registered);
    let listener = world.two.listener().unwrap();
    let (_, first) = shaken(eager.clone(), peer_name(), listener.clone()).unwrap();
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let (_, second) = shaken(eager.clone(), peer_name(), listener.clone()).unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Full));
    world.registry.remove(&digest);
    let refused = shaken(eager, peer_name(), listener).unwrap_err();
    assert!(describe(&refused.by_listener()).contains("registered for no security server"));
}

#[test]
fn the_wrong_server_at_an_address_is_refused() {
    let world = World::new();
    let refused = shaken(
        world.one.connector(&id("VN/GOV/G03/server-1")).unwrap(),
        peer_name(),
        world.two.listener().unwrap(),
    )
    .unwrap_err();
    let words = describe(&refused.by_client());
    assert!(
        words.contains("belongs to server VN/GOV/G02/server-1, but VN/GOV/G03/server-1 was called"),
        "{words}"
    );
}

#[test]
fn a_certificate_registered_for_another_server_than_it_names_is_refused() {
    let world = World::new();
    let digest = world.identity_one.digest();
    world.registry.insert(digest, id("VN/GOV/G03/server-1"));
    let refused = world.attempt().unwrap_err();
    let words = describe(&refused.by_listener());
    assert!(
        words
            .contains("names server VN/GOV/G01/server-1 but is registered for VN/GOV/G03/server-1"),
        "{words}"
    );
}

#[test]
fn a_registered_certificate_of_a_withdrawn_authority_is_refused() {
    let world = World::new();
    world.registry.0.lock().unwrap().authorities = Vec::new().into();
    let words = describe(&world.attempt().unwrap_err().by_client());
    assert!(
        words.contains("is no approved authority for this role"),
        "{words}"
    );
}

#[test]
fn an_expired_certificate_is_refused_at_the_handshake() {
    let world = World::new();
    world.clock.set(NOW + 365 * DAY);
    world.attempt().unwrap();
    world.clock.set(NOW + 365 * DAY + 1);
    let words = describe(&world.attempt().unwrap_err().by_client());
    assert!(
        words.contains("it was valid until 2028-01-15T08:00:00Z; renew it"),
        "{words}"
    );
}

#[test]
fn a_replaced_certificate_is_shown_without_a_restart() {
    let world = World::new();
    let place = Workplace::new();
    let subject = server("VN/GOV/G02/server-1");
    let write = || {
        let (key, der) = issued(&world.authority, &subject);
        let _ = std::fs::remove_file(place.path("key.pem"));
        let _ = std::fs::remove_file(place.path("c.pem"));
        key.write(&place.path("key.pem")).unwrap();
        place.write_certificate("c.pem", &der);
        let digest = Digest::of(&der);
        world.registry.insert(digest, id("VN/GOV/G02/server-1"));
        digest
    };
    let first = write();
    let identity = ReplaceableIdentity::load(
        Role::Authentication,
        &place.path("c.pem"),
        &place.path("key.pem"),
    )
    .unwrap();
    let listener = PeerTls::new(identity.clone(), world.registry.clone())
        .with_clock(world.clock.clone())
        .listener()
        .unwrap();
    let connector = world.one.connector(&id("VN/GOV/G02/server-1")).unwrap();
    let shown = || {
        let (client, _) = shaken(connector.clone(), peer_name(), listener.clone()).unwrap();
        peer_certificate_digest(client.peer_certificates()).unwrap()
    };
    assert_eq!(shown(), first);

    let second = write();
    assert_eq!(shown(), first, "files are read when told to");
    assert_eq!(identity.reload().unwrap().digest(), second);
    assert_eq!(shown(), second);

    // A key that does not belong to the certificate changes nothing.
    std::fs::remove_file(place.path("key.pem")).unwrap();
    let other = PrivateKey::generate().unwrap();
    other.write(&place.path("key.pem")).unwrap();
    let error = identity.reload().unwrap_err().to_string();
    assert!(
        error.contains("key.pem: does not belong to the certificate in"),
        "{error}"
    );
    assert_eq!(shown(), second);
}

#[test]
fn a_peer_without_the_key_of_its_certificate_is_refused() {
    let world = World::new();
    let mut connector =
        ClientConfig::clone(&world.one.connector(&id("VN/GOV/G02/server-1")).unwrap());
    let der = world.identity_one.certificate().der().to_vec();
    let thief = PrivateKey::generate().unwrap();
    connector.client_auth_cert_resolver = Arc::new(Shows::stolen(&der, &thief));
    let listener = world.two.listener().unwrap();
    let refused = shaken(Arc::new(connector.clone()), peer_name(), listener.clone()).unwrap_err();
    assert!(matches!(
        refused.by_listener(),
        Error::InvalidCertificate(rustls::CertificateError::BadSignature)
    ));

    connector.client_auth_cert_resolver = Arc::new(Shows(None));
    let refused = shaken(Arc::new(connector), peer_name(), listener).unwrap_err();
    let words = describe(&refused.by_listener());
    assert!(words.contains("it showed no certificate"), "{words}");
    let words = describe(&refused.by_client());
    assert!(
        words.contains("asks for a certificate and we showed none"),
        "{words}"
    );
}
