//! What the connection between two servers costs: a handshake, and the records of a message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use certs::{
    PrivateKey, Role, Subject, TestAuthority, TrustedAuthority, Validity,
    tls::{PeerTls, RegisteredServers, ReplaceableIdentity, peer_name},
};
use divan::{Bencher, black_box};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::UnixTime,
    time_provider::TimeProvider,
};
use trust::{Digest, ServerId};

/// Lengths of what is sent.
const PAYLOADS: [usize; 4] = [200, 4096, 65536, 1_048_576];

const NOW: i64 = 1_800_000_000;

fn main() {
    divan::main();
}

/// Both sides together.
#[divan::bench]
fn handshake(bencher: Bencher<'_, '_>) {
    let sides = Sides::new();
    bencher.bench_local(|| sides.connect());
}

/// Sealed by one side and opened by the other, in one direction.
#[divan::bench(args = PAYLOADS)]
fn sealed_and_opened(bencher: Bencher<'_, '_>, payload: usize) {
    let (mut client, mut server) = Sides::new().connect();
    let (sent, mut received) = (vec![7; payload], vec![0; payload]);
    bencher.bench_local(|| {
        let (mut written, mut read) = (0, 0);
        while read < payload {
            written += client.writer().write(black_box(&sent[written..])).unwrap();
            let mut wire = Vec::with_capacity(payload + 1024);
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                server.read_tls(&mut wire).unwrap();
                let plain = server
                    .process_new_packets()
                    .unwrap()
                    .plaintext_bytes_to_read();
                let end = read + plain;
                server
                    .reader()
                    .read_exact(&mut received[read..end])
                    .unwrap();
                read = end;
            }
        }
    });
}

/// The configurations of two registered servers.
struct Sides {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Sides {
    fn new() -> Self {
        let authority =
            TestAuthority::create("authority", Validity::of(Role::Authority, NOW)).unwrap();
        let ids: [ServerId; 2] =
            ["VN/GOV/G01/server-1", "VN/GOV/G02/server-1"].map(|id| id.parse().unwrap());
        let identities = ids.clone().map(|server| {
            let key = PrivateKey::generate().unwrap();
            let subject = Subject::Authentication {
                server,
                organization: None,
            };
            let validity = Validity::of(Role::Authentication, NOW);
            let der = authority.issue_for(&key, &subject, validity).unwrap();
            ReplaceableIdentity::of(Role::Authentication, &[&der], &key).unwrap()
        });
        let registered = Arc::new(Registered {
            servers: [0, 1].map(|side| (identities[side].digest(), ids[side].clone())),
            authorities: Arc::new([authority.trusted().unwrap()]),
        });
        let [client, server] =
            identities.map(|own| PeerTls::new(own, registered.clone()).with_clock(Arc::new(Clock)));
        Self {
            client: client.connector(&ids[1]).unwrap(),
            server: server.listener().unwrap(),
        }
    }

    fn connect(&self) -> (ClientConnection, ServerConnection) {
        let mut client = ClientConnection::new(self.client.clone(), peer_name()).unwrap();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        (client, server)
    }
}

struct Registered {
    servers: [(Digest, ServerId); 2],
    authorities: Arc<[TrustedAuthority]>,
}

impl RegisteredServers for Registered {
    fn server_of(&self, certificate: &Digest) -> Option<ServerId> {
        let mut servers = self.servers.iter();
        let found = servers.find(|(digest, _)| digest == certificate);
        found.map(|(_, server)| server.clone())
    }

    fn authorities(&self) -> Arc<[TrustedAuthority]> {
        self.authorities.clone()
    }
}

/// It is always the same time.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW as u64)))
    }
}
