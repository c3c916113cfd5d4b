//! Every byte of a container counts, as the zip file that it is and in each file inside: changed,
//! cut or followed by others, it is refused, or it stands in a list of what is irrelevant.
//!
//! To change all bits of all bytes takes many minutes, so each run takes its share, from a seed
//! that it prints; `LIENTHONG_EVERY_BYTE=all` takes all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{Cursor, Read, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use trust::configuration::Anchor;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// 2026-12-31 00:00:00 UTC.
const AT: i64 = 1_798_675_200;

/// Of how many bytes one is changed, unless all are: of a zip file where a checksum covers them,
/// and of the files inside.
const STRIDES: [usize; 2] = [8, 80];

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

/// A container on disk that is changed again and again, and the anchor.
struct Case {
    folder: tempfile::TempDir,
    anchor: Anchor,
    valid: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let anchor = fs::read_to_string(vector("exchange.anchor.json")).unwrap();
        let case = Self {
            // In memory where there is such a folder: nothing of it is to survive.
            folder: tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap(),
            anchor: Anchor::from_json(&anchor).unwrap(),
            valid: fs::read(vector("exchange.asice")).unwrap(),
        };
        assert_eq!(case.verify(&case.valid), Ok(()));
        case
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("changed.asice")
    }

    /// What is wrong with a container, in words.
    fn verify(&self, container: &[u8]) -> Result<(), String> {
        fs::write(self.path(), container).unwrap();
        self.verify_file()
    }

    fn verify_file(&self) -> Result<(), String> {
        let report = auditor::verify(&self.path(), &self.anchor, AT);
        let report = report.map_err(|error| error.to_string())?;
        if report.holds() {
            assert_eq!(report.facts.messages, 2, "{report}");
            return Ok(());
        }
        let finding = report.findings().first();
        Err(finding
            .expect("what does not hold is named")
            .problem
            .clone())
    }
}

/// The seed of this run, which a run can be given.
fn seed() -> u64 {
    let given = env::var("LIENTHONG_EVERY_BYTE_SEED").ok();
    let seed = given.map_or_else(
        || RandomState::new().hash_one(0),
        |seed| seed.parse().unwrap(),
    );
    eprintln!("LIENTHONG_EVERY_BYTE_SEED={seed}");
    seed
}

fn takes_all() -> bool {
    env::var("LIENTHONG_EVERY_BYTE").is_ok_and(|all| all == "all")
}

/// Whether it is the turn of a byte.
fn has_turn(at: usize, seed: u64, stride: usize) -> bool {
    takes_all() || at % stride == seed as usize % stride
}

/// One bit of a byte, which looks random, or all of them.
fn changes_of(at: usize, seed: u64) -> Vec<u8> {
    if takes_all() {
        return (0..8).map(|bit| 1 << bit).collect();
    }
    vec![
        1 << (seed
            .wrapping_add(at as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 61),
    ]
}

/// Fields of a zip file in which a bit may change, by the record that they stand in: none of them
/// says where a file is, what it is called or what its bytes are.
const IRRELEVANT_FIELDS: &[(&str, &str)] = &[
    ("directory: disk", "there is one"),
    (
        "directory: external attributes",
        "rights on the disk of whoever unpacks it",
    ),
    (
        "directory: flags",
        "but for those of encryption and of sizes that come later",
    ),
    ("directory: internal attributes", "whether it is text"),
    ("directory: version", "of the standard, needed to unpack it"),
    (
        "directory: version made by",
        "of the standard, known to its maker",
    ),
    ("file: flags", "as in the directory"),
    ("file: version", "as in the directory"),
];

/// What follows the fields of a record.
const BYTES: &str = "name and bytes";

/// Names the field of a zip file that a byte belongs to: its record and its offset there.
fn fields(container: &[u8]) -> BTreeMap<usize, String> {
    let number = |at: usize, length: usize| {
        let bytes = container[at..at + length].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    const FIELDS: [(&str, &[(usize, &str)]); 3] = [
        (
            "file",
            &[
                (4, "signature"),
                (2, "version"),
                (2, "flags"),
                (2, "method"),
                (2, "time"),
                (2, "date"),
                (4, "checksum"),
                (4, "size"),
                (4, "size"),
                (2, "name length"),
                (2, "extra length"),
            ],
        ),
        (
            "directory",
            &[
                (4, "signature"),
                (2, "version made by"),
                (2, "version"),
                (2, "flags"),
                (2, "method"),
                (2, "time"),
                (2, "date"),
                (4, "checksum"),
                (4, "size"),
                (4, "size"),
                (2, "name length"),
                (2, "extra length"),
                (2, "comment length"),
                (2, "disk"),
                (2, "internal attributes"),
                (4, "external attributes"),
                (4, "place"),
            ],
        ),
        (
            "end",
            &[
                (4, "signature"),
                (2, "disk"),
                (2, "disk"),
                (2, "count"),
                (2, "count"),
                (4, "directory size"),
                (4, "directory place"),
                (2, "comment length"),
            ],
        ),
    ];
    let mut named = BTreeMap::new();
    let mut at = 0;
    while at < container.len() {
        let (record, rest) = match &container[at..at + 4] {
            b"PK\x03\x04" => (
                0,
                number(at + 18, 4) + number(at + 26, 2) + number(at + 28, 2),
            ),
            b"PK\x01\x02" => (
                1,
                number(at + 28, 2) + number(at + 30, 2) + number(at + 32, 2),
            ),
            b"PK\x05\x06" => (2, 0),
            other => panic!("{at}: {other:?}"),
        };
        let (record, fields) = FIELDS[record];
        let rest = [(rest, BYTES)];
        for (length, field) in fields.iter().chain(&rest) {
            named.extend((at..at + length).map(|at| (at, format!("{record}: {field}"))));
            at += length;
        }
    }
    named
}

#[test]
fn of_the_zip_file() {
    let (case, seed) = (Case::new(), seed());
    let fields = fields(&case.valid);
    let file = File::options().write(true).open(case.path()).unwrap();
    let mut irrelevant = BTreeSet::new();
    for (at, byte) in case.valid.iter().enumerate() {
        if fields[&at].ends_with(BYTES) && !has_turn(at, seed, STRIDES[0]) {
            continue;
        }
        for change in changes_of(at, seed) {
            file.write_all_at(&[byte ^ change], at as u64).unwrap();
            if case.verify_file().is_ok() {
                irrelevant.insert(fields[&at].as_str());
            }
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    case.verify_file().unwrap();
    assert_eq!(
        irrelevant,
        IRRELEVANT_FIELDS.iter().map(|(field, _)| *field).collect()
    );
}

#[test]
fn of_a_zip_file_that_is_cut_or_goes_on() {
    let case = Case::new();
    let file = File::options().write(true).open(case.path()).unwrap();
    for length in (0..case.valid.len()).rev() {
        file.set_len(length as u64).unwrap();
        assert!(case.verify_file().is_err(), "cut at {length}");
    }
    let tails = (0..=u8::MAX).map(|byte| vec![byte]);
    for tail in tails.chain([vec![0; 512], case.valid.clone()]) {
        let changed = [case.valid.as_slice(), &tail].concat();
        assert!(
            case.verify(&changed).is_err(),
            "followed by {:?}",
            &tail[..1]
        );
    }
}

fn unpack(container: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut zip = ZipArchive::new(Cursor::new(container)).unwrap();
    let mut files = BTreeMap::new();
    for position in 0..zip.len() {
        let mut entry = zip.by_index(position).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.name().unwrap().into_owned(), bytes);
    }
    files
}

fn pack<'a>(files: impl Iterator<Item = (&'a String, &'a [u8])>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut files: Vec<_> = files.collect();
    files.sort_by_key(|(name, _)| *name != "mimetype");
    for (name, bytes) in files {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// With checksums that are right: only what the files say is wrong.
#[test]
fn of_the_files_inside() {
    /// The one file that nothing follows from.
    const TEXT: &str = "VERIFY.txt";
    let (case, seed) = (Case::new(), seed());
    let files = unpack(&case.valid);
    let with = |name: &str, bytes: &[u8]| {
        let files = files.iter().map(|(other, whole)| {
            (
                other,
                if other == name {
                    bytes
                } else {
                    whole.as_slice()
                },
            )
        });
        case.verify(&pack(files))
    };
    for (name, valid) in &files {
        for at in (0..valid.len()).filter(|at| has_turn(*at, seed, STRIDES[1])) {
            for change in changes_of(at, seed) {
                let mut changed = valid.clone();
                changed[at] ^= change;
                // What people read is compared too, and told in a note.
                let outcome = with(name, &changed);
                assert_eq!(
                    outcome.is_ok(),
                    name == TEXT,
                    "byte {at} of {name}, ^ {change}"
                );
            }
            let is_accepted = with(name, &valid[..at]).is_ok();
            assert_eq!(is_accepted, name == TEXT, "{name}, cut at {at}");
        }
        for tail in [&b"\0"[..], b"\n", b" ", valid] {
            let is_accepted = with(name, &[valid.as_slice(), tail].concat()).is_ok();
            assert_eq!(
                is_accepted,
                name == TEXT,
                "{name}, followed by {:?}",
                &tail[..1]
            );
        }
    }
}
