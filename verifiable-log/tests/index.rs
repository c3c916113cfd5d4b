//! The index beside a log: finds what the log holds, follows it, and is made again when it is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use trust::checkpoint::Origin;
use verifiable_log::{
    Error, Index, Indexing, KeptPart, Log, Options, Record, ViewKey, leaf_of_local_record,
};

const KIND: u8 = 4;

const INDEXING: Indexing = Indexing {
    leaf_of: leaf_of_local_record,
    keys_of,
    keys_version: 1,
};

/// View 1 has the whole header, view 2 its first byte.
fn keys_of(kept: &KeptPart) -> Vec<ViewKey> {
    let key = |view, key: &[u8]| ViewKey {
        view,
        key: key.to_vec(),
    };
    vec![key(1, &kept.header), key(2, &kept.header[..1])]
}

fn record(number: u64) -> Record {
    let header = Bytes::from(format!("{}{number:05}", number % 3));
    let mut record = Record::local(KIND, header, Bytes::from(vec![1; 40]));
    record.content = vec![Bytes::from(vec![number as u8; (number % 300) as usize])];
    record
}

/// A log of a few small segments, and a place for its index.
struct Place {
    folder: tempfile::TempDir,
    name: &'static str,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self {
            folder,
            name: "log",
        };
        place.make_log();
        place
    }

    fn options() -> Options {
        let mut options =
            Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"a")));
        options.segment_size = 8 * 1024;
        options.reserve_size = 16 * 1024;
        options
    }

    fn make_log(&self) {
        let origin: Origin = "VN/GOV/G01/server-1/1".parse().unwrap();
        Log::create(&self.log(), &origin, &Self::options()).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// The database sits in here; nothing else may be touched.
    fn index_folder(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    fn open_log(&self) -> Log {
        Log::open(&self.log(), Self::options(), &mut |_| ()).unwrap()
    }

    fn index(&self) -> Index {
        Index::open(&self.index_folder(), &self.log(), INDEXING, &mut |_| ()).unwrap()
    }
}

async fn fill(log: &Log, count: u64) {
    let from = log.size();
    for number in from..from + count {
        log.append(record(number)).await.unwrap();
    }
}

fn found(index: &Index, view: u8, key: &[u8]) -> Vec<u64> {
    let records: Vec<_> = index.find(view, key).map(Result::unwrap).collect();
    for raw in &records {
        let made = record(raw.index);
        assert_eq!(raw.kept, made.kept);
        assert_eq!(raw.content, made.content.concat());
    }
    records.iter().map(|raw| raw.index).collect()
}

fn finds_fifty(index: &Index) {
    assert_eq!(index.size(), 50);
    assert_eq!(found(index, 1, b"100007"), [7]);
    assert_eq!(found(index, 2, b"1").len(), 17);
    assert!(found(index, 2, b"7").is_empty());
    let range = index.find_range(1, b"200005", b"200009");
    let range: Vec<_> = range.map(|raw| raw.unwrap().index).collect();
    assert_eq!(range, [5, 8]);
}

#[tokio::test]
async fn records_are_found_by_their_keys_also_after_the_index_is_deleted() {
    let place = Place::new();
    let log = place.open_log();
    fill(&log, 50).await;
    finds_fifty(&place.index());
    fs::remove_dir_all(place.index_folder()).unwrap();
    finds_fifty(&place.index());
}

#[tokio::test]
async fn an_index_follows_a_log_that_is_being_written() {
    let place = Place::new();
    let log = place.open_log();
    assert_eq!(place.index().size(), 0);
    for part in 1..=5 {
        fill(&log, 10).await;
        let index = place.index();
        assert_eq!(index.size(), part * 10);
        assert_eq!(found(&index, 2, b"0").len() as u64, (part * 10).div_ceil(3));
    }
    finds_fifty(&place.index());
}

#[tokio::test]
async fn an_index_of_other_keys_or_another_log_is_made_again() {
    let mut place = Place::new();
    fill(&place.open_log(), 50).await;
    finds_fifty(&place.index());

    let all = |_: &KeptPart| {
        let key = b"all".to_vec();
        vec![ViewKey { view: 9, key }]
    };
    let other = Indexing {
        keys_of: all,
        keys_version: 2,
        ..INDEXING
    };
    let index = Index::open(&place.index_folder(), &place.log(), other, &mut |_| ()).unwrap();
    assert_eq!(found(&index, 9, b"all").len(), 50);
    assert!(found(&index, 2, b"1").is_empty());
    drop(index);

    place.name = "another";
    place.make_log();
    let log = place.open_log();
    let mut different = record(0);
    different.kept.annex = Bytes::from_static(b"of another time");
    log.append(different).await.unwrap();
    let index = place.index();
    assert_eq!(index.size(), 1);
    assert!(found(&index, 2, b"1").is_empty());
}

#[tokio::test]
async fn a_damaged_index_is_made_again_and_nothing_beside_it_is_touched() {
    let place = Place::new();
    fill(&place.open_log(), 50).await;
    finds_fifty(&place.index());
    fs::write(place.index_folder().join("of somebody else"), "kept").unwrap();
    let database = place.index_folder().join("lienthong-index/keys");
    fs::write(database.join("conf"), b"\xff\xff\xff\xff").unwrap();
    finds_fifty(&place.index());
    let kept = fs::read_to_string(place.index_folder().join("of somebody else"));
    assert_eq!(kept.unwrap(), "kept");
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_never_opened_or_removed() {
    let place = Place::new();
    fill(&place.open_log(), 50).await;
    // What others have there by other names is not looked at.
    let theirs = place.index_folder().join("keys");
    fs::create_dir_all(&theirs).unwrap();
    fs::write(theirs.join("private.pem"), "kept").unwrap();
    finds_fifty(&place.index());
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 1);

    // And what has our name only if we made it.
    let ours = place.index_folder().join("lienthong-index");
    fs::remove_dir_all(&ours).unwrap();
    fs::create_dir(&ours).unwrap();
    finds_fifty(&place.index());
    fs::remove_file(ours.join("made-by-lienthong")).unwrap();
    fs::write(ours.join("thesis"), "kept").unwrap();
    let before = fs::read_dir(&ours).unwrap().count();
    let refused = Index::open(&place.index_folder(), &place.log(), INDEXING, &mut |_| ());
    let refused = refused.err().unwrap();
    assert!(matches!(refused, Error::ForeignIndex(_)), "{refused}");
    assert!(refused.to_string().contains("not made as an index"));
    assert_eq!(fs::read_dir(&ours).unwrap().count(), before);
    assert_eq!(fs::read_to_string(ours.join("thesis")).unwrap(), "kept");
}

#[tokio::test]
async fn what_the_log_no_longer_holds_is_damage() {
    let place = Place::new();
    fill(&place.open_log(), 50).await;
    let index = place.index();
    let first = first_segment(&place.log());
    let mut bytes = fs::read(&first).unwrap();
    let header = bytes.windows(6).position(|part| part == b"100007").unwrap();
    bytes[header] ^= 1;
    fs::write(&first, bytes).unwrap();
    let refused = index.find(1, b"100007").next().unwrap().unwrap_err();
    assert!(matches!(refused, Error::Damaged(_)), "{refused}");
}

#[tokio::test]
async fn one_process_at_a_time_has_an_index_open() {
    let place = Place::new();
    let _first = place.index();
    let second = Index::open(&place.index_folder(), &place.log(), INDEXING, &mut |_| ());
    assert!(matches!(second, Err(Error::Locked)));
}

fn first_segment(log: &Path) -> PathBuf {
    log.join("segments").join(format!("{:020}.segment", 0))
}
