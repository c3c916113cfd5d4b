//! What a security server accepts as its configuration, and what a state allows to change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use prost::{Message, bytes::Bytes};
use serde_json::json;
use support::{fields, registry};
use trust::{
    Digest, Reason,
    configuration::{
        Anchor, Configuration, ENTRY_LIMIT, KEY_LIMIT, RejectedChange, State, StateKey,
        VerifiedHead,
    },
    merkle,
    wire::configuration::{Change, Publication},
};

const NOW: i64 = 1_800_000_000;

fn publication(state: &str, issued_at: i64) -> Publication {
    Publication {
        state_root: Digest::of(state.as_bytes()).to_bytes(),
        state_size: 1,
        issued_at,
        expires_at: issued_at + 3600,
    }
}

fn verified(log: &registry::Log) -> VerifiedHead {
    verified_at(log, u64::MAX)
}

/// The head over the publication with this index, or the newest.
fn verified_at(log: &registry::Log, index: u64) -> VerifiedHead {
    let head = log.head_of("VN", 2, index);
    VerifiedHead::verify(registry::encoded(&head), registry::anchor("VN").root()).unwrap()
}

#[test]
fn a_head_is_accepted_if_it_is_larger_and_proven_consistent() {
    let mut log = registry::Log::default();
    log.publish("VN", publication("one", NOW));
    let older = verified(&log);
    log.publish("VN", publication("two", NOW + 60));
    log.publish("VN", publication("three", NOW + 120));
    let newer = verified(&log);
    let proof = merkle::consistency_proof(&log.tree(), 1, 3).unwrap();
    newer.check_extends(&older, &proof).unwrap();
    newer.check_extends(&newer, &[]).unwrap();

    let rollback = older.check_extends(&newer, &[]).unwrap_err();
    assert!(rollback.explanation.contains("older than 3"), "{rollback}");
    let unproven = newer.check_extends(&older, &[]).unwrap_err();
    assert!(
        unproven.explanation.contains("rolled back or forked"),
        "{unproven}"
    );

    let mut fork = registry::Log::default();
    fork.publish("VN", publication("another", NOW));
    fork.publish("VN", publication("two", NOW + 60));
    fork.publish("VN", publication("three", NOW + 120));
    let forked = verified(&fork);
    let proof = merkle::consistency_proof(&fork.tree(), 1, 3).unwrap();
    assert!(forked.check_extends(&older, &proof).is_err());
    assert!(
        forked.check_extends(&newer, &[]).is_err(),
        "the same size, another root"
    );
}

#[test]
fn an_old_publication_in_a_new_checkpoint_does_not_take_back_what_changed_since() {
    let mut log = registry::Log::default();
    log.publish("VN", publication("before the revocation", NOW));
    log.publish("VN", publication("after the revocation", NOW + 60));
    let accepted = verified(&log);
    log.publish("VN", publication("after the revocation", NOW + 120));
    let replayed = verified_at(&log, 0);
    let proof = merkle::consistency_proof(&log.tree(), 2, 3).unwrap();
    let refusal = replayed.check_extends(&accepted, &proof).unwrap_err();
    assert!(
        refusal.explanation.contains("publication 0, before 1"),
        "{refusal}"
    );
    verified(&log).check_extends(&accepted, &proof).unwrap();
}

#[test]
fn a_head_is_asked_for_its_time() {
    let mut log = registry::Log::default();
    log.publish("VN", publication("one", NOW));
    let head = verified(&log);
    head.check_time(NOW - 60, 0).unwrap();
    assert!(
        head.check_time(NOW - 61, 0).is_err(),
        "issued in the future"
    );
    head.check_time(NOW, NOW + 60).unwrap();
    let behind = head.check_time(NOW, NOW + 61).unwrap_err();
    assert_eq!(behind.reason, Reason::ClockBehind);
    head.check_validity(NOW + 3599).unwrap();
    let expired = head.check_validity(NOW + 3600).unwrap_err();
    assert_eq!(expired.reason, Reason::NoConfiguration);
}

#[test]
fn a_state_must_be_the_one_that_the_head_names() {
    let state = registry::state(&json!({ "member/GOV/G01": { "name": "x" } }));
    let configuration = registry::published(state);
    let other = registry::state(&json!({ "member/GOV/G01": { "name": "y" } }));
    let head = configuration.head().clone();
    assert!(Configuration::new(head.clone(), other).is_err());
    assert!(Configuration::new(head.clone(), State::empty("VN".parse().unwrap())).is_err());
    let renewed = configuration.renewed(head).unwrap();
    assert_eq!(renewed.serial(), configuration.serial());
    assert!(
        std::ptr::eq(renewed.state(), configuration.state()),
        "the state is shared"
    );
    let mut log = registry::Log::default();
    log.publish("VN", publication("another", NOW));
    assert!(configuration.renewed(verified(&log)).is_err());
}

#[test]
fn a_root_document_expires_and_only_then() {
    let anchor = registry::anchor("VN");
    anchor.root().check_expiry(1_999_999_999).unwrap();
    let refusal = anchor.root().check_expiry(2_000_000_000).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidConfiguration);
}

#[test]
fn an_anchor_file_shows_nothing_else_than_what_is_signed() {
    let text = registry::anchor("VN").to_json();
    Anchor::from_json(&text).unwrap();
    for (shown, instead) in [
        ("\"VN\"", "\"LA\""),
        ("registry.example.vn", "registry.example.com"),
        ("\"root_keys\": [\n    \"8a", "\"root_keys\": [\n    \"8b"),
    ] {
        assert!(text.contains(shown), "{shown} is not in {text}");
        let changed = text.replacen(shown, instead, 1);
        let refusal = Anchor::from_json(&changed).unwrap_err();
        assert!(refusal.explanation.contains("other facts"), "{refusal}");
    }
    let more = text.replacen('{', "{ \"more\": 1,", 1);
    assert!(
        Anchor::from_json(&more).is_err(),
        "unknown fields are refused"
    );
}

#[test]
fn a_root_document_larger_than_the_limit_is_refused() {
    let refusal = Anchor::from_root_document(vec![0; 64 * 1024 + 1].into()).unwrap_err();
    assert!(refusal.explanation.contains("too large"), "{refusal}");
}

/// Everything that can depend on something, once.
fn full() -> State {
    registry::state(&json!({
        "member/GOV/G01": {}, "member/GOV/G02": {},
        "subsystem/GOV/G01/desk": {}, "subsystem/GOV/G02/population": {},
        "server/GOV/G01/server-1": { "address": "a:1" },
        "server/GOV/G02/server-1": { "address": "b:1" },
        "registration/GOV/G01/server-1/GOV/G01/desk": { "enabled": true },
        "log/GOV/G02/server-1/1": { "public_key": { "repeat": 32, "byte": 1 } },
        "service/GOV/G02/population/p.v1.Population": {},
        "officer/first": { "public_key": { "repeat": 32, "byte": 2 } },
    }))
}

fn set(key: &str, value: serde_json::Value) -> Change {
    Change {
        key: key.into(),
        value: Some(fields::encode(registry::value_type(key), &value)),
    }
}

fn removed(key: &str) -> Change {
    Change {
        key: key.into(),
        value: None,
    }
}

fn problem(state: &mut State, change: Change) -> Option<String> {
    match state.apply(&[change]) {
        Ok(applied) => {
            state.undo(applied);
            None
        }
        Err(RejectedChange::Invalid { problem, .. }) => Some(problem),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn nothing_is_removed_that_something_else_names() {
    let mut state = full();
    let before = state.clone();
    for (key, dependent) in [
        ("member/GOV/G01", Some("subsystem/GOV/G01/desk")),
        (
            "subsystem/GOV/G01/desk",
            Some("registration/GOV/G01/server-1/GOV/G01/desk"),
        ),
        (
            "subsystem/GOV/G02/population",
            Some("service/GOV/G02/population/p.v1.Population"),
        ),
        (
            "server/GOV/G01/server-1",
            Some("registration/GOV/G01/server-1/GOV/G01/desk"),
        ),
        ("server/GOV/G02/server-1", Some("log/GOV/G02/server-1/1")),
        ("officer/first", Some("the last officer")),
        ("registration/GOV/G01/server-1/GOV/G01/desk", None),
        ("log/GOV/G02/server-1/1", None),
        ("service/GOV/G02/population/p.v1.Population", None),
    ] {
        let problem = problem(&mut state, removed(key));
        match dependent {
            Some(dependent) => {
                let problem = problem.expect("it is refused");
                assert!(problem.contains(dependent), "{key}: {problem}");
            }
            None => assert_eq!(problem, None, "{key}"),
        }
        assert!(state == before, "{key} left something behind");
    }
    let digest = Digest::of(b"tls").to_string();
    let certificate = set(
        &format!("authentication/{digest}"),
        json!({ "server": "GOV/G02/server-1" }),
    );
    let changes = [
        removed("log/GOV/G02/server-1/1"),
        certificate,
        removed("server/GOV/G02/server-1"),
    ];
    let rejected = state.apply(&changes).unwrap_err().to_string();
    assert!(rejected.contains(&digest), "{rejected}");
    assert!(state == before);
}

#[test]
fn nothing_is_set_that_names_what_is_not_there_or_is_not_what_its_key_says() {
    let mut state = full();
    let key = |length: u64| json!({ "public_key": { "repeat": length, "byte": 1 } });
    let wrong = [
        set("subsystem/GOV/G09/x", json!({})),
        set("server/GOV/G09/x", json!({ "address": "a:1" })),
        set("registration/GOV/G01/server-9/GOV/G01/desk", json!({})),
        set("registration/GOV/G01/server-1/GOV/G01/other", json!({})),
        set("log/GOV/G01/server-9/1", key(32)),
        set("log/GOV/G01/server-1/1", key(31)),
        set("service/GOV/G09/x/p.v1.Population", json!({})),
        set(
            "service/GOV/G01/desk/p.v1.Population",
            json!({ "descriptor_digest": "00" }),
        ),
        set("officer/second", key(33)),
        set(
            &format!("authority/{}", Digest::of(b"a")),
            json!({ "certificate": { "text": "b" } }),
        ),
        set(
            &format!("authentication/{}", Digest::of(b"a")),
            json!({ "server": "GOV/G09/x" }),
        ),
        set(
            &format!("authentication/{}", Digest::of(b"a")),
            json!({ "server": "server-1" }),
        ),
        Change {
            key: "member/GOV/G03".into(),
            value: Some(Bytes::from_static(b"\xff")),
        },
        Change {
            key: "member/GOV".into(),
            value: Some(Bytes::new()),
        },
        removed("member/GOV/G09"),
    ];
    for change in wrong {
        let key = change.key.clone();
        assert!(problem(&mut state, change).is_some(), "{key}");
    }
    for address in [
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "ho st:1",
        "host:1x",
    ] {
        let change = set("server/GOV/G01/server-1", json!({ "address": address }));
        assert!(problem(&mut state, change).is_some(), "{address}");
    }
    for address in ["host:1", "[2001:db8::1]:65535", "10.0.0.1:5500"] {
        let change = set("server/GOV/G01/server-1", json!({ "address": address }));
        assert_eq!(problem(&mut state, change), None, "{address}");
    }
}

#[test]
fn changes_are_applied_in_order_and_undone_together() {
    let mut state = full();
    let before = state.clone();
    let applied = state
        .apply(&[
            set("member/GOV/G03", json!({ "name": "first" })),
            set("member/GOV/G03", json!({ "name": "second" })),
            set("subsystem/GOV/G03/a", json!({})),
            removed("subsystem/GOV/G03/a"),
            removed("member/GOV/G03"),
            set("member/GOV/G01", json!({ "name": "renamed" })),
        ])
        .unwrap();
    assert!(state != before);
    state.undo(applied);
    assert!(state == before);
}

#[test]
fn a_snapshot_out_of_order_is_refused() {
    let mut snapshot = full().to_snapshot();
    snapshot.pairs.swap(0, 1);
    assert!(State::from_snapshot("VN".parse().unwrap(), snapshot.clone()).is_err());
    snapshot.pairs.swap(0, 1);
    snapshot.pairs.insert(1, snapshot.pairs[0].clone());
    assert!(State::from_snapshot("VN".parse().unwrap(), snapshot).is_err());
}

/// An encoded field that has a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
    [field.as_slice(), bytes].concat()
}

fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
}

#[test]
fn a_published_snapshot_is_read_as_far_as_it_can_be_right() {
    let read =
        |bytes: Vec<u8>, size| State::from_published("VN".parse().unwrap(), bytes.into(), size);
    let state = full();
    let size = state.len() as u64;
    let published = state.to_snapshot().encode_to_vec();
    assert_eq!(read(published.clone(), size).unwrap(), state);
    assert!(read(Vec::new(), 0).unwrap().is_empty());
    let largest = pair(&"k".repeat(KEY_LIMIT), &vec![0; ENTRY_LIMIT]);
    assert_eq!(read(largest, 1).unwrap().len(), 1);

    for (snapshot, size, problem) in [
        (published.clone(), size - 1, "more than the"),
        (published.clone(), size + 1, "keys, not the"),
        (
            b"\x0a\x00".repeat(100_000),
            100_000,
            "0 bytes, not 1 to 512",
        ),
        ([pair("b", b""), pair("a", b"")].concat(), 2, "not in order"),
        ([pair("a", b""), pair("a", b"")].concat(), 2, "not in order"),
        (pair(&"k".repeat(KEY_LIMIT + 1), b""), 1, "has 513 bytes"),
        (pair("a", &vec![0; ENTRY_LIMIT + 1]), 1, "has 61441 bytes"),
        (
            [published.clone(), field(2, b"")].concat(),
            size,
            "unknown field 2",
        ),
        (b"\x08\x00".to_vec(), 1, "unknown field 1"),
        (
            field(1, &[field(1, b"a"), field(3, b"")].concat()),
            1,
            "unknown field 3",
        ),
        (
            field(1, &[field(1, b"a"), field(1, b"b")].concat()),
            1,
            "a field twice",
        ),
        (field(1, &field(1, b"\xff")), 1, "no text"),
        (
            published[..published.len() - 1].to_vec(),
            size,
            "does not parse",
        ),
    ] {
        let refusal = read(snapshot, size).expect_err(problem);
        assert_eq!(refusal.reason, Reason::InvalidConfiguration);
        assert!(
            refusal.explanation.contains(problem),
            "{problem}: {refusal}"
        );
    }
}

#[test]
fn a_configuration_proves_what_its_state_proves() {
    let configuration = registry::published(full());
    let state = configuration.state();
    let keys = state
        .pairs()
        .map(|(key, _)| StateKey::parse(state.instance(), key).unwrap());
    let mut keys: Vec<StateKey> = keys.collect();
    keys.reverse();
    keys.push(keys[0].clone());
    keys.push(StateKey::Officer("nobody".into()));
    let proven = configuration.prove(&keys);
    assert_eq!(proven, state.prove(&keys));
    let named: Vec<&str> = proven
        .iter()
        .map(|membership| membership.key.as_str())
        .collect();
    let all: Vec<&str> = state.pairs().map(|(key, _)| key).collect();
    assert_eq!(named, all, "each once, in the order of the state");
    for membership in proven {
        assert_eq!(
            membership.state_root,
            configuration.head().state_root().to_bytes()
        );
        trust::configuration::verify_membership(&membership).unwrap();
    }
}

#[test]
fn a_membership_proof_is_of_one_key_value_and_root() {
    let state = full();
    let key = StateKey::Member("VN/GOV/G01".parse().unwrap());
    let [membership] = state.prove(&[key]).try_into().unwrap();
    trust::configuration::verify_membership(&membership).unwrap();
    let mut other = membership.clone();
    other.key = "member/GOV/G09".into();
    assert!(trust::configuration::verify_membership(&other).is_err());
    let mut other = membership.clone();
    other.value = Bytes::from_static(b"\x0a\x01x");
    assert!(trust::configuration::verify_membership(&other).is_err());
    let mut other = membership.clone();
    other.index += 1;
    assert!(trust::configuration::verify_membership(&other).is_err());
    let mut other = membership;
    other.proof.pop();
    assert!(trust::configuration::verify_membership(&other).is_err());
}
