//! The registers of the demonstration, asked as agencies ask them: what is stored in old ways is answered in today's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod civil_status;
mod insurance;
mod population;
mod units;

use std::{path::Path, process::Command};

use examples::{
    caller::{Caller, Method},
    process::program,
    registers::{Adapter, people::people},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A register that is served.
struct Register {
    adapter: Adapter,
    caller: Caller,
    service: &'static str,
    directory: TempDir,
}

impl Register {
    async fn serve(directory: TempDir, configuration: &Path, service: &'static str) -> Self {
        let adapter = Adapter::start(configuration, directory.path())
            .await
            .unwrap();
        check(configuration);
        let address = adapter.address.trim_start_matches("http://");
        let caller = Caller::plaintext(address).await.unwrap();
        let caller = caller.with("x-road-client", "VN/GOV/H37.02/desk").unwrap();
        Self {
            caller: caller
                .with("x-road-exchange-id", "01a2063c-0000-7000-8000-000000000000")
                .unwrap(),
            adapter,
            service,
            directory,
        }
    }

    fn method(&self, name: &str) -> Method {
        Method::load(&self.adapter.proto, self.service, name).unwrap()
    }

    /// The answer of a method, in JSON as the standard maps it.
    async fn ask(&self, method: &str, request: Value) -> Result<Value, Status> {
        let answer = self.caller.unary(&self.method(method), request).await?;
        Ok(serde_json::to_value(answer.get_ref()).unwrap())
    }

    async fn list(&self, method: &str, request: Value) -> Vec<Value> {
        let answer = self
            .caller
            .server_streaming(&self.method(method), request)
            .await;
        let mut answer = answer.unwrap().into_inner();
        let mut found = Vec::new();
        while let Some(message) = answer.message().await.unwrap() {
            found.push(serde_json::to_value(&message).unwrap());
        }
        found
    }

    /// All records of a feed.
    async fn changes(&self, method: &str) -> Vec<Value> {
        let messages = self.list(method, json!({})).await;
        let records = messages
            .iter()
            .filter_map(|message| message["records"].as_array());
        records.flatten().cloned().collect()
    }
}

/// What `adapter check` says of a configuration and its database must be good.
fn check(configuration: &Path) {
    let mut check = Command::new(program("adapter").unwrap());
    let output = check.arg("check").arg(configuration).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[track_caller]
fn refused(answer: Result<Value, Status>, code: Code, reason: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, reason, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_has_a_hundred_thousand_people() {
    let people = people(100_000, 13);
    let register = population::register(&people).await;
    for person in people.iter().step_by(4_999) {
        let found = register
            .ask("FindPerson", json!({ "number": person.number }))
            .await
            .unwrap();
        assert_eq!(found["fullName"], person.full_name());
    }
    let births = civil_status::register(&people).await;
    let child = people.iter().rfind(|person| person.age() < 6).unwrap();
    let found = births
        .ask("FindBirth", json!({ "number": child.number }))
        .await
        .unwrap();
    assert_eq!(found["fullName"], child.full_name());
}
