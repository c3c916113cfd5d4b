//! The leaf of a kept record of a message log, from its bytes alone.

use bytes::Bytes;
use prost::Message;

use crate::{
    Digest, Refusal,
    leaf::LeafPreimage,
    message::{KeptMessage, signature_value},
    refusal::Reason,
    wire::evidence::{RecordKind, Signature},
};

/// Computes what the leaf of a record is made of. Says nothing about the signature being good.
///
/// # Errors
/// `MalformedEnvelope` when the record is not what its kind says.
pub fn leaf_preimage(
    kind: u8,
    header: &Bytes,
    signature: &Bytes,
    annex: &Bytes,
) -> Result<LeafPreimage, Refusal> {
    let malformed = |what: String| Refusal::new(Reason::MalformedEnvelope, what);
    let is_message = i32::from(kind) == RecordKind::Message as i32;
    if !is_message {
        if !signature.is_empty() {
            return Err(malformed(format!(
                "a record of kind {kind} has no signature"
            )));
        }
        return Ok(LeafPreimage::of_local_record(kind, header, annex));
    }
    let signature = Signature::decode(signature.clone())
        .map_err(|error| malformed(format!("the signature does not parse: {error}")))?;
    let signature_digest = Digest::of(signature_value(&signature));
    let message = KeptMessage::parse(header.clone(), Some(signature))?;
    Ok(LeafPreimage {
        kind,
        message_digest: message.digest(),
        signature_digest,
        annex_digest: Digest::of(annex),
    })
}
