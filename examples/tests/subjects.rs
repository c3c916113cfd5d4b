//! Who asked about this person? Answered by both logs, without the person's number standing in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use examples::{
    bare_caller::{Answer, BareCaller},
    echo::{self, CLIENT, Echo, PROVIDER, REPEAT, SAY},
    federation::Federation,
    process::{program, python},
};
use prost::Message;
use serde_json::Value;
use tonic::Code;

/// The echo's service with who is named in its messages. It does not describe all of its methods.
const PROTO: &str = r#"syntax = "proto3";
package test.echo.v1;

message Text {
  // @data-subject
  string text = 1;
}

service Echo {
  rpc Say(Text) returns (Text);
}
"#;

const HOA: &str = "001087123456";
const NAM: &str = "001087654321";

/// Registers the service with a descriptor, as protoc would write it.
async fn describe(federation: &Federation, folder: &Path) {
    let proto = folder.join("person.proto");
    fs::write(&proto, PROTO).unwrap();
    let descriptor = folder.join("person.bin");
    let compiled = protox::compile([&proto], [folder]).unwrap();
    fs::write(&descriptor, compiled.encode_to_vec()).unwrap();
    let arguments = [PROVIDER, echo::SERVICE, "--descriptor"].map(OsStr::new);
    let registry = &federation.registry;
    let arguments = [&arguments[..], &[descriptor.as_os_str()]].concat();
    registry
        .officer(&["service", "add"], &arguments)
        .await
        .unwrap();
    let serial = registry.serial_after_changes().await.unwrap();
    for server in federation.servers() {
        server.wait_for_serial(serial).await.unwrap();
    }
}

/// A message that names a person.
fn about(number: &str) -> Vec<u8> {
    let length = u8::try_from(number.len()).unwrap();
    [&[0x0a, length], number.as_bytes()].concat()
}

async fn ask(federation: &Federation, path: &str, number: &str) -> Answer {
    let consumer = federation.server("consumer").unwrap();
    let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap())
        .await
        .unwrap();
    let metadata = [
        ("x-road-service", PROVIDER),
        ("x-road-userid", "officer-7"),
        ("x-road-purpose", "civil-status"),
    ];
    caller.call(path, &metadata, &about(number)).await.unwrap()
}

/// What `auditor list` finds in a server's log.
fn list(federation: &Federation, server: &str, arguments: &[&OsStr]) -> Output {
    let log = &federation.server(server).unwrap().endpoint().log;
    let mut list = Command::new(program("auditor").unwrap());
    list.arg("list").arg(log).arg("--json").args(arguments);
    list.output().unwrap()
}

/// The exchanges that name a person, and how many may.
fn asked_about(federation: &Federation, server: &str, number: &str) -> (Vec<Value>, u64) {
    let key = federation.server(server).unwrap().path("state/subject-key");
    let person = [
        OsStr::new("--subject-key"),
        key.as_os_str(),
        OsStr::new("--subject"),
        OsStr::new(number),
    ];
    let output = list(federation, server, &person);
    let index = federation.server(server).unwrap().path("index");
    let indexed = [&person[..], &[OsStr::new("--index"), index.as_os_str()]].concat();
    let indexed = list(federation, server, &indexed);
    assert_eq!(indexed, output, "with an index the answer is the same");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let exchanges = found["exchanges"].as_array().unwrap().clone();
    assert_eq!(output.status.success(), !exchanges.is_empty());
    (exchanges, found["unread"].as_u64().unwrap())
}

/// Asks an operator's command something through its standard input.
fn hash(federation: &Federation, server: &str, number: &str) -> String {
    let settings = federation.server(server).unwrap().path("server.toml");
    let mut command = Command::new(program("security-server").unwrap())
        .arg("subject-hash")
        .arg(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = command.stdin.take().unwrap();
    writeln!(input, "{number}").unwrap();
    drop(input);
    let output = command.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_logs_say_who_asked_about_a_person_and_when_they_cannot_know() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let echo = Echo::start().await.unwrap();
    let mut federation = Federation::start(base, &echo::plan(&echo.address))
        .await
        .unwrap();

    // Without a descriptor nobody says who is named.
    assert_eq!(ask(&federation, SAY, HOA).await.status.code(), Code::Ok);
    assert_eq!(asked_about(&federation, "provider", HOA), (vec![], 0));

    describe(&federation, base).await;
    let answer = ask(&federation, SAY, HOA).await;
    let exchange = answer.field("x-road-exchange-id").unwrap().to_owned();
    ask(&federation, SAY, NAM).await;
    for server in ["consumer", "provider"] {
        let (found, unread) = asked_about(&federation, server, HOA);
        assert_eq!((found.len(), unread), (1, 0), "{found:?}");
        assert_eq!(found[0]["exchange"], exchange);
        assert_eq!(found[0]["user"], "officer-7");
        assert_eq!(found[0]["purpose"], "civil-status");
        assert_eq!(
            asked_about(&federation, server, "001087000000"),
            (vec![], 0)
        );

        // Request and reply, which both name her, each in its record.
        let hash = hash(&federation, server, HOA);
        let log = &federation.server(server).unwrap().endpoint().log;
        let mut show = Command::new(program("auditor").unwrap());
        let show = show
            .arg("show")
            .arg(log)
            .args([&exchange, "--json"])
            .output();
        let shown: Value = serde_json::from_slice(&show.unwrap().stdout).unwrap();
        let records = shown["records"].as_array().unwrap();
        let named = records.iter().filter(|record| {
            record["annex"]["subjects"]
                .as_array()
                .is_some_and(|found| found[..] == [hash.clone()])
        });
        assert_eq!(named.count(), 2, "{shown:#}");

        // The same by the hash alone, for an auditor without the key.
        let by_hash = list(
            &federation,
            server,
            &["--subject-hash", &hash].map(OsStr::new),
        );
        let by_hash: Value = serde_json::from_slice(&by_hash.stdout).unwrap();
        assert_eq!(by_hash["exchanges"], Value::Array(found));
    }
    let hashes = ["consumer", "provider"].map(|server| hash(&federation, server, HOA));
    assert_ne!(hashes[0], hashes[1], "each server has its own key");

    // A method that the descriptor does not have, and a message that is compressed.
    ask(&federation, REPEAT, HOA).await;
    compressed(
        federation
            .server("consumer")
            .unwrap()
            .plaintext(CLIENT)
            .unwrap(),
    );
    for server in ["consumer", "provider"] {
        let (found, unread) = asked_about(&federation, server, HOA);
        assert_eq!((found.len(), unread), (1, 2), "{server}: {found:?}");
        let unread = list(&federation, server, &[OsStr::new("--subjects-unread")]);
        let unread: Value = serde_json::from_slice(&unread.stdout).unwrap();
        let methods = unread["exchanges"].as_array().unwrap().iter();
        let methods: Vec<_> = methods
            .map(|found| found["method"].as_str().unwrap())
            .collect();
        assert_eq!(methods, [&REPEAT[1..], &SAY[1..]]);
    }

    // Who is refused has asked, too.
    let provider = federation.server("provider").unwrap();
    let state = fs::read_to_string(provider.path("state.toml")).unwrap();
    let (without_rights, _) = state.split_once("[[access_rights]]").unwrap();
    let file = provider.path("nothing-allowed.toml");
    fs::write(&file, without_rights).unwrap();
    provider.apply_file(&file).await.unwrap();
    assert_eq!(
        ask(&federation, SAY, NAM).await.status.code(),
        Code::PermissionDenied
    );
    let (found, _) = asked_about(&federation, "provider", NAM);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1]["outcome"]["is"], "provider.access_denied");
    provider
        .apply_file(&provider.path("state.toml"))
        .await
        .unwrap();

    // With the registry down a server that has the descriptor knows, and one that has not says so.
    federation.registry.kill().await.unwrap();
    for (code, forgets) in [("provider", false), ("consumer", true)] {
        let server = federation.server_mut(code).unwrap();
        server.stop().await.unwrap();
        if forgets {
            fs::remove_dir_all(server.path("state/descriptors")).unwrap();
        }
        server.start().await.unwrap();
    }
    assert_eq!(ask(&federation, SAY, HOA).await.status.code(), Code::Ok);
    let (found, unread) = asked_about(&federation, "provider", HOA);
    assert_eq!((found.len(), unread), (2, 2), "{found:?}");
    let (found, unread) = asked_about(&federation, "consumer", HOA);
    assert_eq!((found.len(), unread), (1, 3), "{found:?}");

    federation.audit().await.unwrap();
}

/// Asks about somebody in Python, compressed.
fn compressed(address: &str) {
    let program = "import sys, grpc\n\
        with grpc.insecure_channel(sys.argv[1]) as channel:\n\
        \x20   call = channel.unary_unary('/test.echo.v1.Echo/Say')\n\
        \x20   try: call(b'\\x0a\\x7f' + b'7' * 127, timeout=30, metadata=[('x-road-service', sys.argv[2])], compression=grpc.Compression.Gzip)\n\
        \x20   except grpc.RpcError as error: print(error.code().name)\n";
    let ran = python()
        .unwrap()
        .args(["-c", program, address, PROVIDER])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_key_for_persons_is_gone_does_not_start_with_another() {
    let directory = tempfile::tempdir().unwrap();
    let plan = echo::plan("http://127.0.0.1:1");
    let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
    let server = federation.server_mut("consumer").unwrap();
    server.stop().await.unwrap();
    let key = server.path("state/subject-key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let refused = server.start().await.unwrap_err().to_string();
    assert!(refused.contains("restore it from the backup"), "{refused}");
    fs::write(&key, kept).unwrap();
    let refused = server.start().await.unwrap_err().to_string();
    assert!(refused.contains("chmod 600"), "{refused}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    server.start().await.unwrap();
}
