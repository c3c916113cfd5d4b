//! The registered descriptors of services: fetched once where the configuration is published, proven
//! by their digest, and kept.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use durable::FileSystem;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use trust::Digest;

use super::{
    Marking,
    marks::{LIMIT, Marks},
};
use crate::source::Published;

/// How long exchanges wait for a descriptor in all; it is fetched for the next ones all the same.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one that could not be had is not asked for again.
const PAUSE: Duration = Duration::from_secs(30);
const MODE: u32 = 0o644;

/// What is known of a descriptor.
#[derive(Debug, Clone)]
enum Known {
    /// It is being fetched, since then.
    NotYet(Instant),
    Marks(Arc<Marks>),
    /// It could not be had then.
    Unavailable(Instant),
}

/// The descriptors that this server has needed so far, by digest; no more than the configuration has.
pub(crate) struct Descriptors {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
    published: Published,
    known: Mutex<HashMap<Digest, watch::Receiver<Known>>>,
}

impl Descriptors {
    /// They are kept in a folder, which is made when the first is.
    pub(crate) fn new(files: Arc<dyn FileSystem>, folder: PathBuf) -> Self {
        Self {
            files,
            folder,
            published: Published::new(),
            known: Mutex::default(),
        }
    }

    /// The marks of a descriptor; fetches it from one of `sources` if it was not needed before.
    pub(super) async fn marking(self: &Arc<Self>, digest: Digest, sources: &[String]) -> Marking {
        let mut told = self.ask(digest, sources);
        let now = told.borrow().clone();
        match now {
            Known::NotYet(since) => {
                let known = told.wait_for(|known| !matches!(known, Known::NotYet(_)));
                let known = Box::pin(timeout_at(since + PATIENCE, known)).await;
                known
                    .ok()
                    .and_then(Result::ok)
                    .map_or(Marking::Unknown, |known| known.marking())
            }
            known => known.marking(),
        }
    }

    /// Has it fetched if nobody did yet, or not for a while.
    fn ask(self: &Arc<Self>, digest: Digest, sources: &[String]) -> watch::Receiver<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = known.get(&digest)
            && !may_be_asked_again(told)
        {
            return told.clone();
        }
        let (teller, told) = watch::channel(Known::NotYet(Instant::now()));
        known.insert(digest, told.clone());
        drop(known);
        let (this, sources) = (Arc::clone(self), sources.to_vec());
        tokio::spawn(async move {
            let found = this.find(digest, &sources).await;
            teller.send_replace(match found {
                Ok(marks) => Known::Marks(Arc::new(marks)),
                Err(why) => {
                    tracing::warn!(
                        %digest, why,
                        "the descriptor of a service cannot be had: records do not name the persons of its messages"
                    );
                    Known::Unavailable(Instant::now())
                }
            });
        });
        told
    }

    /// Finds it on disk, or fetches and keeps it.
    async fn find(self: &Arc<Self>, digest: Digest, sources: &[String]) -> Result<Marks, String> {
        let this = Arc::clone(self);
        let kept = blocking(move || Ok(this.kept(digest).map(|kept| read(&kept)))).await?;
        if let Some(marks) = kept {
            return marks;
        }
        let mut why = "no source of the configuration is named".to_owned();
        for source in sources {
            let url = format!("{}/blob/{digest}", source.trim_end_matches('/'));
            match self.published.required(&url, LIMIT).await {
                Ok(bytes) if Digest::of(&bytes) == digest => {
                    let this = Arc::clone(self);
                    return blocking(move || {
                        this.keep(digest, &bytes);
                        read(&bytes)
                    })
                    .await;
                }
                Ok(_) => why = format!("{url} is not what its name says"),
                Err(refusal) => why = refusal.explanation,
            }
        }
        Err(why)
    }

    /// What is kept of it; none if that is nothing, or damaged.
    fn kept(&self, digest: Digest) -> Option<Vec<u8>> {
        let kept = durable::read(&*self.files, &self.path(digest)).ok()?;
        (Digest::of(&kept) == digest).then_some(kept)
    }

    /// Keeps it for the next start; it can be fetched again.
    fn keep(&self, digest: Digest, bytes: &[u8]) {
        let path = self.path(digest);
        let kept = durable::make_folder(&*self.files, &self.folder)
            .and_then(|()| durable::replace(&*self.files, &path, bytes, MODE));
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "a descriptor cannot be kept");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

impl Known {
    fn marking(&self) -> Marking {
        match self {
            Self::Marks(marks) => Marking::By(Arc::clone(marks)),
            Self::NotYet(_) | Self::Unavailable(_) => Marking::Unknown,
        }
    }
}

fn may_be_asked_again(told: &watch::Receiver<Known>) -> bool {
    match &*told.borrow() {
        Known::Marks(_) => false,
        Known::Unavailable(at) => at.elapsed() >= PAUSE,
        // Who fetched it has ended without a word.
        Known::NotYet(_) => told.has_changed().is_err(),
    }
}

fn read(descriptors: &[u8]) -> Result<Marks, String> {
    let marks = Marks::read(descriptors);
    marks.ok_or_else(|| "it is no FileDescriptorSet, or a larger one than services have".to_owned())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?
}
