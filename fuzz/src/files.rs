//! Evidence containers: the zip file, and what is stated in it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read, Write},
    sync::LazyLock,
};

use auditor::{NotRead, Report};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use trust::configuration::Anchor;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::seeds;

const CONTAINER: &str = "auditor/tests/vectors/exchange.asice";
const STATEMENT: &str = "META-INF/evidence/records.json";
/// 2026-12-31 00:00:00 UTC.
const AT: i64 = 1_798_675_200;

static ANCHOR: LazyLock<Anchor> = LazyLock::new(|| {
    let json = seeds::read("auditor/tests/vectors/exchange.anchor.json");
    Anchor::from_json(&String::from_utf8(json).unwrap()).unwrap()
});

type Files = BTreeMap<String, Vec<u8>>;

/// The files of the container of the vectors.
static FILES: LazyLock<Files> = LazyLock::new(|| {
    let mut zip = ZipArchive::new(Cursor::new(seeds::read(CONTAINER))).unwrap();
    let files = (0..zip.len()).map(|position| {
        let mut entry = zip.by_index(position).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.name().unwrap().into_owned(), bytes)
    });
    files.collect()
});

/// The records that it states.
pub static STATED: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let stated: Value = serde_json::from_slice(&FILES[STATEMENT]).unwrap();
    stated["records"].as_array().unwrap().clone()
});

/// A folder in memory where there is such a thing.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

thread_local! {
    static FOLDER: TempDir = folder();
}

/// Verifies a container.
pub fn verify(container: &[u8]) -> Result<Report, NotRead> {
    FOLDER.with(|folder| {
        let path = folder.path().join("a.asice");
        fs::write(&path, container).unwrap();
        auditor::verify(&path, &ANCHOR, AT)
    })
}

fn pack(files: &Files) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|(name, _)| *name != "mimetype");
    for (name, bytes) in files {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub fn containers() -> Vec<Vec<u8>> {
    let small = ["mimetype", "VERIFY.txt", STATEMENT];
    let small = FILES
        .iter()
        .filter(|(name, _)| small.contains(&name.as_str()));
    let small = small.map(|(name, bytes)| (name.clone(), bytes[..bytes.len().min(60)].to_vec()));
    vec![seeds::read(CONTAINER), pack(&small.collect())]
}

/// What holds has the files of the vector; no other container was ever made under this anchor.
pub fn container(bytes: &[u8]) {
    if verify(bytes).is_ok_and(|report| report.holds()) {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(zip.len(), FILES.len());
        for (name, expected) in &*FILES {
            let mut bytes = Vec::new();
            zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            assert!(name == "VERIFY.txt" || bytes == *expected, "{name}");
        }
    }
}

pub fn statements() -> Vec<Vec<u8>> {
    vec![FILES[STATEMENT].clone()]
}

/// Another statement than the one of the vector proves nothing.
pub fn statement(bytes: &[u8]) {
    let mut files = FILES.clone();
    files.insert(STATEMENT.to_owned(), bytes.to_vec());
    if verify(&pack(&files)).is_ok_and(|report| report.holds()) {
        assert_eq!(bytes, FILES[STATEMENT]);
    }
}

/// A record as a target is given it: kind, index in four bytes, four lengths in two bytes each,
/// header, signature, annex, content.
pub struct Part<'a> {
    pub index: u32,
    kind: u8,
    header: &'a [u8],
    signature: &'a [u8],
    annex: &'a [u8],
    content: &'a [u8],
}

/// The first record, and what follows.
pub fn split_part(bytes: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let (&[kind, a, b, c, d], mut lengths) = bytes.split_first_chunk()?;
    let mut rest = lengths.get(8..)?;
    let mut next = || {
        let (length, following) = lengths.split_first_chunk()?;
        lengths = following;
        let (part, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = behind;
        Some(part)
    };
    let [header, signature, annex, content] = [next()?, next()?, next()?, next()?];
    let index = u32::from_be_bytes([a, b, c, d]);
    let part = Part {
        index,
        kind,
        header,
        signature,
        annex,
        content,
    };
    Some((part, rest))
}

/// A stated record as such a part.
pub fn part_of(stated: &Value) -> impl Iterator<Item = u8> + use<> {
    let decoded = |name: &str| {
        let text = stated[name].as_str();
        text.map(|text| BASE64_STANDARD.decode(text).unwrap())
            .unwrap_or_default()
    };
    let file = |suffix: &str| {
        let name = stated["message"].as_str();
        name.and_then(|name| FILES.get(&format!("{name}.{suffix}")).cloned())
    };
    let parts = [
        file("header").unwrap_or_else(|| decoded("body")),
        decoded("signature"),
        decoded("annex"),
        file("content").unwrap_or_default(),
    ];
    let kind = stated["kind"].as_u64().unwrap() as u8;
    let index = stated["index"].as_u64().unwrap() as u32;
    let lengths = parts
        .iter()
        .flat_map(|part| (part.len() as u16).to_be_bytes());
    let head = [kind]
        .into_iter()
        .chain(index.to_be_bytes())
        .chain(lengths)
        .collect::<Vec<_>>();
    head.into_iter().chain(parts.concat())
}

/// A container of these records, with the proofs that the vector has for their places.
pub fn packed(records: &BTreeMap<u32, Part<'_>>) -> Vec<u8> {
    let mut files = FILES.clone();
    let mut stated: Value = serde_json::from_slice(&FILES[STATEMENT]).unwrap();
    let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let of_vector = |index: u32| STATED.iter().find(|stated| stated["index"] == index);
    let records = records.values().map(|part| {
        let known = of_vector(part.index);
        let proof = known.map_or(json!([]), |stated| stated["proof"].clone());
        let mut record = json!({
            "index": part.index, "kind": part.kind, "annex": encode(part.annex), "leaf": "",
            "proof": proof,
        });
        if part.kind == 1 {
            let name = known.and_then(|stated| stated["message"].as_str());
            let name = name.map_or_else(|| format!("message-{}", part.index), ToOwned::to_owned);
            files.insert(format!("{name}.header"), part.header.to_vec());
            files.insert(format!("{name}.content"), part.content.to_vec());
            record["signature"] = encode(part.signature).into();
            record["message"] = name.into();
        } else {
            record["body"] = encode(part.header).into();
        }
        record
    });
    stated["records"] = records.collect();
    files.insert(STATEMENT.to_owned(), stated.to_string().into());
    pack(&files)
}
