//! OpenSSL, as the outside party, accepts the committed vectors as CAdES signatures.
//!
//! The detached signature is put together from what a log keeps: the manifest and the signed
//! attributes made anew from header and content, the signature value, the certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use bytes::Bytes;
use certs::{Certificate, cades::detached_signature};
use serde_json::Value;
use tempfile::TempDir;
use trust::{
    Digest,
    header::Header,
    signature::{manifest, signed_attributes},
};

fn vectors(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trust/tests/vectors");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The files of one message in a folder, as a container would hold them.
struct Container {
    folder: TempDir,
    signed_at: i64,
    not_after: i64,
}

impl Container {
    fn of(case: &Value, keys: &Value) -> Self {
        let header_bytes = bytes(&case["output"]["header"]);
        let content = bytes(&case["output"]["content"]);
        let header = Header::parse(&Bytes::from(header_bytes.clone())).unwrap();
        let manifest = manifest(
            header.direction,
            header.sequence,
            &Digest::of(&header_bytes),
            &Digest::of(&content),
        );
        let signer = &keys["signers"][case["input"]["signer"].as_str().unwrap()];
        let certificate = bytes(&signer["certificate"]);
        let attributes = signed_attributes(
            header.created_at,
            &Digest::of(manifest.as_bytes()),
            &Digest::of(&certificate),
        )
        .unwrap();
        let signature = bytes(&case["input"]["signature"]);
        let chain = [Certificate::parse(&certificate).unwrap()];
        let cms = detached_signature(&chain, &attributes, &signature).unwrap();

        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("manifest.xml"), manifest).unwrap();
        fs::write(path("signature.p7s"), cms).unwrap();
        let authority = bytes(&keys["authority"]);
        certs::file::write_certificates(&path("ca.pem"), &[&authority]).unwrap();
        Self {
            folder,
            signed_at: header.created_at,
            not_after: signer["not_after"].as_i64().unwrap(),
        }
    }

    fn verified_at(&self, time: i64) -> Output {
        let arguments = format!(
            "cms -verify -cades -binary -inform DER -in signature.p7s -content manifest.xml \
             -CAfile ca.pem -attime {time} -out verified"
        );
        Command::new("openssl")
            .current_dir(self.folder.path())
            .args(arguments.split_whitespace())
            .output()
            .unwrap()
    }

    fn change(&self, name: &str, from: &[u8], to: &[u8]) {
        let path = self.folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        let place = bytes
            .windows(from.len())
            .position(|window| window == from)
            .unwrap();
        let changed = [&bytes[..place], to, &bytes[place + from.len()..]].concat();
        fs::write(path, changed).unwrap();
    }
}

fn accepted(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success() && said.contains("CAdES Verification successful")
}

/// The messages of the vectors that are valid: single ones, and a whole exchange.
fn cases() -> Vec<Value> {
    ["message.json", "exchange.json"]
        .iter()
        .flat_map(|name| vectors(name)["cases"].as_array().unwrap().clone())
        .filter(|case| case["output"]["verification"]["verified"] == true)
        .collect()
}

#[test]
fn openssl_accepts_every_signature_of_the_vectors() {
    let keys = vectors("keys.json");
    let cases = cases();
    assert!(
        cases
            .iter()
            .any(|case| case["input"]["signer"] == "VN/GOV/G03"),
        "RSA is among them"
    );
    assert!(cases.len() >= 8, "{}", cases.len());
    for case in cases {
        let container = Container::of(&case, &keys);
        // RFC 5280 counts the last second of a certificate in, OpenSSL does not.
        let output = container.verified_at(container.signed_at.min(container.not_after - 1));
        assert!(accepted(&output), "{}: {output:?}", case["description"]);
    }
}

#[test]
fn openssl_refuses_a_changed_manifest_signature_or_certificate_out_of_date() {
    let keys = vectors("keys.json");
    let case = &cases()[0];
    let untouched = Container::of(case, &keys);
    assert!(accepted(&untouched.verified_at(untouched.signed_at)));
    let years_later = untouched.signed_at + 3 * 366 * 86_400;
    assert!(
        !accepted(&untouched.verified_at(years_later)),
        "the certificate has expired"
    );

    let manifest = Container::of(case, &keys);
    manifest.change(
        "manifest.xml",
        b"request-0000000000.header",
        b"request-0000000001.header",
    );
    assert!(
        !accepted(&manifest.verified_at(manifest.signed_at)),
        "a changed manifest"
    );

    let time = Container::of(case, &keys);
    time.change("signature.p7s", b"270115080000Z", b"270115080001Z");
    assert!(
        !accepted(&time.verified_at(time.signed_at)),
        "a changed signing time"
    );
}
