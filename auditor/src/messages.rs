//! Each message alone: its form, annex, content, certificate, signature, speaker and time.

use prost::Message;
use trust::{
    Digest, ServerId,
    batch::VerifiedBatches,
    configuration::StateKey,
    header::{Direction, Header},
    leaf::LeafPreimage,
    message::{KeptMessage, SigningCertificate},
    subject::{SUBJECTS_LIMIT, Unread},
    wire::{
        configuration::{AuthenticationCertificate, Registration, SecurityServer},
        evidence::{Annex, Signature, Stage},
    },
};
use verifiable_log::RawRecord;

use crate::{
    ahead::PreparedMessage,
    certificates::RecordedCertificates,
    check::Check,
    configuration::RecordedConfiguration,
    contents::Contents,
    registered::{Proven, ProvenState},
    report::Report,
    times::{Moment, Times},
};

/// What a server writes about a message that it accepts or sends.
pub(crate) const ACCEPTED: &str = "accepted";

/// A message whose form is good, with what its exchange needs of it.
pub(crate) struct ParsedMessage {
    pub(crate) index: u64,
    pub(crate) header: Header,
    pub(crate) digest: Digest,
    /// SHA-256 of the value of the signature.
    pub(crate) signature_digest: Digest,
    pub(crate) leaf: Digest,
    pub(crate) annex: Annex,
    pub(crate) stage: Stage,
    pub(crate) recorded: Moment,
}

/// What message checks look things up in.
pub(crate) struct Evidence<'a> {
    /// The server whose log this is.
    pub(crate) server: &'a ServerId,
    pub(crate) configuration: &'a RecordedConfiguration,
    pub(crate) certificates: &'a mut RecordedCertificates,
    pub(crate) contents: &'a mut Contents,
    pub(crate) times: &'a Times,
    pub(crate) batches: &'a VerifiedBatches,
}

impl Evidence<'_> {
    /// Checks the message of a record; gives it when it can be read.
    pub(crate) fn check(
        &mut self,
        report: &mut Report,
        leaf: &LeafPreimage,
        message: PreparedMessage,
        (index, annex, recorded): (u64, Annex, Moment),
    ) -> Option<ParsedMessage> {
        let PreparedMessage { kept, content } = message;
        let Some(kept) = report.judge(Check::Forms, index, kept) else {
            report.unchecked(Check::Annexes);
            leave_unchecked(report);
            return None;
        };
        let header = kept.header();
        report.judge(Check::Annexes, index, check_annex(&annex, &kept));
        let stage = annex.stage();
        if !matches!(stage, Stage::Sent | Stage::Received) {
            leave_unchecked(report);
            return None;
        }

        let is_refusal = header.refusal_code.is_some() || annex.decision != ACCEPTED;
        self.contents
            .check(report, index, &content, &header.content_digest, is_refusal);

        let head = Digest::from_slice(&annex.head_digest);
        let serial = annex.configuration_serial;
        let state = self
            .configuration
            .in_force(report, index, serial, head, recorded);
        let certificate = self.certificate(report, index, &kept, state, recorded.at);
        match &certificate {
            Some(certificate) => {
                let verified = kept
                    .verify(certificate, self.batches)
                    .map_err(|refusal| refusal.explanation);
                report.judge(Check::Signatures, index, verified);
            }
            None => report.unchecked(Check::Signatures),
        }
        self.check_speaker(report, index, header, &annex, certificate.as_ref(), state);
        let fits = self.times.check(header, stage, recorded);
        report.judge(Check::Times, index, fits);
        Some(ParsedMessage {
            index,
            digest: kept.digest(),
            signature_digest: leaf.signature_digest,
            leaf: leaf.leaf(),
            header: header.clone(),
            annex,
            stage,
            recorded,
        })
    }

    /// The certificate to verify with; none when that is a finding already.
    fn certificate(
        &mut self,
        report: &mut Report,
        index: u64,
        kept: &KeptMessage,
        state: Option<&ProvenState>,
        recorded_at: i64,
    ) -> Option<SigningCertificate> {
        let Some(state) = state else {
            report.unchecked(Check::Certificates);
            return None;
        };
        let (digest, signed_at) = (kept.certificate_digest(), kept.signed_at());
        match self
            .certificates
            .vouched(digest, state, signed_at, recorded_at)
        {
            Ok(Proven::Value(certificate)) => {
                report.held(Check::Certificates);
                Some(certificate)
            }
            Ok(Proven::Nothing | Proven::Unknown) => {
                report.unchecked(Check::Certificates);
                None
            }
            Err(problem) => {
                report.failed(Check::Certificates, index, problem);
                None
            }
        }
    }

    fn check_speaker(
        &self,
        report: &mut Report,
        index: u64,
        header: &Header,
        annex: &Annex,
        certificate: Option<&SigningCertificate>,
        state: Option<&ProvenState>,
    ) {
        let (Some(certificate), Some(state)) = (certificate, state) else {
            return report.unchecked(Check::Speakers);
        };
        let speaker = Speaker {
            ours: self.server,
            header,
            annex,
            certificate,
            state,
        };
        let instance = self.configuration.instance();
        let may_speak = if header.parties.instance == *instance {
            speaker.check()
        } else {
            Err(Objection::Rule(format!(
                "it is of instance {}",
                header.parties.instance
            )))
        };
        match may_speak {
            Ok(()) => report.held(Check::Speakers),
            Err(Objection::Unproven) => report.unchecked(Check::Speakers),
            Err(Objection::Rule(problem)) => report.failed(Check::Speakers, index, problem),
        }
    }
}

/// Without its form, or without knowing whose message it is, nothing else of it can be checked.
pub(crate) fn leave_unchecked(report: &mut Report) {
    for check in [
        Check::Contents,
        Check::InForce,
        Check::Certificates,
        Check::Signatures,
        Check::Speakers,
        Check::Times,
        Check::Order,
    ] {
        report.unchecked(check);
    }
}

/// The message of a record, its content apart.
///
/// # Errors
/// In words, what is wrong with its header or signature.
pub(crate) fn kept_message(record: &RawRecord) -> Result<KeptMessage, String> {
    let signature = Signature::decode(record.kept.signature.clone())
        .map_err(|error| format!("the signature does not parse: {error}"))?;
    KeptMessage::parse(record.kept.header.clone(), Some(signature))
        .map_err(|refusal| refusal.explanation)
}

/// Whether the annex fits the message.
fn check_annex(annex: &Annex, kept: &KeptMessage) -> Result<(), String> {
    let stage = annex.stage();
    if !matches!(stage, Stage::Sent | Stage::Received) {
        return Err("the annex of a message must say whether it was sent or received".to_owned());
    }
    if Digest::from_slice(&annex.certificate_digest) != Some(kept.certificate_digest()) {
        return Err("the annex names another certificate than the signature".to_owned());
    }
    let peer = &annex.peer_certificate_digest;
    match stage {
        Stage::Received if peer.len() != 32 => {
            return Err("the annex does not name the peer's TLS certificate".to_owned());
        }
        Stage::Sent if !peer.is_empty() => {
            return Err("the annex of a sent message names a peer's TLS certificate".to_owned());
        }
        _ => {}
    }
    let decided_here = stage == Stage::Received && kept.header().direction == Direction::Request;
    if !decided_here && (annex.decision != ACCEPTED || annex.access_right.is_some()) {
        return Err("the annex decides about a message that is no received request".to_owned());
    }
    if annex.decision != ACCEPTED && annex.access_right.is_some() {
        return Err("the annex names a right that allowed what it refuses".to_owned());
    }
    if annex.decision.is_empty() {
        return Err("the annex names no decision".to_owned());
    }
    if stage == Stage::Sent {
        let (used, named) = (
            annex.configuration_serial,
            kept.header().configuration_serial,
        );
        if used != named {
            return Err(format!(
                "the annex names configuration {used}, the header that was sent says {named}"
            ));
        }
    }
    check_subjects(annex)
}

/// Whether the annex names persons as a server does: by hashes, each once, in their order.
fn check_subjects(annex: &Annex) -> Result<(), String> {
    let hashes = &annex.subject_hash;
    let in_order = hashes.is_sorted_by(|one, next| one < next);
    if hashes.len() > SUBJECTS_LIMIT || !in_order || hashes.iter().any(|hash| hash.len() != 32) {
        return Err("the annex does not name the persons of its message by hashes".to_owned());
    }
    let why = &annex.subjects_unread;
    if !why.is_empty() && !Unread::ALL.iter().any(|known| known.name() == why) {
        let what = format!("the annex does not say why it names not all persons: {why:?}");
        return Err(what);
    }
    Ok(())
}

/// One message and what is registered about whoever speaks in it.
struct Speaker<'a> {
    ours: &'a ServerId,
    header: &'a Header,
    annex: &'a Annex,
    certificate: &'a SigningCertificate,
    state: &'a ProvenState,
}

/// Why a speaker may not speak, or why that cannot be said.
enum Objection {
    /// A rule does not hold.
    Rule(String),
    /// A proof it relies on failed: a finding of its own.
    Unproven,
}

impl Speaker<'_> {
    /// Repeats, from what is proven to be registered, the decision that the server made.
    fn check(&self) -> Result<(), Objection> {
        let sender = self.header.sending_server();
        self.check_servers(sender)?;
        self.registered::<SecurityServer>(&StateKey::Server(sender.clone()))?;
        let signer = &self.certificate.member;
        if self.header.refusal_code.is_some() && *signer == sender.owner() {
            return Ok(());
        }
        let speaker = self.header.speaker();
        let key = StateKey::Registration(sender.clone(), speaker.clone());
        if !self.registered::<Registration>(&key)?.enabled {
            return Err(Objection::Rule(format!(
                "{speaker} is disabled at {sender}"
            )));
        }
        if *signer != speaker.member() {
            let problem = format!("{signer} signed for {speaker}, which it does not own");
            return Err(Objection::Rule(problem));
        }
        Ok(())
    }

    /// Whether the message is ours as its annex says, and came over its sender's connection.
    fn check_servers(&self, sender: &ServerId) -> Result<(), Objection> {
        let ours = self.ours;
        if self.annex.stage() == Stage::Sent {
            if sender == ours {
                return Ok(());
            }
            let problem = format!("it was sent by {sender}, and this is the log of {ours}");
            return Err(Objection::Rule(problem));
        }
        let receiver = self.header.receiving_server();
        if receiver != ours {
            let problem = format!("it is for {receiver}, and this is the log of {ours}");
            return Err(Objection::Rule(problem));
        }
        let digest = Digest::from_slice(&self.annex.peer_certificate_digest);
        let digest = digest.ok_or(Objection::Unproven)?;
        let key = StateKey::Authentication(digest);
        let peer = self.registered::<AuthenticationCertificate>(&key)?.server;
        if peer != sender.local() {
            return Err(Objection::Rule(format!(
                "it says it is from {sender} and came over a connection of {peer}"
            )));
        }
        Ok(())
    }

    fn registered<Value: Message + Default>(&self, key: &StateKey) -> Result<Value, Objection> {
        match self.state.value(key) {
            Proven::Value(value) => Ok(value),
            Proven::Unknown => Err(Objection::Unproven),
            Proven::Nothing => Err(Objection::Rule(format!(
                "{key} is not proven to be registered in the configuration it was decided by"
            ))),
        }
    }
}
