//! The provider's promise: which leaf of its log the record of a request is.
//!
//! A reply names the index and the annex of the record of the newest request that it answers. With
//! the request itself, which the consumer has, that is the leaf; another leaf at that index of the
//! provider's log is a broken promise, and the signed reply proves it.

use crate::{
    Digest,
    checkpoint::Origin,
    header::Header,
    leaf::LeafPreimage,
    refusal::{Reason, Refusal},
    wire::evidence::{self, RecordKind},
};

/// What a promise comes to, once the request that it is about is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromisedLeaf {
    /// The log of the provider.
    pub origin: Origin,
    /// Where in it.
    pub index: u64,
    /// The leaf that has to stand there.
    pub leaf: Digest,
}

/// A promise as a reply gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The log that keeps the request.
    pub origin: Origin,
    /// The index of its record there.
    pub index: u64,
    /// SHA-256 of the annex of that record.
    pub annex_digest: Digest,
}

impl Promise {
    /// The promise that a reply gives; none when it gives none.
    ///
    /// # Errors
    /// `NoPromise` when what it gives is of another server's log, or not of that form.
    pub fn of(reply: &Header) -> Result<Option<Self>, Refusal> {
        let Some(given) = &reply.promise else {
            return Ok(None);
        };
        let none = |what: &str| Refusal::new(Reason::NoPromise, format!("the promise {what}"));
        let origin: Origin = given
            .origin
            .parse()
            .map_err(|_| none("names no log of a server"))?;
        let provider = &reply.parties.provider;
        if origin
            .server()
            .is_none_or(|(server, _)| server != *provider)
        {
            return Err(none(&format!(
                "is of log {origin}, which {provider} does not keep"
            )));
        }
        let annex_digest =
            Digest::from_slice(&given.annex_digest).ok_or_else(|| none("names no annex"))?;
        Ok(Some(Self {
            origin,
            index: given.index,
            annex_digest,
        }))
    }

    /// Whether a reply gives a promise if it must: every reply does that is no refusal. The record
    /// of a refused request is written together with its refusal, and its place not known before.
    ///
    /// # Errors
    /// `NoPromise`.
    pub fn must_be_given(reply: &Header) -> Result<(), Refusal> {
        match Self::of(reply)? {
            None if reply.refusal_code.is_none() => Err(Refusal::new(
                Reason::NoPromise,
                "the reply does not promise that the request is kept",
            )),
            _ => Ok(()),
        }
    }

    /// The leaf that must stand at the promised index: that of the record of this request.
    #[must_use]
    pub fn leaf(&self, request: Digest, signature_digest: Digest) -> Digest {
        LeafPreimage {
            kind: RecordKind::Message as u8,
            message_digest: request,
            signature_digest,
            annex_digest: self.annex_digest,
        }
        .leaf()
    }

    /// The same with its place.
    #[must_use]
    pub fn of_request(self, request: Digest, signature_digest: Digest) -> PromisedLeaf {
        PromisedLeaf {
            leaf: self.leaf(request, signature_digest),
            origin: self.origin,
            index: self.index,
        }
    }

    /// As it stands in a header.
    #[must_use]
    pub fn to_wire(&self) -> evidence::Promise {
        evidence::Promise {
            origin: self.origin.to_string(),
            index: self.index,
            annex_digest: self.annex_digest.to_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ExchangeId, MethodPath,
        header::{Answers, Direction, Parties, Statements},
    };

    fn reply(promise: Option<evidence::Promise>) -> Header {
        let parties = Parties {
            instance: "VN".parse().unwrap(),
            exchange: ExchangeId::from_parts(1, &[1; 10]),
            client: "VN/GOV/G01/desk".parse().unwrap(),
            service: "VN/GOV/G02/population".parse().unwrap(),
            method: MethodPath::parse("/a.B/C").unwrap(),
            consumer: "VN/GOV/G01/server-1".parse().unwrap(),
            provider: "VN/GOV/G02/server-1".parse().unwrap(),
        };
        let request = Digest::of(b"request");
        Header {
            parties,
            direction: Direction::Reply,
            sequence: 0,
            is_final: true,
            refusal_code: None,
            configuration_serial: 1,
            created_at: 0,
            deadline_milliseconds: None,
            statements: Statements::default(),
            previous: None,
            answers: Some(Answers {
                first_request: request,
                newest_sequence: 0,
                newest_request: request,
            }),
            status_code: Some(0),
            promise,
            content_digest: Digest::of(b""),
        }
    }

    fn given() -> evidence::Promise {
        evidence::Promise {
            origin: "VN/GOV/G02/server-1/3".to_owned(),
            index: 42,
            annex_digest: Digest::of(b"annex").to_bytes(),
        }
    }

    #[test]
    fn a_promise_reads_back_and_names_the_leaf_of_the_record() {
        let promise = Promise::of(&reply(Some(given()))).unwrap().unwrap();
        assert_eq!(promise.to_wire(), given());
        let (request, signature) = (Digest::of(b"request"), Digest::of(b"signature"));
        let leaf = LeafPreimage {
            kind: 1,
            message_digest: request,
            signature_digest: signature,
            annex_digest: Digest::of(b"annex"),
        };
        assert_eq!(promise.leaf(request, signature), leaf.leaf());
    }

    #[test]
    fn every_reply_but_a_refusal_must_promise() {
        Promise::must_be_given(&reply(Some(given()))).unwrap();
        let refused = Promise::must_be_given(&reply(None)).unwrap_err();
        assert_eq!(refused.reason, Reason::NoPromise);
        let mut refusal = reply(None);
        refusal.refusal_code = Some("provider.access_denied".to_owned());
        Promise::must_be_given(&refusal).unwrap();
    }

    #[test]
    fn a_promise_of_another_log_or_form_is_none() {
        let changes: [fn(&mut evidence::Promise); 7] = [
            |promise| promise.origin.clear(),
            |promise| promise.origin = "VN/GOV/G01/server-1/1".to_owned(),
            |promise| promise.origin = "VN/GOV/G02/server-1".to_owned(),
            |promise| promise.origin = "VN/GOV/G02/server-1/01".to_owned(),
            |promise| promise.origin = "VN/GOV/G02/server-1/x".to_owned(),
            |promise| promise.annex_digest.clear(),
            |promise| promise.annex_digest = vec![1; 33].into(),
        ];
        for change in changes {
            let mut promise = given();
            change(&mut promise);
            let refused = Promise::must_be_given(&reply(Some(promise.clone())));
            assert_eq!(
                refused.unwrap_err().reason,
                Reason::NoPromise,
                "{promise:?}"
            );
        }
    }
}
