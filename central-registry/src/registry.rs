//! The registry: its log, the state that it folds to, and what was published of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use certs::LogKey;
use durable::Posix;
use prost::Message;
use tokio::{
    sync::{Mutex, Notify},
    task::block_in_place,
};
use trust::{
    Digest,
    configuration::{CLOCK_SKEW_SECONDS, ENTRY_LIMIT, Fold, RejectedChange, RootDocument, State},
    wire::configuration::{Changes, Entry, Publication, entry::Body},
};
use verifiable_log::AppendError;

use crate::{
    Error, Settings,
    blob::RecordedBlobs,
    clock::Clock,
    publication::{PublicFiles, PublicationRecord},
    registry_log::RegistryLog,
    root_document,
    schedule::Schedule,
};

/// From when on to warn that the newest root document expires.
const ROOT_WARNING_SECONDS: i64 = 30 * 86_400;

/// A registry, open for officers and publications. One process at a time has it.
pub struct Registry {
    contents: Mutex<Contents>,
    /// Told when there are changes to publish, or no more will ever be.
    changed: Notify,
    failed: AtomicBool,
    schedule: Schedule,
    clock: Clock,
}

struct Contents {
    log: RegistryLog,
    fold: Fold,
    blobs: RecordedBlobs,
    files: PublicFiles,
    publication: Option<PublicationRecord>,
    /// When the newest publication was made, in milliseconds since 1970 (UTC).
    published_at: i64,
    /// Whether its files are all there.
    is_complete: bool,
    head_key: LogKey,
}

impl Registry {
    /// Opens the registry: repairs the end of the log after a crash, folds it, verifying every
    /// officer's decision again, and completes the published files from it.
    ///
    /// # Errors
    /// When the log does not fold, was replaced, or another process has it.
    pub async fn open(settings: &Settings, clock: Clock) -> Result<Self, Error> {
        let head_key = LogKey::load(&settings.head_key)?;
        let documents = root_document::chain(&Posix, &settings.root)?;
        check_root(settings, &documents, &head_key, clock.seconds())?;
        let files = PublicFiles::open(Arc::new(Posix), &settings.public)?;
        root_document::complete(&Posix, &documents, &settings.root, &settings.public)?;

        let log = RegistryLog::open(&settings.log, &settings.instance, clock.clone())?;
        files.check_log(&log)?;
        let mut fold = Fold::new(settings.instance.clone());
        let mut blobs = RecordedBlobs::default();
        let mut publication = None;
        log.read_all(|record| {
            let Some(entry) = &record.entry else {
                fold.other_record();
                return Ok(());
            };
            let published = fold.published().map(|(index, _)| index);
            fold.entry(entry)?;
            if fold.published().map(|(index, _)| index) != published {
                publication = fold.published().and_then(|(index, published)| {
                    Some(PublicationRecord {
                        index,
                        entry: entry.clone(),
                        annex_digest: record.annex_digest,
                        state_root: Digest::from_slice(&published.state_root)?,
                    })
                });
            }
            for blob in &record.blobs {
                files.put_blob(blob)?;
                blobs.add(blob);
            }
            Ok(())
        })?;
        fold.check_published_root()?;
        tracing::info!(
            "the log of {} has {} records and folds to a state of {} keys",
            settings.instance,
            fold.size(),
            fold.state().len()
        );
        let issued_at = fold
            .published()
            .map_or(0, |(_, publication)| publication.issued_at);
        let mut contents = Contents {
            log,
            fold,
            blobs,
            files,
            publication,
            published_at: issued_at.saturating_mul(1000),
            is_complete: false,
            head_key,
        };
        if contents.fold.is_published() {
            contents.complete()?;
        }
        Ok(Self {
            contents: Mutex::new(contents),
            changed: Notify::new(),
            failed: AtomicBool::new(false),
            schedule: Schedule::new(settings.interval, settings.validity),
            clock,
        })
    }

    /// The state in force, and the number of records of the log it was folded from.
    pub async fn view(&self) -> (State, u64) {
        let contents = self.contents.lock().await;
        (contents.fold.state().clone(), contents.fold.size())
    }

    /// Records changes that an officer decided on. When this returns, they are on disk.
    ///
    /// # Errors
    /// Why they were not recorded; or that it is unknown, and then the registry has failed.
    pub async fn submit(&self, changes: Changes, blobs: Vec<Bytes>) -> Result<u64, Error> {
        let mut contents = self.contents.lock().await;
        if !changes.request_header.is_empty() || !changes.request_signature.is_empty() {
            let problem = "a member's signed request cannot be verified here yet; leave it out";
            return Err(RejectedChange::ChangeSet(problem.to_owned()).into());
        }
        let set = contents.fold.check(&changes)?;
        let instance = contents.fold.state().instance().clone();
        contents.blobs.check(&instance, &set, &blobs)?;
        let officer = changes
            .decision
            .as_ref()
            .map_or("", |decision| &decision.officer)
            .to_owned();
        let entry = Entry {
            instance: instance.to_string(),
            created_at: self.clock.seconds(),
            body: Some(Body::Changes(changes)),
        };
        let index = self.append(&mut contents, entry, &blobs).await?.0;
        for blob in &blobs {
            contents.blobs.add(blob);
        }
        contents.files.add_blobs(blobs);
        tracing::info!(
            "officer {officer} changed {} keys, recorded as entry {index}: {}",
            set.changes.len(),
            if set.reason.is_empty() {
                "no reason given"
            } else {
                &set.reason
            }
            .escape_default()
        );
        self.changed.notify_one();
        Ok(index)
    }

    /// Publishes the state: appends a publication, signs the checkpoint over it, puts the files.
    /// If only the files of the newest publication are missing, puts them. Gives the serial.
    ///
    /// # Errors
    /// When the clock was set back, or something could not be written.
    pub async fn publish(&self) -> Result<u64, Error> {
        let mut contents = self.contents.lock().await;
        let now = self.clock.milliseconds();
        let is_renewal = now >= self.schedule.due(contents.published_at, false);
        if contents.is_complete || is_renewal || !contents.fold.is_published() {
            self.append_publication(&mut contents, now).await?;
        }
        let completed = contents.complete();
        self.note_failure(&completed);
        completed
    }

    async fn append_publication(&self, contents: &mut Contents, now: i64) -> Result<(), Error> {
        let issued_at = contents.issue_time(now.div_euclid(1000))?;
        let state = contents.fold.state();
        let state_root = block_in_place(|| state.root());
        let publication = Publication {
            state_root: state_root.to_bytes(),
            state_size: state.len() as u64,
            issued_at,
            expires_at: self.schedule.expires_at(issued_at),
        };
        let entry = Entry {
            instance: state.instance().to_string(),
            created_at: now.div_euclid(1000),
            body: Some(Body::Publication(publication)),
        };
        contents.is_complete = false;
        let (index, entry, annex_digest) = self.append(contents, entry, &[]).await?;
        contents.publication = Some(PublicationRecord {
            index,
            entry,
            annex_digest,
            state_root,
        });
        contents.published_at = now;
        Ok(())
    }

    /// When the next publication is due, in milliseconds since 1970 (UTC).
    pub(crate) async fn due(&self) -> i64 {
        let contents = self.contents.lock().await;
        let now = self.clock.milliseconds();
        let is_behind = now + CLOCK_SKEW_SECONDS * 1000 < contents.published_at;
        // A clock set back makes the attempt fail by name, instead of silence until it is there.
        if contents.fold.published().is_none() || !contents.is_complete || is_behind {
            return now;
        }
        self.schedule
            .due(contents.published_at, !contents.fold.is_published())
    }

    /// Waits for changes, or for the registry to fail.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the log has failed: what is on disk is then unknown, and the process must end.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) const fn schedule(&self) -> Schedule {
        self.schedule
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Appends an entry that was checked, and folds it once it is on disk. Gives its index, its
    /// bytes and the digest of its annex.
    async fn append(
        &self,
        contents: &mut Contents,
        entry: Entry,
        blobs: &[Bytes],
    ) -> Result<(u64, Bytes, Digest), Error> {
        if self.has_failed() {
            let problem = "the registry is ending: its log has failed".to_owned();
            return Err(Error::Unusable(problem));
        }
        let entry = Bytes::from(entry.encode_to_vec());
        if entry.len() > ENTRY_LIMIT {
            let problem = format!("an entry measures at most {ENTRY_LIMIT} bytes; split it");
            return Err(RejectedChange::ChangeSet(problem).into());
        }
        let appended = contents.log.append(entry.clone(), blobs).await;
        self.note_failure(&appended);
        let (index, annex_digest) = appended?;
        let folded = contents.fold.entry(&entry).map_err(Error::from);
        self.note_failure(&folded);
        folded?;
        Ok((index, entry, annex_digest))
    }

    /// After these nothing more can be relied on: what is on disk is unknown, or not what is in
    /// memory. The next start reads it again.
    fn note_failure<T>(&self, outcome: &Result<T, Error>) {
        use verifiable_log::Error as LogError;
        let fatal = match outcome {
            Err(Error::Append(AppendError::Failed(_) | AppendError::Closed) | Error::Fold(_)) => {
                true
            }
            // A file that could not be written may be written next time.
            Err(Error::Log(error)) => !matches!(error, LogError::Storage { .. }),
            _ => false,
        };
        if fatal {
            self.failed.store(true, Ordering::Release);
            self.changed.notify_one();
        }
    }
}

impl Contents {
    /// Puts the files of the newest publication, which must be about the state as it is. Gives
    /// its serial.
    fn complete(&mut self) -> Result<u64, Error> {
        let Some(publication) = &self.publication else {
            return Err(Error::Unusable("there is no publication".to_owned()));
        };
        let checkpoint = self.log.checkpoint(&self.head_key)?;
        let state = self.fold.state();
        block_in_place(|| {
            self.files
                .publish(&self.log, &checkpoint, publication, state)
        })?;
        self.is_complete = true;
        Ok(checkpoint.unverified().size)
    }

    /// The time of the next publication: never before the one before.
    fn issue_time(&self, now: i64) -> Result<i64, Error> {
        let newest = self
            .fold
            .published()
            .map_or(i64::MIN, |(_, newest)| newest.issued_at);
        if now.saturating_add(CLOCK_SKEW_SECONDS) < newest {
            return Err(Error::ClockBehind(newest - now));
        }
        Ok(now.max(newest))
    }
}

/// Whether the head key may sign, by the newest root document.
fn check_root(
    settings: &Settings,
    documents: &[RootDocument],
    head_key: &LogKey,
    now: i64,
) -> Result<(), Error> {
    let Some(newest) = documents.last() else {
        return Err(Error::content(&settings.root, "there is no root document"));
    };
    if *newest.instance() != settings.instance {
        let problem = format!("the root documents are of instance {}", newest.instance());
        return Err(Error::content(&settings.root, problem));
    }
    let document = newest.document();
    if !document
        .head_keys
        .iter()
        .any(|key| *key == head_key.public_key().as_slice())
    {
        let problem = format!(
            "the key is not a head key of root document {}; servers would refuse what it signs",
            document.version
        );
        return Err(Error::content(&settings.head_key, problem));
    }
    let left = document.expires_at - now;
    if left <= 0 {
        tracing::error!(
            "root document {} has expired: servers refuse what is published until the next one is \
             (`central-registry root next`)",
            document.version
        );
    } else if left < ROOT_WARNING_SECONDS {
        tracing::warn!(
            "root document {} expires in {} days; publish the next one in time \
             (`central-registry root next`)",
            document.version,
            left / 86_400
        );
    }
    Ok(())
}
