//! Which records of a log an exchange relies on: one pass over the log.

use std::collections::{BTreeSet, HashMap, HashSet};

use certs::Certificate;
use prost::Message;
use trust::{
    Digest, ExchangeId, ServerId,
    configuration::StateKey,
    header::Header,
    wire::{
        configuration::{Entry, Head, entry::Body},
        evidence::{
            AccessRight, Annex, CertificateRecord, Change, Erased, Membership, RecordKind,
            change::{Key, Value},
        },
    },
};
use verifiable_log::RawRecord;

use crate::{keys, messages::kept_message};

/// What was seen of a log so far, by the places where it stands.
pub(crate) struct Choice {
    exchange: ExchangeId,
    keeper: (ServerId, u32),
    /// Root documents, each once.
    roots: HashMap<Digest, u64>,
    heads: HashMap<Digest, SeenHead>,
    memberships: Vec<SeenMembership>,
    certificates: HashMap<Digest, u64>,
    authorities: Vec<u64>,
    changes: Vec<(u64, ChangedKey)>,
    erased: Vec<(u64, Erased)>,
    messages: Vec<SeenMessage>,
    /// Closing and security records of the exchange.
    others: Vec<u64>,
}

struct SeenHead {
    index: u64,
    state_root: Option<Digest>,
}

struct SeenMembership {
    index: u64,
    state_root: Digest,
    key: String,
}

/// What a change is about, as far as it decides who may call.
enum ChangedKey {
    Subsystem(String),
    /// The right's id, and its client and service if it was granted.
    Right(String, Option<(String, String)>),
}

struct SeenMessage {
    index: u64,
    header: Header,
    head: Option<Digest>,
    certificate: Option<Digest>,
    peer_certificate: Option<Digest>,
    right: Option<u64>,
}

impl Choice {
    pub(crate) fn new(exchange: ExchangeId, keeper: (ServerId, u32)) -> Self {
        Self {
            exchange,
            keeper,
            roots: HashMap::new(),
            heads: HashMap::new(),
            memberships: Vec::new(),
            certificates: HashMap::new(),
            authorities: Vec::new(),
            changes: Vec::new(),
            erased: Vec::new(),
            messages: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The exchange.
    pub(crate) const fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// Whether a record of the exchange itself was seen.
    pub(crate) fn found(&self) -> bool {
        !self.messages.is_empty() || !self.others.is_empty()
    }

    /// Whether a message of the exchange was seen.
    pub(crate) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Takes in the next record. What does not parse proves nothing and is not chosen.
    pub(crate) fn take(&mut self, record: &RawRecord) {
        let (index, body) = (record.index, record.kept.header.clone());
        match RecordKind::try_from(i32::from(record.kept.kind)) {
            Ok(RecordKind::Message) if self.is_of_exchange(record) => {
                self.messages.extend(SeenMessage::of(record));
            }
            Ok(RecordKind::Closing | RecordKind::Security) if self.is_of_exchange(record) => {
                self.others.push(index);
            }
            Ok(RecordKind::RootDocument) => {
                self.roots.entry(Digest::of(&body)).or_insert(index);
            }
            Ok(RecordKind::Head) => {
                let head = SeenHead {
                    index,
                    state_root: state_root_of(record),
                };
                self.heads.entry(Digest::of(&body)).or_insert(head);
            }
            Ok(RecordKind::Membership) => {
                if let Ok(membership) = Membership::decode(body)
                    && let Some(state_root) = Digest::from_slice(&membership.state_root)
                {
                    self.memberships.push(SeenMembership {
                        index,
                        state_root,
                        key: membership.key,
                    });
                }
            }
            Ok(RecordKind::Certificate) => {
                if let Ok(recorded) = CertificateRecord::decode(body) {
                    self.certificate(index, &recorded.certificate);
                }
            }
            Ok(RecordKind::Change) => {
                let changed = Change::decode(body).ok().and_then(ChangedKey::of);
                self.changes.extend(changed.map(|key| (index, key)));
            }
            Ok(RecordKind::Erased) => {
                self.erased
                    .extend(Erased::decode(body).ok().map(|it| (index, it)));
            }
            _ => {}
        }
    }

    /// The records to put into the container, in order.
    pub(crate) fn chosen(&self) -> BTreeSet<u64> {
        let mut chosen: BTreeSet<u64> = self.roots.values().copied().collect();
        chosen.extend(self.messages.iter().map(|message| message.index));
        chosen.extend(&self.others);
        self.choose_configuration(&mut chosen);
        self.choose_certificates(&mut chosen);
        self.choose_rights(&mut chosen);
        let is_ours = |erased: &Erased| {
            let range = erased.first_index..=erased.last_index;
            self.messages.iter().any(|it| range.contains(&it.index))
        };
        chosen.extend(
            self.erased
                .iter()
                .filter(|(_, erased)| is_ours(erased))
                .map(|(index, _)| index),
        );
        chosen
    }

    /// Whether a record is about the exchange.
    pub(crate) fn is_of_exchange(&self, record: &RawRecord) -> bool {
        keys::exchange_of(&record.kept) == Some(self.exchange)
    }

    fn certificate(&mut self, index: u64, der: &[u8]) {
        let digest = Digest::of(der);
        if self.certificates.contains_key(&digest) {
            return;
        }
        self.certificates.insert(digest, index);
        if Certificate::parse(der).is_ok_and(|certificate| certificate.is_authority()) {
            self.authorities.push(index);
        }
    }

    /// The heads that messages name, what was proven under them of those who spoke, and the key
    /// that signed the checkpoint, under the newest head that proves it.
    fn choose_configuration(&self, chosen: &mut BTreeSet<u64>) {
        let mut states = HashSet::new();
        let named = self.messages.iter().filter_map(|message| message.head);
        for head in named.filter_map(|digest| self.heads.get(&digest)) {
            chosen.insert(head.index);
            states.extend(head.state_root);
        }
        let log_key = StateKey::Log(self.keeper.0.clone(), self.keeper.1).to_string();
        let wanted: HashSet<String> = self
            .messages
            .iter()
            .flat_map(SeenMessage::keys)
            .map(|key| key.to_string())
            .collect();
        let is_wanted = |membership: &&SeenMembership| {
            states.contains(&membership.state_root)
                && (wanted.contains(&membership.key)
                    || membership.key.starts_with("authority/")
                    || membership.key == log_key)
        };
        let of_log_key = self.memberships.iter().rfind(|it| it.key == log_key);
        for membership in self.memberships.iter().filter(is_wanted).chain(of_log_key) {
            chosen.insert(membership.index);
            // Proofs are recorded once a state: the head that messages name may have come later.
            chosen.extend(self.head_before(membership));
        }
    }

    /// The last head recorded before a proof that publishes its state.
    fn head_before(&self, membership: &SeenMembership) -> Option<u64> {
        let publishing = self
            .heads
            .values()
            .filter(|head| head.state_root == Some(membership.state_root))
            .map(|head| head.index);
        publishing.filter(|index| *index < membership.index).max()
    }

    fn choose_certificates(&self, chosen: &mut BTreeSet<u64>) {
        let named = self
            .messages
            .iter()
            .filter_map(|message| message.certificate);
        chosen.extend(named.filter_map(|digest| self.certificates.get(&digest)));
        chosen.extend(&self.authorities);
    }

    /// Every change of the rights that decided, and of rights between the same two, up to the
    /// end of the exchange; and that the subsystems were hosted which these rights were for. (The
    /// id of a right may have been used for another service before.)
    fn choose_rights(&self, chosen: &mut BTreeSet<u64>) {
        let named: HashSet<u64> = self.messages.iter().filter_map(|it| it.right).collect();
        let Some(last) = self.messages.last().filter(|_| !named.is_empty()) else {
            return;
        };
        let (client, service) = (&last.header.parties.client, &last.header.parties.service);
        let is_between = |parties: &(String, String)| {
            parties.0 == client.as_str() && parties.1 == service.as_str()
        };
        let ids: HashSet<&String> = self
            .changes
            .iter()
            .filter_map(|(index, key)| match key {
                ChangedKey::Right(id, Some(parties))
                    if named.contains(index) || is_between(parties) =>
                {
                    Some(id)
                }
                _ => None,
            })
            .collect();
        let before = self.changes.iter().filter(|(index, _)| *index < last.index);
        let services: HashSet<&String> = before
            .clone()
            .filter_map(|(_, key)| match key {
                ChangedKey::Right(id, Some((_, service))) if ids.contains(id) => Some(service),
                _ => None,
            })
            .collect();
        chosen.extend(
            before
                .filter(|(_, key)| match key {
                    ChangedKey::Right(id, _) => ids.contains(id),
                    ChangedKey::Subsystem(subsystem) => services.contains(subsystem),
                })
                .map(|(index, _)| index),
        );
    }
}

impl SeenMessage {
    fn of(record: &RawRecord) -> Option<Self> {
        let annex = Annex::decode(record.kept.annex.clone()).ok()?;
        let kept = kept_message(record).ok()?;
        Some(Self {
            index: record.index,
            header: kept.header().clone(),
            head: Digest::from_slice(&annex.head_digest),
            certificate: Some(kept.certificate_digest()),
            peer_certificate: Digest::from_slice(&annex.peer_certificate_digest),
            right: annex.access_right,
        })
    }

    /// What must be registered for its speaker to be allowed to speak.
    fn keys(&self) -> Vec<StateKey> {
        let sender = self.header.sending_server();
        let mut keys = vec![
            StateKey::Server(sender.clone()),
            StateKey::Registration(sender.clone(), self.header.speaker().clone()),
        ];
        keys.extend(self.peer_certificate.map(StateKey::Authentication));
        keys
    }
}

impl ChangedKey {
    fn of(change: Change) -> Option<Self> {
        match change.key? {
            Key::Subsystem(subsystem) => Some(Self::Subsystem(subsystem)),
            Key::AccessRight(id) => {
                let parties = match change.value {
                    Some(Value::Right(AccessRight {
                        client, service, ..
                    })) => Some((client, service)),
                    _ => None,
                };
                Some(Self::Right(id, parties))
            }
            Key::Service(_) | Key::ClientCertificate(_) => None,
        }
    }
}

fn state_root_of(record: &RawRecord) -> Option<Digest> {
    let head = Head::decode(record.kept.header.clone()).ok()?;
    match Entry::decode(head.entry).ok()?.body? {
        Body::Publication(publication) => Digest::from_slice(&publication.state_root),
        Body::Changes(_) => None,
    }
}
