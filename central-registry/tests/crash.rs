//! What a crash leaves at any point is completed from the log, and nothing acknowledged is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use central_registry::{
    Error, Settings,
    clock::Clock,
    officer::{OfficerKey, Session},
    registry::Registry,
};
use certs::LogKey;
use prost::Message;
use support::{Place, adding_member, member, verifier::Verifier};
use trust::wire::{
    configuration::{ChangeSet, Changes, Entry, OfficerDecision, entry::Body},
    evidence::RecordKind,
};
use verifiable_log::{Log, Options, Record, leaf_of_local_record};

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_change_survives_kill_9_and_is_in_the_next_head() {
    let place = Place::new().await;
    let mut verifier = Verifier::new(&place.anchor());
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0_usize..6 {
        let registry = place.serve().await;
        let after = acknowledged.len() + round * 3;
        let (reached, killer) = tokio::sync::oneshot::channel();
        // Killed while the burst goes on, at another point of it each time.
        let killing = tokio::spawn(async move {
            killer.await.ok();
            registry.kill().await;
        });
        let mut reached = Some(reached);
        for number in 0.. {
            if acknowledged.len() >= after
                && let Some(reached) = reached.take()
            {
                reached.send(()).unwrap();
            }
            let code = format!("R{round}N{number}");
            match place.add_member(&code).await {
                Ok(_) => acknowledged.push(code),
                Err(_) => break,
            }
        }
        killing.await.unwrap();

        let registry = place.serve().await;
        let state = verifier.refresh(&registry).await;
        for code in &acknowledged {
            assert!(
                state.value(&member(code)).is_some(),
                "{code} is lost in round {round}"
            );
        }
        verifier.fold(&registry).await;
        registry.kill().await;
    }
    assert!(acknowledged.len() >= 15, "{}", acknowledged.len());
}

/// A registry in this process, which ends without any farewell when it is dropped.
struct Opened {
    registry: Registry,
    officer_file: PathBuf,
}

impl Opened {
    async fn new(place: &Place) -> Result<Self, Error> {
        let settings = Settings::load(&place.directory()).unwrap();
        let registry = Registry::open(&settings, Clock::of_the_machine()).await?;
        Ok(Self {
            registry,
            officer_file: place.officer_file(),
        })
    }

    async fn decided(&self, code: &str) -> Changes {
        let (state, size) = self.registry.view().await;
        let plan = adding_member(&state, code);
        let set = ChangeSet {
            instance: "VN".into(),
            changes: plan
                .differences
                .iter()
                .map(|difference| difference.change())
                .collect(),
            reason: String::new(),
            based_on: size,
        };
        OfficerKey::load(&self.officer_file, &state)
            .unwrap()
            .decide(&set)
    }

    async fn add_member(&self, code: &str) -> u64 {
        self.registry
            .submit(self.decided(code).await, vec![])
            .await
            .unwrap()
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Bytes> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap().into();
            found.insert(path, bytes);
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).ok();
    for (path, bytes) in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_missing_or_damaged_file_is_put_again_from_the_log() {
    let place = Place::new().await;
    let public = place.directory().join("public");
    let opened = Opened::new(&place).await.unwrap();
    opened.registry.publish().await.unwrap();
    opened.add_member("G01").await;
    opened.registry.publish().await.unwrap();
    drop(opened);
    let of_former = |path: &Path| {
        let name = path.file_name().unwrap();
        name == "2"
    };
    let mut complete = files(&public);
    // Files of the publication before stay while they are there, and are not made again.
    complete.retain(|path, _| !of_former(path));
    assert_eq!(complete.len(), 6, "{complete:?}");

    for path in complete.keys() {
        fs::remove_file(path).unwrap();
        drop(Opened::new(&place).await.unwrap());
        assert_eq!(
            fs::read(path).unwrap(),
            complete[path],
            "{path:?} was removed"
        );
        if path.ends_with("checkpoint") {
            continue; // A damaged one is a refusal: it says what must not be forked.
        }
        fs::write(path, "damaged").unwrap();
        drop(Opened::new(&place).await.unwrap());
        assert_eq!(
            fs::read(path).unwrap(),
            complete[path],
            "{path:?} was damaged"
        );
    }
    fs::remove_dir_all(&public).unwrap();
    drop(Opened::new(&place).await.unwrap());
    assert_eq!(files(&public), complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_any_two_steps_is_completed() {
    let place = Place::new().await;
    let directory = place.directory();
    let (public, log) = (directory.join("public"), directory.join("log"));
    let opened = Opened::new(&place).await.unwrap();
    opened.registry.publish().await.unwrap();
    copy(&public, &place.beside("public-before"));
    let checkpoint_before = fs::read(log.join("checkpoint")).unwrap();

    // After the entry was synced, before the officer was answered or anything was published.
    opened.add_member("G01").await;
    drop(opened);
    let opened = Opened::new(&place).await.unwrap();
    let (state, size) = opened.registry.view().await;
    assert!(state.value(&member("G01")).is_some());
    assert_eq!(size, 3);
    assert_eq!(
        files(&public).len(),
        files(&place.beside("public-before")).len()
    );
    opened.registry.publish().await.unwrap();
    drop(opened);
    let after = files(&public);

    // After the publication entry was synced, before its checkpoint was.
    copy(&place.beside("public-before"), &public);
    fs::write(log.join("checkpoint"), checkpoint_before).unwrap();
    drop(Opened::new(&place).await.unwrap());
    assert_eq!(files(&public), after);

    // After each of the files, in the order in which they are put.
    let order = [
        "snapshot/4",
        "tile/0/000.p/4",
        "entries/000.p/4",
        "checkpoint",
        "head",
    ];
    for done in 0..=order.len() {
        copy(&place.beside("public-before"), &public);
        for name in &order[..done] {
            fs::write(public.join(name), &after[&public.join(name)]).unwrap();
        }
        fs::write(public.join(".unfinished.new"), "half a fi").unwrap();
        drop(Opened::new(&place).await.unwrap());
        assert_eq!(files(&public), after, "after {done} files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_older_than_what_was_published_is_refused() {
    let place = Place::new().await;
    let log = place.directory().join("log");
    let opened = Opened::new(&place).await.unwrap();
    opened.registry.publish().await.unwrap();
    drop(opened);
    copy(&log, &place.beside("log-before"));
    let opened = Opened::new(&place).await.unwrap();
    opened.add_member("G01").await;
    opened.registry.publish().await.unwrap();
    drop(opened);

    copy(&place.beside("log-before"), &log);
    let refused = Opened::new(&place).await.err().unwrap();
    assert!(matches!(refused, Error::RolledBack(_)), "{refused}");

    // A different history of the same length is refused as well.
    fs::rename(
        place.directory().join("public"),
        place.beside("public-away"),
    )
    .unwrap();
    let opened = Opened::new(&place).await.unwrap();
    opened.add_member("G02").await;
    opened.registry.publish().await.unwrap();
    drop(opened);
    fs::remove_dir_all(place.directory().join("public")).unwrap();
    fs::rename(
        place.beside("public-away"),
        place.directory().join("public"),
    )
    .unwrap();
    let refused = Opened::new(&place).await.err().unwrap();
    assert!(matches!(refused, Error::RolledBack(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_log_is_recorded_and_folds() {
    let place = Place::new().await;
    let opened = Opened::new(&place).await.unwrap();
    opened.registry.publish().await.unwrap();
    opened.add_member("G01").await;
    drop(opened);
    // As if the last write had been cut off: nothing in it was answered for.
    let segment = place
        .directory()
        .join("log/segments/00000000000000000000.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let name = b"member/GOV/G01";
    let at = bytes
        .windows(name.len())
        .rposition(|found| found == name)
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let registry = place.serve().await;
    let mut verifier = Verifier::new(&place.anchor());
    let state = verifier.refresh(&registry).await;
    assert!(state.value(&member("G01")).is_none());
    place.add_member("G02").await.unwrap();
    let key = member("G02");
    verifier
        .refresh_until(&registry, |state| state.value(&key).is_some())
        .await;
    let fold = verifier.fold(&registry).await;
    assert_eq!(fold.state().len(), 2);
    drop(Session::open(&place.socket()).await.unwrap());
    registry.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_fold_is_refused() {
    let place = Place::new().await;
    let folder = place.directory().join("log");
    let annex_of = Arc::new(|_| Bytes::new());
    let options = || Options::new(leaf_of_local_record, annex_of.clone());
    let log = Log::open(&folder, options(), &mut |_| ()).unwrap();
    // Everything about it is well formed, only the officer's signature is of someone else.
    let stranger = LogKey::generate().unwrap();
    let signature = Bytes::copy_from_slice(&stranger.sign(b"something"));
    let changes = Changes {
        change_set: ChangeSet {
            instance: "VN".into(),
            based_on: 1,
            ..ChangeSet::default()
        }
        .encode_to_vec()
        .into(),
        decision: Some(OfficerDecision {
            officer: "first".into(),
            signature,
        }),
        ..Changes::default()
    };
    let body = Some(Body::Changes(changes));
    let entry = Entry {
        instance: "VN".into(),
        created_at: 1,
        body,
    }
    .encode_to_vec();
    let record = Record::local(RecordKind::Entry as u8, entry.into(), Bytes::new());
    log.append(record).await.unwrap();
    drop(log);
    let refused = Opened::new(&place).await.err().unwrap();
    assert!(
        matches!(&refused, Error::Fold(at) if at.index == 1),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_or_a_head_key_of_another_registry_is_refused() {
    let place = Place::new().await;
    let other = Place::new().await;
    copy(
        &other.directory().join("log"),
        &place.directory().join("log"),
    );
    fs::copy(
        other.directory().join("head-key.pem"),
        place.directory().join("head-key.pem"),
    )
    .unwrap();
    let refused = Opened::new(&place).await.err().unwrap().to_string();
    assert!(
        refused.contains("not a head key of root document 1"),
        "{refused}"
    );
}
