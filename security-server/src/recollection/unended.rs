//! The exchanges that have neither a final reply nor a closing record in the log.

use std::collections::{HashMap, VecDeque};

use trust::{
    Digest, ExchangeId,
    header::{Direction, Header},
    promise::{Promise, PromisedLeaf},
    refusal::Side,
    wire::evidence::{Closing, Stage},
};

use crate::refusals::closing;

/// A message as it stands in the log.
pub(crate) struct RecordedMessage<'a> {
    pub(crate) header: &'a Header,
    pub(crate) stage: Stage,
    /// The message digest, and SHA-256 of its signature.
    pub(crate) digest: Digest,
    pub(crate) signature_digest: Digest,
}

/// Whose exchange, and which.
pub(super) type Key = (Side, ExchangeId);

/// What is known of each.
#[derive(Default)]
pub(super) struct Unended(pub(super) HashMap<Key, LastMessages>);

/// The newest message of each direction, by its sequence and digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LastMessages {
    pub(super) request: Option<(u64, Digest)>,
    pub(super) reply: Option<(u64, Digest)>,
    /// Requests that a reply may still promise to keep.
    pub(super) sent: VecDeque<SentRequest>,
}

/// A request of ours, and what its leaf in the provider's log is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentRequest {
    pub(super) sequence: u64,
    pub(super) digest: Digest,
    pub(super) signature_digest: Digest,
}

/// On which side of an exchange a server has recorded a message.
pub(crate) fn side_of(direction: Direction, stage: Stage) -> Side {
    match (direction, stage == Stage::Sent) {
        (Direction::Request, true) | (Direction::Reply, false) => Side::Consumer,
        (Direction::Request, false) | (Direction::Reply, true) => Side::Provider,
    }
}

impl Unended {
    /// Takes in a message; gives what it promises.
    pub(super) fn take(&mut self, message: &RecordedMessage<'_>) -> Option<PromisedLeaf> {
        let header = message.header;
        let side = side_of(header.direction, message.stage);
        let key = (side, header.parties.exchange);
        let last = Some((header.sequence, message.digest));
        match header.direction {
            Direction::Request => {
                // A late request, recorded after the final reply, opens nothing again.
                if header.sequence == 0 || self.0.contains_key(&key) {
                    let exchange = self.0.entry(key).or_default();
                    exchange.request = last;
                    if side == Side::Consumer {
                        exchange.sent.push_back(SentRequest {
                            sequence: header.sequence,
                            digest: message.digest,
                            signature_digest: message.signature_digest,
                        });
                    }
                }
                None
            }
            Direction::Reply => {
                let exchange = self.0.entry(key).or_default();
                exchange.reply = last;
                let promised = if side == Side::Consumer {
                    exchange.promised(header)
                } else {
                    None
                };
                if header.is_final {
                    self.end(key);
                }
                promised
            }
        }
    }

    /// The exchange has ended.
    pub(super) fn end(&mut self, key: Key) {
        self.0.remove(&key);
    }

    /// What would be recorded to end them all after the server had stopped.
    pub(super) fn closings(&self) -> impl Iterator<Item = Closing> {
        self.0.iter().map(|((side, exchange), last)| {
            let why = "the exchange was open when this server stopped";
            closing(*side, exchange.as_bytes(), "unknown", why)
                .with(last.request, last.reply)
                .0
        })
    }
}

impl LastMessages {
    /// What a reply promises of the request that it names as the newest.
    fn promised(&mut self, reply: &Header) -> Option<PromisedLeaf> {
        let newest = reply.answers.as_ref()?.newest_sequence;
        while self.sent.front()?.sequence < newest {
            self.sent.pop_front();
        }
        let request = self.sent.front().filter(|sent| sent.sequence == newest)?;
        let promise = Promise::of(reply).ok()??;
        Some(promise.of_request(request.digest, request.signature_digest))
    }
}
