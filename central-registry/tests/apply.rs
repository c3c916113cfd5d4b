//! The officers' commands as people use them: files, differences, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{fmt::Write, path::PathBuf};

use central_registry::clock::Clock;
use certs::{LogKey, PrivateKey, Role, Subject, TestAuthority, Validity, file::write_certificates};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};
use support::{Place, Running, run, verifier::Verifier};

/// A registry running, with the files that a whole federation names.
struct Federation {
    place: Place,
    registry: Running,
    authority: TestAuthority,
}

impl Federation {
    async fn new() -> Self {
        let place = Place::new().await;
        let now = Clock::of_the_machine().seconds();
        let authority =
            TestAuthority::create("Test authority", Validity::of(Role::Authority, now)).unwrap();
        authority.write(&place.beside("ca")).unwrap();
        let registry = place.serve().await;
        let federation = Self {
            place,
            registry,
            authority,
        };
        federation.certificate("server-1.pem", "VN/GOV/G01/server-1");
        LogKey::generate()
            .unwrap()
            .write(&federation.place.beside("log-key.pem"))
            .unwrap();
        let service = ServiceDescriptorProto {
            name: Some("Population".into()),
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            package: Some("vn.population.v1".into()),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        federation.place.write("population.bin", set);
        federation.place.write("whole.toml", WHOLE);
        federation
    }

    fn certificate(&self, name: &str, server: &str) -> PathBuf {
        let now = Clock::of_the_machine().seconds();
        let subject = Subject::Authentication {
            server: server.parse().unwrap(),
            organization: None,
        };
        let key = PrivateKey::generate().unwrap();
        let validity = Validity::of(Role::Authentication, now);
        let der = self.authority.issue_for(&key, &subject, validity).unwrap();
        let path = self.place.beside(name);
        write_certificates(&path, &[&der]).unwrap();
        path
    }

    async fn apply(&self, file: &str, more: &[&str]) -> support::Outcome {
        let file = self.place.beside(file);
        let arguments = ["apply", "-f", file.to_str().unwrap()];
        self.place
            .decide(&[arguments.as_slice(), more].concat())
            .await
    }

    async fn show(&self) -> String {
        self.place.run(&["show"]).await.succeeds()
    }
}

/// The sample names files that lie beside it.
const WHOLE: &str = include_str!("../sample/federation.toml");

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_federation_is_applied_shown_and_applied_again() {
    let federation = Federation::new().await;
    let dry = federation
        .apply("whole.toml", &["--dry-run"])
        .await
        .succeeds();
    assert!(dry.contains("11 added, 0 changed, 0 removed"), "{dry}");
    assert!(dry.contains("+ member/GOV/G01 \"Bộ Tư pháp\""), "{dry}");
    assert!(
        !federation.show().await.contains("[[members]]"),
        "a dry run changes nothing"
    );

    let done = federation
        .apply("whole.toml", &["--reason", "the beginning"])
        .await
        .succeeds();
    assert!(done.contains("Recorded as entry"), "{done}");
    let again = federation.apply("whole.toml", &[]).await.succeeds();
    assert!(again.starts_with("Nothing to do"), "{again}");

    // What is shown says the same in another place, without any of the files.
    let shown = federation.show().await;
    let elsewhere = federation.place.beside("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("shown.toml"), &shown).unwrap();
    let same = federation
        .apply("elsewhere/shown.toml", &["--prune"])
        .await
        .succeeds();
    assert!(same.starts_with("Nothing to do"), "{same}\n{shown}");
    let same = federation
        .apply("elsewhere/shown.toml", &["--prune", "--json"])
        .await
        .succeeds();
    let same: serde_json::Value = serde_json::from_str(&same).unwrap();
    assert_eq!(
        (&same["added"], &same["entries"]),
        (&0.into(), &serde_json::json!([]))
    );
    let json = federation.place.run(&["show", "--json"]).await.succeeds();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["servers"][0]["address"], "127.0.0.1:4001");
    assert_eq!(json["officers"][0]["name"], "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changes_what_it_mentions_and_prune_removes_the_rest() {
    let federation = Federation::new().await;
    federation.apply("whole.toml", &[]).await.succeeds();
    federation.place.write(
        "part.toml",
        r#"
[[members]]
id = "VN/GOV/G01"
name = "Ministry of Justice"

[[servers]]
id = "VN/GOV/G01/server-1"
address = "127.0.0.1:4002"
subsystems = ["VN/GOV/G02/tax"]
"#,
    );
    let done = federation.apply("part.toml", &[]).await.succeeds();
    for line in [
        "~ member/GOV/G01 \"Bộ Tư pháp\" -> \"Ministry of Justice\"",
        "~ server/GOV/G01/server-1 127.0.0.1:4001 -> 127.0.0.1:4002",
        "~ registration/GOV/G01/server-1/GOV/G02/tax disabled -> enabled",
        "- registration/GOV/G01/server-1/GOV/G01/population enabled",
        "0 added, 3 changed, 1 removed",
    ] {
        assert!(done.contains(line), "\"{line}\" is missing:\n{done}");
    }
    let shown = federation.show().await;
    assert!(
        shown.contains("[[servers.log_keys]]"),
        "lists left out stay:\n{shown}"
    );

    federation.place.write(
        "little.toml",
        "[[members]]\nid = \"VN/GOV/G02\"\nname = \"x\"\n",
    );
    let done = federation
        .apply("little.toml", &["--prune"])
        .await
        .succeeds();
    assert!(done.contains("0 added, 1 changed, 9 removed"), "{done}");
    let shown = federation.show().await;
    assert!(
        shown.contains("[[officers]]"),
        "officers stay unless some are mentioned:\n{shown}"
    );
    assert!(!shown.contains("[[servers]]"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_file_are_named_with_file_and_place() {
    let federation = Federation::new().await;
    let other = federation.certificate("other.pem", "VN/GOV/G01/server-2");
    let server =
        |lists: &str| format!("[[servers]]\nid = \"VN/GOV/G01/s\"\naddress = \"h:1\"\n{lists}\n");
    for (text, named) in [
        (
            "[[members]]\nid = \"VN/GOV/G01\"\nnom = \"x\"\n".to_owned(),
            "line 3",
        ),
        (
            "[[members]]\nid = \"VN/GOV\"\nname = \"x\"\n".into(),
            "members[0] (VN/GOV): ",
        ),
        (
            "instance = \"LA\"\n".into(),
            "instance: this is the registry of VN",
        ),
        (
            "[[members]]\nid = \"LA/GOV/G01\"\nname = \"\"\n".into(),
            "not of instance VN",
        ),
        (
            "[[members]]\nid = \"VN/GOV/A\"\nname = \"\"\n".repeat(2),
            "members[1] (VN/GOV/A): member/GOV/A is named twice",
        ),
        (
            server("subsystems = [\"VN/GOV/A\"]"),
            "servers[0] (VN/GOV/G01/s): subsystems[0]",
        ),
        (
            server("authentication_certificates = [\"other.pem\"]"),
            "authentication_certificates[0] (other.pem): the certificate is of VN/GOV/G01/server-2",
        ),
        (
            server("authentication_certificates = [\"ca/ca.pem\"]"),
            "an authentication certificate is needed",
        ),
        (
            server("log_keys = [{ generation = 1, key = \"absent\" }]"),
            "log_keys[0] (absent)",
        ),
        (
            server("log_keys = [{ generation = -1, key = \"x\" }]"),
            "line 4",
        ),
        (
            "[[services]]\nsubsystem = \"VN/GOV/A/b\"\ngrpc_service = \"a.B\"\n\
             descriptor = \"population.bin\"\n"
                .into(),
            "describes no service a.B, but [vn.population.v1.Population]",
        ),
        (
            "[[authorities]]\nname = \"x\"\ncertificate = \"server-1.pem\"\nuse = [\"signing\"]\n"
                .into(),
            "an authority certificate is needed",
        ),
        (
            "[[authorities]]\nname = \"x\"\ncertificate = \"ca/ca.pem\"\nuse = []\n".into(),
            "authorities[0] (x): use",
        ),
        (
            "[[officers]]\nname = \"a/b\"\nkey = \"log-key.pem\"\n".into(),
            "a/b",
        ),
    ] {
        federation.place.write("wrong.toml", &text);
        let outcome = federation.apply("wrong.toml", &[]).await;
        assert!(outcome.error.contains("wrong.toml"), "{outcome:?}");
        outcome.fails(1, named);
    }
    federation
        .apply("absent.toml", &[])
        .await
        .fails(1, "absent.toml");
    // The rules are asked before anything is signed.
    federation.place.write("wrong.toml", server(""));
    federation
        .apply("wrong.toml", &[])
        .await
        .fails(1, "member/GOV/G01 must be registered first");
    let other = other.to_str().unwrap();
    let arguments = [
        "certificate",
        "add",
        other,
        "--server",
        "VN/GOV/G01/server-1",
    ];
    federation
        .place
        .decide(&arguments)
        .await
        .fails(1, "is of VN/GOV/G01/server-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_commands_make_the_same_federation() {
    let federation = Federation::new().await;
    let beside = |name: &str| federation.place.beside(name).to_str().unwrap().to_owned();
    let (certificate, ca) = (beside("server-1.pem"), beside("ca/ca.pem"));
    let (log_key, descriptor) = (beside("log-key.pem"), beside("population.bin"));
    let (population, tax) = ("VN/GOV/G01/population", "VN/GOV/G02/tax");
    let (server, service) = ("VN/GOV/G01/server-1", "vn.population.v1.Population");
    for command in [
        vec!["member", "add", "VN/GOV/G01", "--name", "Bộ Tư pháp"],
        vec!["member", "add", "VN/GOV/G02", "--name", "Cục Thuế"],
        vec![
            "subsystem",
            "add",
            population,
            "--name",
            "Population register",
        ],
        vec!["subsystem", "add", tax],
        vec!["server", "add", server, "--address", "127.0.0.1:4001"],
        vec!["certificate", "add", &certificate],
        vec!["log-key", "add", server, "--key", &log_key],
        vec!["registration", "add", server, population],
        vec!["registration", "disable", server, tax],
        vec![
            "service",
            "add",
            population,
            service,
            "--descriptor",
            &descriptor,
        ],
        vec![
            "authority",
            "add",
            &ca,
            "--name",
            "Test authority",
            "--signing",
            "--authentication",
        ],
    ] {
        federation.place.decide(&command).await.succeeds();
    }
    let same = federation
        .apply("whole.toml", &["--prune"])
        .await
        .succeeds();
    assert!(same.starts_with("Nothing to do"), "{same}");
    federation
        .place
        .decide(&["server", "remove", server])
        .await
        .fails(1, "depends on server/");
    for command in [
        vec!["authority", "remove", &ca],
        vec!["service", "remove", population, service],
        vec!["registration", "remove", server, tax],
        vec!["registration", "remove", server, population],
        vec!["certificate", "remove", &certificate],
    ] {
        federation.place.decide(&command).await.succeeds();
    }
    federation
        .place
        .decide(&["certificate", "remove", &certificate])
        .await
        .fails(1, "nothing");
    federation
        .place
        .decide(&["member", "remove", "LA/GOV/G01"])
        .await
        .fails(1, "registry of VN");
}

#[tokio::test(flavor = "multi_thread")]
async fn eleven_thousand_members_are_one_apply() {
    let federation = Federation::new().await;
    let mut text = String::new();
    for number in 0..11_100 {
        writeln!(
            text,
            "[[members]]\nid = \"VN/GOV/H{number:05}\"\nname = \"Xã {number}\""
        )
        .unwrap();
    }
    federation.place.write("many.toml", &text);
    let done = federation.apply("many.toml", &[]).await.succeeds();
    assert!(
        done.contains("11100 added, 0 changed, 0 removed"),
        "{}",
        done.len()
    );
    assert!(done.contains(" entries, "), "it takes several");
    let mut verifier = Verifier::new(&federation.place.anchor());
    let registry = &federation.registry;
    verifier
        .refresh_until(registry, |state| state.len() == 11_101)
        .await;
    verifier.fold(registry).await;
    let again = federation.apply("many.toml", &[]).await.succeeds();
    assert!(again.starts_with("Nothing to do"), "{again}");
    federation.place.write("none.toml", "");
    let done = federation.apply("none.toml", &["--prune"]).await.succeeds();
    assert!(
        done.contains("0 added, 0 changed, 11100 removed"),
        "{}",
        done.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_told_from_refusal() {
    let nothing = run(&[], None).await;
    assert_eq!(nothing.code, 2);
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("registry");
    let path = path.to_str().unwrap();
    let init = ["init", "--instance", "VN", "--out", path];
    run(
        &[init.as_slice(), &["--root-keys", "3-of-2"]].concat(),
        None,
    )
    .await
    .fails(2, "not more");
    run(&[init.as_slice(), &["--source", "ftp://x"]].concat(), None)
        .await
        .fails(1, "ftp://x");
    assert_eq!(
        std::fs::read_dir(out.path()).unwrap().count(),
        0,
        "no keys are left behind"
    );
    let made = run(
        &[init.as_slice(), &["--root-keys", "2-of-3"]].concat(),
        None,
    )
    .await
    .succeeds();
    assert!(made.contains("2 of 3 of them sign"), "{made}");
    run(&init, None).await.fails(1, "exists already");
    run(&["show", "--directory", path], None)
        .await
        .fails(1, "does not answer");
    let member = [
        "member",
        "add",
        "VN/GOV/G01",
        "--name",
        "x",
        "--directory",
        path,
    ];
    run(&member, None).await.fails(2, "--officer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_root_document_brings_a_new_head_key() {
    let place = Place::new().await;
    let registry = place.serve().await;
    let mut verifier = Verifier::new(&place.anchor());
    verifier.refresh(&registry).await;

    LogKey::generate()
        .unwrap()
        .write(&place.directory().join("head-key-2.pem"))
        .unwrap();
    LogKey::generate()
        .unwrap()
        .write(&place.beside("root-2.pem"))
        .unwrap();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (old, new) = (
        text(place.directory().join("root-keys/root-1.pem")),
        text(place.beside("root-2.pem")),
    );
    let (head, document) = (
        text(place.directory().join("head-key-2.pem")),
        text(place.beside("next")),
    );
    let old_head = text(place.directory().join("head-key.pem"));
    let next = [
        "root",
        "next",
        "--key",
        &old,
        "--add-root-key",
        &new,
        "--threshold",
        "2",
        "--add-head-key",
        &head,
        "--remove-head-key",
        &old_head,
        "--out",
        &document,
    ];
    place.run(&next).await.succeeds();
    place
        .run(&["root", "publish", &document])
        .await
        .fails(1, "valid signatures");
    run(&["root", "sign", &document, "--key", &new], None)
        .await
        .succeeds();
    let published = place.run(&["root", "publish", &document]).await.succeeds();
    assert!(published.contains("Root document 2 of VN"), "{published}");
    assert!(
        registry.get("/root/2").await.is_some(),
        "it is there at once"
    );
    registry.kill().await;

    // The old head key signs nothing any more that anyone would accept.
    let refused = place.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    refused.fails(1, "not a head key of root document 2");
    place.set(
        "head_key = \"head-key.pem\"",
        "head_key = \"head-key-2.pem\"",
    );
    let registry = place.serve().await;
    verifier.refresh(&registry).await;
    assert_eq!(verifier.root_version(), 2);
    place.run(&["root", "show"]).await.succeeds();
}
