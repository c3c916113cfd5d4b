//! A server whose disk is full refuses, loses nothing, closes what was open, and goes on by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::{BufMut, Bytes, BytesMut};
use examples::{
    bare_caller::{Answer, BareCaller},
    caller::Caller,
    echo::{self, CLIENT, Echo, FOLLOW, PROVIDER, SAY},
    federation::Federation,
    folders::copy,
    message_log::MessageLog,
    waiting::{PATIENCE, wait_for},
};
use prost_reflect::DynamicMessage;
use serde_json::json;
use tokio::time::timeout;
use tonic::Code;
use trust::ExchangeId;

/// A file system of its own, unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one with so many MiB.
    fn mount(folder: &Path, size: u32) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"],
            folder,
        )?;
        Ok(Self(folder.to_owned()))
    }

    fn resize(&self, size: u32) {
        let options = format!("remount,size={size}m");
        run("mount", &["-o", &options], &self.0).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> io::Result<()> {
    let output = Command::new(program).args(arguments).arg(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

/// An encoded `Text` of a mebibyte.
fn large() -> Bytes {
    let mut message = BytesMut::new();
    message.put_slice(&[0x0a, 0x80, 0x80, 0x40]);
    message.put_bytes(b'x', 1024 * 1024);
    message.freeze()
}

async fn say(caller: &BareCaller, message: &[u8]) -> Answer {
    let metadata = [("x-road-service", PROVIDER)];
    caller.call(SAY, &metadata, message).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_closes_what_was_open_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let disk = match SmallDisk::mount(&base.join("disk"), 32) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!(
                "NOT on a real full disk: this machine mounts none ({error}); the log's own tests \
                 fill one through the file layer (verifiable-log/tests)"
            );
            return;
        }
    };
    eprintln!("on a real file system of 32 MiB");
    let echo = Echo::start().await.unwrap();
    let plan = echo::plan(&echo.address);
    let mut federation = Federation::start(base, &plan).await.unwrap();
    let provider = federation.server_mut("provider").unwrap();
    provider.stop().await.unwrap();
    let log = disk.0.join("log");
    copy(&provider.endpoint().log, &log).unwrap();
    let settings = fs::read_to_string(provider.path("server.toml")).unwrap();
    let moved = settings.replace("log = \"log\"", &format!("log = {log:?}"));
    assert_ne!(moved, settings);
    fs::write(provider.path("server.toml"), moved).unwrap();
    provider.start().await.unwrap();

    let address = federation
        .server("consumer")
        .unwrap()
        .plaintext(CLIENT)
        .unwrap();
    let caller = BareCaller::plaintext(address).await.unwrap();
    let following = Caller::plaintext(address).await.unwrap();
    let following = following.with("x-road-service", PROVIDER).unwrap();
    let follow = echo::method(base, FOLLOW).unwrap();
    let stream = following
        .server_streaming(&follow, json!({ "text": "on" }))
        .await
        .unwrap();
    let exchange = stream.metadata().get("x-road-exchange-id").unwrap();
    let exchange: ExchangeId = exchange.to_str().unwrap().parse().unwrap();
    let mut stream = stream.into_inner();
    assert!(stream.message().await.unwrap().is_some());

    // Large messages until the segment is used up and another has no room.
    let mut answered = Vec::new();
    let message = large();
    let refused = loop {
        let answer = say(&caller, &message).await;
        if answer.status.code() != Code::Ok {
            break answer;
        }
        answered.push(answer.field("x-road-exchange-id").unwrap().to_owned());
        assert!(answered.len() < 100, "the disk is never full");
    };
    assert!(!answered.is_empty());
    assert_eq!(
        refused.field("x-road-refusal"),
        Some("provider.log_unavailable"),
        "{refused:?}"
    );
    assert_eq!(refused.field("x-road-fault"), Some("provider"));
    let calls = echo.calls();
    let again = say(&caller, &message).await;
    assert_eq!(
        again.field("x-road-refusal"),
        Some("provider.log_unavailable")
    );
    assert_eq!(
        echo.calls(),
        calls,
        "no call reaches the adapter without its record"
    );

    // The open stream can record no further reply: it ends, and its end fits into the reserve.
    let mut replies = 0;
    echo.release();
    while let Some(reply) = next_of(&mut stream).await {
        replies += 1;
        assert!(
            reply && replies < 10_000,
            "{replies} replies, and the disk is not full"
        );
        echo.release();
    }
    let closed = wait_for("the closing record", || {
        let recorded = MessageLog::read(&log).ok();
        let closings = recorded.map(|log| log.closings_of(exchange).len());
        std::future::ready(closings.filter(|closings| *closings > 0))
    });
    assert_eq!(closed.await.unwrap(), 1);
    assert!(answers_to_the_operator(&federation).await);

    // Room again: the server goes on by itself.
    disk.resize(96);
    wait_for("the server to go on", || async {
        let answer = say(&caller, b"\x0a\x02hi").await;
        (answer.status.code() == Code::Ok).then_some(())
    })
    .await
    .unwrap();
    let recorded = MessageLog::read(&log).unwrap();
    for exchange in &answered {
        let exchange: ExchangeId = exchange.parse().unwrap();
        assert!(
            recorded.messages_of(exchange).count() >= 2,
            "an answered exchange is lost"
        );
    }
    let provider = federation.server_mut("provider").unwrap();
    provider.kill().await.unwrap();
    provider.start().await.unwrap();
    assert_eq!(say(&caller, b"\x0a\x02hi").await.status.code(), Code::Ok);
    federation
        .server_mut("provider")
        .unwrap()
        .stop()
        .await
        .unwrap();
    let original = federation
        .server("provider")
        .unwrap()
        .endpoint()
        .log
        .clone();
    fs::remove_dir_all(&original).unwrap();
    copy(&log, &original).unwrap();
    federation.audit().await.unwrap();
    federation.stop().await.unwrap();
}

/// Whether the stream gives one more reply; none when it ends with a refusal.
async fn next_of(stream: &mut tonic::Streaming<DynamicMessage>) -> Option<bool> {
    let next = timeout(PATIENCE, stream.message()).await;
    match next.expect("the stream goes on or ends") {
        Ok(reply) => Some(reply.is_some()),
        Err(_) => None,
    }
}

/// A full disk does not lock the operator out.
async fn answers_to_the_operator(federation: &Federation) -> bool {
    let shown = federation.server("provider").unwrap().show().await;
    shown.is_ok_and(|shown| shown["log"]["records"].as_u64() > Some(0))
}
