//! Every call of a log times every fault times everything that may be left of it: what was
//! acknowledged or shown is there, and the log verifies wholly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod faults;
mod model;

use durable::simulated::{Cells, Disk, Operation, Restart, every_fault};
use faults::{Fault, Faulty};
use model::{Model, key, new_log, open};
use prost::Message;
use trust::{Digest, wire::evidence::Torn};
use verifiable_log::Log;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Lets a writer that has an open log meet every fault. Whoever opens it afterwards signs what
/// there is, and goes on.
fn matrix(prepared: &Faulty, known: &Model, run: impl AsyncFn(&Faulty, &Log, &mut Model)) -> Cells {
    let views = model::views();
    every_fault(
        &prepared.0,
        |disk| {
            let mut known = known.clone();
            let views = tempfile::tempdir_in(&views).unwrap();
            let storage = Faulty(disk.clone());
            if let Ok(log) = open(&storage, views.path()) {
                block_on(run(&storage, &log, &mut known));
            }
            known
        },
        |disk, known| check(disk, known, views.path()),
    )
}

fn check(disk: &Disk, known: &mut Model, views: &std::path::Path) {
    let storage = Faulty(disk.clone());
    let views = tempfile::tempdir_in(views).unwrap();
    let log = open(&storage, views.path()).unwrap();
    disk.limit(None);
    known.check(&storage, &log);
    known.checkpoints.push(log.checkpoint(&key()).unwrap());
    block_on(known.append(&log, 1)).unwrap();
}

#[test]
fn appends_and_batches() {
    let cells = matrix(&new_log(), &Model::default(), async |_, log, known| {
        for count in [1, 3, 1] {
            if known.append(log, count).await.is_err() {
                return;
            }
        }
    });
    println!("appends and batches: {cells}");
}

#[test]
fn checkpoints() {
    let cells = matrix(&new_log(), &Model::default(), async |_, log, known| {
        for _ in 0..2 {
            if known.append(log, 1).await.is_err() {
                return;
            }
            match log.checkpoint(&key()) {
                Ok(signed) => known.checkpoints.push(signed),
                Err(_) => return,
            }
        }
    });
    println!("checkpoints: {cells}");
}

#[test]
fn rotation_of_segments() {
    let cells = matrix(&new_log(), &Model::default(), async |_, log, known| {
        // The first fits into no usual segment, the others into one each.
        for length in [9000, 5000, 5001] {
            if known.append_large(log, length).await.is_err() {
                return;
            }
        }
    });
    println!("rotation of segments: {cells}");
}

/// The whole making of a log: it is there and can be used, or it is not there.
#[test]
fn a_new_log() {
    let cells = every_fault(
        &Disk::default(),
        |disk| {
            let storage = Faulty(disk.clone()).storage();
            let origin = "VN/GOV/G01/server-1/1".parse().unwrap();
            Log::create_in(&storage, &origin, &model::options()).is_ok()
        },
        |disk, created| {
            let views = model::views();
            let opened = open(&Faulty(disk.clone()), views.path());
            assert!(opened.is_ok() || !*created);
            *created = opened.is_ok();
        },
    );
    println!("a new log: {cells}");
}

/// A log whose last batch of three records a crash has torn: the first is whole, the others not.
fn torn_log() -> (Faulty, Model) {
    let (views, mut known) = (model::views(), Model::default());
    let storage = new_log();
    let log = open(&storage, views.path()).unwrap();
    block_on(known.append(&log, 3)).unwrap();
    known.checkpoints.push(log.checkpoint(&key()).unwrap());
    storage.arm(0, Fault::StopAfter);
    block_on(known.append(&log, 3)).unwrap_err();
    drop(log);
    storage.0.restart(Restart::Some(4));
    (storage, known)
}

/// What opening does to the end of a log that a crash has torn.
#[test]
fn recovery_of_a_torn_tail() {
    let (storage, known) = torn_log();
    let cells = matrix(&storage, &known, async |_, _, _| {});
    assert!(cells.operations > 9, "nothing was torn: {cells}");
    println!("recovery of a torn tail: {cells}");
}

/// Bytes that a crash had cut off, once their term is over.
#[test]
fn erasure_of_a_torn_tail() {
    let ((storage, _), views) = (torn_log(), model::views());
    let log = open(&storage, views.path()).unwrap();
    let torn = log.scan(0).unwrap().map(|read| read.unwrap().record);
    let torn = torn.filter(|record| record.kept.kind == model::TORN).last();
    let digest = Torn::decode(torn.unwrap().kept.header).unwrap().digest;
    let digest = Digest::from_slice(&digest).unwrap();
    drop(log);
    let is_there = |disk: &Disk| {
        disk.paths()
            .iter()
            .any(|path| path.extension() == Some("torn".as_ref()))
    };
    assert!(is_there(&storage.0));
    let cells = every_fault(
        &storage.0,
        |disk| {
            let views = model::views();
            let log = open(&Faulty(disk.clone()), views.path());
            log.is_ok_and(|log| log.erase_torn(&digest).is_ok())
        },
        |disk, erased| {
            assert!(!*erased || !is_there(disk));
            let views = model::views();
            let log = open(&Faulty(disk.clone()), views.path()).unwrap();
            log.erase_torn(&digest).unwrap();
            *erased = true;
        },
    );
    println!("erasure of a torn tail: {cells}");
}

/// A disk that is full: the reserve is given up for what ends something, and taken again.
#[test]
fn the_reserve() {
    let storage = new_log();
    let views = model::views();
    drop(open(&storage, views.path()).unwrap());
    let cells = matrix(&storage, &Model::default(), async |storage, log, known| {
        if known.append_large(log, 4000).await.is_err() {
            return;
        }
        storage.limit(Some(storage.used()));
        let _ = known.append_large(log, 4001).await;
        let _ = known.append_reserved(log).await;
        if let Ok(signed) = log.checkpoint(&key()) {
            known.checkpoints.push(signed);
        }
    });
    println!("the reserve: {cells}");
}

/// A log with contents over two segments, and what is known of it.
fn log_with_contents() -> (Faulty, Model) {
    let (views, mut known) = (model::views(), Model::default());
    let storage = new_log();
    let log = open(&storage, views.path()).unwrap();
    block_on(known.append(&log, 3)).unwrap();
    for length in [4000, 4001] {
        block_on(known.append_large(&log, length)).unwrap();
    }
    known.checkpoints.push(log.checkpoint(&key()).unwrap());
    drop(log);
    (storage, known)
}

/// Contents are destroyed: wholly and said so, or not at all once the log was opened.
#[test]
fn erasure_of_contents() {
    let (storage, known) = log_with_contents();
    let cells = matrix(&storage, &known, async |_, log, known| {
        known.erased = Some((1..=3, false));
        let erased = log.erase(1, 3, "its term is over").await;
        known.erased = Some((1..=3, erased.is_ok()));
    });
    assert!(cells.operations > 15, "{cells}");
    println!("erasure of contents: {cells}");
}

/// An erasure whose record was read from memory when the log was opened: it survives before the
/// zeros that it explains.
#[test]
fn finishing_an_erasure() {
    let (storage, mut known) = log_with_contents();
    let views = model::views();
    let log = open(&storage, views.path()).unwrap();
    // The file that says what is meant takes seven calls, then the record is written.
    storage.arm(8, Fault::FailAndNotPersist);
    block_on(log.erase(1, 3, "its term is over")).unwrap_err();
    let operations = storage.0.operations();
    let failed = operations
        .iter()
        .rev()
        .find(|it| matches!(it, Operation::Sync(_)));
    assert!(
        matches!(failed, Some(Operation::Sync(path)) if path.ends_with("segments/00000000000000000004.segment")),
        "{operations:?}"
    );
    drop(log);
    storage.0.restart(Restart::Process);
    known.erased = Some((1..=3, false));
    let cells = matrix(&storage, &known, async |_, _, _| {});
    println!("finishing an erasure: {cells}");
}
