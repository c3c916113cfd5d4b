//! Erasing content: what a record says is destroyed is zeros, and zeros that none explains are damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod faults;
mod model;

use std::{collections::BTreeMap, sync::Arc};

use durable::simulated::Restart;
use faults::{Fault as DiskFault, Faulty};
use model::{Model, key, new_log, open, record};
use verifiable_log::{Damage, EraseError, Error, Fault, Log, Reader, leaf_of_local_record};

const SEGMENT: &str = "segments/00000000000000000000.segment";

async fn log_of_four() -> (Faulty, tempfile::TempDir, Model, Log) {
    let (storage, views, mut known) = (new_log(), model::views(), Model::default());
    let log = open(&storage, views.path()).unwrap();
    for _ in 0..4 {
        known.append(&log, 1).await.unwrap();
    }
    (storage, views, known, log)
}

#[tokio::test]
async fn erased_content_is_zeros_that_a_record_explains_and_the_log_verifies() {
    let (storage, views, mut known, log) = log_of_four().await;
    known.checkpoints.push(log.checkpoint(&key()).unwrap());
    assert_eq!(log.erase(1, 3, "its term is over").await.unwrap(), Some(4));
    known.erased = Some((1..=3, true));
    for number in [1, 2, 3] {
        let content = record(number).content.concat();
        let segment = storage.bytes(SEGMENT);
        let found = segment.windows(content.len()).any(|part| part == content);
        assert!(!found, "the content of {number} is still there");
        assert!(log.read(number).unwrap().is_erased);
    }
    known.check(&storage, &log);
    log.scrub(&mut |_| ()).unwrap();
    known.checkpoints.push(log.checkpoint(&key()).unwrap());
    drop(log);
    // With its views and without.
    for views in [views.path(), model::views().path()] {
        let log = open(&storage, views).unwrap();
        assert!(log.read(1).unwrap().is_erased);
        known.check(&storage, &log);
        log.scrub(&mut |_| ()).unwrap();
    }
}

#[tokio::test]
async fn what_was_erased_or_never_there_is_not_erased_again() {
    let (storage, _views, _, log) = log_of_four().await;
    assert_eq!(log.erase(1, 2, "once").await.unwrap(), Some(4));
    let before = storage.bytes(SEGMENT);
    assert_eq!(log.erase(1, 2, "twice").await.unwrap(), None);
    // Record 0 has no content, record 4 says what was erased.
    for (first, last) in [(0, 0), (4, 4)] {
        let refused = log.erase(first, last, "nothing").await.unwrap_err();
        assert!(
            matches!(refused, EraseError::NothingThere { .. }),
            "{refused}"
        );
    }
    for (first, last) in [(3, 5), (3, 2)] {
        let refused = log.erase(first, last, "too far").await.unwrap_err();
        assert!(
            matches!(refused, EraseError::Log(Error::NoRecord { .. })),
            "{refused}"
        );
    }
    assert_eq!((log.size(), storage.bytes(SEGMENT)), (5, before));
    // A range may hold what was erased before.
    assert_eq!(log.erase(0, 3, "more").await.unwrap(), Some(5));
}

#[tokio::test]
async fn zeros_that_no_record_explains_are_damage() {
    let (storage, _views, _, log) = log_of_four().await;
    log.erase(1, 1, "its term is over").await.unwrap();
    let content = record(2).content.concat();
    let mut segment = storage.bytes(SEGMENT);
    let at = segment
        .windows(content.len())
        .position(|part| part == content);
    let at = at.unwrap();
    segment[at..at + content.len()].fill(0);
    storage.replace(SEGMENT, segment);
    let is_named = |error: &Error| {
        let expected = Fault::ContentGone;
        matches!(error, Error::Damaged(Damage { index: 2, fault, .. }) if *fault == expected)
    };
    let views = model::views();
    assert!(is_named(&open(&storage, views.path()).err().unwrap()));
    // Whoever reads without trust is shown the zeros, and compares with what the records say.
    let reader = Reader::open_in(storage.storage(), leaf_of_local_record).unwrap();
    let gone: Vec<_> = reader
        .map(|read| read.unwrap().record)
        .filter(|record| record.is_erased)
        .map(|record| record.index)
        .collect();
    assert_eq!(gone, [1, 2]);
}

/// A content whose sectors a crash has left as zeros was never acknowledged.
#[tokio::test]
async fn zeros_in_the_last_batch_are_a_torn_tail_and_not_an_erasure() {
    let (storage, views, _, log) = log_of_four().await;
    drop(log);
    let content = record(3).content.concat();
    let mut segment = storage.bytes(SEGMENT);
    let at = segment
        .windows(content.len())
        .position(|part| part == content);
    let at = at.unwrap();
    segment[at..at + content.len()].fill(0);
    storage.replace(SEGMENT, segment);
    std::fs::remove_dir_all(views.path()).unwrap();
    let log = open(&storage, views.path()).unwrap();
    assert!(storage.names().iter().any(|name| name.ends_with(".torn")));
    assert!(log.read(3).unwrap().kept.kind == model::TORN);
}

#[tokio::test]
async fn an_erasure_whose_zeros_failed_is_finished_by_the_next_one() {
    let mut failed = 0;
    for after in 0.. {
        let (storage, _views, mut known, log) = log_of_four().await;
        storage.arm(after, DiskFault::FailAndNotPersist);
        let erased = log.erase(1, 1, "first").await;
        if !storage.triggered() {
            break;
        }
        known.erased = Some((1..=1, erased.is_ok()));
        if let Err(EraseError::NotRecorded(_)) = erased {
            continue;
        }
        // The log goes on: what is appended meanwhile stays, and the next call finishes it.
        failed += u32::from(erased.is_err());
        known.append(&log, 2).await.unwrap();
        log.erase(1, 1, "first").await.unwrap();
        known.erased = Some((1..=1, true));
        known.check(&storage, &log);
        storage.0.restart(Restart::Synced);
        let views = model::views();
        known.check(&storage, &open(&storage, views.path()).unwrap());
    }
    assert!(failed > 2, "hardly anything failed: {failed}");
}

/// Zeros go through the memory in which the system keeps files, records past it, and both into one
/// file: on a disk of this machine neither may undo the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_undoes_nothing_that_is_written_beside_it() {
    const RECORDS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let origin = "VN/GOV/G01/server-1/1".parse().unwrap();
    let mut options = model::options();
    options.segment_size = 256 * 1024;
    Log::create(folder.path(), &origin, &options).unwrap();
    let log = Arc::new(Log::open(folder.path(), options, &mut |_| ()).unwrap());
    let (written, mut to_erase) = tokio::sync::mpsc::unbounded_channel();
    let appending: Vec<_> = (0..4)
        .map(|appender| {
            let (log, written) = (Arc::clone(&log), written.clone());
            tokio::spawn(async move {
                for number in (appender..RECORDS).step_by(4) {
                    let receipt = log.append(record(number)).await.unwrap();
                    written.send((receipt.index(), number)).unwrap();
                }
            })
        })
        .collect();
    drop(written);
    // Which record holds which number, and whether its content is gone.
    let mut known = BTreeMap::new();
    while let Some((index, number)) = to_erase.recv().await {
        let goes = number % 3 == 0 && !record(number).content.concat().is_empty();
        if goes {
            log.erase(index, index, "its term is over").await.unwrap();
        }
        known.insert(index, (number, goes));
    }
    for appender in appending {
        appender.await.unwrap();
    }
    drop(log);
    let mut found = 0;
    for read in Reader::open(folder.path(), leaf_of_local_record).unwrap() {
        let read = read.unwrap().record;
        let Some((number, is_erased)) = known.get(&read.index) else {
            continue;
        };
        let expected = record(*number);
        assert_eq!(read.kept.header, expected.kept.header);
        assert_eq!(read.is_erased, *is_erased, "{number}");
        assert!(*is_erased || read.content == expected.content.concat());
        found += 1;
    }
    assert_eq!(found, RECORDS);
}
