//! Two security servers, a registry and a clock to turn, and handshakes between them in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use certs::{
    PrivateKey, Role, TestAuthority, TrustedAuthority,
    tls::{self, PeerTls, RegisteredServers, ReplaceableIdentity, peer_name},
};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig, ServerConnection,
    SideData, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use trust::{Digest, ServerId};

use super::{NOW, Workplace, authority, issued, server};

/// Two registered servers, G01 that connects and G02 that listens.
pub struct World {
    pub authority: TestAuthority,
    pub registry: Arc<Registry>,
    pub clock: Arc<Clock>,
    pub identity_one: Arc<ReplaceableIdentity>,
    pub identity_two: Arc<ReplaceableIdentity>,
    pub one: PeerTls,
    pub two: PeerTls,
}

impl World {
    pub fn new() -> Self {
        let authority = authority();
        let registry = Arc::new(Registry(Mutex::new(Registered {
            servers: HashMap::new(),
            authorities: vec![authority.trusted().unwrap()].into(),
        })));
        let clock = Arc::new(Clock(AtomicU64::new(NOW.unsigned_abs())));
        let registered = |name: &str| {
            let (key, der) = issued(&authority, &server(name));
            registry.insert(Digest::of(&der), id(name));
            let identity = ReplaceableIdentity::of(Role::Authentication, &[&der], &key).unwrap();
            let tls = PeerTls::new(identity.clone(), registry.clone());
            (identity, tls.with_clock(clock.clone()))
        };
        let (identity_one, one) = registered("VN/GOV/G01/server-1");
        let (identity_two, two) = registered("VN/GOV/G02/server-1");
        Self {
            authority,
            registry,
            clock,
            identity_one,
            identity_two,
            one,
            two,
        }
    }

    pub fn attempt(&self) -> Result<(ClientConnection, ServerConnection), Box<Refused>> {
        shaken(
            self.one.connector(&id("VN/GOV/G02/server-1")).unwrap(),
            peer_name(),
            self.two.listener().unwrap(),
        )
    }
}

pub struct Registry(pub Mutex<Registered>);

pub struct Registered {
    pub servers: HashMap<Digest, ServerId>,
    pub authorities: Arc<[TrustedAuthority]>,
}

impl Registry {
    pub fn insert(&self, digest: Digest, server: ServerId) {
        self.0.lock().unwrap().servers.insert(digest, server);
    }

    pub fn remove(&self, digest: &Digest) -> ServerId {
        self.0.lock().unwrap().servers.remove(digest).unwrap()
    }
}

impl RegisteredServers for Registry {
    fn server_of(&self, certificate: &Digest) -> Option<ServerId> {
        self.0.lock().unwrap().servers.get(certificate).cloned()
    }

    fn authorities(&self) -> Arc<[TrustedAuthority]> {
        self.0.lock().unwrap().authorities.clone()
    }
}

#[derive(Debug)]
pub struct Clock(pub AtomicU64);

impl Clock {
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds.unsigned_abs(), Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::SeqCst);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Shows what it is told to: nothing, or a certificate whose key it does not have.
#[derive(Debug)]
pub struct Shows(pub Option<Arc<CertifiedKey>>);

impl Shows {
    pub fn stolen(der: &[u8], key: &PrivateKey) -> Self {
        let place = Workplace::new();
        key.write(&place.path("key.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(place.path("key.pem")).unwrap();
        let key = tls::provider().key_provider.load_private_key(key).unwrap();
        let chain = vec![der.to_vec().into()];
        Self(Some(Arc::new(CertifiedKey::new(chain, key))))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

pub fn id(text: &str) -> ServerId {
    text.parse().unwrap()
}

/// What each side made of a handshake that failed.
#[derive(Debug)]
pub struct Refused {
    pub client: Option<Error>,
    pub listener: Option<Error>,
}

impl Refused {
    pub fn by_client(&self) -> Error {
        self.client.clone().unwrap()
    }

    pub fn by_listener(&self) -> Error {
        self.listener.clone().unwrap()
    }
}

pub fn shaken(
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    listener: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Box<Refused>> {
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut listener = ServerConnection::new(listener).unwrap();
    let mut refused = Refused {
        client: None,
        listener: None,
    };
    // Long enough for the client to read what the listener thinks of its certificate.
    for _ in 0..6 {
        if let Err(error) = transfer(&mut client, &mut listener) {
            refused.listener.get_or_insert(error);
        }
        if let Err(error) = transfer(&mut listener, &mut client) {
            refused.client.get_or_insert(error);
        }
    }
    if refused.client.is_some() || refused.listener.is_some() {
        return Err(Box::new(refused));
    }
    assert!(!client.is_handshaking() && !listener.is_handshaking());
    Ok((client, listener))
}

/// Moves all that one side has to say to the other.
pub fn transfer<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), Error>
where
    A: SideData,
    B: SideData,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}
