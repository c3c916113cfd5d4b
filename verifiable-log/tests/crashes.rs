//! Crashes and failing disks: what was acknowledged is there, what is cut is kept aside and said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod faults;
mod model;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use durable::simulated::Restart;
use faults::{Fault, Faulty};
use model::{Model, key, new_log, open, options, record};
use proptest::prelude::*;
use verifiable_log::{AppendError, Error, Log};

#[derive(Debug, Clone)]
enum Op {
    Append(u64),
    Checkpoint,
    Reopen,
    Arm(u64, Fault),
    Crash(u64),
    DeleteViews,
    CutViews(u64),
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    let fault = prop_oneof![
        Just(Fault::StopBefore),
        Just(Fault::StopAfter),
        Just(Fault::Part),
        Just(Fault::FailAndNotPersist),
        Just(Fault::FailButPersist),
        Just(Fault::PartThenFail),
    ];
    let op = prop_oneof![
        6 => (1_u64..9).prop_map(Op::Append),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        3 => (0_u64..30, fault).prop_map(|(after, fault)| Op::Arm(after, fault)),
        1 => any::<u64>().prop_map(Op::Crash),
        1 => Just(Op::DeleteViews),
        1 => any::<u64>().prop_map(Op::CutViews),
    ];
    proptest::collection::vec(op, 4..24)
}

/// Restarts and opens until opening succeeds; a fault can be armed that opening meets.
fn reopen(storage: &Faulty, views: &Path, seed: u64) -> Log {
    for attempt in 0..4 {
        match open(storage, views) {
            Ok(log) => return log,
            Err(_) if storage.triggered() => restart(storage, seed ^ attempt),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
    panic!("the log does not open");
}

/// Sometimes the machine goes on and only the process starts again.
fn restart(storage: &Faulty, seed: u64) {
    if seed.is_multiple_of(3) {
        storage.0.restart(Restart::Process);
    } else {
        storage.restart(seed);
    }
}

async fn run(operations: Vec<Op>) {
    let views = tempfile::tempdir().unwrap();
    let views = views.path().join("views");
    let storage = new_log();
    let mut model = Model::default();
    let mut log = Some(reopen(&storage, &views, 0));
    for (step, op) in operations.into_iter().enumerate() {
        let mut failed = false;
        let mut seed = step as u64 * 7919 + 1;
        let open = log.as_ref().unwrap();
        match op {
            Op::Append(count) => failed = model.append(open, count).await.is_err(),
            Op::Checkpoint => match open.checkpoint(&key()) {
                Ok(signed) => model.checkpoints.push(signed),
                Err(_) => failed = true,
            },
            Op::Arm(after, fault) => storage.arm(after, fault),
            Op::Reopen | Op::DeleteViews | Op::CutViews(_) => failed = true,
            Op::Crash(with) => {
                seed = with;
                storage.crash();
                failed = true;
            }
        }
        if failed {
            drop(log.take());
            match op {
                Op::DeleteViews => std::fs::remove_dir_all(&views).unwrap(),
                Op::CutViews(to) => {
                    let name = ["places", "hashes.0", "hashes.8"][to as usize % 3];
                    let file = std::fs::File::options()
                        .write(true)
                        .open(views.join(name))
                        .unwrap();
                    let length = file.metadata().unwrap().len();
                    file.set_len(to % (length + 1)).unwrap();
                }
                _ => {}
            }
            if storage.triggered() || matches!(op, Op::Crash(_)) {
                restart(&storage, seed);
            }
            let opened = reopen(&storage, &views, seed);
            if !storage.triggered() {
                model.check(&storage, &opened);
            }
            log = Some(opened);
        }
    }
    drop(log);
    storage.restart(1);
    let log = reopen(&storage, &views, 1);
    model.check(&storage, &log);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_was_acknowledged_is_there(operations in operations()) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(run(operations));
    }
}

/// A log whose last batch was cut by a crash in the middle of its write.
async fn torn_log(seed: u64) -> (Faulty, Model) {
    let views = tempfile::tempdir().unwrap();
    let storage = new_log();
    let mut model = Model::default();
    let log = open(&storage, views.path()).unwrap();
    model.append(&log, 3).await.unwrap();
    model.checkpoints.push(log.checkpoint(&key()).unwrap());
    storage.arm(0, Fault::StopAfter);
    model.append(&log, 3).await.unwrap_err();
    drop(log);
    storage.restart(seed);
    (storage, model)
}

#[tokio::test]
async fn recovery_survives_a_crash_at_each_of_its_steps() {
    let mut torn = 0;
    for seed in 1..3 {
        let (found, model) = torn_log(seed * 31).await;
        for first in 0.. {
            let (mut last, mut crashed) = (false, false);
            for second in 0..80 {
                let storage = found.copy();
                let views = tempfile::tempdir().unwrap();
                storage.arm(first, Fault::StopAfter);
                let opened = open(&storage, views.path());
                last = opened.is_ok();
                drop(opened);
                if last {
                    break;
                }
                assert!(storage.triggered());
                storage.restart(seed + first);
                storage.arm(second, Fault::StopAfter);
                let again = open(&storage, views.path());
                crashed = again.is_err();
                drop(again);
                storage.restart(seed + second);
                let log = open(&storage, views.path()).unwrap();
                let mut model = model.clone();
                model.check(&storage, &log);
                torn += storage
                    .names()
                    .iter()
                    .filter(|name| name.ends_with(".torn"))
                    .count();
                if !crashed {
                    break;
                }
            }
            assert!(last || !crashed, "recovery has more steps than are tried");
            if last {
                break;
            }
        }
    }
    assert!(torn > 50, "hardly anything was torn: {torn}");
}

/// Opening again after a crash while zeroing finds a tail that is partly zeros: the copy that was
/// made covers it.
#[tokio::test]
async fn an_interrupted_recovery_does_not_keep_the_same_bytes_twice() {
    let is_torn = |name: &String| name.ends_with(".torn");
    let mut interrupted = 0;
    for seed in 1..6 {
        for after in 0.. {
            let (storage, mut model) = torn_log(seed * 31).await;
            let views = tempfile::tempdir().unwrap();
            storage.arm(after, Fault::StopAfter);
            if open(&storage, views.path()).is_ok() {
                break;
            }
            let copied: Vec<_> = storage.names().into_iter().filter(is_torn).collect();
            storage.restart(seed);
            let log = open(&storage, views.path()).unwrap();
            let kept: Vec<_> = storage.names().into_iter().filter(is_torn).collect();
            if !copied.is_empty() {
                assert!(
                    kept.len() <= 1 && (kept == copied || kept.is_empty()),
                    "{kept:?}"
                );
                interrupted += 1;
            }
            model.check(&storage, &log);
        }
    }
    assert!(
        interrupted > 10,
        "hardly anything was interrupted: {interrupted}"
    );
}

#[tokio::test]
async fn a_torn_log_is_left_as_it_is_when_signed_records_are_gone() {
    let (storage, _) = torn_log(5).await;
    // As if the signed records had been in the batch that is damaged now.
    let name = "segments/00000000000000000000.segment";
    let mut bytes = storage.bytes(name);
    bytes[512 + 80 + 40] ^= 1;
    bytes[1536..].fill(0);
    storage.replace(name, bytes.clone());
    let before = storage.names();
    let views = tempfile::tempdir().unwrap();
    let refused = open(&storage, views.path()).err().unwrap();
    assert!(
        matches!(
            refused,
            Error::CheckpointAhead {
                checkpoint: 3,
                log: 0
            }
        ),
        "{refused}"
    );
    assert_eq!(storage.bytes(name), bytes);
    assert_eq!(storage.names(), before);
}

/// Whoever can have a segment logged as content, such as a copy of this very log, must not be able
/// to make a crash look like damage.
#[tokio::test]
async fn headers_inside_content_do_not_make_a_crash_look_like_damage() {
    let mut torn = 0;
    for seed in 1..30 {
        let views = tempfile::tempdir().unwrap();
        let storage = new_log();
        let log = open(&storage, views.path()).unwrap();
        let mut model = Model::default();
        model.append(&log, 2).await.unwrap();
        let segment = storage.bytes("segments/00000000000000000000.segment");
        // A header of this segment, whole and of a later batch, but it does not name this place.
        let mut header = segment[512..592].to_vec();
        header[24..32].copy_from_slice(&100_u64.to_le_bytes());
        // Nor does any place follow the last number there is.
        let end = if seed % 2 == 0 { 600 } else { u64::MAX };
        header[32..40].copy_from_slice(&end.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..76]);
        header[76..80].copy_from_slice(&checksum.to_le_bytes());
        // It stands at every block that the content reaches.
        let mut copies = record(2);
        let before = 80 + 32 + copies.kept.header.len() + copies.kept.annex.len();
        let mut content = vec![1; 512 * 6 - before];
        for block in (512 - before..content.len() - 80).step_by(512) {
            content[block..block + 80].copy_from_slice(&header);
        }
        copies.content = vec![Bytes::from(content)];
        storage.arm(0, Fault::StopAfter);
        log.append(copies).await.unwrap_err();
        drop(log);
        storage.restart(seed);
        let log = open(&storage, views.path()).unwrap();
        assert!(log.read(0).is_ok() && log.read(1).is_ok());
        torn += storage
            .names()
            .iter()
            .filter(|name| name.ends_with(".torn"))
            .count();
    }
    assert!(torn > 10, "hardly anything was torn: {torn}");
}

#[tokio::test]
async fn no_receipt_is_given_before_the_sync() {
    let views = tempfile::tempdir().unwrap();
    let storage = new_log();
    let log = Arc::new(open(&storage, views.path()).unwrap());
    storage.hold_syncs();
    let appending = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(record(0)).await })
    };
    let waiting = storage.clone();
    tokio::task::spawn_blocking(move || waiting.wait_for_sync())
        .await
        .unwrap();
    // The write is done and only the sync is missing.
    assert!(!appending.is_finished());
    assert_eq!(log.size(), 0);
    assert!(log.read(0).is_err());
    assert_eq!(log.checkpoint(&key()).unwrap().unverified().size, 0);
    storage.release_syncs();
    assert_eq!(appending.await.unwrap().unwrap().index(), 0);
    assert_eq!(log.size(), 1);
}

#[tokio::test]
async fn records_that_wait_together_are_synced_together() {
    let views = tempfile::tempdir().unwrap();
    let storage = new_log();
    let log = Arc::new(open(&storage, views.path()).unwrap());
    storage.hold_syncs();
    let append = |number| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(record(number)).await.unwrap() })
    };
    let first = append(0);
    let waiting = storage.clone();
    tokio::task::spawn_blocking(move || waiting.wait_for_sync())
        .await
        .unwrap();
    let others: Vec<_> = (1..9).map(append).collect();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    storage.release_syncs();
    first.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    let segment = storage.bytes("segments/00000000000000000000.segment");
    let batches = segment
        .windows(8)
        .filter(|bytes| *bytes == b"LTBATCH\n")
        .count();
    assert_eq!(batches, 2);
}

#[tokio::test]
async fn a_log_that_failed_acknowledges_nothing_more_and_says_so() {
    for fault in [
        Fault::FailAndNotPersist,
        Fault::FailButPersist,
        Fault::PartThenFail,
    ] {
        for after in 0..2 {
            let views = tempfile::tempdir().unwrap();
            let storage = new_log();
            let log = open(&storage, views.path()).unwrap();
            let mut model = Model::default();
            model.append(&log, 2).await.unwrap();
            storage.arm(after, fault);
            let refused = model.append(&log, 2).await.unwrap_err();
            assert!(matches!(refused, AppendError::Failed(_)), "{fault:?}");
            let refused = log.append(record(99)).await.unwrap_err();
            assert!(matches!(refused, AppendError::Failed(_)), "{fault:?}");
            assert!(matches!(*log.failed().await, Error::Storage { .. }));
            assert!(matches!(log.checkpoint(&key()), Err(Error::Failed(_))));
            drop(log);
            storage.restart(after + 3);
            let log = open(&storage, views.path()).unwrap();
            model.check(&storage, &log);
        }
    }
}

/// An empty segment that is too small is replaced; if that fails after it is gone, nothing may be
/// written into the one that the name no longer means.
#[tokio::test]
async fn a_segment_that_was_replaced_is_not_written_any_more() {
    let mut failed = 0;
    for after in 0.. {
        let views = tempfile::tempdir().unwrap();
        let storage = new_log();
        let log = open(&storage, views.path()).unwrap();
        let mut model = Model::default();
        let mut large = record(1000);
        large.content = vec![Bytes::from(vec![1; 9000])];
        storage.arm(after, Fault::FullButPersist);
        let Err(refused) = log.append(large).await else {
            break;
        };
        assert!(storage.triggered());
        model.append(&log, 1).await.ok();
        failed += u32::from(matches!(refused, AppendError::Failed(_)));
        drop(log);
        storage.restart(1);
        if failed < 3 {
            model.check(&storage, &open(&storage, views.path()).unwrap());
        }
    }
    assert!(
        failed >= 2,
        "the renaming and the sync of the folder: {failed}"
    );
}

/// An empty segment stays in use when the one that should replace it could not be made.
#[tokio::test]
async fn a_segment_that_was_not_replaced_is_written_on() {
    let views = tempfile::tempdir().unwrap();
    let storage = new_log();
    let log = open(&storage, views.path()).unwrap();
    let mut model = Model::default();
    let mut large = record(1000);
    large.content = vec![Bytes::from(vec![1; 9000])];
    storage.limit(Some(storage.used()));
    let refused = log.append(large).await.unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull), "{refused}");
    model.append(&log, 1).await.unwrap();
    drop(log);
    model.check(&storage, &open(&storage, views.path()).unwrap());
}

#[tokio::test]
async fn a_writer_that_panics_fails_the_log() {
    let views = tempfile::tempdir().unwrap();
    let storage = new_log();
    let mut options = options();
    // The next segment needs an id.
    options.segment_id_of = || panic!("the writer shall panic");
    let log = Log::open_in(storage.storage(), views.path(), options, &mut |_| ()).unwrap();
    let refused = loop {
        if let Err(error) = log.append(record(0)).await {
            break error;
        }
    };
    assert!(matches!(refused, AppendError::Failed(_)), "{refused}");
    assert!(matches!(*log.failed().await, Error::WriterStopped));
    assert!(matches!(log.checkpoint(&key()), Err(Error::Failed(_))));
}

#[tokio::test]
async fn a_full_disk_refuses_but_lets_what_is_open_be_closed() {
    let views = tempfile::tempdir().unwrap();
    let storage = new_log();
    let log = open(&storage, views.path()).unwrap();
    let mut model = Model::default();
    model.append(&log, 2).await.unwrap();
    storage.limit(Some(storage.used()));
    let refused = loop {
        if let Err(error) = model.append(&log, 2).await {
            break error;
        }
    };
    assert!(matches!(refused, AppendError::DiskFull), "{refused}");
    // The reserve has room for closing records and a checkpoint.
    let mut closed = 0;
    for _ in 0..3 {
        let number = model.numbers(1)[0];
        let receipt = log.append_reserved(record(number)).await.unwrap();
        model.acknowledged.push((receipt.index(), number));
        closed += 1;
    }
    assert_eq!(closed, 3);
    model.checkpoints.push(log.checkpoint(&key()).unwrap());
    // It is for these only.
    let refused = model.append(&log, 1).await.unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull));
    drop(log);
    let log = open(&storage, views.path()).unwrap();
    let refused = model.append(&log, 1).await.unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull));
    // With room again, the same open log goes on.
    storage.limit(None);
    model.append(&log, 3).await.unwrap();
    assert!(storage.names().contains(&"reserve".to_owned()));
    drop(log);
    model.check(&storage, &open(&storage, views.path()).unwrap());
}
