//! Messages of one member to one server that wait for the log are signed together.
//!
//! While the log writes, nothing that is signed now could be recorded: so what is to be signed is
//! gathered until it has written, and then signed at once. A message that finds the log idle is
//! signed alone, at once. Nobody waits longer for this than for the log.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use trust::{
    Digest, ServerId,
    batch::{self, MAX_BATCH, MessageSignature, ToSign},
    signature::{Signer, SigningFailed},
};
use verifiable_log::Log;

use crate::signer::MemberSigner;

/// Whose key signs, and for which server.
type Destination = (Digest, ServerId);

/// What waits to be signed, by destination.
#[derive(Default)]
pub(crate) struct Gatherings {
    open: Mutex<HashMap<Destination, Vec<Waiting>>>,
}

struct Waiting {
    message: ToSign,
    made: oneshot::Sender<Result<MessageSignature, SigningFailed>>,
}

/// What a message finds.
enum Found {
    /// The log is idle.
    Idle,
    /// The log writes: whoever comes first gathers the others.
    First,
    /// Somebody gathers.
    Gathering(oneshot::Receiver<Result<MessageSignature, SigningFailed>>),
}

impl Gatherings {
    /// Signs a message for a server with a member's key.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub(crate) async fn sign(
        &self,
        message: ToSign,
        signer: &Arc<MemberSigner>,
        receiver: &ServerId,
        log: &Log,
    ) -> Result<MessageSignature, SigningFailed> {
        let destination = (signer.certificate_digest(), receiver.clone());
        match self.find(&destination, message, log) {
            Found::Idle => alone(message, signer.as_ref()),
            Found::First => {
                let mut open = Open {
                    gatherings: self,
                    destination: Some(destination),
                };
                log.written().await;
                sign_together(message, open.close(), signer.as_ref())
            }
            Found::Gathering(made) => made.await.unwrap_or_else(|_| Err(given_up())),
        }
    }

    fn find(&self, destination: &Destination, message: ToSign, log: &Log) -> Found {
        let mut open = self.lock();
        match open.entry(destination.clone()) {
            Entry::Occupied(mut gathering) => {
                let (made, signature) = oneshot::channel();
                gathering.get_mut().push(Waiting { message, made });
                Found::Gathering(signature)
            }
            Entry::Vacant(_) if !log.is_writing() => Found::Idle,
            Entry::Vacant(entry) => {
                entry.insert(Vec::new());
                Found::First
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Vec<Waiting>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gathering; when whoever gathers stops waiting, those gathered are told that they were given up.
struct Open<'a> {
    gatherings: &'a Gatherings,
    /// Until it is closed.
    destination: Option<Destination>,
}

impl Open<'_> {
    /// Takes all that has gathered; what comes later finds a new gathering.
    fn close(&mut self) -> Vec<Waiting> {
        let destination = self.destination.take();
        destination
            .and_then(|destination| self.gatherings.lock().remove(&destination))
            .unwrap_or_default()
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

fn alone(message: ToSign, signer: &MemberSigner) -> Result<MessageSignature, SigningFailed> {
    batch::sign(&[message], signer)?.pop().ok_or_else(given_up)
}

/// Signs all that has gathered and gives each its signature; returns that of the first.
fn sign_together(
    first: ToSign,
    gathered: Vec<Waiting>,
    signer: &MemberSigner,
) -> Result<MessageSignature, SigningFailed> {
    let others = gathered.iter().map(|waiting| waiting.message);
    let messages: Vec<_> = std::iter::once(first).chain(others).collect();
    let mut made =
        messages
            .chunks(MAX_BATCH)
            .flat_map(|together| match batch::sign(together, signer) {
                Ok(made) => made.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); together.len()],
            });
    let of_first = made.next();
    for (waiting, made) in gathered.into_iter().zip(made) {
        // Whoever no longer waits needs no signature.
        let _ = waiting.made.send(made);
    }
    of_first.unwrap_or_else(|| Err(given_up()))
}

fn given_up() -> SigningFailed {
    SigningFailed("whoever was to sign has stopped".to_owned())
}
