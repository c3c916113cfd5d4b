//! Views that are wrong or gone: the log goes on, signs what its segments prove, and loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod faults;

use std::{path::Path, sync::Arc};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use faults::Faulty;
use trust::checkpoint::Origin;
use verifiable_log::{Error, Log, Options, Record, leaf_of_local_record};

const FIRST: &str = "segments/00000000000000000000.segment";

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn open(storage: &Faulty, views: &Path) -> Log {
    let mut options = Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"t")));
    options.segment_size = 2048;
    options.reserve_size = 4096;
    if storage.names().is_empty() {
        let origin: Origin = "VN/GOV/G01/server-1/1".parse().unwrap();
        Log::create_in(&storage.storage(), &origin, &options).unwrap();
    }
    Log::open_in(storage.storage(), views, options, &mut |_| ()).unwrap()
}

async fn fill(log: &Log, count: u8) {
    for number in 0..count {
        let header = Bytes::from(vec![number; 20]);
        let record = Record::local(4, header, Bytes::from(vec![2; 10]));
        log.append(record).await.unwrap();
    }
}

/// As a crash leaves pages that were not synced, and as a full disk leaves them.
fn spoil(views: &Path, cut: bool) {
    for name in ["hashes.0", "places"] {
        let path = views.join(name);
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        std::fs::write(path, vec![0; if cut { 0 } else { length }]).unwrap();
    }
}

#[tokio::test]
async fn without_its_views_a_log_goes_on_and_signs_what_its_segments_prove() {
    for cut in [false, true] {
        let (storage, views) = (Faulty::default(), tempfile::tempdir().unwrap());
        let log = open(&storage, views.path());
        fill(&log, 5).await;
        log.checkpoint(&key()).unwrap();
        fill(&log, 9).await;
        drop(log);
        let log = open(&storage, views.path());
        fill(&log, 7).await;
        spoil(views.path(), cut);
        let first = log.checkpoint(&key()).unwrap();
        assert_eq!(first.unverified().size, 21);
        assert!(matches!(log.inclusion(3, 21), Err(Error::View(_))));
        // Also when it is known that they are not usable, and from one segment into others.
        fill(&log, 9).await;
        let second = log.checkpoint(&key()).unwrap();
        drop(log);

        let log = open(&storage, views.path());
        assert_eq!(log.last_checkpoint(), Some(second));
        log.inclusion(3, 30).unwrap();
        let root = log.root_at(21).unwrap();
        assert_eq!(root, first.unverified().root);
    }
}

#[tokio::test]
async fn what_neither_views_nor_segments_prove_is_not_signed() {
    let (storage, views) = (Faulty::default(), tempfile::tempdir().unwrap());
    let log = open(&storage, views.path());
    fill(&log, 2).await;
    log.checkpoint(&key()).unwrap();
    fill(&log, 1).await;
    spoil(views.path(), true);
    let mut bytes = storage.bytes(FIRST);
    bytes[512 * 3 + 100] ^= 1;
    storage.replace(FIRST, bytes);
    let refused = log.checkpoint(&key()).unwrap_err();
    assert!(matches!(refused, Error::Damaged(_)), "{refused}");
    assert!(matches!(*log.failed().await, Error::Damaged(_)));
    assert_eq!(log.last_checkpoint().unwrap().unverified().size, 2);
}

#[tokio::test]
async fn segments_that_cannot_be_read_now_prove_nothing_against_the_log() {
    let (storage, views) = (Faulty::default(), tempfile::tempdir().unwrap());
    let log = open(&storage, views.path());
    fill(&log, 2).await;
    log.checkpoint(&key()).unwrap();
    fill(&log, 1).await;
    spoil(views.path(), true);
    storage.refuse_reads(true);
    let refused = log.checkpoint(&key()).unwrap_err();
    assert!(matches!(refused, Error::Storage { .. }), "{refused}");
    storage.refuse_reads(false);
    fill(&log, 1).await;
    assert_eq!(log.checkpoint(&key()).unwrap().unverified().size, 4);
}
