//! The root documents that a log recorded, followed from the anchor.

use bytes::Bytes;
use prost::Message;
use trust::{
    configuration::{Anchor, CLOCK_SKEW_SECONDS, RootDocument, VerifiedHead},
    wire::configuration::{self as wire, SignedRootDocument},
};

use crate::times::RECORDING_SECONDS;

/// The root documents followed so far.
pub(crate) struct Roots {
    newest: RootDocument,
    /// The one before it, and when it was replaced.
    former: Option<(RootDocument, i64)>,
    broken: bool,
}

impl Roots {
    pub(crate) fn new(anchor: &Anchor) -> Self {
        Self {
            newest: anchor.root().clone(),
            former: None,
            broken: false,
        }
    }

    /// Whether a root document did not follow: what relies on it cannot be checked.
    pub(crate) const fn are_broken(&self) -> bool {
        self.broken
    }

    /// Takes in a recorded document: one that is known already, or the next one.
    pub(crate) fn follow(&mut self, signed: &Bytes, at: i64) -> Result<(), String> {
        let followed = self.accept(signed, at);
        self.broken = followed.is_err();
        followed
    }

    /// Verifies a head under the newest document, or under the one replaced a moment before.
    pub(crate) fn verify_head(&self, encoded: &Bytes, at: i64) -> Result<VerifiedHead, String> {
        let by_newest = VerifiedHead::verify(encoded.clone(), &self.newest);
        let head = by_newest.or_else(|refusal| match &self.former {
            Some((former, replaced)) if at <= replaced.saturating_add(RECORDING_SECONDS) => {
                VerifiedHead::verify(encoded.clone(), former)
            }
            _ => Err(refusal),
        });
        let head = head.map_err(|refusal| {
            let version = self.newest.document().version;
            format!("{} (by root document {version})", refusal.explanation)
        })?;
        if head.publication().issued_at > at.saturating_add(CLOCK_SKEW_SECONDS) {
            return Err(format!(
                "serial {} was issued after it was recorded",
                head.serial()
            ));
        }
        self.newest
            .check_expiry(at.saturating_sub(RECORDING_SECONDS))
            .map_err(|refusal| refusal.explanation)?;
        Ok(head)
    }

    fn accept(&mut self, signed: &Bytes, at: i64) -> Result<(), String> {
        let document =
            unverified(signed).ok_or_else(|| "the root document does not parse".to_owned())?;
        let known = [
            Some(&self.newest),
            self.former.as_ref().map(|(former, _)| former),
        ]
        .into_iter()
        .flatten()
        .find(|known| known.document().version == document.version);
        match known {
            Some(known) if *known.document() == document => return Ok(()),
            Some(_) if document.version == 1 => {
                return Err(
                    "this log was kept under another anchor: its first root document is not the \
                     one in the anchor file, so nothing in it is proven by this anchor"
                        .to_owned(),
                );
            }
            Some(_) => {
                let version = document.version;
                return Err(format!("there are two different root documents {version}"));
            }
            // A server that starts again records all of them once more.
            None if document.version < self.newest.document().version => return Ok(()),
            None => {}
        }
        let next = self
            .newest
            .next(signed.clone())
            .map_err(|refusal| refusal.explanation)?;
        let former = std::mem::replace(&mut self.newest, next);
        self.former = Some((former, at));
        Ok(())
    }
}

fn unverified(signed: &Bytes) -> Option<wire::RootDocument> {
    let signed = SignedRootDocument::decode(signed.clone()).ok()?;
    wire::RootDocument::decode(signed.document).ok()
}
