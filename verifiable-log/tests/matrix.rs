//! Every call of a log times every fault times everything that may be left of it: what was
//! acknowledged or shown is there, and the log verifies wholly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod faults;
mod model;

use durable::simulated::{Cells, Disk, Restart, every_fault};
use faults::{Fault, Faulty};
use model::{Model, key, new_log, open};
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
    let views = tempfile::tempdir().unwrap();
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
            let views = tempfile::tempdir().unwrap();
            let opened = open(&Faulty(disk.clone()), views.path());
            assert!(opened.is_ok() || !*created);
            *created = opened.is_ok();
        },
    );
    println!("a new log: {cells}");
}

/// What opening does to the end of a log that a crash has torn.
#[test]
fn recovery_of_a_torn_tail() {
    let (views, mut known) = (tempfile::tempdir().unwrap(), Model::default());
    let storage = new_log();
    let log = open(&storage, views.path()).unwrap();
    block_on(known.append(&log, 3)).unwrap();
    known.checkpoints.push(log.checkpoint(&key()).unwrap());
    storage.arm(0, Fault::StopAfter);
    block_on(known.append(&log, 3)).unwrap_err();
    drop(log);
    // The first of the three is whole, the others are not.
    storage.0.restart(Restart::Some(4));
    let cells = matrix(&storage, &known, async |_, _, _| {});
    assert!(cells.operations > 9, "nothing was torn: {cells}");
    println!("recovery of a torn tail: {cells}");
}

/// A disk that is full: the reserve is given up for what ends something, and taken again.
#[test]
fn the_reserve() {
    let storage = new_log();
    let views = tempfile::tempdir().unwrap();
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
