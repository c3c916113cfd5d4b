//! What another server's answer about its log comes to, and what no answer can pass off.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use aws_lc_rs::signature::Ed25519KeyPair;
use prost::bytes::Bytes;
use trust::{
    Digest,
    checkpoint::{Checkpoint, LogKey, Origin},
    merkle::{Tree, consistency_proof, joint_proof, leaf_hash},
    peer_log::{Fault, Judgement, KEPT, PROMISES_LIMIT, PeerLog},
    wire::evidence::PeerCheckpoint,
};

const ORIGIN: &str = "VN/GOV/G02/server-1/1";

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

/// A log of leaves named by numbers; a forked one has other leaves from some place on.
fn log(size: u64, forked_from: u64) -> Tree {
    let leaf = |at: u64| leaf_hash(&[at as u8, u8::from(at >= forked_from)]);
    Tree::new((0..size).map(leaf).collect())
}

fn leaf(at: u64) -> Digest {
    leaf_hash(&[at as u8, 0])
}

fn strings(hashes: &[Digest]) -> Vec<Bytes> {
    hashes.iter().map(|hash| hash.to_bytes()).collect()
}

/// The answer of whoever keeps this log, as it is.
fn answer(tree: &Tree, old_size: u64, promised: &[u64], seed: u8) -> PeerCheckpoint {
    let (origin, size, root) = (origin(), tree.size(), tree.root());
    let covered: Vec<u64> = promised.iter().copied().filter(|at| *at < size).collect();
    let subtree = |at: &u64| trust::merkle::Hashes::subtree(tree, 0, *at).unwrap();
    let leaves: Vec<_> = covered.iter().map(subtree).collect();
    let consistency = consistency_proof(tree, old_size, size).unwrap_or_default();
    PeerCheckpoint {
        origin: ORIGIN.to_owned(),
        checkpoint: Checkpoint { origin, size, root }
            .sign(&key(seed))
            .as_bytes()
            .clone(),
        consistency: strings(&consistency),
        inclusion: strings(&joint_proof(tree, &covered, size).unwrap()),
        promised: covered,
        leaves: strings(&leaves),
        verdict: String::new(),
    }
}

/// A log that was seen with ten records, and promised three more.
fn followed() -> PeerLog {
    let mut followed = PeerLog::default();
    let first = judge(&followed, &answer(&log(10, u64::MAX), 0, &[], 1));
    assert_eq!(first.verdict(), KEPT);
    followed.take(&first);
    for at in [11, 14, 30] {
        followed.promised(at, leaf(at));
    }
    followed
}

fn judge(log: &PeerLog, answer: &PeerCheckpoint) -> Judgement {
    log.judge(answer, &origin(), LogKey::of(&key(1)).as_ref())
}

fn fault(log: &PeerLog, answer: &PeerCheckpoint) -> Fault {
    let judgement = judge(log, answer);
    let (fault, _) = judgement.fault.clone().unwrap();
    assert_eq!(judgement.verdict(), fault.name());
    fault
}

#[test]
fn a_log_that_grew_keeps_its_promises() {
    let mut followed = followed();
    assert_eq!(followed.indices_from(0), [11, 14, 30]);
    let judgement = judge(&followed, &answer(&log(20, u64::MAX), 10, &[11, 14, 30], 1));
    assert_eq!(judgement.verdict(), KEPT);
    assert_eq!(judgement.kept, [(11, leaf(11)), (14, leaf(14))]);
    followed.take(&judgement);
    assert_eq!(followed.indices_from(0), [30]);
    assert_eq!(followed.newest().unwrap().size, 20);
}

#[test]
fn another_record_where_one_was_promised_is_a_broken_promise() {
    let mut followed = followed();
    let judgement = judge(&followed, &answer(&log(20, 14), 10, &[11, 14, 30], 1));
    assert_eq!(judgement.fault.as_ref().unwrap().0, Fault::PromiseBroken);
    assert_eq!(judgement.kept, [(11, leaf(11))]);
    assert_eq!(judgement.broken, [(14, leaf(14))]);
    // It is proven and recorded once; the log is followed on.
    followed.take(&judgement);
    assert_eq!(followed.indices_from(0), [30]);
    assert_eq!(followed.newest().unwrap().size, 20);
}

#[test]
fn one_index_cannot_be_promised_to_two_requests() {
    let mut followed = followed();
    followed.promised(11, leaf(12));
    let judgement = judge(&followed, &answer(&log(20, u64::MAX), 10, &[11], 1));
    assert_eq!(judgement.kept, [(11, leaf(11))]);
    assert_eq!(judgement.broken, [(11, leaf(12))]);
}

#[test]
fn a_log_that_is_another_one_than_before_is_named() {
    let followed = followed();
    assert_eq!(
        fault(&followed, &answer(&log(9, u64::MAX), 9, &[], 1)),
        Fault::RolledBack
    );
    assert_eq!(
        fault(&followed, &answer(&log(20, 9), 10, &[11], 1)),
        Fault::NotExtended
    );
    assert_eq!(
        fault(&followed, &answer(&log(10, 9), 10, &[], 1)),
        Fault::NotExtended
    );
    let unproven = PeerCheckpoint {
        consistency: Vec::new(),
        ..answer(&log(20, u64::MAX), 10, &[11], 1)
    };
    assert_eq!(fault(&followed, &unproven), Fault::NotExtended);
}

#[test]
fn what_is_not_proven_or_not_signed_changes_nothing() {
    let mut followed = followed();
    let good = answer(&log(20, u64::MAX), 10, &[11, 14], 1);
    type Change = fn(&mut PeerCheckpoint);
    let changes: [(Fault, Change); 9] = [
        // What is promised must be covered.
        (Fault::NotProven, |answer| answer.promised.push(30)),
        (Fault::NoAnswer, |answer| answer.checkpoint.clear()),
        (Fault::InvalidCheckpoint, |answer| {
            answer.checkpoint = "nothing".into()
        }),
        (Fault::NotProven, |answer| {
            answer.leaves[0] = leaf(12).to_bytes()
        }),
        (Fault::NotProven, |answer| answer.promised[0] = 12),
        (Fault::NotProven, |answer| answer.promised.clear()),
        (Fault::NotProven, |answer| answer.inclusion.clear()),
        (Fault::NotProven, |answer| answer.leaves[1] = "short".into()),
        (Fault::NotProven, |answer| answer.promised.reverse()),
    ];
    for (expected, change) in changes {
        let mut answer = good.clone();
        change(&mut answer);
        let judgement = judge(&followed, &answer);
        assert_eq!(judgement.fault.as_ref().unwrap().0, expected);
        followed.take(&judgement);
        assert_eq!(followed.indices_from(0), [11, 14, 30]);
        assert_eq!(followed.newest().unwrap().size, 10);
    }
    let other_key = answer(&log(20, u64::MAX), 10, &[11], 2);
    assert_eq!(fault(&followed, &other_key), Fault::InvalidCheckpoint);
    let unregistered = followed.judge(&good, &origin(), None);
    assert_eq!(unregistered.fault.unwrap().0, Fault::InvalidCheckpoint);
    let elsewhere: Origin = "VN/GOV/G03/server-1/1".parse().unwrap();
    let foreign = followed.judge(&good, &elsewhere, LogKey::of(&key(1)).as_ref());
    assert_eq!(foreign.fault.unwrap().0, Fault::InvalidCheckpoint);
}

#[test]
fn what_was_recorded_is_recalled_as_it_was_taken() {
    let asked = [11, 14, 30];
    for tree in [log(20, u64::MAX), log(20, 14), log(20, 9)] {
        let (mut taken, mut recalled) = (followed(), followed());
        let mut answer = answer(&tree, 10, &asked, 1);
        let judgement = judge(&taken, &answer);
        answer.verdict = judgement.verdict().to_owned();
        taken.take(&judgement);
        recalled.recall(&answer);
        assert_eq!(recalled.indices_from(0), taken.indices_from(0));
        assert_eq!(recalled.newest(), taken.newest());
    }
}

#[test]
fn many_promises_are_asked_about_in_turns() {
    let mut followed = PeerLog::default();
    for at in 0..PROMISES_LIMIT as u64 + 5 {
        followed.promised(at, leaf(at));
        followed.promised(at, leaf(at));
    }
    assert_eq!(followed.indices_from(0).len(), PROMISES_LIMIT);
    assert_eq!(followed.indices_from(PROMISES_LIMIT as u64).len(), 5);
    assert_eq!(followed.unproven(), PROMISES_LIMIT + 5);
}
