//! The message log of a server: created once, opened with everything it remembers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use certs::LogKey;
use trust::{
    checkpoint::Origin, leaf::LeafPreimage, record::leaf_preimage, wire::evidence::RecordKind,
};
use verifiable_log::{InvalidRecord, KeptPart, Log, Options, Progress};

use crate::{
    clock::SharedClock,
    machine::Machine,
    recollection::{Recollection, UnreadableRecord, kept::RecollectionFile},
    recorder::local_annex,
    server::Server,
    settings::Settings,
    subjects::{SubjectKeyError, create_key},
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
    /// The key by which it names persons.
    #[error(transparent)]
    SubjectKey(#[from] SubjectKeyError),
    /// A record that cannot be read.
    #[error(transparent)]
    Record(#[from] UnreadableRecord),
}

/// Creates the message log of a server, and the key by which it names persons. A server never creates
/// them by itself: a log that is gone is a loss that somebody has to notice.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn create(settings: &Settings) -> Result<(), LogError> {
    let options = options(&Machine::this().clock);
    create_key(settings)?;
    Ok(Log::create(&settings.log, &origin(settings), &options)?)
}

/// Opens the message log.
///
/// # Errors
/// When the log is missing, damaged, in use or of another server.
pub(crate) fn open(settings: &Settings, machine: &Machine) -> Result<Log, LogError> {
    let mut tenths = Tenths::default();
    let mut progress = |now: Progress| tenths.tell(now.bytes, now.of_bytes, "verifying the log");
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
    Ok(log)
}

/// Remembers what is in the log: what was kept of that, and what was recorded since.
///
/// # Errors
/// When a record cannot be read.
pub(crate) fn recollect(
    kept: &RecollectionFile,
    log: &Log,
    key: &LogKey,
) -> Result<Recollection, LogError> {
    let known = kept.read(log, key).unwrap_or_else(|why| {
        tracing::warn!(%why, "what was kept of the log is not used; all of it is read");
        None
    });
    if let Some((size, recollection)) = known {
        match read_on(log, size, recollection) {
            Ok(recollection) => {
                // A mistake in the program: tests look for it, and releases do not read everything.
                if cfg!(debug_assertions) {
                    let all = read_on(log, 0, Recollection::default())?;
                    assert!(recollection.is_no_other_than(&all), "wrong recollection");
                }
                return Ok(recollection);
            }
            Err(why) => {
                tracing::warn!(%why, "the log does not go on from what was kept; all of it is read");
            }
        }
    }
    read_on(log, 0, Recollection::default())
}

/// Takes in the records from `size` on, which the recollection comes from.
fn read_on(log: &Log, size: u64, mut recollection: Recollection) -> Result<Recollection, LogError> {
    let mut tenths = Tenths::default();
    let records = log.size() - size;
    for (read, record) in (1..).zip(log.scan(size)?) {
        recollection.take(&record?)?;
        tenths.tell(read, records, "reading the log");
    }
    Ok(recollection)
}

/// Tells how far something has come: a line for every ten percent of what is long.
#[derive(Default)]
struct Tenths {
    told: u64,
    since: Option<Instant>,
}

impl Tenths {
    fn tell(&mut self, done: u64, of: u64, what: &'static str) {
        let since = *self.since.get_or_insert_with(Instant::now);
        let tenth = done * 10 / of.max(1);
        if tenth == self.told {
            return;
        }
        self.told = tenth;
        // What is quick needs no line.
        if since.elapsed() > Duration::from_secs(1) {
            tracing::info!(percent = tenth * 10, "{what}");
        }
    }
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

/// Keeps what is remembered, when much was recorded since it was kept or the server stops.
pub(crate) async fn keep(server: &Arc<Server>, is_last: bool) {
    let server = Arc::clone(server);
    let kept = tokio::task::spawn_blocking(move || {
        let file = server.recollection_file();
        file.keep(server.recorder(), server.log_key(), is_last)
    });
    match kept.await {
        Ok(Ok(())) => {}
        // The next start takes longer, and is no other for it.
        Ok(Err(error)) => tracing::warn!(%error, "what is remembered of the log is not kept"),
        Err(error) => tracing::warn!(%error, "what is remembered of the log is not kept"),
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
