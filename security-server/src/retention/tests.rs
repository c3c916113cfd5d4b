//! Tests: what goes when its term is over, and what stays.

use std::sync::Arc;

use bytes::Bytes;
use verifiable_log::{KeptPart, Record};

use super::*;
use crate::{
    clock::SystemClock,
    made_up::{MadeUp, id},
};

fn exchange(number: u8) -> Exchange {
    (Side::Provider, ExchangeId::from_slice(&id(number)).unwrap())
}

/// A reply that this server has sent, recorded at a time.
fn reply(number: u8, sequence: u64, is_final: bool, at: i64) -> Record {
    MadeUp {
        direction: Direction::Reply,
        stage: Stage::Sent,
        exchange: number,
        sequence,
        is_final,
        promised: None,
    }
    .record(at)
}

fn closing(index: u64, number: u8, at: i64) -> RawRecord {
    let body = Closing {
        exchange_id: Bytes::copy_from_slice(&id(number)),
        side: Side::Provider.name().to_owned(),
        ..Closing::default()
    };
    let annex = Annex {
        received_at: at,
        ..Annex::default()
    };
    RawRecord {
        index,
        kept: KeptPart {
            kind: RecordKind::Closing as u8,
            header: body.encode_to_vec().into(),
            signature: Bytes::new(),
            annex: annex.encode_to_vec().into(),
        },
        content: Bytes::new(),
        content_length: 0,
        is_erased: false,
    }
}

#[test]
fn contents_of_exchanges_that_have_not_ended_stay_and_are_looked_at_again() {
    let mut round = Round::default();
    let contents = [(1, 1), (2, 2), (4, 1), (6, 3), (8, 1), (9, 3)];
    let contents = contents.map(|(index, number)| (index, Some(exchange(number))));
    round.contents.extend(contents);
    assert!(round.take(&closing(10, 1, 99), 100));
    assert!(round.take(&closing(11, 2, 99), 100));
    assert_eq!(round.runs(), (vec![(1, 4), (8, 8)], 6));
    // Of what is not known nothing goes.
    round.contents.insert(0, (0, None));
    assert_eq!(round.runs().1, 0);
    assert!(round.take(&closing(12, 3, 99), 100));
    assert_eq!(round.runs().0, [(1, 9)]);
}

/// A stream of more messages than one round holds ends far behind its first ones.
#[test]
fn the_end_of_an_exchange_is_found_beyond_its_round() {
    let mut round = Round {
        contents: vec![(1, Some(exchange(1))), (2, Some(exchange(2)))],
        next: 3,
        ..Round::default()
    };
    let mut sought: HashSet<_> = round.unended().collect();
    assert!(round.look_ahead(&closing(3, 2, 99), 100, &mut sought));
    assert!(round.look_ahead(&closing(4, 3, 99), 100, &mut sought));
    assert_eq!(sought, HashSet::from([exchange(1)]));
    assert!(round.look_ahead(&closing(5, 1, 99), 100, &mut sought));
    assert!(sought.is_empty());
    assert!(!round.look_ahead(&closing(6, 1, 100), 100, &mut sought));
    // What was looked at on the way belongs to the next round, and nothing of it is kept.
    assert_eq!(round.runs(), (vec![(1, 2)], 3));
    assert!(!round.ended.contains(&exchange(3)));
}

#[test]
fn a_record_that_is_too_young_ends_the_round_and_ends_no_exchange() {
    let mut round = Round {
        contents: vec![(1, Some(exchange(1)))],
        ..Round::default()
    };
    assert!(!round.take(&closing(2, 1, 100), 100));
    assert_eq!(round.runs(), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_longer_than_a_round_is_erased_and_one_that_is_open_stays() {
    let folder = tempfile::tempdir().unwrap();
    let clock: crate::clock::SharedClock = Arc::new(SystemClock);
    let options = crate::log::options(&clock);
    let origin = "VN/GOV/G02/server-1/1".parse().unwrap();
    Log::create(folder.path(), &origin, &options).unwrap();
    let log = Log::open(folder.path(), options, &mut |_| ()).unwrap();
    let long = ROUND as u64 + 10;
    // Exchange 2 is open at the end; exchange 3 ends too late.
    let mut records = vec![reply(2, 0, false, 10)];
    records.extend((0..long).map(|sequence| reply(1, sequence, sequence + 1 == long, 20)));
    records.push(reply(3, 0, false, 30));
    records.push(reply(3, 1, true, 100));
    while !records.is_empty() {
        let rest = records.split_off(records.len().min(1024));
        log.append_all(std::mem::replace(&mut records, rest))
            .await
            .unwrap();
    }
    let (log, next) = tokio::task::spawn_blocking(move || {
        let next = erase_older(&log, 0, 100, &Handle::current()).unwrap();
        (log, next)
    })
    .await
    .unwrap();
    // The next pass begins at what may end until then.
    assert_eq!(next, 0);
    let last = long + 2;
    for (index, is_erased) in [
        (0, false),
        (1, true),
        (ROUND as u64, true),
        (long, true),
        (last - 1, false),
        (last, false),
    ] {
        assert_eq!(log.read(index).unwrap().is_erased, is_erased, "{index}");
    }
}
