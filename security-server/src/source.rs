//! Where the configuration comes from: published files, verified from the anchor, kept on disk.

mod kept;
mod published;

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use prost::Message;
use trust::{
    InstanceId, Reason, Refusal,
    configuration::{Anchor, Configuration, RootDocument, State, VerifiedHead},
    merkle::{ProofError, consistency_proof},
    tile::{MissingTile, TiledTree},
};

use self::kept::Found;
pub(crate) use self::{kept::KeptConfiguration, published::Published};
use crate::{clock::SharedClock, snapshot::Newest};

const SMALL_FILE: usize = 256 * 1024;
const SNAPSHOT_LIMIT: usize = 256 * 1024 * 1024;

/// Fetches the configuration, verifies it, keeps the last good one.
pub(crate) struct ConfigurationSource {
    sources: Vec<String>,
    kept: Arc<KeptConfiguration>,
    newest: Arc<Newest>,
    clock: SharedClock,
    published: Published,
    /// Root documents from the anchor to the newest.
    roots: Vec<RootDocument>,
    newest_issued_at: i64,
}

/// What is kept on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kept configuration does not verify from the anchor.
    #[error("the configuration kept in {path} does not verify: {refusal}; remove it to fetch anew")]
    Invalid {
        /// The directory.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
}

impl ConfigurationSource {
    /// Opens what is kept under `directory` and puts it in force, verified from the anchor.
    ///
    /// # Errors
    /// When files cannot be read, or what is kept does not verify.
    pub(crate) fn open(
        anchor: &Anchor,
        sources: Vec<String>,
        kept: KeptConfiguration,
        newest: Arc<Newest>,
        clock: SharedClock,
    ) -> Result<Self, KeptError> {
        let roots = vec![anchor.root().clone()];
        let kept = Arc::new(kept);
        let mut source = Self {
            sources,
            kept: Arc::clone(&kept),
            newest,
            clock,
            published: Published::new(),
            roots,
            newest_issued_at: 0,
        };
        if let Some(found) = kept.read()? {
            source
                .restore(found)
                .map_err(|refusal| kept.invalid(refusal))?;
        }
        Ok(source)
    }

    fn restore(&mut self, found: Found) -> Result<(), Refusal> {
        for document in found.root_documents.into_iter().skip(1) {
            self.follow_root(document)?;
        }
        let head = VerifiedHead::verify(found.head, self.newest_root()?)?;
        let state = self.kept.state(head.state_root())?;
        let instance = self.newest_root()?.instance().clone();
        let configuration = configuration(instance, head, state)?;
        self.newest_issued_at = found.newest_issued_at;
        self.put_in_force(configuration)
    }

    /// Looks for a newer configuration at every source, since any of them may lag behind or lie, and
    /// puts it in force.
    ///
    /// # Errors
    /// The refusal of the last source, when none gave a valid configuration.
    pub(crate) async fn refresh(&mut self) -> Result<(), Refusal> {
        let mut failed = Some(Refusal::new(
            Reason::NoConfiguration,
            "neither server.toml nor the root document names a source of the configuration",
        ));
        let mut succeeded = false;
        for source in self.sources()? {
            match self.refresh_from(source.trim_end_matches('/')).await {
                Ok(()) => succeeded = true,
                Err(refusal) => failed = Some(refusal),
            }
        }
        failed.filter(|_| !succeeded).map_or(Ok(()), Err)
    }

    async fn refresh_from(&mut self, source: &str) -> Result<(), Refusal> {
        loop {
            let next = self.newest_root()?.document().version + 1;
            match self
                .published
                .fetch(&format!("{source}/root/{next}"), SMALL_FILE)
                .await?
            {
                Some(document) => self.follow_root(document)?,
                None => break,
            }
        }
        let now = self.clock.seconds();
        self.newest_root()?.check_expiry(now)?;
        let bytes = self
            .published
            .required(&format!("{source}/head"), SMALL_FILE)
            .await?;
        let older = self.newest.peek();
        let older = older.as_ref().map(|snapshot| snapshot.configuration());
        if older.is_some_and(|older| *older.head().encoded() == bytes) {
            return Ok(());
        }
        let head = VerifiedHead::verify(bytes, self.newest_root()?)?;
        head.check_time(now, self.newest_issued_at)?;
        head.check_validity(now)?;
        if let Some(older) = older {
            let proof = self
                .consistency(source, older.serial(), head.serial())
                .await?;
            head.check_extends(older.head(), &proof)?;
        }
        let configuration = match older {
            Some(older) if older.head().state_root() == head.state_root() => older.renewed(head)?,
            _ => {
                let url = format!("{source}/snapshot/{}", head.serial());
                let bytes = self.published.required(&url, SNAPSHOT_LIMIT).await?;
                let instance = self.newest_root()?.instance().clone();
                off_the_runtime(move || configuration(instance, head, bytes)).await?
            }
        };
        self.newest_issued_at = self
            .newest_issued_at
            .max(configuration.head().publication().issued_at);
        self.keep(&configuration).await?;
        tracing::info!(
            serial = configuration.serial(),
            "global configuration in force"
        );
        self.put_in_force(configuration)
    }

    fn put_in_force(&self, configuration: Arc<Configuration>) -> Result<(), Refusal> {
        let sources = self.sources()?;
        self.newest
            .replace(configuration, self.signed_roots(), sources);
        Ok(())
    }

    /// Those of `server.toml`, else those of the newest root document.
    fn sources(&self) -> Result<Vec<String>, Refusal> {
        Ok(match self.sources.as_slice() {
            [] => self.newest_root()?.document().sources.clone(),
            sources => sources.to_vec(),
        })
    }

    /// The proof that a tree extends another, made from published tiles.
    async fn consistency(
        &self,
        source: &str,
        old: u64,
        new: u64,
    ) -> Result<Vec<trust::Digest>, Refusal> {
        let invalid = |what: String| Refusal::new(Reason::InvalidConfiguration, what);
        if new <= old {
            // Rolled back or the same; either is told by the comparison that follows.
            return Ok(Vec::new());
        }
        let mut tree = TiledTree::new(new);
        loop {
            // Each round names the next tile that the proof needs; they are few.
            let tile = match consistency_proof(&tree, old, new) {
                Ok(proof) => return Ok(proof),
                Err(ProofError::Source(MissingTile(tile))) => tile,
                Err(error @ ProofError::OutsideTree { .. }) => {
                    return Err(invalid(error.to_string()));
                }
            };
            let bytes = self
                .published
                .required(&format!("{source}/{tile}"), SMALL_FILE)
                .await?;
            if !tree.insert(tile, &bytes) {
                return Err(invalid(format!(
                    "{tile} does not have as many hashes as its name says"
                )));
            }
        }
    }

    fn follow_root(&mut self, document: Bytes) -> Result<(), Refusal> {
        let next = self.newest_root()?.next(document)?;
        tracing::info!(version = next.document().version, "root document accepted");
        self.roots.push(next);
        Ok(())
    }

    fn newest_root(&self) -> Result<&RootDocument, Refusal> {
        self.roots
            .last()
            .ok_or_else(|| Refusal::new(Reason::NoConfiguration, "there is no root document"))
    }

    fn signed_roots(&self) -> Vec<Bytes> {
        self.roots
            .iter()
            .map(|root| root.signed().clone())
            .collect()
    }

    /// Keeps a configuration on disk.
    async fn keep(&self, configuration: &Arc<Configuration>) -> Result<(), Refusal> {
        let found = Found {
            root_documents: self.signed_roots(),
            head: configuration.head().encoded().clone(),
            newest_issued_at: self.newest_issued_at,
        };
        let (kept, configuration) = (Arc::clone(&self.kept), Arc::clone(configuration));
        let written = tokio::task::spawn_blocking(move || {
            let root = configuration.head().state_root();
            kept.write(&found, root, || {
                configuration.state().to_snapshot().encode_to_vec()
            })
        });
        let written = written
            .await
            .map_err(io::Error::other)
            .and_then(|written| written);
        written.map_err(|error| {
            Refusal::new(
                Reason::NoConfiguration,
                format!("the configuration cannot be kept on disk: {error}"),
            )
        })
    }
}

/// A head with the state that it publishes. Hashes the whole state.
fn configuration(
    instance: InstanceId,
    head: VerifiedHead,
    snapshot: Bytes,
) -> Result<Arc<Configuration>, Refusal> {
    let size = head.publication().state_size;
    Configuration::new(head, State::from_published(instance, snapshot, size)?)
}

/// Does long work without holding up what else the runtime has to do.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(Refusal::new(
                Reason::InvalidConfiguration,
                error.to_string(),
            ))
        })
}
