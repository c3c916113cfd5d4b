//! Fills the log of a server before anything is measured, and sees how long it then takes to start.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use certs::LogKey;
use prost::Message;
use serde::Serialize;
use trust::wire::evidence::{Annex, RecordKind, SecurityEvent, Stage};
use verifiable_log::{Log, Options, Record};

use crate::{Error, federation::Server, message_log::leaf_of, waiting::wait_long_for};

/// How long a server took to start, in seconds, with a log of so many records.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Starts {
    /// Records in its log.
    pub records: u64,
    /// When nothing was kept of the log: it reads everything.
    pub without_views_seconds: f64,
    /// After it was stopped.
    pub after_stop_seconds: f64,
    /// After it was killed.
    pub after_kill_seconds: f64,
}

/// A server that reads everything reads hundreds of thousands of records a second.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What a server says when it has.
const SCRUBBED: &str = "the log was read again and is whole";
/// Appended together.
const TOGETHER: u64 = 4096;
/// With it a record is as long as that of a short message with its signature.
const TEXT: usize = 900;

/// Appends records to the log of a server, and restarts it.
///
/// # Errors
/// When the server does not stop or start, or its log takes no records.
pub async fn fill(
    server: &mut Server,
    records: u64,
    mut progress: impl FnMut(u64),
) -> Result<Starts, Error> {
    server.stop().await?;
    let folder = server.path("log");
    let key = LogKey::load(&server.path("log-key.pem"))?;
    let log = Log::open(&folder, options(), &mut |_| ())?;
    while log.size() < records {
        let count = TOGETHER.min(records - log.size());
        log.append_all((0..count).map(|_| record()).collect())
            .await?;
        progress(log.size());
    }
    log.checkpoint(key.key_pair())?;
    drop(log);
    std::fs::remove_dir_all(folder.join("views"))?;
    let without_views_seconds = start(server).await?;
    server.stop().await?;
    let after_stop_seconds = start(server).await?;
    server.kill().await?;
    let before = server.times_said(SCRUBBED);
    let after_kill_seconds = start(server).await?;
    // It reads all again in the background, and would be measured with that.
    wait_long_for("a log to be read again", PATIENCE, || {
        std::future::ready((server.times_said(SCRUBBED) > before).then_some(()))
    })
    .await?;
    Ok(Starts {
        records,
        without_views_seconds,
        after_stop_seconds,
        after_kill_seconds,
    })
}

async fn start(server: &mut Server) -> Result<f64, Error> {
    let begun = Instant::now();
    server.start_within(PATIENCE).await?;
    Ok(begun.elapsed().as_secs_f64())
}

fn options() -> Options {
    Options::new(leaf_of, Arc::new(annex))
}

/// A record that changes nothing: something refused.
fn record() -> Record {
    let event = SecurityEvent {
        reason: "made up to fill a log".repeat(TEXT / 21),
        ..SecurityEvent::default()
    };
    let kind = RecordKind::Security as u8;
    Record::local(kind, event.encode_to_vec().into(), annex(kind))
}

fn annex(kind: u8) -> Bytes {
    let annex = Annex {
        kind: kind.into(),
        stage: Stage::Local.into(),
        salt: Bytes::from_static(&[7; 16]),
        ..Annex::default()
    };
    annex.encode_to_vec().into()
}
