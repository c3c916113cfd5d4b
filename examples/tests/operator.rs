//! The operator's tools over real processes: explain, ping, call, check-config, monitoring.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Output},
};

use examples::{
    echo::{self, CLIENT, ELSEWHERE, Echo, PROVIDER, SAY},
    federation::Federation,
    message_log::MessageLog,
    process::program,
};
use proto::administration::{
    ApplyRequest, security_server_administration_client::SecurityServerAdministrationClient,
};
use serde_json::Value;
use tonic::{Code, transport::Endpoint};
use trust::wire::evidence::{
    Change, LocalSubsystem,
    change::{Key, Value as NewValue},
};

struct Stage {
    federation: Federation,
    directory: tempfile::TempDir,
    _echo: Echo,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        let federation = Federation::start(directory.path(), &plan).await.unwrap();
        echo::method(directory.path(), SAY).unwrap();
        Self {
            federation,
            directory,
            _echo: echo,
        }
    }

    /// Runs a command of the operator.
    fn operate(&self, server: &str, command: &str, arguments: &[&str]) -> Output {
        let settings = self.federation.server(server).unwrap().path("server.toml");
        Command::new(program("security-server").unwrap())
            .arg(command)
            .arg(settings)
            .args(arguments)
            .output()
            .unwrap()
    }

    fn explained(&self, server: &str, method: &str, more: &[&str]) -> (bool, Value) {
        let call = [
            "--client",
            CLIENT,
            "--service",
            PROVIDER,
            "--method",
            method,
            "--json",
        ];
        let output = self.operate(server, "explain", &[&call, more].concat());
        (output.status.success(), json_of(&output))
    }

    /// Calls as the client does, with the schema of the echo service.
    fn call(&self, method: &str, more: &[&str]) -> Output {
        let schema = schema(self.directory.path());
        let call = [
            "--client",
            CLIENT,
            "--service",
            PROVIDER,
            "--method",
            method,
            "--proto",
            &schema,
            "--json",
            "--data",
            r#"{"text": "xin chào"}"#,
        ];
        self.operate("consumer", "call", &[&call, more].concat())
    }
}

/// The echo service, and one that nobody has.
fn schema(directory: &Path) -> String {
    let path = directory.join("schema.proto");
    let text = r#"syntax = "proto3";
package test.echo.v1;
message Text { string text = 1; }
service Echo {
  rpc Say(Text) returns (Text);
  rpc Repeat(Text) returns (stream Text);
}
service Elsewhere { rpc Say(Text) returns (Text); }
"#;
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    let both = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8(both).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_happens() {
    let stage = Stage::set().await;
    let (allowed, explained) = stage.explained("provider", SAY, &[]);
    let part = &explained["parts"][0];
    assert!(allowed && part["allowed"] == true, "{explained}");
    assert_eq!(
        (&part["side"], &part["access_right"]),
        (&"provider".into(), &"echo".into())
    );
    let rules = part["rules"].as_array().unwrap();
    assert!(
        rules.iter().all(|rule| rule["holds"] == true),
        "{explained}"
    );
    let (allowed, explained) = stage.explained("consumer", SAY, &[]);
    assert!(
        allowed && explained["parts"][0]["side"] == "consumer",
        "{explained}"
    );
    let reply = json_of(&stage.call(SAY, &[]));
    assert_eq!(reply["replies"][0]["text"], "xin chào", "{reply}");
    assert_eq!(reply["status"], 0);

    // Of both sides, the one that refuses says so beforehand, with the same code and words.
    for (server, method) in [("provider", ELSEWHERE), ("consumer", ELSEWHERE)] {
        let (allowed, explained) = stage.explained(server, method, &[]);
        let part = &explained["parts"][0];
        assert!(!allowed && part["allowed"] == false, "{explained}");
        let refusal = part["refusal"].as_str().unwrap();
        assert!(refusal.ends_with(".unknown_service"), "{explained}");
        if server == "consumer" {
            let output = stage.call(method, &[]);
            assert_eq!(output.status.code(), Some(1));
            let reply = json_of(&output);
            assert_eq!(reply["refusal"], refusal);
            assert_eq!(reply["message"], part["message"]);
        }
    }

    // A right with an end and a purpose, asked at other times and for other purposes.
    let provider = stage.federation.server("provider").unwrap();
    let state = fs::read_to_string(provider.path("state.toml")).unwrap();
    let state = state.replace(
        "purposes = []\n",
        "purposes = [\"testing\"]\nvalid_until = \"2100-01-01T00:00:00Z\"\n",
    );
    fs::write(provider.path("purpose.toml"), state).unwrap();
    provider
        .apply_file(&provider.path("purpose.toml"))
        .await
        .unwrap();
    let cases = [
        (vec![], "provider.purpose_not_allowed"),
        (vec!["--purpose", "testing"], ""),
        (
            vec!["--purpose", "testing", "--at", "2100-01-01T00:00:00Z"],
            "provider.right_expired",
        ),
    ];
    for (more, refusal) in cases {
        let (allowed, explained) = stage.explained("provider", SAY, &more);
        assert_eq!(explained["parts"][0]["refusal"], refusal, "{explained}");
        assert_eq!(allowed, refusal.is_empty());
    }
    let refused = json_of(&stage.call(SAY, &[]));
    assert_eq!(
        refused["refusal"], "provider.purpose_not_allowed",
        "{refused}"
    );
    let (_, explained) = stage.explained("provider", SAY, &[]);
    assert_eq!(refused["message"], explained["parts"][0]["message"]);
    let allowed = json_of(&stage.call(SAY, &["--purpose", "testing"]));
    assert_eq!(allowed["status"], 0, "{allowed}");
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_tls_needs_the_registered_certificate() {
    let stage = Stage::set().await;
    let base = stage.directory.path();
    let file = |name: &str| base.join(name).display().to_string();
    let (certificate, key) = (
        file("clients/client/client.pem"),
        file("clients/client/client.key"),
    );
    let authority = file("trust/ca.pem");
    let tls = [
        "--certificate",
        &certificate,
        "--key",
        &key,
        "--authority",
        &authority,
    ];
    let reply = json_of(&stage.call("/test.echo.v1.Echo/Repeat", &tls));
    assert_eq!(
        reply["replies"].as_array().map(Vec::len),
        Some(3),
        "{reply}"
    );

    // Nothing of this is a call.
    for (more, words) in [
        (
            vec!["--method", "/test.echo.v1.Echo/Nothing"],
            "describes no method",
        ),
        (vec!["--data", "{\"txt\": 1}"], "not as the schema says"),
        (vec!["--data", "{} {}"], "takes one request"),
        (
            vec!["--client", "VN/GOV/A/other"],
            "no plaintext listener of VN/GOV/A/other",
        ),
    ] {
        let schema = schema(base);
        let mut call = vec![
            "--client",
            CLIENT,
            "--service",
            PROVIDER,
            "--method",
            SAY,
            "--proto",
            &schema,
        ];
        for pair in more.chunks(2) {
            match call.iter().position(|known| *known == pair[0]) {
                Some(at) => call[at + 1] = pair[1],
                None => call.extend(pair),
            }
        }
        let output = stage.operate("consumer", "call", &call);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said(&output).contains(words), "{output:?}");
    }
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_says_how_far_it_came() {
    let mut stage = Stage::set().await;
    let ping = |stage: &Stage, server: &str| stage.operate("consumer", "ping", &[server, "--json"]);
    let output = ping(&stage, "VN/GOV/B/provider");
    let found = json_of(&output);
    assert_eq!(found["log"], "VN/GOV/B/provider/1", "{found}");
    assert!(found["answered_in_microseconds"].as_u64().unwrap() > 0);
    assert_eq!(found["certificate"].as_str().unwrap().len(), 64);

    let unknown = ping(&stage, "VN/GOV/B/nobody");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        said(&unknown).contains("no address in the global configuration"),
        "{unknown:?}"
    );
    let misspelt = ping(&stage, "nobody");
    assert_eq!(misspelt.status.code(), Some(1), "{misspelt:?}");
    stage
        .federation
        .server_mut("provider")
        .unwrap()
        .kill()
        .await
        .unwrap();
    let down = ping(&stage, "VN/GOV/B/provider");
    assert_eq!(down.status.code(), Some(1));
    assert!(
        said(&down).contains("VN/GOV/B/provider at 127.0.0.1"),
        "{down:?}"
    );
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_asks_for_in_vain_is_a_record_with_the_user() {
    let stage = Stage::set().await;
    let consumer = stage.federation.server("consumer").unwrap();
    let state = "[[access_rights]]\nid = \"r\"\nclient = \"VN/GOV/B/echo\"\n\
                 service = \"VN/GOV/A/nowhere\"\ngrpc_service = \"a.B\"\n";
    let file = consumer.path("wrong.toml");
    fs::write(&file, state).unwrap();
    let apply = ["-f", &file.display().to_string()];
    let dry = stage.operate("consumer", "apply", &[&apply[..], &["--dry-run"]].concat());
    assert!(!dry.status.success(), "{dry:?}");
    let recorded = || {
        MessageLog::read(&consumer.endpoint().log)
            .unwrap()
            .refused_actions
    };
    assert!(recorded().is_empty(), "trying out is no action");
    let refused = stage.operate("consumer", "apply", &apply);
    assert!(!refused.status.success());
    let [action] = &recorded()[..] else {
        panic!("one refused action is recorded");
    };
    let user = fs::metadata(&file).unwrap().uid();
    assert_eq!((action.unix_user, &*action.action), (user, "apply"));
    assert!(
        said(&refused).contains(&action.reason),
        "{refused:?} {action:?}"
    );

    // Changes made for a state that is no longer the state.
    let socket = format!("unix://{}", consumer.endpoint().admin_socket.display());
    let channel = Endpoint::from_shared(socket)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut administration = SecurityServerAdministrationClient::new(channel);
    let change = Change {
        unix_user: 0,
        key: Some(Key::Subsystem("VN/GOV/A/new".to_owned())),
        value: Some(NewValue::LocalSubsystem(LocalSubsystem { enabled: true })),
    };
    let request = ApplyRequest {
        changes: vec![change],
        dry_run: false,
        based_on: Some(4711),
    };
    let refused = administration.apply(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    assert_eq!(recorded().len(), 2);
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_work_is_said_before_the_start() {
    let mut stage = Stage::set().await;
    stage
        .federation
        .server_mut("consumer")
        .unwrap()
        .stop()
        .await
        .unwrap();
    let check = |stage: &Stage| stage.operate("consumer", "check-config", &["--json"]);
    let good = check(&stage);
    assert!(good.status.success(), "{good:?}");
    // As the docs say it, in the folder of the server.
    let folder = stage.federation.server("consumer").unwrap().path("");
    let bare = Command::new(program("security-server").unwrap())
        .args(["check-config", "server.toml"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(bare.status.success(), "{bare:?}");

    let consumer = stage.federation.server("consumer").unwrap();
    let settings = fs::read_to_string(consumer.path("server.toml")).unwrap();
    let wrong = |from: &str, to: &str, says: &str| {
        assert!(settings.contains(from), "{from}");
        fs::write(consumer.path("server.toml"), settings.replace(from, to)).unwrap();
        let output = check(&stage);
        assert_eq!(output.status.code(), Some(1), "{says}: {output:?}");
        let found = json_of(&output).to_string();
        assert!(found.contains(says), "{says}: {found}");
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    wrong(
        &consumer.endpoint().exchange,
        &port,
        "Address already in use",
    );
    wrong("log = \"log\"", "log = \"none\"", "make it with init");
    wrong("anchor.json", "nothing.json", "No such file");
    wrong(
        "interval = 0.5",
        "interval = \"now\"",
        "not a valid server.toml",
    );
    wrong(
        "generation = 1",
        "generation = 2",
        "it is the log VN/GOV/A/consumer/1",
    );
    wrong(
        "key = \"signing-key.pem\"",
        "key = \"listener-key.pem\"",
        "[[signing]]",
    );
    wrong(
        "key = \"log-key.pem\"",
        "key = \"other-log-key.pem\"",
        "other-log-key.pem",
    );
    wrong(
        "[limits]",
        "[limits]\nconnections = 1000000000",
        "open files",
    );
    let plaintext = settings.rfind("127.0.0.1").unwrap();
    let outside = format!(
        "{}0.0.0.0{}",
        &settings[..plaintext],
        &settings[plaintext + 9..]
    );
    fs::write(consumer.path("server.toml"), outside).unwrap();
    assert!(said(&check(&stage)).contains("no loopback address"));
    fs::write(consumer.path("server.toml"), &settings).unwrap();

    // A key that others can read is no secret.
    let key = consumer.path("signing-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = check(&stage);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("signing-key.pem"), "{output:?}");
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_a_server_sees_how_it_is() {
    let stage = Stage::set().await;
    json_of(&stage.call(SAY, &[]));
    assert_eq!(stage.call(ELSEWHERE, &[]).status.code(), Some(1));
    // Refused by the provider, and counted so at the consumer too.
    let provider = stage.federation.server("provider").unwrap();
    let state = fs::read_to_string(provider.path("state.toml")).unwrap();
    let rights = state.find("[[access_rights]]").unwrap();
    fs::write(provider.path("none.toml"), &state[..rights]).unwrap();
    provider
        .apply_file(&provider.path("none.toml"))
        .await
        .unwrap();
    assert_eq!(stage.call(SAY, &[]).status.code(), Some(1));
    let consumer = stage.federation.server("consumer").unwrap();
    let addresses = fs::read(consumer.path("state/addresses.json")).unwrap();
    let addresses: Value = serde_json::from_slice(&addresses).unwrap();
    let address = addresses["monitoring"].as_str().unwrap();
    let metrics = fetched(address, "/metrics");
    for line in [
        "lienthong_exchanges_total{side=\"consumer\",outcome=\"answered\"} 1",
        "lienthong_exchanges_total{side=\"consumer\",outcome=\"provider.access_denied\"} 1",
        "# HELP lienthong_ready ",
        "lienthong_refused_total{refusal=\"consumer.unknown_service\"} 1",
        "lienthong_exchange_duration_seconds_bucket{side=\"consumer\"",
        "lienthong_log_sync_seconds_bucket{le=",
        "lienthong_log_batch_records_count ",
        "lienthong_configuration_age_seconds ",
        "lienthong_certificate_days_left{role=\"signing\",subject=\"VN/GOV/A\"",
        "lienthong_peer_log_unproven_promises{log=\"VN/GOV/B/provider/1\"}",
        "lienthong_ready 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(fetched(address, "/healthz").contains("200 OK"));
    assert!(fetched(address, "/readyz").contains("200 OK"));

    let shown = consumer.show().await.unwrap();
    assert_eq!(shown["serving"], true);
    let certificates = shown["certificates"].as_array().unwrap();
    let roles: Vec<_> = certificates
        .iter()
        .map(|one| one["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["authentication", "listener", "signing", "client"]);
    assert!(
        certificates
            .iter()
            .all(|one| one["days_left"].as_i64().unwrap() > 0)
    );
    assert!(shown["configuration_age_seconds"].as_i64().unwrap() >= 0);

    for (name, command) in [
        ("security-server", "check-config"),
        ("central-registry", "log-key"),
        ("adapter", "proto"),
        ("auditor", "reconcile"),
        ("certs", "authority"),
    ] {
        let completions = Command::new(program(name).unwrap())
            .args(["completions", "bash"])
            .output()
            .unwrap();
        assert!(
            completions.status.success() && said(&completions).contains(command),
            "{name}"
        );
    }
    stage.federation.stop().await.unwrap();
}

fn fetched(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_adapter_registers_is_applied() {
    let stage = Stage::set().await;
    let configuration = stage.directory.path().join("wards.toml");
    let text = "[service]\nname = \"vn.wards.v1.Wards\"\n[listen]\nunix = \"wards.sock\"\n\
                [database]\nsqlite = \"wards.db\"\n[[methods]]\nname = \"Count\"\nkind = \"unary\"\n\
                sql = \"SELECT count(*) AS n FROM wards\"\nreply = [{ name = \"n\", type = \"integer\" }]\n";
    fs::write(&configuration, text).unwrap();
    let printed = Command::new(program("adapter").unwrap())
        .arg("register")
        .arg(&configuration)
        .args(["--subsystem", PROVIDER, "--client", CLIENT])
        .output()
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).unwrap();
    // The subsystem is there already.
    let (subsystem, service) = printed.split_once("[[services]]").unwrap();
    assert!(subsystem.contains("[[subsystems]]"), "{printed}");
    let provider = stage.federation.server("provider").unwrap();
    let state = fs::read_to_string(provider.path("state.toml")).unwrap();
    let file = provider.path("more.toml");
    fs::write(&file, format!("{state}\n[[services]]{service}")).unwrap();
    provider.apply_file(&file).await.unwrap();
    let shown = stage.operate("provider", "show", &[]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("vn.wards.v1.Wards"), "{shown}");
    stage.federation.stop().await.unwrap();
}
