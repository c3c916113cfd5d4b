//! The log as its owner uses it: append, read, prove, checkpoint, close and open again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{path::Path, sync::Arc};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use trust::{
    Digest,
    checkpoint::{LogKey, Origin},
    merkle,
};
use verifiable_log::{
    AppendError, Error, Log, Options, Progress, RawRecord, Reader, Reading, Record,
    leaf_of_local_record,
};

const KIND: u8 = 4;

fn origin() -> Origin {
    "VN/GOV/G01/server-1/1".parse().unwrap()
}

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn options() -> Options {
    let mut options = Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"a")));
    options.segment_size = 8 * 1024;
    options.reserve_size = 16 * 1024;
    options
}

fn record(number: u64) -> Record {
    let header = Bytes::from(format!("{}{number:05}", number % 3));
    let mut record = Record::local(KIND, header, Bytes::from(vec![1; 40]));
    record.content = vec![
        Bytes::from(vec![number as u8; (number % 300) as usize]),
        Bytes::from_static(b"second piece"),
    ];
    record
}

fn open(folder: &Path) -> Log {
    Log::open(folder, options(), &mut |_| ()).unwrap()
}

async fn fill(log: &Log, count: u64) {
    let from = log.size();
    for number in from..from + count {
        let receipt = log.append(record(number)).await.unwrap();
        assert_eq!(receipt.index(), number);
        assert_eq!(receipt.leaf(), record(number).leaf_preimage().leaf());
    }
}

fn is_record(raw: &RawRecord, number: u64) {
    let made = record(number);
    assert_eq!(raw.index, number);
    assert_eq!(raw.kept, made.kept);
    assert_eq!(raw.content, made.content.concat());
}

/// Reading goes on from what the views say came before: that is believed only at the end.
#[tokio::test]
async fn a_scan_must_lead_from_what_came_before_to_the_root() {
    let folder = tempfile::tempdir().unwrap();
    Log::create(folder.path(), &origin(), &options()).unwrap();
    let log = open(folder.path());
    fill(&log, 30).await;
    let hashes = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("views/hashes.0"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hashes, &[7; 32], 0).unwrap();
    let scanned: Vec<_> = log.scan(1).unwrap().collect();
    assert_eq!(scanned.len(), 30);
    assert!(scanned[..29].iter().all(Result::is_ok));
    assert!(matches!(scanned[29], Err(Error::Root { size: 30 })));
    assert!(log.scan(0).unwrap().all(|read| read.is_ok()));
}

#[tokio::test]
async fn records_come_back_as_they_were_appended_over_segments_and_openings() {
    let folder = tempfile::tempdir().unwrap();
    Log::create(folder.path(), &origin(), &options()).unwrap();
    for round in 1..=3 {
        let log = open(folder.path());
        assert_eq!(log.origin(), &origin());
        fill(&log, 30).await;
        let together = (0..10).map(|n| record(log.size() + n)).collect();
        let receipts = log.append_all(together).await.unwrap();
        assert_eq!(receipts.len(), 10);
        assert_eq!(log.size(), round * 40);
        for number in 0..log.size() {
            is_record(&log.read(number).unwrap(), number);
        }
        for from in [0, 1, 17, log.size() - 1, log.size()] {
            let scanned: Vec<_> = log.scan(from).unwrap().map(Result::unwrap).collect();
            assert_eq!(scanned.len() as u64, log.size() - from);
            for (number, raw) in (from..).zip(&scanned) {
                is_record(&raw.record, number);
            }
        }
        let missing = log.size();
        assert!(matches!(log.read(missing), Err(Error::NoRecord { .. })));
        assert!(log.scan(missing + 1).is_err());
    }
    let segments = std::fs::read_dir(folder.path().join("segments")).unwrap();
    assert!(segments.count() > 2);
}

#[tokio::test]
async fn a_log_is_created_once_and_opened_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let opened = Log::open(&path, options(), &mut |_| ());
    assert!(matches!(opened, Err(Error::Absent)));
    std::fs::create_dir(&path).unwrap();
    let opened = Log::open(&path, options(), &mut |_| ());
    assert!(matches!(opened, Err(Error::Absent)));

    Log::create(&path, &origin(), &options()).unwrap();
    let again = Log::create(&path, &origin(), &options());
    assert!(matches!(again, Err(Error::NotEmpty(_))));
    let log = open(&path);
    let second = Log::open(&path, options(), &mut |_| ());
    assert!(matches!(second, Err(Error::Locked)));
    drop(log);
    open(&path);
}

#[tokio::test]
async fn proofs_and_roots_verify_for_every_size() {
    let folder = tempfile::tempdir().unwrap();
    Log::create(folder.path(), &origin(), &options()).unwrap();
    let log = open(folder.path());
    log.append_all((0..600).map(record).collect())
        .await
        .unwrap();
    let leaves: Vec<_> = (0..600).map(|n| record(n).leaf_preimage().leaf()).collect();
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 600] {
        let tree = merkle::Tree::new(leaves[..size as usize].to_vec());
        let root = log.root_at(size).unwrap();
        assert_eq!(root, tree.root());
        for index in [0, 1, 255, 256, 511, 599].into_iter().filter(|i| *i < size) {
            let proof = log.inclusion(index, size).unwrap();
            let leaf = &leaves[index as usize];
            merkle::verify_inclusion(leaf, index, size, &proof, &root).unwrap();
        }
        for old in [0, 1, 200, 256, 512, 600]
            .into_iter()
            .filter(|old| *old <= size)
        {
            let proof = log.consistency(old, size).unwrap();
            let old_root = log.root_at(old).unwrap();
            merkle::verify_consistency(old, &old_root, size, &root, &proof).unwrap();
        }
    }
    assert!(log.root_at(601).is_err());
    assert!(log.inclusion(5, 601).is_err());
    assert!(log.inclusion(5, 5).is_err());
    assert!(log.consistency(6, 5).is_err());

    let bytes = |leaves: &[Digest]| -> Vec<u8> {
        leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect()
    };
    assert_eq!(log.tile(0, 0, 256).unwrap(), bytes(&leaves[..256]));
    assert_eq!(log.tile(0, 2, 88).unwrap(), bytes(&leaves[512..600]));
    let roots: Vec<_> = leaves
        .chunks_exact(256)
        .map(|part| merkle::Tree::new(part.to_vec()).root())
        .collect();
    assert_eq!(log.tile(1, 0, 2).unwrap(), bytes(&roots));
    for (level, index, width) in [
        (0, 2, 89),
        (1, 0, 3),
        (0, 3, 1),
        (0, 0, 0),
        (0, 0, 257),
        (9, 0, 1),
        (255, 0, 1),
    ] {
        assert!(
            log.tile(level, index, width).is_err(),
            "{level} {index} {width}"
        );
    }
    // Whatever the views say wrongly is not given out, and made again by the next opening even
    // where that would not look.
    log.append(record(600)).await.unwrap();
    log.checkpoint(&key()).unwrap();
    let leaf_hashes = folder.path().join("views/hashes.0");
    let mut wrong = std::fs::read(&leaf_hashes).unwrap();
    wrong[32 * 580] ^= 1;
    std::fs::write(&leaf_hashes, wrong).unwrap();
    assert!(matches!(log.inclusion(590, 600), Err(Error::View(_))));
    assert!(matches!(log.inclusion(0, 600), Err(Error::View(_))));
    log.append(record(601)).await.unwrap();
    drop(log);
    let log = open(folder.path());
    log.inclusion(590, 600).unwrap();
}

#[tokio::test]
async fn a_checkpoint_extends_the_last_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    Log::create(folder.path(), &origin(), &options()).unwrap();
    let log = open(folder.path());
    let public = LogKey::of(&key()).unwrap();
    let empty = log.checkpoint(&key()).unwrap();
    assert_eq!(empty.verify(&origin(), &public).unwrap().size, 0);
    fill(&log, 5).await;
    let five = log.checkpoint(&key()).unwrap();
    assert_eq!(five.verify(&origin(), &public).unwrap().size, 5);
    assert_eq!(log.checkpoint(&key()).unwrap(), five);
    let stored = std::fs::read(folder.path().join("checkpoint")).unwrap();
    assert_eq!(stored, five.as_bytes().as_ref());
    drop(log);

    let log = open(folder.path());
    assert_eq!(log.last_checkpoint(), Some(five.clone()));
    assert_eq!(log.checkpoint(&key()).unwrap(), five);
    let other_key = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let other = log.checkpoint(&other_key).unwrap();
    other
        .verify(&origin(), &LogKey::of(&other_key).unwrap())
        .unwrap();
    assert_eq!(other.unverified(), five.unverified());
}

#[tokio::test]
async fn opening_reads_on_from_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut wide = options();
    wide.segment_size = 1024 * 1024;
    Log::create(folder.path(), &origin(), &wide).unwrap();
    let log = Log::open(folder.path(), wide.clone(), &mut |_| ()).unwrap();
    for part in 0..6 {
        let records = (part * 500..(part + 1) * 500).map(record).collect();
        log.append_all(records).await.unwrap();
    }
    let reads = |folder: &Path| {
        let mut told: Vec<Progress> = Vec::new();
        let log = Log::open(folder, wide.clone(), &mut |progress| told.push(progress)).unwrap();
        (log, told.len())
    };
    drop(log);
    let (log, told) = reads(folder.path());
    assert_eq!(told, 2, "without a checkpoint everything is read");
    log.checkpoint(&key()).unwrap();
    drop(log);
    let (log, told) = reads(folder.path());
    assert_eq!(told, 0, "only the last batch is read");
    drop(log);
    std::fs::remove_dir_all(folder.path().join("views")).unwrap();
    let (log, told) = reads(folder.path());
    assert_eq!(told, 2, "without views everything is read");
    assert_eq!(log.scrub(&mut |_| ()).unwrap().records, 3000);
}

#[tokio::test]
async fn a_batch_may_end_anywhere_in_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let mut wide = options();
    wide.segment_size = 1024 * 1024;
    Log::create(folder.path(), &origin(), &wide).unwrap();
    let log = Log::open(folder.path(), wide, &mut |_| ()).unwrap();
    for length in 0..520 {
        let mut record = Record::local(KIND, Bytes::from_static(b"h"), Bytes::new());
        record.content = vec![Bytes::from(vec![0; length])];
        log.append(record).await.unwrap();
    }
    assert_eq!(log.scrub(&mut |_| ()).unwrap().records, 520);
    assert_eq!(log.scan(0).unwrap().filter_map(Result::ok).count(), 520);
}

#[tokio::test]
async fn what_is_too_large_or_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Log::create(folder.path(), &origin(), &options()).unwrap();
    let log = open(folder.path());
    let mut large = record(0);
    large.content = vec![Bytes::from(vec![0; 33 * 1024 * 1024]); 2];
    assert!(matches!(
        log.append(large).await,
        Err(AppendError::TooLarge { .. })
    ));
    let mut wrong = record(0);
    wrong.message_digest = Digest::of(b"other");
    assert!(matches!(log.append(wrong).await, Err(AppendError::Leaf(_))));
    assert!(log.append_all(Vec::new()).await.unwrap().is_empty());
    // Larger than a segment: a segment of its own.
    let mut large = record(0);
    large.content = vec![Bytes::from(vec![7; 100_000])];
    log.append(large.clone()).await.unwrap();
    fill(&log, 3).await;
    log.append(large.clone()).await.unwrap();
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.size(), 5);
    assert_eq!(log.read(4).unwrap().content, large.content[0]);
}

#[tokio::test]
async fn many_wait_for_one_writer_and_each_gets_its_own_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let mut narrow = options();
    narrow.queue_records = 2;
    narrow.queue_bytes = 4096;
    Log::create(folder.path(), &origin(), &narrow).unwrap();
    let log = Arc::new(Log::open(folder.path(), narrow, &mut |_| ()).unwrap());
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { (number, log.append(record(number)).await.unwrap()) })
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for task in tasks {
        let (number, receipt) = task.await.unwrap();
        assert_eq!(receipt.leaf(), record(number).leaf_preimage().leaf());
        assert_eq!(log.read(receipt.index()).unwrap().kept, record(number).kept);
        assert!(seen.insert(receipt.index()));
    }
    assert_eq!(seen.len(), 200);
}

#[tokio::test]
async fn a_reader_follows_a_log_that_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    Log::create(folder.path(), &origin(), &options()).unwrap();
    let mut reader = Reader::open(folder.path(), leaf_of_local_record).unwrap();
    let log = open(folder.path());
    let mut read = 0;
    for _ in 0..20 {
        fill(&log, 7).await;
        loop {
            match reader.read().unwrap() {
                Reading::Record(found) => {
                    is_record(&found.record, read);
                    read += 1;
                }
                Reading::End(end) => {
                    assert_eq!(end.size, log.size());
                    assert_eq!(end.root, log.root_at(end.size).unwrap());
                    assert_eq!(end.unfinished, None);
                    break;
                }
            }
        }
    }
    assert_eq!(read, 140);
    let signed = log.checkpoint(&key()).unwrap();
    assert_eq!(reader.checkpoint().unwrap(), Some(signed));
    assert!(reader.torn_files().unwrap().is_empty());
}
