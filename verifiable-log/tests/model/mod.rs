//! What a log must keep, compared with the log in every way it can be read.
#![allow(dead_code)]

use std::{path::Path, sync::Arc};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use prost::Message;
use trust::{
    checkpoint::{Origin, SignedCheckpoint},
    wire::evidence::{Erased, RecordKind, Torn},
};
use verifiable_log::{
    AppendError, Error, Log, Options, Reader, Reading, Receipt, Record, leaf_of_local_record,
};

use super::faults::Faulty;

pub const KIND: u8 = 4;
/// Numbers from this on say how long the content is.
const LARGE: u64 = 1_000_000;
pub const TORN: u8 = RecordKind::Torn as u8;

pub fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

pub fn options() -> Options {
    let mut options = Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"t")));
    options.segment_size = 6 * 1024;
    options.reserve_size = 12 * 1024;
    options
}

pub fn record(number: u64) -> Record {
    let header = Bytes::from(number.to_be_bytes().to_vec());
    let mut record = Record::local(KIND, header, Bytes::from(vec![2; 30]));
    let length = number.checked_sub(LARGE).unwrap_or(number * 97 % 1300);
    record.content = vec![Bytes::from(vec![number as u8 | 1; length as usize])];
    record
}

/// A folder for views, in memory where there is such a file system: tests make thousands.
pub fn views() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub fn new_log() -> Faulty {
    let storage = Faulty::default();
    let origin: Origin = "VN/GOV/G01/server-1/1".parse().unwrap();
    Log::create_in(&storage.storage(), &origin, &options()).unwrap();
    storage
}

pub fn open(storage: &Faulty, views: &Path) -> Result<Log, Error> {
    Log::open_in(storage.storage(), views, options(), &mut |_| ())
}

/// Everything that a log must keep, and what it may have kept besides.
#[derive(Clone, Default)]
pub struct Model {
    pub acknowledged: Vec<(u64, u64)>,
    pub in_flight: Vec<u64>,
    pub next: u64,
    pub checkpoints: Vec<SignedCheckpoint>,
    /// Indices of records whose content may have been destroyed, and whether it was.
    pub erased: Option<(std::ops::RangeInclusive<u64>, bool)>,
}

impl Model {
    pub fn numbers(&mut self, count: u64) -> Vec<u64> {
        let numbers = (self.next..self.next + count).collect();
        self.next += count;
        numbers
    }

    pub async fn append(&mut self, log: &Log, count: u64) -> Result<(), AppendError> {
        let numbers = self.numbers(count);
        let records = numbers.iter().map(|number| record(*number)).collect();
        self.note(numbers, log.append_all(records).await)
    }

    /// Appends a record with a content of this length, which only one has.
    pub async fn append_large(&mut self, log: &Log, length: u64) -> Result<(), AppendError> {
        let number = LARGE + length;
        let receipt = log.append(record(number)).await;
        self.note(vec![number], receipt.map(|receipt| vec![receipt]))
    }

    /// Appends a record that ends something.
    pub async fn append_reserved(&mut self, log: &Log) -> Result<(), AppendError> {
        let numbers = self.numbers(1);
        let receipt = log.append_reserved(record(numbers[0])).await;
        self.note(numbers, receipt.map(|receipt| vec![receipt]))
    }

    fn note(
        &mut self,
        numbers: Vec<u64>,
        outcome: Result<Vec<Receipt>, AppendError>,
    ) -> Result<(), AppendError> {
        match outcome {
            Ok(receipts) => {
                let indices = receipts.iter().map(Receipt::index);
                self.acknowledged.extend(indices.zip(numbers));
                Ok(())
            }
            // Nothing was written.
            Err(AppendError::DiskFull) => Err(AppendError::DiskFull),
            Err(error) => {
                self.in_flight.extend(numbers);
                Err(error)
            }
        }
    }

    /// Compares the log with what was acknowledged, in every way it can be read.
    pub fn check(&mut self, storage: &Faulty, log: &Log) {
        for (index, number) in &self.acknowledged {
            let raw = log.read(*index).unwrap();
            assert_eq!(raw.kept, record(*number).kept);
            let content = record(*number).content.concat();
            assert_eq!(raw.content_length, content.len() as u64);
            match &self.erased {
                Some((range, _)) if range.contains(index) && raw.is_erased => {
                    assert!(!content.is_empty() && raw.content.iter().all(|byte| *byte == 0));
                }
                Some((range, true)) if range.contains(index) => assert!(content.is_empty()),
                _ => assert!(!raw.is_erased && raw.content == content),
            }
        }
        let mut found = Vec::new();
        let mut torn_records = Vec::new();
        for read in log.scan(0).unwrap() {
            let raw = read.unwrap().record;
            if raw.kept.kind == RecordKind::Erased as u8 {
                // Finished when the log was opened: it is destroyed for good.
                let (range, destroyed) = self.erased.as_mut().unwrap();
                let erased = Erased::decode(raw.kept.header).unwrap();
                assert_eq!(*range, erased.first_index..=erased.last_index);
                *destroyed = true;
            } else if raw.kept.kind == TORN {
                torn_records.push(Torn::decode(raw.kept.header).unwrap());
            } else {
                let number = u64::from_be_bytes(raw.kept.header[..].try_into().unwrap());
                found.push((raw.index, number));
            }
        }
        // Nothing in between, and of what was never acknowledged only a beginning.
        let known = self.acknowledged.len();
        assert_eq!(found[..known], self.acknowledged);
        let more: Vec<_> = found[known..].iter().map(|(_, number)| *number).collect();
        assert!(self.in_flight.starts_with(&more), "{more:?}");
        self.in_flight.clear();
        self.acknowledged = found;

        for signed in &self.checkpoints {
            let signed = signed.unverified();
            assert_eq!(log.root_at(signed.size).unwrap(), signed.root);
        }
        let mut reader = Reader::open_in(storage.storage(), leaf_of_local_record).unwrap();
        assert_eq!(
            reader.by_ref().map(Result::unwrap).count() as u64,
            log.size()
        );
        let Reading::End(end) = reader.read().unwrap() else {
            panic!("there is no end");
        };
        assert_eq!(end.unfinished, None);
        assert_eq!(end.root, log.root_at(log.size()).unwrap());

        // Each torn file is stated once, and nothing else is.
        let mut files: Vec<_> = reader.torn_files().unwrap();
        files.sort_by_key(|file| file.digest);
        torn_records.sort_by(|a, b| a.digest.cmp(&b.digest));
        let stated = files.iter().map(|file| Torn {
            segment: format!("{:020}", file.segment),
            offset: file.offset,
            length: file.length,
            digest: file.digest.to_bytes(),
        });
        assert_eq!(stated.collect::<Vec<_>>(), torn_records);
        assert!(!storage.names().iter().any(|name| name.ends_with(".new")));
    }
}
