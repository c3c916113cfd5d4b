//! Two logs held against each other: what counts as alike, and what another generation excuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use auditor::reconciliation::{Reconciliation, reconcile};
use fixture::{
    Ledger, OURS, PEER,
    ledger::{Entry, append, options, parties},
    story::{OFFICE, POPULATION, Story, closing},
};
use trust::{
    checkpoint::Origin,
    message::SignedMessage,
    promise::Promise,
    wire::evidence::{RecordKind, Stage},
};
use verifiable_log::Log;

/// Our log as the provider's, and the other server's, which asked.
struct Both {
    provider: Story,
    consumer: Ledger,
}

impl Both {
    fn new() -> Self {
        let provider = Story::begun(fixture::Federation::new());
        let consumer = provider.ledger.clone();
        Self { provider, consumer }
    }

    /// What we recorded last, as the other side records it.
    fn mirror(&mut self) {
        let mut entry: Entry = self.provider.ledger.entries.last().unwrap().clone();
        let sent = entry.annex.stage() == Stage::Sent;
        entry
            .annex
            .set_stage(if sent { Stage::Received } else { Stage::Sent });
        self.consumer.push(entry);
    }

    /// One exchange that both record, with the promise of the reply as `change` leaves it.
    fn exchange(&mut self, number: u64, change: impl FnOnce(&mut Promise)) -> SignedMessage {
        let parties = parties(OFFICE, POPULATION, number);
        let request = self.provider.first_request(&parties);
        self.provider.receive(&request);
        self.mirror();
        let mut promise = self.provider.ledger.promise_of(&request);
        change(&mut promise);
        let mut reply = self.provider.reply(&parties, None, &request).last();
        reply.header.promise = Some(promise.to_wire());
        let reply = reply.signed(&self.provider.federation.ministry);
        self.provider.record(&reply);
        self.mirror();
        request
    }

    /// Holds them against each other; our log is of this generation.
    fn reconciled(&self, generation: u32) -> Reconciliation {
        let folder = tempfile::tempdir().unwrap();
        let ours = Origin::of_server(&OURS.parse().unwrap(), generation);
        let peer = Origin::of_server(&PEER.parse().unwrap(), 1);
        let written = [
            ("ours", ours, &self.provider.ledger),
            ("peer", peer, &self.consumer),
        ]
        .map(|(name, origin, ledger)| {
            let log = folder.path().join(name);
            Log::create(&log, &origin, &options()).unwrap();
            append(
                &Log::open(&log, options(), &mut |_| {}).unwrap(),
                &ledger.entries,
            );
            log
        });
        let [ours, peer] = &written;
        let one = reconcile([ours, peer], &mut |_| {}).unwrap();
        let other = reconcile([peer, ours], &mut |_| {}).unwrap();
        assert_eq!(one.failures, other.failures);
        one
    }

    /// What a provider that lost its log has: a new one that begins now.
    fn lose_log(&mut self) {
        self.provider.ledger.clock += 1000;
        let entries = std::mem::take(&mut self.provider.ledger.entries);
        let begun = entries
            .iter()
            .filter(|it| it.kind == RecordKind::RootDocument);
        for entry in begun {
            self.provider
                .ledger
                .local(RecordKind::RootDocument, entry.header.clone());
        }
    }
}

#[test]
fn a_log_lost_before_the_one_at_hand_began_excuses_what_was_promised_in_it() {
    let mut both = Both::new();
    both.exchange(1, |_| {});
    let found = both.reconciled(1);
    assert_eq!(
        (found.alike, found.promises_kept, found.failures),
        (1, 1, 0)
    );
    both.lose_log();
    both.exchange(2, |promise| {
        promise.origin = Origin::of_server(&OURS.parse().unwrap(), 2)
    });
    let found = both.reconciled(2);
    assert_eq!(found.failures, 0, "{found:?}");
    assert_eq!((found.alike, found.in_other_generation), (1, 1));
}

#[test]
fn a_promise_of_another_generation_is_no_excuse_once_the_log_at_hand_had_begun() {
    let elsewhere = |promise: &mut Promise| {
        promise.origin = Origin::of_server(&OURS.parse().unwrap(), 7);
    };
    // The log at hand has the exchange, or it does not.
    for removed in [false, true] {
        let mut both = Both::new();
        both.exchange(1, elsewhere);
        if removed {
            both.provider
                .ledger
                .entries
                .truncate(both.provider.right as usize + 1);
        }
        let found = both.reconciled(1);
        assert!(!found.holds(), "{found:?}");
        assert_eq!(found.in_other_generation, 0);
        let promise = found
            .differences
            .iter()
            .find(|it| it.problem.contains("log had begun"));
        let index = both.consumer.next_index() - 1;
        assert_eq!(promise.unwrap().proven_by, index, "{found:?}");
    }
    // A reply that claims to be older than the log, and reached the consumer long after.
    let mut both = Both::new();
    both.lose_log();
    both.provider.ledger.clock = 0;
    both.exchange(1, elsewhere);
    for entry in both.consumer.entries.iter_mut().rev().take(2) {
        entry.annex.received_at += 2_000_000;
    }
    both.provider.ledger.entries.truncate(1);
    assert!(!both.reconciled(2).holds());
}

#[test]
fn alike_are_the_same_messages_with_the_same_end() {
    let mut both = Both::new();
    let request = both.exchange(1, |_| {});
    // The consumer has not got the reply yet; then it says that it never will.
    both.consumer.entries.pop();
    let found = both.reconciled(1);
    assert_eq!((found.alike, found.unequal, found.failures), (0, 1, 0));
    both.consumer.closing(&closing("consumer", &request, None));
    let found = both.reconciled(1);
    assert_eq!(
        (found.alike, found.not_delivered, found.failures),
        (0, 1, 0)
    );

    // Both have the request and no more, and only one side says that this is the end.
    both.provider.ledger.entries.pop();
    let found = both.reconciled(1);
    assert_eq!((found.alike, found.unequal, found.failures), (0, 1, 0));
    both.provider
        .ledger
        .closing(&closing("provider", &request, None));
    assert_eq!(both.reconciled(1).alike, 1);

    // A second request that never arrived.
    both = Both::new();
    let parties = parties(OFFICE, POPULATION, 2);
    let first = both.provider.request(&parties, None);
    let first = first.signed(&both.provider.federation.commune);
    both.provider.receive(&first);
    both.mirror();
    let second = both.provider.request(&parties, Some(&first)).last();
    let second = second.signed(&both.provider.federation.commune);
    both.provider.receive(&second);
    both.mirror();
    both.provider.ledger.entries.pop();
    let found = both.reconciled(1);
    assert_eq!((found.alike, found.unequal, found.failures), (0, 1, 0));
}
