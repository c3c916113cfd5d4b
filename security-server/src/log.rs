//! The message log of a server: created once, opened with everything it remembers.

use std::sync::Arc;

use bytes::Bytes;
use certs::LogKey;
use trust::{
    checkpoint::Origin, leaf::LeafPreimage, record::leaf_preimage, wire::evidence::RecordKind,
};
use verifiable_log::{InvalidRecord, KeptPart, Log, Options, Progress};

use crate::{
    clock::SharedClock,
    machine::Machine,
    recollection::{Recollection, UnreadableRecord},
    recorder::local_annex,
    server::Server,
    settings::Settings,
};

/// The message log cannot be created or opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log itself.
    #[error(transparent)]
    Log(#[from] verifiable_log::Error),
    /// The log is of another server, or of another generation.
    #[error("the log in {folder} is that of {found}, not of {expected} as server.toml says")]
    OtherLog {
        /// Where.
        folder: std::path::PathBuf,
        /// Whose log it is.
        found: Origin,
        /// Whose it should be.
        expected: Origin,
    },
    /// A record that cannot be read.
    #[error(transparent)]
    Record(#[from] UnreadableRecord),
}

/// Creates the message log of a server. A server never creates it by itself: a log that is gone
/// is a loss that somebody has to notice.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn create(settings: &Settings) -> Result<(), LogError> {
    let options = options(&Machine::this().clock);
    Ok(Log::create(&settings.log, &origin(settings), &options)?)
}

/// Opens the message log and remembers what is in it.
///
/// # Errors
/// When the log is missing, damaged, in use or of another server.
pub(crate) fn open(
    settings: &Settings,
    machine: &Machine,
) -> Result<(Log, Recollection), LogError> {
    let mut told = 0;
    let mut progress = |progress: Progress| {
        // A line for every ten percent; short logs need none.
        let tenth = progress.bytes * 10 / progress.of_bytes.max(1);
        if tenth > told {
            told = tenth;
            tracing::info!(
                records = progress.records,
                percent = tenth * 10,
                "reading the log"
            );
        }
    };
    let files = Arc::clone(&machine.files);
    let options = options(&machine.clock);
    let log = Log::open_on(files, &settings.log, options, &mut progress)?;
    let expected = origin(settings);
    if *log.origin() != expected {
        return Err(LogError::OtherLog {
            folder: settings.log.clone(),
            found: log.origin().clone(),
            expected,
        });
    }
    if log.last_checkpoint().is_none() && log.size() > 0 {
        // A server signs one before it takes its first message.
        tracing::error!(
            records = log.size(),
            "the log has records and no checkpoint: it was deleted, and records may be gone with it; \
             have an auditor hold this log against those of other agencies"
        );
    }
    let mut recollection = Recollection::default();
    for record in log.scan(0)? {
        recollection.take(&record?.record)?;
    }
    Ok((log, recollection))
}

/// Whether a key is the one that signed the last checkpoint; any key may sign the first.
pub(crate) fn is_key_of(log: &Log, key: &LogKey) -> bool {
    let public = trust::checkpoint::LogKey::from_slice(&key.public_key());
    log.last_checkpoint()
        .is_none_or(|last| public.is_some_and(|public| last.verify(log.origin(), &public).is_ok()))
}

/// Signs a checkpoint if there is something new.
pub(crate) async fn checkpoint(server: &Arc<Server>) {
    let server = Arc::clone(server);
    let signed = tokio::task::spawn_blocking(move || {
        let key = server.log_key().key_pair();
        server.recorder().log().checkpoint(key).map(drop)
    });
    match signed.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "no checkpoint was signed"),
        Err(error) => tracing::error!(%error, "no checkpoint was signed"),
    }
}

/// Reads the whole log again in the background; damage makes the log fail, and the server stop.
pub(crate) fn scrub(server: Arc<Server>) {
    std::thread::spawn(move || match server.recorder().log().scrub(&mut |_| ()) {
        Ok(read) => tracing::info!(
            records = read.records,
            "the log was read again and is whole"
        ),
        Err(error) => tracing::error!(%error, "the log could not be read again"),
    });
}

fn origin(settings: &Settings) -> Origin {
    Origin::of_server(&settings.server, settings.log_key.generation)
}

pub(crate) fn options(clock: &SharedClock) -> Options {
    let clock = Arc::clone(clock);
    let annex_of = move |kind: u8| {
        let kind = RecordKind::try_from(i32::from(kind)).unwrap_or(RecordKind::Unspecified);
        local_annex(kind, clock.milliseconds())
    };
    Options::new(
        leaf_of,
        Arc::new(annex_of) as Arc<dyn Fn(u8) -> Bytes + Send + Sync>,
    )
}

fn leaf_of(kept: &KeptPart) -> Result<LeafPreimage, InvalidRecord> {
    leaf_preimage(kept.kind, &kept.header, &kept.signature, &kept.annex)
        .map_err(|refusal| InvalidRecord(refusal.to_string()))
}
