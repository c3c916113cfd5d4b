//! What is kept is read back whatever it is, is all that was remembered, and is believed of its own
//! log alone.

use std::sync::Arc;

use tempfile::TempDir;
use trust::{
    header::Direction,
    wire::evidence::{
        AccessRight, Change, ClockAccepted, Closing, LocalSubsystem, PeerCheckpoint, RecordKind,
        Stage,
        change::{Key as ChangedKey, Value},
    },
};
use verifiable_log::Record;

use super::*;
use crate::{
    clock::{SharedClock, SystemClock},
    log::{options, recollect},
    made_up::{MadeUp, id},
    recorder::local_annex,
};

/// A log with something of everything that is remembered.
async fn log_of(folder: &TempDir, key: &LogKey) -> Log {
    let clock: SharedClock = Arc::new(SystemClock);
    let origin = "VN/GOV/G01/server-1/1".parse().unwrap();
    let options = options(&clock);
    Log::create(folder.path(), &origin, &options).unwrap();
    let log = Log::open(folder.path(), options, &mut |_| ()).unwrap();
    for record in records() {
        log.append(record).await.unwrap();
    }
    log.checkpoint(key.key_pair()).unwrap();
    log
}

fn records() -> Vec<Record> {
    let change = |key: ChangedKey, value: Option<Value>| {
        let change = Change {
            unix_user: 1,
            key: Some(key),
            value,
        };
        local(RecordKind::Change, &change)
    };
    let subsystem = || ChangedKey::Subsystem("VN/GOV/G01/desk".to_owned());
    let enabled = |enabled| Some(Value::LocalSubsystem(LocalSubsystem { enabled }));
    let right = |id: &str| ChangedKey::AccessRight(id.to_owned());
    let granted = || {
        Some(Value::Right(AccessRight {
            client: "VN/GOV/G02/archive".to_owned(),
            service: "VN/GOV/G01/desk".to_owned(),
            grpc_service: "population.v1.Population".to_owned(),
            ..AccessRight::default()
        }))
    };
    let message = |exchange, direction, stage, sequence| MadeUp {
        direction,
        stage,
        exchange,
        sequence,
        is_final: false,
        promised: None,
    };
    let sent = |exchange, sequence| {
        message(exchange, Direction::Request, Stage::Sent, sequence).record(TIME + 5000)
    };
    let received =
        |exchange, sequence| message(exchange, Direction::Request, Stage::Received, sequence);
    let reply = |exchange, sequence, promised, is_final| {
        MadeUp {
            promised: Some(promised),
            is_final,
            ..message(exchange, Direction::Reply, Stage::Received, sequence)
        }
        .record(TIME)
    };
    let closing = Closing {
        side: "provider".to_owned(),
        exchange_id: Bytes::copy_from_slice(&id(3)),
        ..Closing::default()
    };
    let proven = |promised: &[u64]| PeerCheckpoint {
        origin: "VN/GOV/G02/server-1/1".to_owned(),
        verdict: "kept".to_owned(),
        promised: promised.to_vec(),
        ..PeerCheckpoint::default()
    };
    let accepted = ClockAccepted {
        unix_user: 1,
        clock: TIME / 1000 - 50,
        newest_record: TIME / 1000,
    };
    vec![
        change(subsystem(), enabled(true)),
        change(right("second"), granted()),
        change(right("first"), granted()),
        sent(1, 0),
        received(2, 0).record(TIME),
        received(3, 0).record(TIME),
        sent(1, 1),
        reply(1, 0, (0, 70), false),
        sent(4, 0),
        change(right("second"), None),
        sent(1, 2),
        local(RecordKind::Closing, &closing),
        reply(1, 1, (2, 72), false),
        reply(4, 0, (0, 80), true),
        local(RecordKind::PeerCheckpoint, &proven(&[70, 80])),
        change(right("second"), granted()),
        change(subsystem(), enabled(false)),
        local(RecordKind::Clock, &accepted),
        received(5, 0).record(TIME - 40_000),
    ]
}

/// A time in milliseconds at which the ids of these exchanges are fresh.
const TIME: i64 = 0x0505_0505_0505;

fn local(kind: RecordKind, body: &impl Message) -> Record {
    let body = body.encode_to_vec().into();
    Record::local(kind as u8, body, local_annex(kind, TIME))
}

fn kept_of(log: &Log, size: u64, recollection: &Recollection) -> wire::Recollection {
    wire::Recollection {
        origin: log.origin().to_string(),
        size,
        root: log.root_at(size).unwrap().to_bytes(),
        ..recollection.to_keep()
    }
}

#[tokio::test]
async fn what_was_kept_at_any_time_and_what_came_after_is_all_that_is_in_the_log() {
    let (folder, key) = (TempDir::new().unwrap(), LogKey::generate().unwrap());
    let log = log_of(&folder, &key).await;
    let file = RecollectionFile::of(folder.path());
    let all = recollect(&file, &log, &key).unwrap();
    assert_eq!(all.newest_record, TIME / 1000 - 40);
    assert_eq!(all.local_state.changes, 6);
    assert_eq!(all.closings().len(), 3);
    let unproven: usize = all
        .peer_logs
        .each(|_, of| of.log.unproven())
        .into_iter()
        .sum();
    assert_eq!(unproven, 1);
    let mut before = Recollection::default();
    for record in log.scan(0).unwrap() {
        let record = record.unwrap();
        let size = record.record.index;
        file.write(&kept_of(&log, size, &before), &key).unwrap();
        let (known, _) = file.read(&log, &key).unwrap().unwrap();
        assert_eq!(known, size);
        let after = recollect(&file, &log, &key).unwrap();
        assert!(after.is_no_other_than(&all), "kept at {size}");
        assert!(all.is_no_other_than(&after), "kept at {size}");
        assert_eq!(after.newest_record, all.newest_record, "kept at {size}");
        before.take(&record).unwrap();
    }
}

#[tokio::test]
async fn a_wrong_byte_another_key_or_another_log_is_never_believed() {
    let (folder, key) = (TempDir::new().unwrap(), LogKey::generate().unwrap());
    let log = log_of(&folder, &key).await;
    let file = RecollectionFile::of(folder.path());
    assert!(matches!(file.read(&log, &key), Ok(None)));
    let all = recollect(&file, &log, &key).unwrap();
    let kept = kept_of(&log, log.size(), &all);
    file.write(&kept, &key).unwrap();
    let bytes = fs::read(&file.path).unwrap();
    for position in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[position] ^= 1;
        fs::write(&file.path, bytes).unwrap();
        assert!(matches!(file.read(&log, &key), Err(Unusable::NotSigned)));
    }
    for length in 0..bytes.len() {
        fs::write(&file.path, &bytes[..length]).unwrap();
        assert!(matches!(file.read(&log, &key), Err(Unusable::NotSigned)));
    }
    fs::write(&file.path, &bytes).unwrap();
    assert!(file.read(&log, &key).unwrap().is_some());
    let other = LogKey::generate().unwrap();
    assert!(matches!(file.read(&log, &other), Err(Unusable::NotSigned)));
    type Change = fn(&mut wire::Recollection);
    let changes: [Change; 4] = [
        |kept| kept.origin = "VN/GOV/G01/server-1/2".to_owned(),
        |kept| kept.size += 1,
        |kept| kept.size -= 1,
        |kept| kept.root = Digest::of(b"another log").to_bytes(),
    ];
    for change in changes {
        let mut kept = kept.clone();
        change(&mut kept);
        file.write(&kept, &key).unwrap();
        assert!(matches!(file.read(&log, &key), Err(Unusable::OtherLog)));
    }
    let changes: [Change; 4] = [
        |kept| kept.seen = Bytes::from_static(&[1; 17]),
        |kept| kept.local_state[0].change = None,
        |kept| kept.unended[0].exchange_id = Bytes::new(),
        |kept| kept.peer_logs[0].promised[0].leaf = Bytes::new(),
    ];
    for change in changes {
        let mut kept = kept.clone();
        change(&mut kept);
        file.write(&kept, &key).unwrap();
        assert!(matches!(file.read(&log, &key), Err(Unusable::Malformed)));
        let anyhow = recollect(&file, &log, &key).unwrap();
        assert!(anyhow.is_no_other_than(&all));
    }
}
