//! Health answers for this server only: serving with a configuration, not serving without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use examples::{
    federation::{ClientPlan, Federation, Plan, ServerPlan},
    waiting::wait_for,
};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

fn plan() -> Plan {
    let server = ServerPlan {
        code: "only".to_owned(),
        member: "VN/GOV/A".to_owned(),
        name: "An agency".to_owned(),
        subsystems: vec!["client".to_owned()],
        services: Vec::new(),
        clients: vec![ClientPlan {
            name: "probe".to_owned(),
            subsystem: "client".to_owned(),
        }],
        rights: Vec::new(),
    };
    Plan {
        instance: "VN".to_owned(),
        servers: vec![server],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_whether_this_server_can_serve() {
    let directory = tempfile::tempdir().unwrap();
    let mut federation = Federation::start(directory.path(), &plan()).await.unwrap();
    let address = federation
        .server("only")
        .unwrap()
        .plaintext("VN/GOV/A/client")
        .unwrap()
        .to_owned();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());

    let reply = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(reply.into_inner().status(), ServingStatus::Serving);
    let watching = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(watching.code(), Code::Unimplemented);

    // Without a configuration the server runs and says that it cannot serve.
    let server = federation.server_mut("only").unwrap();
    server.kill().await.unwrap();
    let settings = server.path("server.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let unreachable = text.replace("sources = [\"http://", "sources = [\"http://127.0.0.1:1/");
    assert_ne!(text, unreachable);
    std::fs::write(&settings, unreachable).unwrap();
    std::fs::remove_file(server.path("state/configuration.json")).unwrap();
    server.start().await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = wait_for("the server to accept connections", || async {
        endpoint.connect().await.ok()
    })
    .await
    .unwrap();
    let reply = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
    assert_eq!(reply.into_inner().status(), ServingStatus::NotServing);
}
