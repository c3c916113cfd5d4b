//! An authentication certificate is renewed and the old one removed, without a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;

use certs::Subject;
use examples::{
    caller::{Caller, Method},
    demonstration::Stage,
    federation::{Federation, Server},
    registers::units,
};
use serde_json::json;

async fn find_unit(commune: &Caller, find: &Method) {
    let reply = commune.unary(find, json!({ "code": "01" })).await;
    reply.unwrap_or_else(|status| panic!("{}", status.message()));
}

/// Renews a server's certificate as its operator and the officer do, and removes the old one.
async fn renew(federation: &Federation, server: &Server) {
    let (certificate, key) = (
        server.path("authentication.pem"),
        server.path("authentication-key.pem"),
    );
    let (new, new_key) = (server.path("new.pem"), server.path("new-key.pem"));
    let old = server.path("old.pem");
    let subject = Subject::Authentication {
        server: server.endpoint().id.parse().unwrap(),
        organization: None,
    };
    federation
        .authority
        .issue(&subject, &new, &new_key)
        .unwrap();
    fs::copy(&certificate, &old).unwrap();

    let registry = &federation.registry;
    registry
        .officer(&["certificate", "add"], &[new.as_os_str()])
        .await
        .unwrap();
    everybody_knows(federation).await;
    fs::rename(&new, &certificate).unwrap();
    fs::rename(&new_key, &key).unwrap();
    server.reload_certificates().await.unwrap();
    registry
        .officer(&["certificate", "remove"], &[old.as_os_str()])
        .await
        .unwrap();
    everybody_knows(federation).await;
}

async fn everybody_knows(federation: &Federation) {
    let serial = federation.registry.serial_after_changes().await.unwrap();
    for server in federation.servers() {
        server.wait_for_serial(serial).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_followed_on_both_sides_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(directory.path()).await.unwrap();
    let federation = &stage.agencies.federation;
    let commune = federation.server("commune").unwrap();
    let address = commune.plaintext("VN/GOV/H37.02/desk").unwrap();
    let caller = Caller::plaintext(address).await.unwrap();
    let caller = caller.with("x-road-service", "VN/GOV/G01/units").unwrap();
    let proto = directory.path().join("registers/units.proto");
    let find = Method::load(&proto, units::SERVICE, "FindUnit").unwrap();

    find_unit(&caller, &find).await;
    renew(federation, commune).await;
    find_unit(&caller, &find).await;
    renew(federation, federation.server("ministry").unwrap()).await;
    find_unit(&caller, &find).await;
    stage.clear().await.unwrap();
}
