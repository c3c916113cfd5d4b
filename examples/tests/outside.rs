//! Libraries that this project does not use verify its containers, and refuse changed ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    path::Path,
    process::{Command, Output},
};

use examples::{
    caller::Caller,
    echo::{self, CLIENT, Echo, PROVIDER, REPEAT},
    federation::Federation,
    process::{program, python},
    waiting::wait_for,
};
use serde_json::{Value, json};

/// Runs a script of the private Python, which `./check` provides.
fn verify(container: &Path, flipped: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    python()
        .unwrap()
        .arg(root.join("examples/tests/outside/container.py"))
        .arg(container)
        .args(flipped)
        .output()
        .unwrap()
}

fn export(federation: &Federation, server: &str, exchange: &str, to: &Path) -> Output {
    let log = &federation.server(server).unwrap().endpoint().log;
    Command::new(program("auditor").unwrap())
        .arg("export")
        .arg(log)
        .arg(exchange)
        .arg("-o")
        .arg(to)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_libraries_verify_a_container_and_refuse_a_changed_one() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let echo = Echo::start().await.unwrap();
    let plan = echo::plan(&echo.address);
    let federation = Federation::start(base, &plan).await.unwrap();
    let address = federation.server("consumer").unwrap().plaintext(CLIENT);
    let caller = Caller::plaintext(address.unwrap()).await.unwrap();
    let caller = caller.with("x-road-service", PROVIDER).unwrap();
    let repeat = echo::method(base, REPEAT).unwrap();
    let text = json!({ "text": "a text that stands in the container as it is" });
    let replies = caller.server_streaming(&repeat, text).await.unwrap();
    let exchange = replies.metadata().get("x-road-exchange-id").unwrap();
    let exchange = exchange.to_str().unwrap().to_owned();
    let mut replies = replies.into_inner();
    while replies.message().await.unwrap().is_some() {}

    for server in ["consumer", "provider"] {
        let container = base.join(format!("{server}.asice"));
        // A checkpoint that covers the exchange comes within half a second.
        wait_for("a container", || {
            let exported = export(&federation, server, &exchange, &container);
            std::future::ready(exported.status.success().then_some(()))
        })
        .await
        .unwrap();
        let output = verify(&container, &[]);
        assert!(output.status.success(), "{output:?}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            found["log"],
            format!("{}/1", federation.server(server).unwrap().endpoint().id)
        );
        let signers = &found["signers"];
        assert_eq!(signers["request-0000000000"], "VN/GOV/A", "{found}");
        assert_eq!(signers["reply-0000000000"], "VN/GOV/B", "{found}");

        for flipped in [
            "request-0000000000.header",
            "request-0000000000.content",
            "reply-0000000001.content",
            "META-INF/ASiCManifest-request-0000000000.xml",
            "META-INF/signature-reply-0000000000.p7s",
            "META-INF/evidence/checkpoint",
            "META-INF/evidence/log-key.pem",
            "META-INF/evidence/records.json",
        ] {
            let output = verify(&container, &[flipped]);
            assert!(
                !output.status.success(),
                "{flipped} was changed: {output:?}"
            );
        }
    }
    federation.stop().await.unwrap();
}
