//! The provider in Python, as an integrator would run it: on a socket and on another machine, behind real security servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{fs, path::PathBuf};

use certs::Subject;
use examples::{
    caller::{Caller, Method, text},
    echo::{self, CLIENT, PROVIDER},
    federation::{Federation, Plan},
    process::{Running, python},
    waiting::wait_for,
};
use serde_json::json;
use tokio::process::Command;
use tonic::Code;

const SERVICE: &str = "vn.vaccination.v1.Vaccination";

/// In the provider's folder.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("python-provider")
        .join(name)
}

/// The two agencies of [`echo::plan`], with this service.
fn plan() -> Plan {
    let mut plan = echo::plan("http://127.0.0.1:1");
    for server in &mut plan.servers {
        for service in &mut server.services {
            service.grpc_service = SERVICE.to_owned();
        }
        for right in &mut server.rights {
            right.grpc_service = SERVICE.to_owned();
        }
    }
    plan
}

struct Provider {
    running: Running,
    log: PathBuf,
}

impl Provider {
    async fn start(
        federation: &Federation,
        base: &std::path::Path,
        name: &str,
        arguments: &[&str],
    ) -> Self {
        let mut command = Command::from(python().unwrap());
        command
            .arg(file("provider.py"))
            .arg(base.join("station.db"))
            .args(arguments);
        let running = Running::start(name, command, base).unwrap();
        let log = base.join(format!("{name}.log"));
        let said = wait_for("the provider to listen", || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            std::future::ready(
                said.lines()
                    .next()
                    .map(str::to_owned)
                    .filter(|_| said.ends_with('\n')),
            )
        });
        let address = match said.await.unwrap() {
            socket if socket.starts_with("unix:") => socket,
            port => format!("https://127.0.0.1:{}", port.rsplit(' ').next().unwrap()),
        };
        federation
            .server("provider")
            .unwrap()
            .host(&address)
            .await
            .unwrap();
        Self { running, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_those_whom_the_security_server_has_verified_and_keeps_things_once() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let federation = Federation::start(base, &plan()).await.unwrap();
    let socket = format!("unix:{}", base.join("station.sock").display());
    let provider = Provider::start(&federation, base, "python", &[&socket]).await;
    let made = std::process::Command::new("python3")
        .args(["-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(\"INSERT INTO child VALUES ('001225000017')\")"])
        .arg(base.join("station.db"))
        .status();
    assert!(made.unwrap().success());
    // A second one does not take the callers of the first.
    let second = python()
        .unwrap()
        .arg(file("provider.py"))
        .arg(base.join("other.db"))
        .arg(&socket)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("another provider answers"), "{said}");

    let address = federation
        .server("consumer")
        .unwrap()
        .plaintext(CLIENT)
        .unwrap()
        .to_owned();
    let anybody = Caller::plaintext(&address)
        .await
        .unwrap()
        .with("x-road-service", PROVIDER)
        .unwrap();
    let caller = anybody
        .clone()
        .with("x-road-purpose", "school%20enrolment")
        .unwrap();
    let keep = Method::load(&file("vaccination.proto"), SERVICE, "RecordVaccination").unwrap();
    let list = Method::load(&file("vaccination.proto"), SERVICE, "ListVaccinations").unwrap();
    let child = "001225000017";
    let vaccination = |record: &str, vaccine: &str, day: &str| json!({ "number": child, "vaccine": vaccine, "givenOn": day, "record": record });
    let kept = |answer: &prost_reflect::DynamicMessage| {
        answer
            .get_field_by_name("is_new")
            .unwrap()
            .as_bool()
            .unwrap()
    };
    for (record, vaccine, day, is_new) in [
        ("r-2", "Sởi", "2026-02-03", true),
        ("r-1", "BCG", "2025-11-28", true),
        ("r-1", "BCG", "2025-11-28", false),
    ] {
        let answer = caller
            .unary(&keep, vaccination(record, vaccine, day))
            .await
            .unwrap();
        assert_eq!(kept(answer.get_ref()), is_new, "{record}");
    }
    for (request, code) in [
        (
            vaccination("r-1", "BCG", "2025-11-29"),
            Code::FailedPrecondition,
        ),
        (
            vaccination("r-3", "BCG", "28/11/2025"),
            Code::InvalidArgument,
        ),
        (vaccination("", "BCG", "2025-11-28"), Code::InvalidArgument),
        (
            json!({ "number": "2", "vaccine": "BCG", "givenOn": "2025-11-28", "record": "r-4" }),
            Code::NotFound,
        ),
    ] {
        let refused = caller.unary(&keep, request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{request}: {refused:?}");
    }
    let mut stream = caller
        .server_streaming(&list, json!({ "number": child }))
        .await
        .unwrap()
        .into_inner();
    let mut found = Vec::new();
    while let Some(record) = stream.message().await.unwrap() {
        found.push((text(&record, "vaccine"), text(&record, "given_on")));
    }
    let expected = [("BCG", "2025-11-28"), ("Sởi", "2026-02-03")];
    assert_eq!(
        found,
        expected.map(|(vaccine, day)| (vaccine.to_owned(), day.to_owned()))
    );

    // Another purpose, or none, is not answered.
    for caller in [
        anybody.clone(),
        anybody.with("x-road-purpose", "curiosity").unwrap(),
    ] {
        let refused = caller
            .unary(&keep, vaccination("r-5", "BCG", "2026-01-01"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    // It has said who called, and nothing of whom they asked for.
    let said = provider.said();
    assert!(
        said.contains("VN/GOV/A/client") && !said.contains(child),
        "{said}"
    );
    provider.running.stop().await.unwrap();
    federation.audit().await.unwrap();
    federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_another_machine_it_is_called_by_its_security_server_and_by_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let federation = Federation::start(base, &plan()).await.unwrap();
    let (certificate, key) = (base.join("station.pem"), base.join("station-key.pem"));
    let subject = Subject::Listener {
        name: "station".to_owned(),
        names: vec!["127.0.0.1".to_owned()],
    };
    federation
        .authority
        .issue(&subject, &certificate, &key)
        .unwrap();
    let list = Method::load(&file("vaccination.proto"), SERVICE, "ListVaccinations").unwrap();
    let address = federation
        .server("consumer")
        .unwrap()
        .plaintext(CLIENT)
        .unwrap()
        .to_owned();
    let caller = Caller::plaintext(&address).await.unwrap();
    let caller = caller.with("x-road-service", PROVIDER).unwrap();
    let caller = caller.with("x-road-purpose", "vaccination").unwrap();
    for (known, expected) in [("provider", Code::NotFound), ("consumer", Code::Internal)] {
        let callers = federation.server(known).unwrap().path("adapters.pem");
        let files = [
            ("--certificate", &certificate),
            ("--key", &key),
            ("--callers", &callers),
        ];
        let files = files.map(|(option, path)| [option, path.to_str().unwrap()]);
        let arguments = [&["127.0.0.1:0"][..], &files.concat()].concat();
        let provider =
            Provider::start(&federation, base, &format!("python-{known}"), &arguments).await;
        let called = caller
            .server_streaming(&list, json!({ "number": "1" }))
            .await;
        let refused = match called {
            Err(refused) => refused,
            Ok(stream) => stream.into_inner().message().await.unwrap_err(),
        };
        assert_eq!(refused.code(), expected, "{known}: {refused:?}");
        provider.running.stop().await.unwrap();
    }
    federation.stop().await.unwrap();
}
