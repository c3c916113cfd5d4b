//! Tests: entries fold to the state, and what does not fold is named.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::wire::configuration::{Change, Member, Officer, OfficerDecision, Subsystem};

struct Writer {
    key: Ed25519KeyPair,
    fold: Fold,
}

fn change(key: &str, value: Option<Vec<u8>>) -> Change {
    Change {
        key: key.to_owned(),
        value: value.map(Bytes::from),
    }
}

fn member(code: &str) -> Change {
    change(
        &format!("member/GOV/{code}"),
        Some(Member { name: code.into() }.encode_to_vec()),
    )
}

fn subsystem(code: &str) -> Change {
    let value = Subsystem {
        name: String::new(),
    }
    .encode_to_vec();
    change(&format!("subsystem/GOV/{code}/population"), Some(value))
}

impl Writer {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let public_key = Bytes::copy_from_slice(key.public_key().as_ref());
        let mut writer = Self {
            key,
            fold: Fold::new("VN".parse().unwrap()),
        };
        let officer = change(
            "officer/first",
            Some(Officer { public_key }.encode_to_vec()),
        );
        writer.append(0, vec![officer]).unwrap();
        writer
    }

    fn signed(&self, based_on: u64, changes: Vec<Change>) -> Changes {
        let reason = String::new();
        let set = ChangeSet {
            instance: "VN".into(),
            changes,
            reason,
            based_on,
        };
        let change_set = Bytes::from(set.encode_to_vec());
        let bytes = [super::super::OFFICER_SIGNATURE_CONTEXT, &change_set].concat();
        let signature = Bytes::copy_from_slice(self.key.sign(&bytes).as_ref());
        let decision = Some(OfficerDecision {
            officer: "first".into(),
            signature,
        });
        Changes {
            change_set,
            decision,
            ..Changes::default()
        }
    }

    fn append(&mut self, based_on: u64, changes: Vec<Change>) -> Result<(), InvalidEntry> {
        let body = Body::Changes(self.signed(based_on, changes));
        self.entry(body)
    }

    fn entry(&mut self, body: Body) -> Result<(), InvalidEntry> {
        let entry = Entry {
            instance: "VN".into(),
            created_at: 1,
            body: Some(body),
        };
        self.fold.entry(&entry.encode_to_vec().into())
    }

    fn publish(&mut self, issued_at: i64, root: Digest) -> Result<(), InvalidEntry> {
        self.entry(Body::Publication(Publication {
            state_root: root.to_bytes(),
            state_size: self.fold.state().len() as u64,
            issued_at,
            expires_at: issued_at + 10,
        }))
    }
}

#[test]
fn changes_count_from_the_entry_on_and_publications_do_not_outdate_them() {
    let mut writer = Writer::new();
    writer.append(1, vec![member("G01")]).unwrap();
    let root = writer.fold.state().root();
    writer.publish(5, root).unwrap();
    writer.publish(6, root).unwrap();
    assert!(writer.fold.is_published());
    writer.fold.check_published_root().unwrap();
    writer.append(2, vec![subsystem("G01")]).unwrap();
    assert!(!writer.fold.is_published());
    assert_eq!((writer.fold.size(), writer.fold.changed_at()), (5, 5));
    let stale = writer.append(4, vec![member("G02")]).unwrap_err();
    assert!(stale.problem.contains("someone else"), "{stale}");
    assert!(writer.append(6, vec![member("G02")]).is_err());
}

#[test]
fn the_same_changes_are_not_taken_twice() {
    let mut writer = Writer::new();
    let changes = writer.signed(1, vec![member("G01")]);
    writer.entry(Body::Changes(changes.clone())).unwrap();
    assert!(writer.entry(Body::Changes(changes)).is_err());
}

#[test]
fn a_rejected_entry_leaves_nothing_behind() {
    let mut writer = Writer::new();
    let before = writer.fold.state().clone();
    let dangling = vec![member("G01"), subsystem("G01"), subsystem("G02")];
    let rejected = writer.append(1, dangling).unwrap_err();
    assert!(
        rejected
            .problem
            .contains("member/GOV/G02 must be registered first"),
        "{rejected}"
    );
    let removed = vec![
        member("G01"),
        subsystem("G01"),
        change("member/GOV/G01", None),
    ];
    let rejected = writer.append(1, removed).unwrap_err();
    assert!(
        rejected.problem.contains("depends on member/GOV/G01"),
        "{rejected}"
    );
    assert_eq!((writer.fold.state(), writer.fold.size()), (&before, 1));
    let last = writer
        .append(1, vec![change("officer/first", None)])
        .unwrap_err();
    assert!(last.problem.contains("last officer"), "{last}");
    assert!(writer.append(1, vec![]).is_err());
}

#[test]
fn only_an_officer_decides_and_the_first_entry_names_one() {
    let mut writer = Writer::new();
    let stranger = Writer::new();
    let foreign = stranger.signed(1, vec![member("G01")]);
    let rejected = writer.entry(Body::Changes(foreign)).unwrap_err();
    assert!(rejected.problem.contains("signature"), "{rejected}");

    let mut empty = Fold::new("VN".parse().unwrap());
    let body = Some(Body::Changes(stranger.signed(0, vec![member("G01")])));
    let entry = Entry {
        instance: "VN".into(),
        created_at: 1,
        body,
    };
    let rejected = empty.entry(&entry.encode_to_vec().into()).unwrap_err();
    assert!(
        rejected.problem.contains("only name officers"),
        "{rejected}"
    );
}

#[test]
fn a_publication_says_what_the_fold_says() {
    let mut writer = Writer::new();
    let root = writer.fold.state().root();
    writer.publish(5, root).unwrap();
    assert!(
        writer.publish(4, root).is_err(),
        "earlier than the one before"
    );
    assert!(
        writer.publish(6, Digest::of(b"x")).is_err(),
        "nothing changed"
    );
    writer.append(1, vec![member("G01")]).unwrap();
    writer.publish(6, Digest::of(b"x")).unwrap();
    assert!(writer.fold.check_published_root().is_err());
}
