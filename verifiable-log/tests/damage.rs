//! Every byte counts: changed, cut, missing and foreign bytes are named, and none is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/every_byte.rs"]
mod every_byte;
mod faults;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use every_byte::{Format, Irrelevant};
use faults::{Fault as DiskFault, Faulty};
use serde_json::Value;
use trust::{
    Digest,
    checkpoint::{LogKey, Origin},
    leaf::LeafPreimage,
};
use verifiable_log::{
    Damage, End, Error, Fault, InvalidRecord, KeptPart, Log, Options, Reader, Reading, Record,
    leaf_of_local_record,
};

const FIRST: &str = "segments/00000000000000000000.segment";
const SECOND: &str = "segments/00000000000000000003.segment";

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn options() -> Options {
    let mut options = Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"t")));
    options.segment_size = 1536;
    options.reserve_size = 2048;
    options
}

fn record(number: u8) -> Record {
    let mut record = Record::local(4, Bytes::from(vec![number; 20]), Bytes::from(vec![2; 10]));
    record.content = vec![Bytes::from(vec![number + 1; 30])];
    record
}

/// Two batches in the first segment, one in the second, and room after it.
async fn small_log() -> Faulty {
    let storage = Faulty::default();
    let origin: Origin = "VN/GOV/G01/server-1/1".parse().unwrap();
    Log::create_in(&storage.storage(), &origin, &options()).unwrap();
    let log = open(&storage).unwrap();
    log.append_all(vec![record(1), record(2)]).await.unwrap();
    log.append(record(3)).await.unwrap();
    log.append_all(vec![record(4), record(5)]).await.unwrap();
    log.checkpoint(&key()).unwrap();
    storage
}

/// Without views: everything is read.
fn open(storage: &Faulty) -> Result<Log, Error> {
    let views = tempfile::tempdir().unwrap();
    Log::open_in(storage.storage(), views.path(), options(), &mut |_| ())
}

fn read(storage: &Faulty) -> Result<(u64, End), Error> {
    let mut reader = Reader::open_in(storage.storage(), leaf_of_local_record)?;
    let mut records = 0;
    loop {
        match reader.read()? {
            Reading::Record(_) => records += 1,
            Reading::End(end) => return Ok((records, end)),
        }
    }
}

fn changed(storage: &Faulty, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Faulty {
    let copy = storage.copy();
    let mut bytes = copy.bytes(name);
    change(&mut bytes);
    copy.replace(name, bytes);
    copy
}

/// Reads and opens a log with one change; both must name it. Says whether it was a torn end.
fn is_named(storage: &Faulty, what: &str) -> bool {
    let torn = match read(storage) {
        Err(Error::Damaged(_) | Error::Identity(_)) => false,
        Ok((
            _,
            End {
                unfinished: Some(_),
                ..
            },
        )) => true,
        other => panic!("{what}: read {other:?}"),
    };
    match open(storage) {
        Err(Error::Damaged(_) | Error::Identity(_) | Error::ForeignCheckpoint { .. }) => {
            assert!(!torn, "{what}");
        }
        Err(Error::CheckpointAhead { .. }) => assert!(torn, "{what}"),
        Err(other) => panic!("{what}: opening says {other}"),
        // Bytes after the signed records: kept aside, and said in a record.
        Ok(log) => {
            assert!(torn, "{what}");
            assert_eq!(log.size(), 6, "{what}");
            let names = storage.names();
            assert!(names.iter().any(|name| name.ends_with(".torn")), "{what}");
        }
    }
    torn
}

/// No byte of a segment is irrelevant: not the zeros behind headers and batches either.
#[tokio::test]
async fn every_changed_byte_of_a_segment_is_named() {
    let storage = small_log().await;
    assert_eq!(read(&storage).unwrap().0, 5);
    let mut torn = Vec::new();
    for name in [FIRST, SECOND] {
        for at in 0..storage.bytes(name).len() {
            let what = format!("byte {at} of {name}");
            let flipped = |bit: usize| changed(&storage, name, |bytes| bytes[at] ^= 1 << bit);
            // All bits; of runs of zeros one.
            let bits = if storage.bytes(name)[at] == 0 {
                at % 8..at % 8 + 1
            } else {
                0..8
            };
            for bit in bits {
                match read(&flipped(bit)) {
                    Err(Error::Damaged(_)) => {}
                    Ok((_, end)) => assert!(end.unfinished.is_some(), "{what}, bit {bit}"),
                    Err(other) => panic!("{what}, bit {bit}: {other}"),
                }
            }
            // Opening reads by the same walk and is slower: it looks at every third byte, and
            // less often into runs of zeros. All bits take turns.
            let copy = flipped(at % 8);
            let step = if storage.bytes(name)[at] == 0 { 33 } else { 3 };
            if at.is_multiple_of(step) && is_named(&copy, &what) {
                torn.push((name, at));
            }
        }
    }
    // Only the end of the log can look torn.
    assert!(torn.iter().all(|(name, at)| *name == SECOND && *at >= 512));
}

#[tokio::test]
async fn every_changed_byte_of_identity_and_checkpoint_is_refused() {
    let storage = small_log().await;
    for at in 0..storage.bytes("identity").len() {
        let copy = changed(&storage, "identity", |bytes| bytes[at] ^= 1);
        is_named(&copy, &format!("byte {at} of the identity"));
    }
    Format {
        name: "identity",
        valid: &storage.bytes("identity"),
        verify: &|bytes| {
            let copy = changed(&storage, "identity", |identity| *identity = bytes.to_vec());
            read(&copy).map_err(|error| error.to_string())
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
    let checkpoint = storage.bytes("checkpoint");
    // As an auditor reads it, who has the key of the log.
    let key_of_log = LogKey::of(&key()).unwrap();
    Format {
        name: "stored checkpoint",
        valid: &checkpoint,
        verify: &|bytes| {
            let copy = changed(&storage, "checkpoint", |note| *note = bytes.to_vec());
            let reader = Reader::open_in(copy.storage(), leaf_of_local_record).unwrap();
            let read = reader.checkpoint().map_err(|error| error.to_string())?;
            let signed = read.ok_or("there is none")?;
            let checkpoint = signed.verify(reader.origin(), &key_of_log);
            checkpoint.cloned().map_err(|error| error.to_string())
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
    let signature = checkpoint
        .windows(2)
        .position(|two| two == b"\n\n")
        .unwrap()
        + 2;
    for at in 0..checkpoint.len() {
        let copy = changed(&storage, "checkpoint", |bytes| bytes[at] ^= 1);
        match open(&copy) {
            Err(
                Error::StoredCheckpoint(_)
                | Error::ForeignCheckpoint { .. }
                | Error::CheckpointAhead { .. }
                | Error::CheckpointRoot { .. },
            ) => {}
            Err(other) => panic!("{at}: {other}"),
            // The log has no key to verify with; whoever signs next does, and signs anew.
            Ok(log) => {
                assert!(at >= signature, "{at}");
                let signed = log.checkpoint(&key()).unwrap();
                assert_eq!(signed.as_bytes().as_ref(), checkpoint);
            }
        }
    }
}

#[tokio::test]
async fn a_segment_cut_anywhere_is_named() {
    let storage = small_log().await;
    for name in [FIRST, SECOND] {
        let length = storage.bytes(name).len();
        for cut in (0..length).chain([length + 1, length + 512]) {
            let copy = changed(&storage, name, |bytes| bytes.resize(cut, 0));
            let Err(Error::Damaged(damage)) = read(&copy) else {
                panic!("{name} {cut}");
            };
            let expected = matches!(
                damage.fault,
                Fault::SegmentHeader(_) | Fault::SegmentLength { expected: 1536, .. }
            );
            assert!(expected && damage.offset == 0, "{damage}");
            if cut % 64 == 0 {
                assert!(matches!(open(&copy), Err(Error::Damaged(_))));
            }
        }
    }
}

#[tokio::test]
async fn missing_and_exchanged_segments_are_named() {
    let storage = small_log().await;
    let copy = storage.copy();
    copy.delete(FIRST);
    let expected = Damage {
        segment: 0,
        offset: 0,
        index: 0,
        fault: Fault::MissingSegment { expected: 0 },
    };
    assert!(matches!(read(&copy), Err(Error::Damaged(damage)) if damage == expected));
    assert!(matches!(open(&copy), Err(Error::Damaged(damage)) if damage == expected));

    let copy = storage.copy();
    copy.delete(SECOND);
    assert!(matches!(
        open(&copy),
        Err(Error::CheckpointAhead {
            checkpoint: 5,
            log: 3
        })
    ));

    // The same records, appended elsewhere: whole, and of another log.
    let other = small_log().await;
    for name in [FIRST, SECOND] {
        let copy = storage.copy();
        copy.replace(name, other.bytes(name));
        let Err(Error::Damaged(damage)) = read(&copy) else {
            panic!("{name}");
        };
        assert!(matches!(damage.fault, Fault::Chain(_)), "{damage}");
    }

    let copy = storage.copy();
    copy.replace("segments/00000000000000000009.segment", other.bytes(SECOND));
    let Err(Error::Damaged(damage)) = read(&copy) else {
        panic!("a segment that does not follow");
    };
    assert_eq!(damage.fault, Fault::MissingSegment { expected: 5 });
}

#[tokio::test]
async fn damage_names_segment_offset_and_record() {
    let storage = small_log().await;
    let content = |number: u8| move |byte: &[u8]| *byte == [number; 30];
    for (name, number, index) in [(FIRST, 3, 1), (FIRST, 4, 2)] {
        let at = storage
            .bytes(name)
            .windows(30)
            .position(content(number))
            .unwrap();
        let copy = changed(&storage, name, |bytes| bytes[at + 7] ^= 4);
        let Err(Error::Damaged(damage)) = read(&copy) else {
            panic!("content of record {index}");
        };
        let frame = at as u64 - 10 - 20 - 32;
        let fault = Fault::ContentChecksum;
        let expected = Damage {
            segment: 0,
            offset: frame,
            index,
            fault,
        };
        assert_eq!(damage, expected);
        let reader = Reader::open_in(copy.storage(), leaf_of_local_record).unwrap();
        let read: Vec<_> = reader.map(|record| record.is_ok()).collect();
        assert_eq!(
            read.len() as u64,
            index + 1,
            "it ends with the first damage"
        );
    }
}

#[tokio::test]
async fn a_scrub_finds_damage_in_old_segments_and_stops_the_log() {
    let storage = small_log().await;
    let log = open(&storage).unwrap();
    assert_eq!(log.scrub(&mut |_| ()).unwrap().records, 5);
    let mut bytes = storage.bytes(FIRST);
    bytes[700] ^= 1;
    storage.replace(FIRST, bytes);
    log.append(record(9)).await.unwrap();
    assert!(matches!(log.scrub(&mut |_| ()), Err(Error::Damaged(_))));
    assert!(matches!(*log.failed().await, Error::Damaged(_)));
    log.append(record(9)).await.unwrap_err();
    assert!(log.checkpoint(&key()).is_err());
}

#[tokio::test]
async fn a_batch_that_is_being_written_is_the_end_and_no_damage() {
    for seed in 1..20 {
        let storage = small_log().await;
        let log = open(&storage).unwrap();
        storage.arm(0, DiskFault::StopAfter);
        log.append(record(6)).await.unwrap_err();
        drop(log);
        storage.restart(seed);
        let (records, end) = read(&storage).unwrap();
        // Any of its blocks may be there; one block holds it whole.
        assert!(records == 5 || records == 6);
        assert_eq!(end.size, records);
    }
    let storage = small_log().await;
    let half = changed(&storage, SECOND, |bytes| {
        bytes[1024..1032].copy_from_slice(b"LTBATCH\n");
    });
    let (records, end) = read(&half).unwrap();
    let unfinished = end.unfinished.unwrap();
    assert_eq!(
        (records, unfinished.segment, unfinished.offset),
        (5, 3, 1024)
    );
    assert!(matches!(unfinished.fault, Fault::BatchHeader(_)));
}

#[test]
fn a_reader_beside_a_busy_writer_never_sees_damage() {
    let folder = tempfile::tempdir().unwrap();
    let origin: Origin = "VN/registry".parse().unwrap();
    let mut options = options();
    options.segment_size = 16 * 1024;
    Log::create(folder.path(), &origin, &options).unwrap();
    let log = Log::open(folder.path(), options, &mut |_| ()).unwrap();
    let mut reader = Reader::open(folder.path(), leaf_of_local_record).unwrap();
    const RECORDS: u64 = 600;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                for number in 0..RECORDS {
                    let mut record = record((number % 200) as u8);
                    record.content = vec![Bytes::from(vec![7; (number * 31 % 3000) as usize])];
                    log.append(record).await.unwrap();
                }
            });
        });
        let mut read = 0;
        while read < RECORDS {
            match reader.read().unwrap() {
                Reading::Record(_) => read += 1,
                Reading::End(_) => std::thread::yield_now(),
            }
        }
    });
    assert_eq!(reader.state(), (RECORDS, log.root_at(RECORDS).unwrap()));
}

/// The segments of the vector are made by an independent implementation.
#[tokio::test]
async fn the_bytes_on_disk_are_those_of_the_vector() {
    let vector: Value = serde_json::from_str(include_str!("vectors/segments.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let bytes = |value: &Value| hex::decode(text(value)).unwrap();
    let length = vector["segment_length"].as_u64().unwrap();

    static NEXT_ID: AtomicU8 = AtomicU8::new(1);
    let mut options = options();
    options.segment_size = length;
    options.segment_id_of = || Some([NEXT_ID.fetch_add(1, Ordering::Relaxed); 16]);
    // Stands in for whoever knows manifests: the digest of the header, and of the whole signature.
    let leaf_of = |kept: &KeptPart| -> Result<LeafPreimage, InvalidRecord> {
        Ok(LeafPreimage {
            kind: kept.kind,
            message_digest: Digest::of(&kept.header),
            signature_digest: Digest::of(&kept.signature),
            annex_digest: Digest::of(&kept.annex),
        })
    };
    options.leaf_of = leaf_of;
    let storage = Faulty::default();
    let origin: Origin = text(&vector["origin"]).parse().unwrap();
    Log::create_in(&storage.storage(), &origin, &options).unwrap();
    let views = tempfile::tempdir().unwrap();
    let storage_of_log = storage.storage();
    let log = Log::open_in(storage_of_log, views.path(), options, &mut |_| ()).unwrap();
    let mut records = vector["records"].as_array().unwrap().iter().map(|record| {
        let kept = KeptPart {
            kind: record["kind"].as_u64().unwrap() as u8,
            header: bytes(&record["header"]).into(),
            signature: bytes(&record["signature"]).into(),
            annex: bytes(&record["annex"]).into(),
        };
        let leaf = leaf_of(&kept).unwrap();
        let content = Bytes::from(bytes(&record["content"]));
        let (first, second) = (
            content.slice(..content.len() / 2),
            content.slice(content.len() / 2..),
        );
        Record {
            kept,
            message_digest: leaf.message_digest,
            signature_digest: leaf.signature_digest,
            content: vec![first, second],
        }
    });
    for batch in vector["batches"].as_array().unwrap() {
        let count = batch["records"].as_u64().unwrap() as usize;
        log.append_all(records.by_ref().take(count).collect())
            .await
            .unwrap();
    }
    assert_eq!(storage.bytes("identity"), bytes(&vector["identity"]));
    for segment in vector["segments"].as_array().unwrap() {
        let lines = segment["lines"].as_array().unwrap();
        let mut expected: Vec<u8> = lines.iter().flat_map(bytes).collect();
        expected.resize(length as usize, 0);
        assert_eq!(storage.bytes(&text(&segment["name"])), expected);
    }
    let mut reader = Reader::open_in(storage.storage(), leaf_of).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 4);
}
