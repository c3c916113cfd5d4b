//! The security server: what the stages of both routes share.

use std::sync::Arc;

use certs::LogKey;
use trust::{
    ExchangeId, MemberId, Reason, Refusal, ServerId, SubsystemId, batch::VerifiedBatches,
    replay::reference_time,
};

use crate::{
    certificates::{Certificates, KnownCertificate},
    clock::SharedClock,
    connections::{AdapterConnections, PeerConnections},
    exchange::OpenExchanges,
    gathering::Gatherings,
    grpc::budget::Budgets,
    identities::Identities,
    local_state::LocalState,
    peer_log::{PeerLogs, Proving},
    random,
    recollection::kept::RecollectionFile,
    recorder::Recorder,
    refusals::RefusalNotes,
    signer::{MemberSigner, Signers},
    snapshot::{Newest, Snapshot},
    subjects::DataSubjects,
};

/// A running security server. Everything in it is shared by all exchanges.
pub(crate) struct Server {
    id: ServerId,
    clock: SharedClock,
    newest: Arc<Newest>,
    /// Held while the local state is changed: record first, then put in force.
    pub(crate) changing: tokio::sync::Mutex<()>,
    signers: Signers,
    gatherings: Gatherings,
    verified_batches: VerifiedBatches,
    certificates: Certificates,
    recorder: Recorder,
    budgets: Budgets,
    peers: PeerConnections,
    adapters: AdapterConnections,
    notes: RefusalNotes,
    exchanges: OpenExchanges,
    peer_logs: Arc<PeerLogs>,
    proving: Proving,
    identities: Identities,
    log_key: LogKey,
    recollection_file: RecollectionFile,
    data_subjects: DataSubjects,
}

/// What a server is made of.
pub(crate) struct Parts {
    pub(crate) id: ServerId,
    pub(crate) clock: SharedClock,
    pub(crate) newest: Arc<Newest>,
    pub(crate) signers: Signers,
    pub(crate) recorder: Recorder,
    pub(crate) budgets: Budgets,
    pub(crate) peers: PeerConnections,
    pub(crate) adapters: AdapterConnections,
    pub(crate) identities: Identities,
    pub(crate) log_key: LogKey,
    pub(crate) recollection_file: RecollectionFile,
    pub(crate) data_subjects: DataSubjects,
    pub(crate) exchanges: OpenExchanges,
    /// The most messages that one signature is made over.
    pub(crate) messages_per_signature: usize,
}

impl Server {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            id: parts.id,
            clock: parts.clock,
            newest: parts.newest,
            changing: tokio::sync::Mutex::new(()),
            signers: parts.signers,
            gatherings: Gatherings::of(parts.messages_per_signature),
            verified_batches: VerifiedBatches::default(),
            certificates: Certificates::default(),
            budgets: parts.budgets,
            peers: parts.peers,
            adapters: parts.adapters,
            notes: RefusalNotes::default(),
            exchanges: parts.exchanges,
            peer_logs: parts.recorder.peer_logs(),
            recorder: parts.recorder,
            proving: Proving::default(),
            identities: parts.identities,
            log_key: parts.log_key,
            recollection_file: parts.recollection_file,
            data_subjects: parts.data_subjects,
        }
    }

    pub(crate) const fn id(&self) -> &ServerId {
        &self.id
    }

    pub(crate) const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub(crate) const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    pub(crate) const fn peers(&self) -> &PeerConnections {
        &self.peers
    }

    pub(crate) const fn adapters(&self) -> &AdapterConnections {
        &self.adapters
    }

    pub(crate) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(crate) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) const fn notes(&self) -> &RefusalNotes {
        &self.notes
    }

    /// The exchanges under way.
    pub(crate) const fn exchanges(&self) -> &OpenExchanges {
        &self.exchanges
    }

    /// The logs of other servers.
    pub(crate) fn peer_logs(&self) -> &PeerLogs {
        &self.peer_logs
    }

    /// The TLS certificates.
    pub(crate) const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The key that signs the checkpoints of the log.
    pub(crate) const fn log_key(&self) -> &LogKey {
        &self.log_key
    }

    /// Where what is remembered of the log is kept.
    pub(crate) const fn recollection_file(&self) -> &RecollectionFile {
        &self.recollection_file
    }

    /// Names whom messages are about.
    pub(crate) const fn data_subjects(&self) -> &DataSubjects {
        &self.data_subjects
    }

    /// The signing keys.
    pub(crate) const fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Messages that wait to be signed together.
    pub(crate) const fn gatherings(&self) -> &Gatherings {
        &self.gatherings
    }

    /// Signatures of batches that were verified.
    pub(crate) const fn verified_batches(&self) -> &VerifiedBatches {
        &self.verified_batches
    }

    /// Bounds the work of proving our own records to others.
    pub(crate) const fn proving(&self) -> &Proving {
        &self.proving
    }

    /// Whether this server can serve: it has a valid configuration and its log takes records.
    ///
    /// # Errors
    /// `NoConfiguration` or `LogUnavailable`.
    pub(crate) fn ready(&self) -> Result<(), Refusal> {
        self.configuration_in_force()?;
        if self.recorder.takes_records() {
            return Ok(());
        }
        let what = "the message log takes no records";
        Err(Refusal::new(Reason::LogUnavailable, what))
    }

    /// The configuration, whether it is in force or not.
    pub(crate) const fn newest(&self) -> &Arc<Newest> {
        &self.newest
    }

    /// The configuration for one decision.
    ///
    /// # Errors
    /// `NoConfiguration`.
    pub(crate) fn configuration_in_force(&self) -> Result<Arc<Snapshot>, Refusal> {
        self.newest.in_force(&self.clock)
    }

    /// The local state for one decision.
    pub(crate) fn local_state(&self) -> Arc<LocalState> {
        self.recorder.local_state()
    }

    /// The key of the member that owns a subsystem.
    ///
    /// # Errors
    /// `NoSigningKey`.
    pub(crate) fn signer_of(&self, subsystem: &SubsystemId) -> Result<Arc<MemberSigner>, Refusal> {
        self.member_signer(&subsystem.member())
    }

    /// The key of the member that owns this server.
    ///
    /// # Errors
    /// `NoSigningKey`.
    pub(crate) fn owner_signer(&self) -> Result<Arc<MemberSigner>, Refusal> {
        self.member_signer(&self.id.owner())
    }

    fn member_signer(&self, member: &MemberId) -> Result<Arc<MemberSigner>, Refusal> {
        self.signers.of(member, self.clock.seconds())
    }

    /// Our own signing certificate, vouched for like any other.
    ///
    /// # Errors
    /// `NoSigningKey` when no approved authority vouches for it.
    pub(crate) fn own_certificate(
        &self,
        signer: &MemberSigner,
        snapshot: &Snapshot,
    ) -> Result<KnownCertificate, Refusal> {
        self.certificates
            .own(signer.material(), snapshot, self.clock.seconds())
    }

    /// A new exchange id: a UUID version 7 of this moment.
    pub(crate) fn new_exchange_id(&self) -> ExchangeId {
        let now = u64::try_from(self.clock.milliseconds()).unwrap_or_default();
        ExchangeId::from_parts(now, &random::bytes())
    }

    /// The time that freshness is measured against: never behind the newest record.
    ///
    /// # Errors
    /// `ClockBehind`.
    pub(crate) fn reference_time(&self) -> Result<i64, Refusal> {
        let now = self.clock.seconds();
        reference_time(now, self.recorder.newest_record())
    }
}
