//! Certificates between a signer's and an approved authority's: some of one name, some in a circle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::{fs, path::Path, process::Command};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use certs::{TestAuthority, Validity};
use fixture::{Federation, NOW, federation::identity, story::Story};
use trust::ExchangeId;

/// As long as the name of the approved authority.
const BETWEEN: &str = "Between others";
const VALIDITY: Validity = Validity {
    not_before: NOW - 86_400,
    not_after: NOW + 10 * 365 * 86_400,
};

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The certificate of one authority as another one issues it, for authorities below it too. Both
/// names are of one length, so nothing in the certificate moves.
fn cross_signed(folder: &Path, subject: &TestAuthority, issuer: &TestAuthority) -> Vec<u8> {
    let common_name = |of: &TestAuthority| {
        let subject = of.certificate().subject();
        subject.split_once('=').unwrap().1.to_owned()
    };
    let (own, other) = (common_name(subject), common_name(issuer));
    assert_eq!(own.len(), other.len());
    let (_, certificate) = element(subject.certificate().der());
    let (length, _) = element(certificate);
    let (signed, rest) = certificate.split_at(length);
    let mut signed = signed.to_vec();
    // The issuer stands before the subject.
    let at = signed
        .windows(own.len())
        .position(|part| part == own.as_bytes())
        .unwrap();
    signed[at..at + other.len()].copy_from_slice(other.as_bytes());
    let (at, key_id) = (authority_key(&signed), issuer.certificate().der());
    signed[at..at + 20].copy_from_slice(&key_id[authority_key(key_id)..][..20]);
    // basicConstraints: an authority, with so many below it.
    let constraints = [0x30, 6, 1, 1, 0xff, 2, 1, 0];
    let at = signed.windows(8).position(|part| part == constraints);
    signed[at.unwrap() + 7] = 4;
    let (length, _) = element(rest);
    let algorithm = &rest[..length];

    let keys = folder.join(format!("{own} by {other}"));
    if !keys.exists() {
        issuer.write(&keys).unwrap();
    }
    let key = fs::read_to_string(keys.join("ca.key")).unwrap();
    let key: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let key = STANDARD.decode(key).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).unwrap();
    let value = pair.sign(&SystemRandom::new(), &signed).unwrap();
    let bits = [&[3, value.as_ref().len() as u8 + 1, 0], value.as_ref()].concat();
    let body = [&signed, algorithm, &bits].concat();
    let length = (body.len() as u16).to_be_bytes();
    [&[0x30, 0x82][..], &length, &body].concat()
}

/// Where the authorityKeyIdentifier of a certificate has the id of the key: the issuer's own.
fn authority_key(der: &[u8]) -> usize {
    let before = [0x55, 0x1d, 0x23, 4, 24, 0x30, 22, 0x80, 20];
    let at = der.windows(before.len()).position(|part| part == before);
    at.unwrap() + before.len()
}

/// How long the first DER element is, and what is in it.
fn element(der: &[u8]) -> (usize, &[u8]) {
    let (head, length) = match der[1] {
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        0x81 => (3, usize::from(der[2])),
        short => (2, usize::from(short)),
    };
    (head + length, &der[head..head + length])
}

/// A log whose ministry has its certificate from an intermediate authority.
struct Case {
    folder: tempfile::TempDir,
    federation: Federation,
    /// Issued by the approved authority.
    intermediate: Vec<u8>,
    /// The approved authority, issued by the intermediate one: a circle.
    circle: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let between = TestAuthority::create(BETWEEN, VALIDITY).unwrap();
        let mut federation = Federation::new();
        let year = Validity {
            not_after: NOW + 365 * 86_400,
            ..VALIDITY
        };
        federation.ministry = identity(folder.path(), &between, "VN/GOV/MINISTRY", year);
        federation.approved =
            cross_signed(folder.path(), &federation.authority, &federation.authority);
        Self {
            intermediate: cross_signed(folder.path(), &between, &federation.authority),
            circle: cross_signed(folder.path(), &federation.authority, &between),
            folder,
            federation,
        }
    }

    /// Writes a log with these certificates besides those of the members, exports an exchange.
    fn verify(self, recorded: &[Vec<u8>]) -> auditor::Report {
        let mut story = Story::begun(self.federation);
        for der in recorded {
            story.ledger.certificate(der);
        }
        story.answer_unary(1);
        let log = self.folder.path().join("log");
        story
            .ledger
            .write(&log, &story.federation, &story.federation.log_key);
        let report = story.audit_in(&log);
        let exchange = ExchangeId::from_parts(NOW as u64 * 1000 + 1, &[1; 10]).to_string();
        let container = self.folder.path().join("it.asice");
        let (log, path) = (log.to_str().unwrap(), container.to_str().unwrap());
        let program = env!("CARGO_BIN_EXE_auditor");
        run(
            program,
            &["export", log, &exchange, "-o", path],
            self.folder.path(),
        );
        let anchor = &story.federation.anchor;
        let of_container = auditor::verify(&container, anchor, NOW + 86_400).unwrap();
        assert_eq!(of_container.holds(), report.holds(), "{of_container}");
        if report.holds() {
            let unpacked = self.folder.path().join("unpacked");
            fs::create_dir(&unpacked).unwrap();
            fs::copy(&container, unpacked.join("THIS_FILE.asice")).unwrap();
            run("unzip", &["-q", "THIS_FILE.asice"], &unpacked);
            let text = fs::read_to_string(unpacked.join("VERIFY.txt")).unwrap();
            let commands: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("unzip "))
                .collect();
            let said = run("bash", &["-c", &commands.join("\n")], &unpacked);
            assert_eq!(
                said.matches("CAdES Verification successful").count(),
                2,
                "{said}"
            );
        }
        report
    }
}

#[test]
fn an_intermediate_authority_vouches() {
    let case = Case::new();
    let recorded = [case.intermediate.clone()];
    let report = case.verify(&recorded);
    assert!(report.holds(), "{report}");

    let report = Case::new().verify(&[]);
    assert!(!report.holds(), "{report}");
}

/// Whoever is recorded first must not stand in the way of whoever vouches.
#[test]
fn others_of_the_same_name_are_tried_too() {
    for behind in [false, true] {
        let case = Case::new();
        let (own, other) = (
            Case::new(),
            TestAuthority::create(BETWEEN, VALIDITY).unwrap(),
        );
        let mut recorded = vec![
            // Issued itself, and issued by a stranger of the right name.
            other.certificate().der().to_vec(),
            own.intermediate,
            case.intermediate.clone(),
        ];
        if behind {
            recorded.reverse();
        }
        let report = case.verify(&recorded);
        assert!(report.holds(), "{report}");
    }
}

#[test]
fn a_circle_comes_to_an_end() {
    let case = Case::new();
    let other = Case::new();
    let recorded = [
        case.circle.clone(),
        case.intermediate.clone(),
        other.circle,
        other.intermediate,
    ];
    let report = case.verify(&recorded);
    assert!(report.holds(), "{report}");
}
