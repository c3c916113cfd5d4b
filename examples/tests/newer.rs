//! A server that is behind looks for the configuration that its peer says it has, and decides again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{ffi::OsStr, fs};

use examples::{
    caller::{Caller, Method},
    demonstration::Stage,
    registers::units,
};
use serde_json::json;

const COMMUNE: &str = "VN/GOV/H37.02/commune";
const DESK: &str = "VN/GOV/H37.02/desk";

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_the_provider_has_not_heard_of_yet_is_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(directory.path()).await.unwrap();
    let arguments = [OsStr::new(COMMUNE), OsStr::new(DESK)];
    let registry = &stage.agencies.federation.registry;
    registry
        .officer(&["registration", "disable"], &arguments)
        .await
        .unwrap();
    let serial = registry.serial_after_changes().await.unwrap();
    for server in stage.agencies.federation.servers() {
        server.wait_for_serial(serial).await.unwrap();
    }

    // From here on the ministry would not look by itself for an hour.
    let ministry = stage.agencies.federation.server_mut("ministry").unwrap();
    ministry.kill().await.unwrap();
    let settings = ministry.path("server.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let rarely = text.replace("interval = 0.2", "interval = 3600");
    assert_ne!(text, rarely);
    fs::write(&settings, rarely).unwrap();
    ministry.start().await.unwrap();
    ministry.wait_for_serial(serial).await.unwrap();

    let registry = &stage.agencies.federation.registry;
    registry
        .officer(&["registration", "add"], &arguments)
        .await
        .unwrap();
    let serial = registry.serial_after_changes().await.unwrap();
    let commune = stage.agencies.federation.server("commune").unwrap();
    commune.wait_for_serial(serial).await.unwrap();

    let caller = Caller::plaintext(commune.plaintext(DESK).unwrap())
        .await
        .unwrap();
    let caller = caller.with("x-road-service", "VN/GOV/G01/units").unwrap();
    let proto = directory.path().join("registers/units.proto");
    let find = Method::load(&proto, units::SERVICE, "FindUnit").unwrap();
    let reply = caller.unary(&find, json!({ "code": "01" })).await;
    reply.unwrap_or_else(|status| panic!("{}", status.message()));
    stage.clear().await.unwrap();
}
