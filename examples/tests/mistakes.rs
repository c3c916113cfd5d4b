//! An operator's mistakes are named before they do harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;

use certs::LogKey;
use examples::{
    federation::{Federation, Server},
    process::{finish, program},
};
use tokio::process::Command;

async fn federation() -> (tempfile::TempDir, Federation) {
    let directory = tempfile::tempdir().unwrap();
    let plan = examples::echo::plan("http://127.0.0.1:9");
    let federation = Federation::start(directory.path(), &plan).await.unwrap();
    (directory, federation)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_key_than_the_last_checkpoints_is_refused() {
    let (_directory, mut federation) = federation().await;
    let server = federation.server_mut("provider").unwrap();
    server.stop().await.unwrap();
    let key = server.path("log-key.pem");
    fs::rename(&key, server.path("right-key.pem")).unwrap();
    LogKey::generate().unwrap().write(&key).unwrap();
    let refused = server.start().await.unwrap_err().to_string();
    assert!(refused.contains("is not the key of this log"), "{refused}");
    fs::rename(server.path("right-key.pem"), &key).unwrap();
    server.start().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_refuses_what_apply_would_refuse_and_changes_nothing() {
    let (_directory, federation) = federation().await;
    let provider = federation.server("provider").unwrap();
    let before = provider.show().await.unwrap();
    let file = provider.path("state.toml");
    let good = fs::read_to_string(&file).unwrap();

    let bad = good.replace("http://127.0.0.1:9", "http://10.0.0.1:9");
    assert_ne!(good, bad);
    fs::write(&file, bad).unwrap();
    let refused = dry_run(provider).await.unwrap_err().to_string();
    assert!(refused.contains("is not on this machine"), "{refused}");

    fs::write(&file, good.replace("127.0.0.1:9", "127.0.0.1:10")).unwrap();
    let told = dry_run(provider).await.unwrap();
    assert!(told.starts_with("~ service"), "{told}");
    assert!(
        told.contains("    from adapter = \"http://127.0.0.1:9\"\n"),
        "{told}"
    );
    assert!(
        told.contains("    to   adapter = \"http://127.0.0.1:10\"\n"),
        "{told}"
    );
    assert_eq!(provider.show().await.unwrap()["state"], before["state"]);
}

async fn dry_run(server: &Server) -> Result<String, examples::Error> {
    let mut apply = Command::new(program("security-server")?);
    apply.arg("apply").arg(server.path("server.toml"));
    apply
        .arg("--dry-run")
        .arg("-f")
        .arg(server.path("state.toml"));
    Ok(String::from_utf8(finish(apply).await?.stdout)?)
}
