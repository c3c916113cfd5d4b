//! The built `certs` program, used as its help says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::os::unix::fs::PermissionsExt;

use certs::SigningIdentity;
use serde_json::Value;
use support::{Workplace, ended, succeeded};

fn with_authority() -> Workplace {
    let place = Workplace::new();
    ended(&place.certs("authority new --name Test --out ca"), 0);
    place
}

#[test]
fn the_whole_way_from_an_authority_to_certificates_of_every_role() {
    let place = with_authority();
    for (role, subject, extra) in [
        ("signing", "VN/GOV/G01", "--organization Justice"),
        ("authentication", "VN/GOV/G01/server-1", "--days 30"),
        ("client", "commune-office", ""),
        ("listener", "bus", "--name bus.example.vn --name 10.0.0.7"),
    ] {
        ended(
            &place.certs(&format!(
                "key new --role {role} --subject {subject} --out {role}"
            )),
            0,
        );
        for (file, mode) in [("key.pem", 0o600), ("request.pem", 0o644)] {
            let found = std::fs::metadata(place.path(role).join(file)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
        }
        ended(
            &place.certs(&format!(
                "issue --authority ca --request {role}/request.pem --role {role} \
                 --out {role}/certificate.pem {extra}"
            )),
            0,
        );
        succeeded(&place.openssl(&format!("verify -CAfile ca/ca.pem {role}/certificate.pem")));
        let text = ended(&place.certs(&format!("show {role}/certificate.pem")), 0);
        assert!(text.contains(&format!("role          {role}\n")), "{text}");
        assert!(text.contains("profile       met\n"), "{text}");
    }
    let mode = std::fs::metadata(place.path("ca/ca.key")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    SigningIdentity::load(
        &place.path("signing/certificate.pem"),
        &place.path("signing/key.pem"),
    )
    .unwrap();
    let error = SigningIdentity::load(
        &place.path("signing/certificate.pem"),
        &place.path("client/key.pem"),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("client/key.pem: does not belong"), "{error}");
}

#[test]
fn show_as_json_has_the_facts() {
    let place = with_authority();
    ended(
        &place.certs("key new --role authentication --subject VN/GOV/G01/server-1 --out s"),
        0,
    );
    ended(
        &place.certs(
            "issue --authority ca --request s/request.pem --role authentication --days 30 \
             --out s/c.pem",
        ),
        0,
    );
    let output = place.certs("show s/c.pem --json");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &shown[0];
    assert_eq!(first["role"], "authentication");
    assert_eq!(first["server"], "VN/GOV/G01/server-1");
    assert_eq!(first["member"], "VN/GOV/G01");
    assert_eq!(first["meets_profile"], true);
    assert_eq!(first["violations"], Value::Array(Vec::new()));
    assert!((29..=30).contains(&first["days_left"].as_i64().unwrap()));
    let text = succeeded(&place.openssl("x509 -in s/c.pem -noout -fingerprint -sha256 -serial"));
    let digest = first["sha256"].as_str().unwrap().to_uppercase();
    assert!(text.replace(':', "").contains(&digest), "{text}");
    let serial = first["serial"].as_str().unwrap().to_uppercase();
    assert!(text.contains(&format!("serial={serial}")), "{text}");
}

#[test]
fn show_names_what_is_wrong_and_fails() {
    let place = Workplace::new();
    succeeded(&place.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout k.pem -days 5 \
         -subj /CN=stranger -addext basicConstraints=critical,CA:FALSE \
         -addext keyUsage=critical,nonRepudiation -out c.pem",
    ));
    let text = ended(&place.certs("show c.pem"), 1);
    assert!(text.contains("role          signing\n"), "{text}");
    assert!(text.contains("VIOLATED: needs a key ECDSA P-256"), "{text}");
    assert!(
        text.contains("VIOLATED: needs exactly one organizationIdentifier"),
        "{text}"
    );

    let authority = support::authority();
    let validity = certs::Validity::days(1_000_000_000, 1);
    let key = certs::PrivateKey::generate().unwrap();
    let old = authority
        .issue_for(&key, &support::member("VN/GOV/G01"), validity)
        .unwrap();
    place.write_certificate("old.pem", &old);
    let text = ended(&place.certs("show old.pem"), 1);
    assert!(
        text.contains("valid until   2001-09-10T01:46:40Z (EXPIRED)"),
        "{text}"
    );

    place.write("noise", "no certificate at all");
    let text = ended(&place.certs("show noise"), 1);
    assert!(
        text.contains("certs: noise: holds no PEM section \"CERTIFICATE\""),
        "{text}"
    );
    let text = ended(&place.certs("show absent"), 1);
    assert!(text.contains("certs: absent: cannot be read"), "{text}");
}

#[test]
fn nothing_is_overwritten() {
    let place = with_authority();
    let text = ended(&place.certs("authority new --name Other --out ca"), 1);
    assert!(
        text.contains("ca/ca.key: exists already and is not overwritten"),
        "{text}"
    );
    let again = "key new --role client --subject a --out a";
    ended(&place.certs(again), 0);
    let before = std::fs::read(place.path("a/key.pem")).unwrap();
    ended(&place.certs(again), 1);
    assert_eq!(std::fs::read(place.path("a/key.pem")).unwrap(), before);
    ended(&place.certs("log-key new --out log.pem"), 0);
    ended(&place.certs("log-key new --out log.pem"), 1);
    let issue = "issue --authority ca --request a/request.pem --role client --out a/c.pem";
    ended(&place.certs(issue), 0);
    ended(&place.certs(issue), 1);
    let left: Vec<_> = std::fs::read_dir(place.path("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "temporary files stay behind: {left:?}");
}

#[test]
fn a_private_key_that_others_may_read_is_refused() {
    let place = with_authority();
    ended(&place.certs("key new --role client --subject a --out a"), 0);
    let key = place.path("ca/ca.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    let text = ended(
        &place.certs("issue --authority ca --request a/request.pem --role client --out c.pem"),
        1,
    );
    assert!(text.contains("ca/ca.key: is a private key that others may read (mode 0640)"));
    assert!(text.contains("chmod 600"), "{text}");
}

#[test]
fn a_log_key_is_shown_by_its_public_part_only() {
    let place = Workplace::new();
    let made = ended(&place.certs("log-key new --out log.pem"), 0);
    let shown = ended(&place.certs("log-key show log.pem"), 0);
    assert_eq!(shown.trim().len(), 64);
    assert!(made.contains(shown.trim()), "{made}");
    ended(&place.certs("key new --role client --subject a --out a"), 0);
    let text = ended(&place.certs("log-key show a/key.pem"), 1);
    assert!(
        text.contains("a/key.pem: holds no key for this use: a log key is Ed25519"),
        "{text}"
    );
    let key = certs::LogKey::load(&place.path("log.pem")).unwrap();
    assert_eq!(
        format!("{key:?}"),
        format!("LogKey(public {})", shown.trim())
    );
}

#[test]
fn the_subject_given_decides_and_must_fit_the_role() {
    let place = with_authority();
    ended(
        &place.certs("key new --role signing --subject VN/GOV/G01 --out m"),
        0,
    );
    let issue = |rest: &str| {
        place.certs(&format!(
            "issue --authority ca --request m/request.pem {rest}"
        ))
    };
    let text = ended(
        &issue("--role signing --subject VN/GOV/G02 --out two.pem"),
        0,
    );
    assert!(text.contains("CN=VN/GOV/G02"), "{text}");
    let text = ended(&issue("--role authentication --out x.pem"), 1);
    assert!(
        text.contains("\"VN/GOV/G01\" is not a security server"),
        "{text}"
    );
    let text = ended(&issue("--role signing --name a.example --out x.pem"), 1);
    assert!(text.contains("leave out --name"), "{text}");
    let text = ended(&issue("--role signing --days 36500 --out x.pem"), 1);
    assert!(text.contains("outlive its authority"), "{text}");
    assert!(!place.path("x.pem").exists());
}

#[test]
fn wrong_use_ends_with_two_and_help_explains() {
    let place = Workplace::new();
    for arguments in [
        "",
        "show",
        "key new --role king --subject a --out a",
        "authority",
    ] {
        ended(&place.certs(arguments), 2);
    }
    let text = ended(&place.certs("--help"), 0);
    assert!(
        text.contains("Exit status: 0 done; 1 refused or failed"),
        "{text}"
    );
    ended(&place.certs("--version"), 0);
}
