//! One exchange as its messages unfold: the order, the chain, and what a reply must name.

use std::collections::VecDeque;

use crate::{
    Digest,
    header::{Answers, Direction, Header, Parties},
    promise::{Promise, PromisedLeaf},
    refusal::{Reason, Refusal},
};

/// How many digests of sent requests are kept for replies to name. The provider can lag behind by
/// no more than what flow control lets be under way, which is far less.
const SENT_LIMIT: usize = 16 * 1024;

/// One direction of an exchange: what was accepted or signed of it, and how much of that is on disk.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    accepted: u64,
    newest: Option<Digest>,
    finished: bool,
    recorded: Option<(u64, Digest)>,
    recorded_final: bool,
}

impl Chain {
    const fn new() -> Self {
        Self {
            accepted: 0,
            newest: None,
            finished: false,
            recorded: None,
            recorded_final: false,
        }
    }

    /// Sequence number of the next message.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.accepted
    }

    /// Sequence number and digest of the newest message, recorded or not.
    #[must_use]
    pub fn newest(&self) -> Option<(u64, Digest)> {
        Some((self.accepted.checked_sub(1)?, self.newest?))
    }

    /// Whether the final message was seen.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Sequence number and digest of the newest message that is on disk.
    #[must_use]
    pub const fn newest_recorded(&self) -> Option<(u64, Digest)> {
        self.recorded
    }

    /// Whether the final message is on disk.
    #[must_use]
    pub const fn is_recorded_to_its_end(&self) -> bool {
        self.recorded_final
    }

    /// Notes that the newest message is on disk: no other is accepted before that.
    fn note_recorded(&mut self) {
        self.recorded = self.newest();
        self.recorded_final = self.finished;
    }

    /// Accepts the next message of this direction.
    ///
    /// # Errors
    /// `OutOfSequence` or `BrokenChain`; the chain stays as it was.
    pub fn follow(&mut self, header: &Header, digest: Digest) -> Result<(), Refusal> {
        let direction = header.direction.name();
        if self.finished {
            return Err(Refusal::new(
                Reason::OutOfSequence,
                format!("a {direction} follows the final {direction}"),
            ));
        }
        if header.sequence != self.accepted {
            return Err(Refusal::new(
                Reason::OutOfSequence,
                format!(
                    "{direction} {} came where {} was due",
                    header.sequence, self.accepted
                ),
            ));
        }
        if header.previous != self.newest {
            return Err(Refusal::new(
                Reason::BrokenChain,
                format!(
                    "{direction} {} does not name the one before it",
                    header.sequence
                ),
            ));
        }
        self.accepted += 1;
        self.newest = Some(digest);
        self.finished = header.is_final;
        Ok(())
    }
}

/// The exchange as its consumer sees it.
#[derive(Debug)]
pub struct ConsumerExchange {
    parties: Parties,
    requests: Chain,
    replies: Chain,
    first_request: Option<Digest>,
    /// Sent requests, one after the other, from the newest one that a reply has named.
    sent: VecDeque<Sent>,
}

/// What replies name of a sent request, and what its leaf in the provider's log is made of.
#[derive(Debug)]
struct Sent {
    sequence: u64,
    digest: Digest,
    signature_digest: Digest,
}

impl ConsumerExchange {
    /// A new exchange; nothing was sent yet.
    #[must_use]
    pub const fn open(parties: Parties) -> Self {
        Self {
            parties,
            requests: Chain::new(),
            replies: Chain::new(),
            first_request: None,
            sent: VecDeque::new(),
        }
    }

    /// Who speaks with whom.
    #[must_use]
    pub const fn parties(&self) -> &Parties {
        &self.parties
    }

    /// The requests sent so far.
    #[must_use]
    pub const fn requests(&self) -> &Chain {
        &self.requests
    }

    /// The replies accepted so far.
    #[must_use]
    pub const fn replies(&self) -> &Chain {
        &self.replies
    }

    /// Digest of the first request, `x-road-request-hash`.
    #[must_use]
    pub const fn first_request(&self) -> Option<Digest> {
        self.first_request
    }

    /// Notes a request that was signed, before it leaves. `signature_digest` is the SHA-256 of the
    /// signature's value.
    ///
    /// # Errors
    /// When it is not the next one of this exchange.
    pub fn sign_off(
        &mut self,
        header: &Header,
        digest: Digest,
        signature_digest: Digest,
    ) -> Result<(), Refusal> {
        same_parties(&self.parties, header, Direction::Request)?;
        self.requests.follow(header, digest)?;
        self.first_request.get_or_insert(digest);
        if self.sent.len() == SENT_LIMIT {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            sequence: header.sequence,
            digest,
            signature_digest,
        });
        Ok(())
    }

    /// Notes that the newest message of a direction is on disk.
    pub fn note_recorded(&mut self, direction: Direction) {
        match direction {
            Direction::Request => self.requests.note_recorded(),
            Direction::Reply => self.replies.note_recorded(),
        }
    }

    /// The request of ours that a reply names as the newest.
    fn named_by(&self, answers: &Answers) -> Option<&Sent> {
        let first = self.sent.front()?.sequence;
        let position = answers.newest_sequence.checked_sub(first)?;
        let sent = self.sent.get(usize::try_from(position).ok()?)?;
        (sent.digest == answers.newest_request).then_some(sent)
    }

    /// Accepts a verified reply: of this exchange, in order, bound to our requests. Gives what it
    /// promises of the request it names, if it promises.
    ///
    /// # Errors
    /// `DifferentExchange`, `OutOfSequence`, `BrokenChain`, or `NoPromise` for what is no promise.
    pub fn accept_reply(
        &mut self,
        header: &Header,
        digest: Digest,
    ) -> Result<Option<PromisedLeaf>, Refusal> {
        same_parties(&self.parties, header, Direction::Reply)?;
        let different = |what: &str| Err(Refusal::new(Reason::DifferentExchange, what));
        let Some(answers) = &header.answers else {
            return different("the reply names no request");
        };
        if Some(answers.first_request) != self.first_request {
            return different("the reply answers another first request than ours");
        }
        let Some(request) = self.named_by(answers) else {
            return different("the reply names as newest a request that we did not send");
        };
        let promise = Promise::of(header)?;
        let promised =
            promise.map(|promise| promise.of_request(request.digest, request.signature_digest));
        self.replies.follow(header, digest)?;
        while self
            .sent
            .front()
            .is_some_and(|sent| sent.sequence < answers.newest_sequence)
        {
            self.sent.pop_front();
        }
        Ok(promised)
    }
}

/// The exchange as its provider sees it.
#[derive(Debug)]
pub struct ProviderExchange {
    parties: Parties,
    requests: Chain,
    replies: Chain,
    first_request: Digest,
    /// Where the newest request on disk stands in the provider's log.
    promise: Option<Promise>,
}

impl ProviderExchange {
    /// Opens the exchange with its verified first request.
    ///
    /// # Errors
    /// `OutOfSequence` when it is not the first.
    pub fn open(header: &Header, digest: Digest) -> Result<Self, Refusal> {
        let mut exchange = Self {
            parties: header.parties.clone(),
            requests: Chain::default(),
            replies: Chain::default(),
            first_request: digest,
            promise: None,
        };
        exchange.accept_request(header, digest)?;
        Ok(exchange)
    }

    /// Who speaks with whom.
    #[must_use]
    pub const fn parties(&self) -> &Parties {
        &self.parties
    }

    /// The requests accepted so far.
    #[must_use]
    pub const fn requests(&self) -> &Chain {
        &self.requests
    }

    /// The replies made so far.
    #[must_use]
    pub const fn replies(&self) -> &Chain {
        &self.replies
    }

    /// Digest of the first request.
    #[must_use]
    pub const fn first_request(&self) -> Digest {
        self.first_request
    }

    /// Accepts a verified request: of this exchange and in order.
    ///
    /// # Errors
    /// `DifferentExchange`, `OutOfSequence` or `BrokenChain`.
    pub fn accept_request(&mut self, header: &Header, digest: Digest) -> Result<(), Refusal> {
        same_parties(&self.parties, header, Direction::Request)?;
        self.requests.follow(header, digest)
    }

    /// Notes that the newest message of a direction is on disk.
    pub fn note_recorded(&mut self, direction: Direction) {
        match direction {
            Direction::Request => self.requests.note_recorded(),
            Direction::Reply => self.replies.note_recorded(),
        }
    }

    /// Notes where the newest request is kept, once it is on disk.
    pub fn note_kept(&mut self, promise: Promise) {
        self.promise = Some(promise);
    }

    /// What the next reply promises of the newest request that is on disk.
    #[must_use]
    pub const fn promise(&self) -> Option<&Promise> {
        self.promise.as_ref()
    }

    /// What the next reply has to name: the newest request that is on disk.
    #[must_use]
    pub fn answers(&self) -> Answers {
        let (newest_sequence, newest_request) = self
            .requests
            .newest_recorded()
            .unwrap_or((0, self.first_request));
        Answers {
            first_request: self.first_request,
            newest_sequence,
            newest_request,
        }
    }

    /// Notes a reply that was signed, before it leaves.
    ///
    /// # Errors
    /// When it is not the next one of this exchange.
    pub fn sign_off(&mut self, header: &Header, digest: Digest) -> Result<(), Refusal> {
        same_parties(&self.parties, header, Direction::Reply)?;
        self.replies.follow(header, digest)
    }
}

fn same_parties(ours: &Parties, header: &Header, direction: Direction) -> Result<(), Refusal> {
    if header.direction != direction {
        return Err(Refusal::new(
            Reason::DifferentExchange,
            format!(
                "a {} came where a {} was due",
                header.direction.name(),
                direction.name()
            ),
        ));
    }
    if header.parties != *ours {
        return Err(Refusal::new(
            Reason::DifferentExchange,
            format!(
                "the {} is of exchange {} between other parties or for another call than {}",
                direction.name(),
                header.parties.exchange,
                ours.exchange,
            ),
        ));
    }
    Ok(())
}
