//! The verified configuration as servers ask it: who is registered where, and who may speak.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{State, StateKey, VerifiedHead, invalid};
use crate::{
    Digest, MemberId, ServerId, SubsystemId,
    header::Header,
    merkle::Tree,
    message::SigningCertificate,
    promise::Promise,
    refusal::{Reason, Refusal},
    wire::{configuration as wire, evidence::Membership},
};

/// One configuration: a verified head and the state that it names. Immutable, shared.
#[derive(Debug)]
pub struct Configuration {
    head: VerifiedHead,
    directory: Arc<Directory>,
}

/// A state with all that is made of it once, for every head that names it.
#[derive(Debug)]
struct Directory {
    state: State,
    tree: Tree,
    addresses: HashMap<ServerId, String>,
    hosts: HashMap<SubsystemId, Vec<ServerId>>,
    registered: HashSet<(ServerId, SubsystemId)>,
    server_certificates: HashMap<Digest, ServerId>,
    authorities: HashMap<Digest, wire::Authority>,
}

impl Configuration {
    /// Puts head and state together.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the state is not the one that the head names, or a key of it
    /// cannot be read.
    pub fn new(head: VerifiedHead, state: State) -> Result<Arc<Self>, Refusal> {
        let tree = state.tree();
        let size = head.publication().state_size;
        if tree.root() != head.state_root() || tree.size() != size {
            return Err(invalid("the state is not the one that the head publishes"));
        }
        let directory = Arc::new(Directory::index(state, tree)?);
        Ok(Arc::new(Self { head, directory }))
    }

    /// The same state, shared, under a newer head that names the same root.
    ///
    /// # Errors
    /// `InvalidConfiguration` when root or size differ.
    pub fn renewed(&self, head: VerifiedHead) -> Result<Arc<Self>, Refusal> {
        let size = head.publication().state_size;
        if head.state_root() != self.head.state_root() || size != self.directory.tree.size() {
            return Err(invalid("the newer head names another state"));
        }
        let directory = Arc::clone(&self.directory);
        Ok(Arc::new(Self { head, directory }))
    }

    /// The head in force.
    #[must_use]
    pub const fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.directory.state
    }

    /// Proofs that the keys have their values under the root of the head; keys without a value are
    /// passed over.
    #[must_use]
    pub fn prove(&self, keys: &[StateKey]) -> Vec<Membership> {
        self.directory.state.prove_in(&self.directory.tree, keys)
    }

    /// The serial that records name.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.head.serial()
    }

    /// The server that a TLS certificate is registered for.
    #[must_use]
    pub fn server_of(&self, certificate: &Digest) -> Option<&ServerId> {
        self.directory.server_certificates.get(certificate)
    }

    /// Where a server listens for others: host:port.
    #[must_use]
    pub fn address_of(&self, server: &ServerId) -> Option<&str> {
        self.directory.addresses.get(server).map(String::as_str)
    }

    /// The servers that host a subsystem, in order of their names.
    #[must_use]
    pub fn hosts_of(&self, subsystem: &SubsystemId) -> &[ServerId] {
        self.directory
            .hosts
            .get(subsystem)
            .map_or(&[], Vec::as_slice)
    }

    /// The approved authorities with the digests of their certificates.
    pub fn authorities(&self) -> impl Iterator<Item = (&Digest, &wire::Authority)> {
        self.directory.authorities.iter()
    }

    /// Whether a gRPC service is registered for a subsystem.
    #[must_use]
    pub fn has_service(&self, subsystem: &SubsystemId, grpc_service: &str) -> bool {
        let key = StateKey::Service(subsystem.clone(), grpc_service.to_owned());
        self.directory.state.value(&key).is_some()
    }

    /// The digest of the descriptor set that a gRPC service of a subsystem is registered with.
    #[must_use]
    pub fn descriptor_of(&self, subsystem: &SubsystemId, grpc_service: &str) -> Option<Digest> {
        let key = StateKey::Service(subsystem.clone(), grpc_service.to_owned());
        let value: wire::Service = self.directory.state.decoded(&key)?;
        Digest::from_slice(&value.descriptor_digest)
    }

    /// The public key of a server's log.
    #[must_use]
    pub fn log_key(&self, server: &ServerId, generation: u32) -> Option<[u8; 32]> {
        let key = StateKey::Log(server.clone(), generation);
        let value: wire::LogKey = self.directory.state.decoded(&key)?;
        value.public_key.as_ref().try_into().ok()
    }

    /// Who may speak for whom: one decision over a message whose signature was verified.
    ///
    /// `peer_certificate` is the TLS certificate of the connection, `ours` the server deciding,
    /// `at` the time now. All of it must hold (docs/protocol.md, who may speak for whom):
    /// the certificate belongs to the sending server and we are the receiving one; the speaking
    /// subsystem is registered there; the signing member owns that subsystem and is vouched for by
    /// an approved authority. A refusal may be signed by the sending server's owner instead.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn check_speaker(
        &self,
        header: &Header,
        certificate: &SigningCertificate,
        peer_certificate: &Digest,
        ours: &ServerId,
        at: i64,
    ) -> Result<(), Refusal> {
        self.check_connection(header, peer_certificate, ours)?;
        self.check_certificate(certificate, at)?;
        let sender = header.sending_server();
        if header.refusal_code.is_some() && certificate.member == sender.owner() {
            return Ok(());
        }
        self.check_promise(header)?;
        let speaker = header.speaker();
        if !self
            .directory
            .registered
            .contains(&(sender.clone(), speaker.clone()))
        {
            return Err(Refusal::new(
                Reason::NotRegisteredAtServer,
                format!("{speaker} is not registered and enabled at {sender}"),
            ));
        }
        check_member(&certificate.member, speaker)
    }

    /// Whether the connection is between the two servers of this instance that the header names.
    ///
    /// # Errors
    /// `WrongInstance`, `UnknownServer` or `WrongServer`.
    pub fn check_connection(
        &self,
        header: &Header,
        peer_certificate: &Digest,
        ours: &ServerId,
    ) -> Result<(), Refusal> {
        if header.parties.instance != *self.directory.state.instance() {
            return Err(Refusal::new(
                Reason::WrongInstance,
                format!("the message is of instance {}", header.parties.instance),
            ));
        }
        let Some(peer) = self.server_of(peer_certificate) else {
            return Err(Refusal::new(
                Reason::UnknownServer,
                "the TLS certificate of the connection is not registered for a security server",
            ));
        };
        if peer != header.sending_server() {
            return Err(Refusal::new(
                Reason::WrongServer,
                format!(
                    "the connection is of {peer}, the header says {}",
                    header.sending_server()
                ),
            ));
        }
        if ours != header.receiving_server() {
            return Err(Refusal::new(
                Reason::WrongServer,
                format!(
                    "the message is for {}; this is {ours}",
                    header.receiving_server()
                ),
            ));
        }
        Ok(())
    }

    /// A promise is worth something when the key of the log it names is known.
    fn check_promise(&self, header: &Header) -> Result<(), Refusal> {
        let Some(promise) = Promise::of(header)? else {
            return Ok(());
        };
        let log = promise.origin.server();
        match log.and_then(|(server, generation)| self.log_key(&server, generation)) {
            Some(_) => Ok(()),
            None => Err(Refusal::new(
                Reason::NoPromise,
                format!(
                    "no key is registered for the log {} of the promise",
                    promise.origin
                ),
            )),
        }
    }

    fn check_certificate(&self, certificate: &SigningCertificate, at: i64) -> Result<(), Refusal> {
        let approved = self
            .directory
            .authorities
            .get(&certificate.authority)
            .is_some_and(|found| found.signing);
        if !approved {
            return Err(Refusal::new(
                Reason::InvalidCertificate,
                format!(
                    "the certificate of {} is not from an authority approved for signing",
                    certificate.member
                ),
            ));
        }
        if !(certificate.not_before..=certificate.not_after).contains(&at) {
            return Err(Refusal::new(
                Reason::ExpiredCertificate,
                format!(
                    "the signing certificate of {} is not valid now",
                    certificate.member
                ),
            ));
        }
        Ok(())
    }

    /// The keys whose values an auditor needs to repeat [`Self::check_speaker`].
    #[must_use]
    pub fn evidence_keys(
        &self,
        header: &Header,
        certificate: &SigningCertificate,
        peer_certificate: Option<&Digest>,
    ) -> Vec<StateKey> {
        let sender = header.sending_server().clone();
        let mut keys = vec![
            StateKey::Server(sender.clone()),
            StateKey::Registration(sender, header.speaker().clone()),
            StateKey::Authority(certificate.authority),
        ];
        keys.extend(peer_certificate.map(|digest| StateKey::Authentication(*digest)));
        let promise = Promise::of(header).ok().flatten();
        let promised_log = promise.and_then(|promise| promise.origin.server());
        keys.extend(promised_log.map(|(server, generation)| StateKey::Log(server, generation)));
        keys
    }
}

impl Directory {
    fn index(state: State, tree: Tree) -> Result<Self, Refusal> {
        let mut directory = Self {
            addresses: HashMap::new(),
            hosts: HashMap::new(),
            registered: HashSet::new(),
            server_certificates: HashMap::new(),
            authorities: HashMap::new(),
            state: State::empty(state.instance().clone()),
            tree,
        };
        for (text, _) in state.pairs() {
            let key = StateKey::parse(state.instance(), text)
                .map_err(|error| invalid(format!("a key of the state: {error}")))?;
            directory.index_pair(&state, key)?;
        }
        directory.state = state;
        Ok(directory)
    }

    fn index_pair(&mut self, state: &State, key: StateKey) -> Result<(), Refusal> {
        let unreadable = || invalid(format!("the value of {key} does not parse"));
        match &key {
            StateKey::Server(server) => {
                let value: wire::SecurityServer = state.decoded(&key).ok_or_else(unreadable)?;
                self.addresses.insert(server.clone(), value.address);
            }
            StateKey::Registration(server, subsystem) => {
                let value: wire::Registration = state.decoded(&key).ok_or_else(unreadable)?;
                if value.enabled {
                    self.hosts
                        .entry(subsystem.clone())
                        .or_default()
                        .push(server.clone());
                    self.registered.insert((server.clone(), subsystem.clone()));
                }
            }
            StateKey::Authentication(digest) => {
                let value: wire::AuthenticationCertificate =
                    state.decoded(&key).ok_or_else(unreadable)?;
                let server = format!("{}/{}", state.instance(), value.server);
                let server = server.parse().map_err(|_| unreadable())?;
                self.server_certificates.insert(*digest, server);
            }
            StateKey::Authority(digest) => {
                let value: wire::Authority = state.decoded(&key).ok_or_else(unreadable)?;
                self.authorities.insert(*digest, value);
            }
            StateKey::Member(_)
            | StateKey::Subsystem(_)
            | StateKey::Log(..)
            | StateKey::Service(..)
            | StateKey::Officer(_) => {}
        }
        Ok(())
    }
}

fn check_member(signer: &MemberId, speaker: &SubsystemId) -> Result<(), Refusal> {
    if *signer != speaker.member() {
        return Err(Refusal::new(
            Reason::WrongMember,
            format!("{signer} signed for {speaker}, which it does not own"),
        ));
    }
    Ok(())
}
