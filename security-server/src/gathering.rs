//! Messages of one member to one server that are to be signed at the same time are signed together.
//!
//! While the log writes, nothing that is signed now could be recorded: so what is to be signed is
//! gathered until it has written, and then signed at once. When the log is idle, those who are ready to
//! sign are. Nobody waits longer for this than for the log, and whoever is alone for nobody.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use trust::{
    Digest, ServerId,
    batch::{self, MessageSignature, ToSign},
    signature::{Signer, SigningFailed},
};
use verifiable_log::let_others_come;

/// Whose key signs, and for which server.
type Destination = (Digest, ServerId);

/// What waits to be signed, by destination.
pub(crate) struct Gatherings {
    /// The most that are signed together.
    most: usize,
    open: Mutex<HashMap<Destination, Vec<Waiting>>>,
}

struct Waiting {
    message: ToSign,
    made: oneshot::Sender<Result<MessageSignature, SigningFailed>>,
}

/// Whom a message is signed together with.
pub(crate) enum Gather<Written> {
    /// Nobody: no other exchange is under way.
    Nobody,
    /// Those who are ready to sign.
    Ready,
    /// Those who come until the log has written.
    UntilWritten(Written),
}

impl Gatherings {
    /// Of so many messages at most.
    pub(crate) fn of(most: usize) -> Self {
        Self {
            most,
            open: Mutex::default(),
        }
    }

    /// Signs a message for a server with a member's key.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub(crate) async fn sign(
        &self,
        message: ToSign,
        signer: &dyn Signer,
        receiver: &ServerId,
        gather: Gather<impl Future<Output = ()>>,
    ) -> Result<MessageSignature, SigningFailed> {
        if self.most == 1 {
            return sign_together(message, Vec::new(), self.most, signer);
        }
        let destination = (signer.certificate_digest(), receiver.clone());
        if let Some(made) = self.join(&destination, message) {
            return made.await.unwrap_or_else(|_| Err(given_up()));
        }
        let mut open = Open {
            gatherings: self,
            destination: Some(destination),
        };
        match gather {
            Gather::Nobody => {}
            Gather::Ready => let_others_come(|| open.gathered()).await,
            Gather::UntilWritten(written) => written.await,
        }
        sign_together(message, open.close(), self.most, signer)
    }

    /// Joins those who gather for a destination; whoever is first gathers the others.
    fn join(
        &self,
        destination: &Destination,
        message: ToSign,
    ) -> Option<oneshot::Receiver<Result<MessageSignature, SigningFailed>>> {
        match self.lock().entry(destination.clone()) {
            Entry::Occupied(mut gathering) => {
                let (made, signature) = oneshot::channel();
                gathering.get_mut().push(Waiting { message, made });
                Some(signature)
            }
            Entry::Vacant(entry) => {
                entry.insert(Vec::new());
                None
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
    fn gathered(&self) -> usize {
        let gatherings = self.gatherings.lock();
        let gathered = self
            .destination
            .as_ref()
            .and_then(|destination| gatherings.get(destination));
        gathered.map_or(0, Vec::len)
    }

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

/// Signs all that has gathered and gives each its signature; returns that of the first.
fn sign_together(
    first: ToSign,
    gathered: Vec<Waiting>,
    most: usize,
    signer: &dyn Signer,
) -> Result<MessageSignature, SigningFailed> {
    let others = gathered.iter().map(|waiting| waiting.message);
    let messages: Vec<_> = std::iter::once(first).chain(others).collect();
    let mut made = sign_all(&messages, most, signer).into_iter();
    let of_first = made.next();
    for (waiting, made) in gathered.into_iter().zip(made) {
        // Whoever no longer waits needs no signature.
        let _ = waiting.made.send(made);
    }
    of_first.unwrap_or_else(|| Err(given_up()))
}

/// Signs messages in as few batches as may hold them.
fn sign_all(
    messages: &[ToSign],
    most: usize,
    signer: &dyn Signer,
) -> Vec<Result<MessageSignature, SigningFailed>> {
    let mut made = Vec::with_capacity(messages.len());
    let mut rest = messages;
    while let Some((together, others)) = rest.split_at_checked(batch::fitting(rest).min(most)) {
        if together.is_empty() {
            break;
        }
        match batch::sign(together, signer) {
            Ok(signatures) => made.extend(signatures.into_iter().map(Ok)),
            Err(error) => made.extend(together.iter().map(|_| Err(error.clone()))),
        }
        rest = others;
    }
    made
}

fn given_up() -> SigningFailed {
    SigningFailed("whoever was to sign has stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use tokio::task::yield_now;
    use trust::{
        batch::{MAX_BATCH, MAX_BATCH_DELAY},
        wire::evidence::signature::Form,
    };

    use super::*;

    /// Signs nothing, but says how often it was asked.
    #[derive(Default)]
    struct Counting(Mutex<usize>);

    impl Signer for Counting {
        fn certificate_digest(&self) -> Digest {
            Digest::of(b"certificate")
        }

        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SigningFailed> {
            *self.0.lock().unwrap() += 1;
            Ok(vec![1])
        }
    }

    fn message(number: usize) -> ToSign {
        ToSign {
            digest: Digest::of(&number.to_be_bytes()),
            created_at: 1_800_000_000,
        }
    }

    fn server(name: &str) -> ServerId {
        format!("VN/GOV/G01/{name}").parse().unwrap()
    }

    fn size_of(made: &MessageSignature) -> u32 {
        match &made.wire().form {
            Some(Form::CadesBatchV1(batch)) => batch.count,
            _ => 1,
        }
    }

    /// Lets so many messages meet while the log writes; gives the size of each one's batch.
    async fn gathered(count: usize, receivers: &[&str], signer: &Arc<Counting>) -> Vec<u32> {
        gathered_of(MAX_BATCH, count, receivers, signer).await
    }

    async fn gathered_of(
        most: usize,
        count: usize,
        receivers: &[&str],
        signer: &Arc<Counting>,
    ) -> Vec<u32> {
        let gatherings = Arc::new(Gatherings::of(most));
        let (written, writing) = tokio::sync::watch::channel(false);
        let mut signing = Vec::new();
        for number in 0..count {
            let (gatherings, signer) = (Arc::clone(&gatherings), Arc::clone(signer));
            let receiver = server(receivers[number % receivers.len()]);
            let mut writing = writing.clone();
            signing.push(tokio::spawn(async move {
                let written = async move { drop(writing.wait_for(|written| *written).await) };
                gatherings
                    .sign(
                        message(number),
                        signer.as_ref(),
                        &receiver,
                        Gather::UntilWritten(written),
                    )
                    .await
            }));
            yield_now().await;
        }
        written.send(true).unwrap();
        let mut sizes = Vec::new();
        for (number, made) in signing.into_iter().enumerate() {
            let made = made.await.unwrap().unwrap();
            assert!(made.is_of(&message(number)));
            sizes.push(size_of(&made));
        }
        assert!(gatherings.lock().is_empty());
        sizes
    }

    #[tokio::test]
    async fn what_waits_for_the_log_is_signed_together_for_each_receiver() {
        let signer = Arc::default();
        assert_eq!(gathered(10, &["server-1"], &signer).await, [10; 10]);
        assert_eq!(*signer.0.lock().unwrap(), 1);
        let sizes = gathered(10, &["server-1", "server-2"], &signer).await;
        assert_eq!(sizes, [5; 10]);
        assert_eq!(*signer.0.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn more_than_a_batch_is_signed_in_several() {
        let signer = Arc::default();
        let sizes = gathered(MAX_BATCH + 1, &["server-1"], &signer).await;
        assert_eq!(sizes[..MAX_BATCH], [MAX_BATCH as u32; MAX_BATCH]);
        assert_eq!(sizes[MAX_BATCH], 1);
    }

    #[tokio::test]
    async fn no_signature_is_over_more_messages_than_it_may_be() {
        for (most, sizes) in [(1, [1; 7]), (3, [3, 3, 3, 3, 3, 3, 1])] {
            let signer = Arc::default();
            assert_eq!(gathered_of(most, 7, &["server-1"], &signer).await, sizes);
        }
    }

    #[test]
    fn what_a_batch_may_not_hold_together_is_signed_apart() {
        // The log stood still for minutes, or the clock was set: forward, and back.
        let times = [0, 30, 60, 61, 500, 470, 440, 439, 0];
        let messages: Vec<_> = (0..times.len())
            .map(|number| ToSign {
                created_at: 1_800_000_000 + times[number],
                ..message(number)
            })
            .collect();
        let signer = Counting::default();
        let made = sign_all(&messages, MAX_BATCH, &signer);
        let sizes: Vec<_> = made
            .iter()
            .map(|made| size_of(made.as_ref().unwrap()))
            .collect();
        assert_eq!(sizes, [3, 3, 3, 1, 3, 3, 3, 1, 1]);
        for (message, made) in messages.iter().zip(&made) {
            let made = made.as_ref().unwrap();
            assert!(made.is_of(message));
            if let Some(Form::CadesBatchV1(batch)) = &made.wire().form {
                let delay = batch.signing_time - message.created_at;
                assert!((0..=MAX_BATCH_DELAY).contains(&delay), "{delay}");
            }
        }
    }

    #[tokio::test]
    async fn whoever_finds_the_log_idle_does_not_wait() {
        let (gatherings, signer) = (Gatherings::of(MAX_BATCH), Counting::default());
        let now: Gather<std::future::Pending<()>> = Gather::Nobody;
        let receiver = server("server-1");
        let made = gatherings.sign(message(0), &signer, &receiver, now).await;
        assert_eq!(size_of(&made.unwrap()), 1);
    }

    #[tokio::test]
    async fn those_who_are_ready_to_sign_are_signed_together_without_waiting() {
        let gatherings = Arc::new(Gatherings::of(MAX_BATCH));
        let signer = Arc::<Counting>::default();
        let (ready, start) = tokio::sync::watch::channel(false);
        let signing: Vec<_> = (0..10)
            .map(|number| {
                let (gatherings, signer) = (Arc::clone(&gatherings), Arc::clone(&signer));
                let mut start = start.clone();
                tokio::spawn(async move {
                    start.wait_for(|ready| *ready).await.unwrap();
                    let run: Gather<std::future::Pending<()>> = Gather::Ready;
                    let receiver = server("server-1");
                    gatherings
                        .sign(message(number), signer.as_ref(), &receiver, run)
                        .await
                })
            })
            .collect();
        yield_now().await;
        ready.send(true).unwrap();
        for (number, made) in signing.into_iter().enumerate() {
            let made = made.await.unwrap().unwrap();
            assert!(made.is_of(&message(number)));
            assert_eq!(size_of(&made), 10);
        }
        assert_eq!(*signer.0.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn those_gathered_are_told_when_nobody_signs_for_them() {
        let gatherings = Arc::new(Gatherings::of(MAX_BATCH));
        let signer = Arc::<Counting>::default();
        let sign = |number| {
            let (gatherings, signer) = (Arc::clone(&gatherings), Arc::clone(&signer));
            tokio::spawn(async move {
                let never = Gather::UntilWritten(pending::<()>());
                let receiver = server("server-1");
                gatherings
                    .sign(message(number), signer.as_ref(), &receiver, never)
                    .await
                    .map(drop)
            })
        };
        let first = sign(0);
        yield_now().await;
        let second = sign(1);
        yield_now().await;
        first.abort();
        assert!(second.await.unwrap().is_err());
        assert!(gatherings.lock().is_empty());
    }
}
