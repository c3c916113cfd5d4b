//! `docs/protocol.md` says what the code does: templates, table of refusals, example, vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use support::vectors;
use trust::{
    Digest, Reason, Refusal,
    header::Direction,
    refusal::{Side, status},
    signature::{batch_manifest, manifest, signed_attributes},
};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md")
}

fn text() -> String {
    fs::read_to_string(path()).unwrap()
}

/// The one line of the page that begins so and has this in it.
fn line(beginning: &str, with: &str) -> String {
    let text = text();
    let mut found = text
        .lines()
        .filter(|line| line.starts_with(beginning) && line.contains(with));
    let line = found.next().expect("there is such a line").to_owned();
    assert_eq!(found.next(), None, "there is one such line");
    line
}

#[test]
fn the_manifest_is_the_template_of_the_page() {
    let template = line(r#"<?xml version="1.0""#, "{N}");
    let (header, content) = (Digest::of(b"header"), Digest::of(b"content"));
    for (direction, sequence, name) in [
        (Direction::Request, 0, "request-0000000000"),
        (Direction::Reply, 12_345_678_901, "reply-12345678901"),
    ] {
        let filled = template
            .replace("{N}", name)
            .replace("{HD}", &BASE64_STANDARD.encode(header.as_bytes()))
            .replace("{CD}", &BASE64_STANDARD.encode(content.as_bytes()));
        assert_eq!(manifest(direction, sequence, &header, &content), filled);
    }
}

#[test]
fn the_manifest_of_a_batch_is_the_template_of_the_page() {
    let root = Digest::of(b"root");
    let digest = Digest::of(root.as_bytes());
    let filled = line(r#"<?xml version="1.0""#, "{R}")
        .replace("{R}", &root.to_string())
        .replace("{RD}", &BASE64_STANDARD.encode(digest.as_bytes()));
    assert_eq!(batch_manifest(&root), filled);
}

#[test]
fn the_signed_attributes_are_the_template_of_the_page() {
    let (message, certificate) = (Digest::of(b"message"), Digest::of(b"certificate"));
    let filled = line("3181a2 ", "{T}")
        .replace("{T}", &hex::encode("270115080000Z"))
        .replace("{MD}", &message.to_string())
        .replace("{CERT}", &certificate.to_string())
        .replace(' ', "");
    let made = signed_attributes(1_800_000_000, &message, &certificate).unwrap();
    assert_eq!(hex::encode(made), filled);
}

#[test]
fn the_example_is_the_first_case_of_the_vectors() {
    let file = vectors::read("message");
    let (text, output) = (text(), &file["cases"][0]["output"]);
    for field in ["header_digest", "content_digest", "message_digest"] {
        let digest = output[field].as_str().unwrap();
        assert!(
            text.contains(digest),
            "{field} {digest} is not in the example"
        );
    }
}

#[test]
fn every_vector_file_is_named_and_every_named_one_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: PathBuf| {
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap())
    };
    let mut present: BTreeSet<String> = files(folder.join("tests/vectors")).collect();
    present.extend(files(folder.join("../proto/tests/vectors")));
    let text = text();
    let named: BTreeSet<String> = text
        .split(['`', '/', ' '])
        .filter(|word| word.ends_with(".json"))
        .filter(|word| !["anchor.json", "records.json", "NAME.json"].contains(word))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, present);
}

#[test]
fn the_table_of_refusals_is_that_of_the_code() {
    const BEGIN: &str = "cargo test -p trust --test protocol_text -->\n";
    const END: &str = "<!-- end of table -->\n";
    let page = text();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let made = table_of_refusals();
    if vectors::writing() {
        fs::write(path(), format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(
            table == made,
            "the table is stale; write it as its first line says"
        );
    }
}

fn table_of_refusals() -> String {
    let mut table = String::from(
        "| reason | gRPC status | at fault, said by the consumer's server | said by the provider's \
         | what to do |\n|---|---|---|---|---|\n",
    );
    let server: trust::ServerId = "VN/GOV/G01/server-1".parse().unwrap();
    for reason in Reason::ALL {
        let fault = |side| {
            let statement = Refusal::new(*reason, "").said_by(side, server.clone());
            statement.fault().name()
        };
        writeln!(
            table,
            "| `{}` | {} | {} | {} | {} |",
            reason.name(),
            status_name(reason.status()),
            fault(Side::Consumer),
            fault(Side::Provider),
            reason.remedy(),
        )
        .unwrap();
    }
    table
}

fn status_name(code: u32) -> &'static str {
    match code {
        status::CANCELLED => "CANCELLED",
        status::INVALID_ARGUMENT => "INVALID_ARGUMENT",
        status::DEADLINE_EXCEEDED => "DEADLINE_EXCEEDED",
        status::NOT_FOUND => "NOT_FOUND",
        status::ALREADY_EXISTS => "ALREADY_EXISTS",
        status::PERMISSION_DENIED => "PERMISSION_DENIED",
        status::RESOURCE_EXHAUSTED => "RESOURCE_EXHAUSTED",
        status::FAILED_PRECONDITION => "FAILED_PRECONDITION",
        status::INTERNAL => "INTERNAL",
        status::UNAVAILABLE => "UNAVAILABLE",
        status::DATA_LOSS => "DATA_LOSS",
        status::UNAUTHENTICATED => "UNAUTHENTICATED",
        other => panic!("no name for status {other}"),
    }
}

#[test]
fn every_reason_named_in_the_text_exists() {
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    for name in [
        "content_mismatch",
        "wrong_server",
        "clock_behind",
        "replayed",
        "broken_chain",
    ] {
        assert!(
            known.contains(name) && text().contains(&format!("`{name}`")),
            "{name}"
        );
    }
    let text = text();
    let rules = text.split("## Refusals").next().unwrap();
    let in_brackets = rules
        .split("(`")
        .skip(1)
        .filter_map(|rest| rest.split_once("`)"));
    let mut found = 0;
    for (name, _) in in_brackets {
        if name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            assert!(known.contains(name), "the page refuses with {name}");
            found += 1;
        }
    }
    assert!(found > 10, "the page names reasons");
}
