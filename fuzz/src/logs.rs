//! Logs: checkpoints, tiles, bundles, answers of other servers, segments on disk, whole audits.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use trust::{
    Digest,
    checkpoint::{Checkpoint, LogKey, Origin, SignedCheckpoint},
    leaf::LeafPreimage,
    merkle::{self, Tree},
    peer_log::{KEPT, PeerLog},
    tile::{BundledRecord, Tile, TiledTree},
    wire::evidence::PeerCheckpoint,
};
use verifiable_log::{InvalidRecord, KeptPart, Log, Options, Reader, Reading};

use crate::{files, seeds};

const CHECKPOINTS: &str = "trust/tests/vectors/checkpoint.json";

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

pub fn checkpoints() -> Vec<Vec<u8>> {
    seeds::of(CHECKPOINTS, &["note"])
}

/// What is read is written in one way, and verifies only with a signature of its log.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(read) = SignedCheckpoint::parse(bytes) else {
        return;
    };
    let lines = read.signatures().iter().map(ToString::to_string);
    let text = String::from_utf8(read.text().to_vec()).unwrap();
    assert_eq!(
        text + "\n" + &lines.collect::<String>(),
        String::from_utf8_lossy(bytes)
    );
    let claimed = read.unverified().clone();
    let signed = claimed.clone().sign(&key());
    assert_eq!(signed.text(), read.text());
    let public = LogKey::of(&key()).unwrap();
    assert_eq!(signed.verify(&claimed.origin, &public), Ok(&claimed));
    if read.verify(&claimed.origin, &public).is_ok() {
        assert!(read.signatures().contains(&signed.signatures()[0]));
    }
}

pub fn bundles() -> Vec<Vec<u8>> {
    seeds::of("trust/tests/vectors/tile.json", &["bundle"])
}

/// What is read is written to the same bytes.
pub fn bundle(bytes: &[u8]) {
    if let Some(records) = BundledRecord::decode_all(&Bytes::copy_from_slice(bytes)) {
        let mut again = Vec::new();
        assert!(records.iter().all(|record| record.encode(&mut again)));
        assert_eq!(again, bytes);
    }
}

pub fn tiles() -> Vec<Vec<u8>> {
    let sizes = [1, 2, 7, 256, 300].map(u64::to_be_bytes);
    sizes
        .map(|size| [&size[..], &[0, 1, 7], &[5; 64]].concat())
        .to_vec()
}

/// A tree of any size, of which tiles were given: proofs made from it are those of the whole tree,
/// or a tile is missing.
pub fn tile(bytes: &[u8]) {
    let Some((size, [level, index, rest @ ..])) = bytes.split_first_chunk() else {
        return;
    };
    let (size, index) = (u64::from_be_bytes(*size), u64::from(*index));
    let mut tree = TiledTree::new(size);
    if let Some(tile) = Tile::of_size(*level, index, size) {
        let given = usize::from(tile.width()) * 32;
        let hashes: Vec<u8> = rest.iter().copied().cycle().take(given).collect();
        assert_eq!(tree.insert(tile, &hashes), hashes.len() == given);
        assert!(!tree.insert(tile, &[&hashes[..], &[0]].concat()));
    }
    let root = merkle::root(&tree, size);
    if let (Ok(root), Ok(proof)) = (root, merkle::inclusion_proof(&tree, index, size)) {
        let leaf = merkle::Hashes::subtree(&tree, 0, index).unwrap();
        merkle::verify_inclusion(&leaf, index, size, &proof, &root).unwrap();
    }
    if let (Ok(root), Ok(proof)) = (root, merkle::consistency_proof(&tree, index, size))
        && let Ok(old) = merkle::root(&tree, index)
    {
        merkle::verify_consistency(index, &old, size, &root, &proof).unwrap();
    }
    assert!(Tile::added(size, size).next().is_none());
}

static LOG: LazyLock<(Vec<Digest>, Tree)> = LazyLock::new(|| {
    let leaves: Vec<Digest> = (0..11).map(|leaf| Digest::of(&[leaf])).collect();
    (leaves.clone(), Tree::new(leaves))
});

fn origin() -> Origin {
    "VN/GOV/G02/server-1/1".parse().unwrap()
}

pub fn answers() -> Vec<Vec<u8>> {
    let (leaves, tree) = &*LOG;
    let bytes = |hashes: Vec<Digest>| hashes.into_iter().map(Digest::to_bytes).collect();
    let answer = |old: u64, promised: Vec<u64>| PeerCheckpoint {
        checkpoint: checkpoint_of(tree.size(), tree.root()).as_bytes().clone(),
        consistency: bytes(merkle::consistency_proof(tree, old, tree.size()).unwrap()),
        leaves: bytes(promised.iter().map(|at| leaves[*at as usize]).collect()),
        inclusion: bytes(merkle::joint_proof(tree, &promised, tree.size()).unwrap()),
        promised,
        ..PeerCheckpoint::default()
    };
    let answers = [
        answer(0, vec![]),
        answer(5, vec![1, 7, 10]),
        answer(5, vec![0, 1, 2, 3]),
    ];
    answers.map(|answer| answer.encode_to_vec()).to_vec()
}

fn checkpoint_of(size: u64, root: Digest) -> SignedCheckpoint {
    let origin = origin();
    Checkpoint { origin, size, root }.sign(&key())
}

/// Only leaves of the log are kept promises, whatever the proof; its own key has signed whatever
/// size and root are given.
pub fn answer(bytes: &[u8]) {
    let Ok(mut answer) = PeerCheckpoint::decode(bytes) else {
        return;
    };
    let (leaves, tree) = &*LOG;
    let mut log = PeerLog::default();
    let first = PeerCheckpoint {
        checkpoint: checkpoint_of(5, merkle::root(tree, 5).unwrap())
            .as_bytes()
            .clone(),
        ..PeerCheckpoint::default()
    };
    let public = LogKey::of(&key()).unwrap();
    log.take(&log.judge(&first, &origin(), Some(&public)));
    for (at, leaf) in leaves.iter().enumerate() {
        log.promised(at as u64, *leaf);
    }
    if let Ok(note) = SignedCheckpoint::parse(&answer.checkpoint) {
        let claimed = note.unverified();
        answer.checkpoint = checkpoint_of(claimed.size, claimed.root).as_bytes().clone();
    }
    let judgement = log.judge(&answer, &origin(), Some(&public));
    if judgement.verdict() == KEPT {
        let newest = judgement.newest.as_ref().unwrap();
        assert!(newest.size >= 5 && judgement.broken.is_empty());
        if newest.size == 5 {
            assert_eq!(newest.root, merkle::root(tree, 5).unwrap());
        }
    }
    let before = log.unproven();
    log.take(&judgement);
    assert_eq!(
        log.unproven(),
        before - judgement.kept.len() - judgement.broken.len()
    );
}

const SEGMENTS: &str = "verifiable-log/tests/vectors/segments.json";

static IDENTITY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let vector: Value = serde_json::from_slice(&seeds::read(SEGMENTS)).unwrap();
    hex::decode(vector["identity"].as_str().unwrap()).unwrap()
});

pub fn segments() -> Vec<Vec<u8>> {
    let vector: Value = serde_json::from_slice(&seeds::read(SEGMENTS)).unwrap();
    let segments = vector["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| {
            let lines = segment["lines"].as_array().unwrap().iter();
            let mut bytes: Vec<u8> = lines
                .flat_map(|line| hex::decode(line.as_str().unwrap()).unwrap())
                .collect();
            bytes.resize(2048, 0);
            bytes
        });
    let mut segments: Vec<_> = segments.collect();
    // The first segment with a batch of the second behind its own.
    let both = [&segments[0][..1536], &segments[1][512..1536], &[0; 512]].concat();
    segments.push(both);
    segments
}

fn leaf_of(kept: &KeptPart) -> Result<LeafPreimage, InvalidRecord> {
    Ok(LeafPreimage {
        kind: kept.kind,
        message_digest: Digest::of(&kept.header),
        signature_digest: Digest::of(&kept.signature),
        annex_digest: Digest::of(&kept.annex),
    })
}

thread_local! {
    static FOLDER: TempDir = files::folder();
}

/// A segment is read to its end or to the first damage, as it is and with checksums and chain put
/// right; what the writer then opens holds the records that were read, and its own.
pub fn segment(bytes: &[u8]) {
    if bytes.len() > 16 * 1024 {
        return;
    }
    FOLDER.with(|folder| {
        for bytes in [bytes.to_vec(), put_right(bytes)] {
            read_and_open(folder.path(), &bytes);
        }
    });
}

fn read_and_open(folder: &Path, segment: &[u8]) {
    let log = folder.join("log");
    let _ = fs::remove_dir_all(&log);
    fs::create_dir_all(log.join("segments")).unwrap();
    fs::write(log.join("identity"), &*IDENTITY).unwrap();
    fs::write(log.join("segments/00000000000000000000.segment"), segment).unwrap();
    let Some((read, root, is_whole)) = read(&log) else {
        return;
    };
    assert!(read * 32 <= segment.len() as u64, "a record has a header");
    let mut options = Options::new(leaf_of, Arc::new(|_| Bytes::from_static(b"annex")));
    (options.segment_size, options.reserve_size) = (4096, 4096);
    let opened = Log::open(&log, options, &mut |_| ()).expect("what is not damaged opens");
    assert_eq!(opened.root_at(read).unwrap(), root);
    assert_eq!(
        opened.size(),
        read + u64::from(!is_whole),
        "what was torn is one record"
    );
    drop(opened);
    let (again, _, is_whole) = read_again(&log);
    assert!(is_whole && again >= read);
}

fn read_again(log: &Path) -> (u64, Digest, bool) {
    read(log).expect("what the writer leaves is whole")
}

/// How many records there are before the end, their root, and whether the end is whole.
fn read(log: &Path) -> Option<(u64, Digest, bool)> {
    let mut reader = Reader::open(log, leaf_of).ok()?;
    let mut leaves = Vec::new();
    loop {
        match reader.read().ok()? {
            Reading::Record(record) => leaves.push(record.leaf.leaf()),
            Reading::End(end) => {
                assert_eq!(end.size, leaves.len() as u64);
                assert_eq!(end.root, Tree::new(leaves).root());
                return Some((end.size, end.root, end.unfinished.is_none()));
            }
        }
    }
}

/// Puts right what a search cannot guess: lengths, checksums, and the chain of batches.
fn put_right(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512).max(1024), 0);
    let length = bytes.len() as u64;
    let mut chain = (0_u64, Digest::of(&IDENTITY));
    put(&mut bytes, 0, b"LTSEGMNT\x01\0\0\0\0\0\0\0");
    let id: [u8; 16] = bytes[16..32].try_into().unwrap();
    put(&mut bytes, 32, &0_u64.to_le_bytes());
    put(&mut bytes, 40, &length.to_le_bytes());
    put(&mut bytes, 48, &[0; 16]);
    put(&mut bytes, 64, &chain.0.to_le_bytes());
    put(&mut bytes, 72, chain.1.as_bytes());
    put_checksum(&mut bytes, 0..104, 104);
    bytes[108..512].fill(0);
    let (mut at, mut count) = (512, 0_u64);
    while at + 512 <= bytes.len() && bytes[at..].starts_with(b"LTBATCH\n") {
        put(&mut bytes, at + 8, &id);
        put(&mut bytes, at + 24, &count.to_le_bytes());
        put(&mut bytes, at + 32, &chain.0.to_le_bytes());
        put(&mut bytes, at + 40, chain.1.as_bytes());
        put(&mut bytes, at + 72, &[0; 4]);
        put_checksum(&mut bytes, at..at + 76, at + 76);
        let mut hashed = bytes[at..at + 80].to_vec();
        at += 80;
        while let Some(frame) = put_frame_right(&mut bytes, at) {
            hashed.extend_from_slice(&bytes[at..at + frame.0]);
            (at, count) = (at + frame.1, count + 1);
        }
        chain = (at as u64, Digest::of(&hashed));
        at = at.next_multiple_of(512);
    }
    bytes
}

/// Puts the checksums of a frame right; says how long it is without and with its content.
fn put_frame_right(bytes: &mut [u8], at: usize) -> Option<(usize, usize)> {
    if !bytes.get(at..at + 32)?.starts_with(b"LTRC") {
        return None;
    }
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let kept = 32
        + [8, 12, 16]
            .map(|field| number(at + field))
            .iter()
            .sum::<usize>();
    let whole = kept + number(at + 20);
    let content = crc32c::crc32c(bytes.get(at..at + whole)?.get(kept..)?);
    put(bytes, at + 5, &[0; 3]);
    put(bytes, at + 24, &content.to_le_bytes());
    let checked = [&bytes[at..at + 28], &bytes[at + 32..at + kept]].concat();
    put(bytes, at + 28, &crc32c::crc32c(&checked).to_le_bytes());
    Some((kept, whole))
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    bytes[at..at + part.len()].copy_from_slice(part);
}

fn put_checksum(bytes: &mut [u8], checked: std::ops::Range<usize>, at: usize) {
    let checksum = crc32c::crc32c(&bytes[checked]);
    put(bytes, at, &checksum.to_le_bytes());
}

pub fn audits() -> Vec<Vec<u8>> {
    let all: Vec<u8> = files::STATED.iter().flat_map(files::part_of).collect();
    let alone = files::STATED
        .iter()
        .map(|record| files::part_of(record).collect());
    [all].into_iter().chain(alone).collect()
}

/// Records of a container in another form than the one that it has: they are all looked at, and
/// prove nothing.
pub fn audit(bytes: &[u8]) {
    let mut records = BTreeMap::new();
    let mut rest = bytes;
    while let Some((part, behind)) = files::split_part(rest) {
        records.insert(part.index, part);
        rest = behind;
    }
    if let Ok(report) = files::verify(&files::packed(&records)) {
        assert!(!report.holds());
        assert_ne!(report.to_string(), "");
    }
}
