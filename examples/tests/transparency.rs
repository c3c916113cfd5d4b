//! A foreign client and provider in Python cannot tell the bus from a direct connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{path::Path, process::Stdio};

use examples::{
    federation::{ClientPlan, Federation, Plan, RightPlan, ServerPlan, ServicePlan},
    process::{Running, python},
    waiting::wait_for,
};
use tokio::process::Command;

const SERVICE: &str = "foreign.probe.v1.Probe";

/// Python, among the scripts of these tests.
fn scripts() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::from(python().unwrap());
    command.current_dir(root.join("examples/tests/transparency"));
    command
}

fn plan(adapter: &str) -> Plan {
    let empty = ServerPlan {
        code: String::new(),
        member: String::new(),
        name: String::new(),
        subsystems: Vec::new(),
        services: Vec::new(),
        clients: Vec::new(),
        rights: Vec::new(),
    };
    Plan {
        instance: "VN".to_owned(),
        servers: vec![
            ServerPlan {
                code: "consumer".to_owned(),
                member: "VN/GOV/A".to_owned(),
                name: "An agency that asks".to_owned(),
                subsystems: vec!["client".to_owned()],
                clients: vec![ClientPlan {
                    name: "probe".to_owned(),
                    subsystem: "client".to_owned(),
                }],
                ..empty.clone()
            },
            ServerPlan {
                code: "provider".to_owned(),
                member: "VN/GOV/B".to_owned(),
                name: "An agency that answers".to_owned(),
                subsystems: vec!["probe".to_owned()],
                services: vec![ServicePlan {
                    subsystem: "probe".to_owned(),
                    grpc_service: SERVICE.to_owned(),
                    adapter: adapter.to_owned(),
                    descriptor: None,
                }],
                rights: vec![RightPlan {
                    id: "probe".to_owned(),
                    client: "VN/GOV/A/client".to_owned(),
                    subsystem: "probe".to_owned(),
                    grpc_service: SERVICE.to_owned(),
                    methods: Vec::new(),
                    purposes: Vec::new(),
                }],
                ..empty
            },
        ],
    }
}

/// Runs the client of the suite with these arguments and shows what it says when it fails.
async fn compare(arguments: &[&str]) {
    let output = scripts()
        .arg("client.py")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_call_is_the_same_direct_and_through_the_bus() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let address_file = base.join("provider.address");
    let mut provider = scripts();
    provider
        .arg("provider.py")
        .arg("--address-file")
        .arg(&address_file);
    let _provider = Running::start_with_input("provider", provider, &base.join("logs")).unwrap();
    let direct = wait_for("the provider's address", || {
        std::future::ready(std::fs::read_to_string(&address_file).ok())
    })
    .await
    .unwrap();
    let direct = direct.trim();

    let federation = Federation::start(base, &plan(&format!("http://{direct}")))
        .await
        .unwrap();
    let server = federation.server("consumer").unwrap();
    let bus = server.plaintext("VN/GOV/A/client").unwrap();
    let metadata = [
        "--bus-metadata",
        "x-road-client=VN/GOV/A/client",
        "--bus-metadata",
        "x-road-service=VN/GOV/B/probe",
    ];
    compare(&[&["--direct", direct, "--bus", bus], &metadata[..]].concat()).await;

    let tls = server.endpoint().client_tls.clone().unwrap();
    let file = |name: &str| base.join(name).display().to_string();
    let (authority, certificate, key) = (
        file("trust/ca.pem"),
        file("clients/probe/client.pem"),
        file("clients/probe/client.key"),
    );
    let with_certificate = [
        "--bus-ca",
        &authority,
        "--bus-cert",
        &certificate,
        "--bus-key",
        &key,
    ];
    compare(
        &[
            &["--direct", direct, "--bus", &tls],
            &metadata[..],
            &with_certificate,
        ]
        .concat(),
    )
    .await;
    federation.stop().await.unwrap();
}
