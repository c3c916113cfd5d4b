//! Promises in a log: those that its server gives, and those that it was given and had proven.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use auditor::{Check, Report};
use fixture::{
    Federation, OURS, PEER,
    ledger::{draft, parties},
    story::{DESK, OFFICE, POPULATION, Story},
};
use prost::Message;
use trust::{
    Digest,
    checkpoint::{Checkpoint, Origin},
    header::{Direction, Header},
    merkle::{Hashes, Tree, consistency_proof, joint_proof, leaf_hash},
    message::SignedMessage,
    promise::Promise,
    wire::evidence::{PeerCheckpoint, RecordKind, RefusedAction},
};

/// Makes the log of the other server.
/// Makes a reply whose promise is none.
type Spoil = fn(&mut Header);

/// Where the other server promised to have our request.
const PLACE: u64 = 5;

/// A log whose server asked another one, and was promised a place for its request.
struct Promised {
    story: Story,
    /// The leaf that must stand at that place.
    leaf: Digest,
}

impl Promised {
    fn new() -> Self {
        let mut story = Story::begun(Federation::new());
        let parties = parties(DESK, OFFICE, 4);
        let request = story.first_request(&parties);
        story.record(&request);
        let promise = promise(PEER, PLACE, Digest::of(b"annex"));
        let signature = Digest::of(request.signature_value());
        let leaf = promise.leaf(request.digest(), signature);
        let reply = answer(&story, &request, &promise);
        story.record(&reply);
        Self { story, leaf }
    }

    /// The other log: the promised record in its place, or another one.
    fn peer_log(&self, size: u64, promised: Digest) -> Tree {
        let leaf = |at: u64| {
            if at == PLACE {
                promised
            } else {
                leaf_hash(&at.to_be_bytes())
            }
        };
        Tree::new((0..size).map(leaf).collect())
    }

    /// Records what the other server gave of this log.
    fn given(&mut self, tree: &Tree, old_size: u64, verdict: &str) {
        let origin = Origin::of_server(&PEER.parse().unwrap(), 1);
        let (size, root) = (tree.size(), tree.root());
        let promised: Vec<u64> = [PLACE].into_iter().filter(|at| *at < size).collect();
        let strings = |hashes: Vec<Digest>| hashes.into_iter().map(Digest::to_bytes).collect();
        let leaves = promised.iter().map(|at| tree.subtree(0, *at).unwrap());
        let given = PeerCheckpoint {
            origin: origin.to_string(),
            leaves: strings(leaves.collect()),
            consistency: strings(consistency_proof(tree, old_size, size).unwrap()),
            inclusion: strings(joint_proof(tree, &promised, size).unwrap()),
            checkpoint: Checkpoint { origin, size, root }
                .sign(&self.story.federation.peer_log_key)
                .as_bytes()
                .clone(),
            promised,
            verdict: verdict.to_owned(),
        };
        self.record(&given);
    }

    fn record(&mut self, given: &PeerCheckpoint) {
        let ledger = &mut self.story.ledger;
        ledger.local(RecordKind::PeerCheckpoint, given.encode_to_vec());
    }

    fn audit(&self) -> Report {
        self.story.audit()
    }
}

fn promise(server: &str, index: u64, annex_digest: Digest) -> Promise {
    Promise {
        origin: Origin::of_server(&server.parse().unwrap(), 1),
        index,
        annex_digest,
    }
}

/// The one reply to a request, with a promise.
fn answer(story: &Story, request: &SignedMessage, promise: &Promise) -> SignedMessage {
    let parties = &request.header().parties;
    let now = story.ledger.now();
    let mut reply = draft(parties, Direction::Reply, None, now, story.published.serial)
        .answering(request, request)
        .last();
    reply.header.promise = Some(promise.to_wire());
    let ours = parties.provider.as_str() == OURS;
    reply.signed(if ours {
        &story.federation.ministry
    } else {
        &story.federation.commune
    })
}

fn first_finding(report: &Report) -> (Check, String) {
    let finding = report.findings().first().unwrap();
    (finding.check, finding.problem.clone())
}

#[test]
fn a_promise_that_is_proven_is_counted_and_one_that_is_not_yet_is_said() {
    let mut promised = Promised::new();
    let report = promised.audit();
    assert!(report.holds(), "{:?}", report.findings());
    assert_eq!(report.facts.promises_unproven, 1);

    let (small, large) = (
        promised.peer_log(3, promised.leaf),
        promised.peer_log(9, promised.leaf),
    );
    promised.given(&small, 0, "kept");
    promised.given(&large, 3, "kept");
    let report = promised.audit();
    assert!(report.holds(), "{:?}", report.findings());
    let facts = &report.facts;
    assert_eq!((facts.promises_kept, facts.promises_unproven), (1, 0));
    assert_eq!(report.tally(Check::PeerCheckpoints).held, 2);
    assert_eq!(report.tally(Check::PromisesKept).held, 1);
}

#[test]
fn a_broken_promise_fails_and_names_the_other_server() {
    let mut promised = Promised::new();
    let other = promised.peer_log(9, leaf_hash(b"another record"));
    promised.given(&other, 0, "promise_broken");
    let report = promised.audit();
    let (check, problem) = first_finding(&report);
    assert_eq!(check, Check::PromisesKept);
    assert!(
        problem.contains("broken by VN/GOV/COMMUNE/server-1"),
        "{problem}"
    );
    assert_eq!(report.failures(), 1);
}

#[test]
fn a_verdict_that_is_not_what_the_proofs_come_to_fails() {
    let cases = [
        (false, "kept"),
        (true, "promise_broken"),
        (true, "no_answer"),
    ];
    for (is_kept, verdict) in cases {
        let mut promised = Promised::new();
        let other = leaf_hash(b"another record");
        let leaf = if is_kept { promised.leaf } else { other };
        let tree = promised.peer_log(9, leaf);
        promised.given(&tree, 0, verdict);
        let report = promised.audit();
        assert_eq!(
            first_finding(&report).0,
            Check::PeerCheckpoints,
            "{verdict}"
        );
    }
}

#[test]
fn alarms_about_another_log_are_said_and_are_no_failure_of_this_one() {
    let mut promised = Promised::new();
    let (large, small) = (
        promised.peer_log(9, promised.leaf),
        promised.peer_log(4, promised.leaf),
    );
    promised.given(&large, 0, "kept");
    promised.given(&small, 4, "rolled_back");
    promised.record(&PeerCheckpoint {
        origin: format!("{PEER}/1"),
        verdict: "no_answer".to_owned(),
        ..PeerCheckpoint::default()
    });
    let report = promised.audit();
    assert!(report.holds(), "{:?}", report.findings());
    let said = report.notes.join("\n");
    assert!(said.contains("\"rolled_back\" in 1 records"), "{said}");
    assert!(said.contains("\"no_answer\" in 1 records"), "{said}");
}

#[test]
fn what_is_of_no_log_fails() {
    let mut promised = Promised::new();
    promised.record(&PeerCheckpoint {
        origin: "VN/registry".to_owned(),
        verdict: "no_answer".to_owned(),
        ..PeerCheckpoint::default()
    });
    assert_eq!(first_finding(&promised.audit()).0, Check::PeerCheckpoints);
}

#[test]
fn what_a_server_promises_of_its_own_log_must_stand_there() {
    let promises: [fn(u64, Digest) -> Promise; 4] = [
        |index, annex| promise(OURS, index, annex),
        |index, annex| promise(OURS, index + 1, annex),
        |index, _| promise(OURS, index, Digest::of(b"another annex")),
        |index, annex| Promise {
            origin: Origin::of_server(&OURS.parse().unwrap(), 2),
            ..promise(OURS, index, annex)
        },
    ];
    for (case, made) in promises.into_iter().enumerate() {
        let mut story = Story::begun(Federation::new());
        let request = story.first_request(&parties(OFFICE, POPULATION, 1));
        let index = story.receive(&request);
        let annex = story.ledger.entries[index as usize].annex.encode_to_vec();
        let reply = answer(&story, &request, &made(index, Digest::of(&annex)));
        story.record(&reply);
        let report = story.audit();
        if case == 0 {
            assert!(report.holds(), "{:?}", report.findings());
            assert_eq!(report.tally(Check::Promises).held, 1);
        } else {
            assert_eq!(first_finding(&report).0, Check::Promises, "{case}");
        }
    }
}

#[test]
fn a_reply_that_does_not_promise_fails_unless_it_refuses() {
    let promises: [(Spoil, &str); 3] = [
        (|header| header.promise = None, "does not promise"),
        (
            |header| header.promise.as_mut().unwrap().annex_digest.clear(),
            "names no annex",
        ),
        (
            |header| header.promise.as_mut().unwrap().origin = "VN/GOV/OTHER/server-1/1".to_owned(),
            "does not keep",
        ),
    ];
    for ours in [true, false] {
        for (spoil, words) in &promises {
            let mut story = Story::begun(Federation::new());
            let (asked, signer) = if ours {
                (parties(OFFICE, POPULATION, 1), "ministry")
            } else {
                (parties(DESK, OFFICE, 1), "commune")
            };
            let request = story.first_request(&asked);
            if ours {
                story.receive(&request);
            } else {
                story.record(&request);
            }
            let mut draft = story.reply(&asked, None, &request).last();
            spoil(&mut draft.header);
            let reply = draft.signed(match signer {
                "ministry" => &story.federation.ministry,
                _ => &story.federation.commune,
            });
            let index = story.record(&reply);
            let report = story.audit();
            assert_eq!(report.failures(), 1, "{report}");
            let finding = &report.findings()[0];
            assert_eq!(
                (finding.check, finding.record),
                (Check::Promises, Some(index))
            );
            assert!(finding.problem.contains(words), "{report}");
        }
    }
    let mut story = Story::begun(Federation::new());
    story.refuse(1);
    let report = story.audit();
    assert!(report.holds(), "{report}");
    assert_eq!(report.tally(Check::Promises).count(), 0);
}

#[test]
fn what_operators_were_refused_is_counted() {
    let mut story = Story::truthful();
    let refused = RefusedAction {
        unix_user: 1000,
        action: "apply".to_owned(),
        reason: "no such subsystem".to_owned(),
    };
    story
        .ledger
        .local(RecordKind::RefusedAction, refused.encode_to_vec());
    let report = story.audit();
    assert!(report.holds(), "{:?}", report.findings());
    assert_eq!(report.facts.refused_actions, 1);
}
