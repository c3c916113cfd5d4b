//! Asks another security server for its checkpoint: the whole way there, without an exchange.

use std::time::Duration;

use proto::{
    administration::PingReply,
    exchange::{GetCheckpointReply, GetCheckpointRequest},
};
use tokio::time::Instant;
use trust::{
    ServerId,
    checkpoint::{Origin, SignedCheckpoint},
};

use crate::{
    peer_log::ask::{address_of, ask, log_key},
    server::Server,
    snapshot::Snapshot,
};

impl Server {
    /// Connects to a server, and asks for its checkpoint.
    ///
    /// # Errors
    /// In words, how far it came.
    pub(super) async fn ping(&self, server: &ServerId) -> Result<PingReply, String> {
        let snapshot = self
            .configuration_in_force()
            .map_err(|refusal| refusal.explanation)?;
        let address = address_of(&snapshot, server)?;
        let began = Instant::now();
        let connection = self.peers().to(server, address).await;
        let connection = connection.map_err(|refusal| refusal.explanation)?;
        let connected = began.elapsed();
        let question = GetCheckpointRequest::default();
        let began = Instant::now();
        let given = ask(self, &snapshot, server, &question).await;
        let given = given.map_err(|why| format!("{server} at {address}: {why}"))?;
        let answered = began.elapsed();
        let (origin, checkpoint) = verified(&snapshot, server, &given, |log| {
            self.peer_logs().newest_size(log)
        })
        .map_err(|why| format!("{server} at {address} answers, but {why}"))?;
        Ok(PingReply {
            address: address.to_owned(),
            connected_in_microseconds: microseconds(connected),
            answered_in_microseconds: microseconds(answered),
            certificate_digest: connection
                .certificate
                .map(|digest| digest.to_bytes())
                .unwrap_or_default(),
            origin: origin.to_string(),
            checkpoint,
        })
    }
}

/// The log and size of a checkpoint, if the server's registered key has signed it.
fn verified(
    snapshot: &Snapshot,
    server: &ServerId,
    given: &GetCheckpointReply,
    known_size: impl Fn(&Origin) -> u64,
) -> Result<(Origin, u64), String> {
    let signed = SignedCheckpoint::parse(&given.checkpoint).map_err(|error| error.to_string())?;
    let origin = signed.unverified().origin.clone();
    if origin.server().is_none_or(|(keeper, _)| keeper != *server) {
        return Err(format!("with a checkpoint of the log {origin}"));
    }
    let key = log_key(snapshot, &origin);
    let key = key.ok_or_else(|| format!("no key is registered for its log {origin}"))?;
    let checkpoint = signed
        .verify(&origin, &key)
        .map_err(|error| error.to_string())?;
    if checkpoint.size < known_size(&origin) {
        let (before, now) = (known_size(&origin), checkpoint.size);
        return Err(format!(
            "its log {origin} had {before} records when it was asked before, and has {now} now"
        ));
    }
    Ok((origin, checkpoint.size))
}

fn microseconds(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
