//! No message leaves, is acted on, or is delivered before its record is on disk.

use std::sync::Arc;

use trust::{
    Digest, Refusal, header::Direction, message::SignedMessage, promise::Promise, refusal::Side,
    subject::Subjects, wire::evidence::Stage,
};
use verifiable_log::Receipt;

use super::{
    authorise::{AuthorisedOpening, AuthorisedRequest, RefusedRequest},
    sign::{SignedReply, SignedRequest},
    verify::{Verified, VerifiedReply},
};
use crate::{
    certificates::KnownCertificate, exchange::Conversation, recorder::MessageRecord,
    server::Server, snapshot::Snapshot,
};

/// The proof that a message's record is on disk. Made here and nowhere else.
pub(crate) struct Recorded<M> {
    pub(super) message: M,
    /// Held as the proof: it exists only for a record that was synced.
    _receipt: Receipt,
}

/// A message at the point of its route where it has to be recorded.
pub(crate) trait Recordable {
    /// What is recorded.
    fn record(&self) -> MessageRecord<'_>;
}

impl Server {
    /// Records a message of an exchange durably.
    ///
    /// # Errors
    /// `LogUnavailable`: the message must then not go on.
    pub(crate) async fn record<M: Recordable>(
        &self,
        exchange: &impl Conversation,
        message: M,
    ) -> Result<Recorded<M>, Refusal> {
        let mut record = message.record();
        record.subjects = self.data_subjects().of(exchange.marking(), record.message);
        let direction = record.message.header().direction;
        let (receipt, annex_digest) = self.recorder().record(&[record]).await?;
        let kept = Promise {
            origin: self.recorder().log().origin().clone(),
            index: receipt.index(),
            annex_digest,
        };
        exchange.note_kept(direction, kept);
        Ok(Recorded {
            message,
            _receipt: receipt,
        })
    }

    /// Records a refused request and the reply that refuses it, together and without content.
    ///
    /// # Errors
    /// `LogUnavailable`.
    pub(crate) async fn record_refusal(
        &self,
        exchange: &impl Conversation,
        refused: &RefusedRequest,
        reply: SignedReply,
    ) -> Result<Recorded<SignedReply>, Refusal> {
        let code = refused
            .refusal
            .clone()
            .said_by(Side::Provider, self.id().clone())
            .code();
        let request = MessageRecord {
            decision: &code,
            keep_content: false,
            subjects: self
                .data_subjects()
                .of(exchange.marking(), &refused.request.message),
            ..received(&refused.request, None)
        };
        let records = [request, reply.record()];
        let (receipt, _) = self.recorder().record(&records).await?;
        exchange.note_recorded(Direction::Request);
        exchange.note_recorded(Direction::Reply);
        Ok(Recorded {
            message: reply,
            _receipt: receipt,
        })
    }
}

const ACCEPTED: &str = "accepted";

fn sent<'a>(
    message: &'a SignedMessage,
    snapshot: &'a Arc<Snapshot>,
    certificate: &'a KnownCertificate,
) -> MessageRecord<'a> {
    MessageRecord {
        message,
        snapshot,
        certificate,
        stage: Stage::Sent,
        peer_certificate: None,
        decision: ACCEPTED,
        right: None,
        subjects: Subjects::default(),
        // A refusal never carries a message, and its text is in no one's interest to keep.
        keep_content: message.header().refusal_code.is_none(),
    }
}

fn received(verified: &Verified, right: Option<u64>) -> MessageRecord<'_> {
    let peer_certificate: Option<&Digest> = Some(&verified.peer_certificate);
    MessageRecord {
        stage: Stage::Received,
        peer_certificate,
        right,
        ..sent(&verified.message, &verified.snapshot, &verified.certificate)
    }
}

impl Recordable for SignedRequest {
    fn record(&self) -> MessageRecord<'_> {
        sent(&self.message, &self.snapshot, &self.certificate)
    }
}

impl Recordable for SignedReply {
    fn record(&self) -> MessageRecord<'_> {
        sent(&self.message, &self.snapshot, &self.certificate)
    }
}

impl Recordable for AuthorisedOpening {
    fn record(&self) -> MessageRecord<'_> {
        received(&self.request, Some(self.right.index))
    }
}

impl Recordable for AuthorisedRequest {
    fn record(&self) -> MessageRecord<'_> {
        received(&self.request, Some(self.right))
    }
}

impl Recordable for VerifiedReply {
    fn record(&self) -> MessageRecord<'_> {
        received(&self.reply, None)
    }
}
