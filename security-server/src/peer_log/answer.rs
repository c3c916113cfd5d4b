//! Answers other servers about our log: how it has grown, and where what was promised stands.
//!
//! Whose records are asked about is not looked at: a leaf is the hash of salted digests and says
//! nothing, and the leaves beside it are in every proof (docs/decisions/0013).

use std::sync::Arc;

use bytes::Bytes;
use proto::exchange::{GetCheckpointReply, GetCheckpointRequest};
use tokio::task::spawn_blocking;
use trust::{Digest, checkpoint::SignedCheckpoint, peer_log::PROMISES_LIMIT};
use verifiable_log::Error;

use crate::{
    grpc::unary::{Answer, answered, code, question, refused},
    http2::received::ReceivedBody,
    server::Server,
};

/// The path of the call.
pub(crate) const CHECKPOINT_PATH: &str = "/lienthong.exchange.v1.SecurityServer/GetCheckpoint";

/// The longest question: 1024 indices, of ten bytes at most, and an origin.
const QUESTION_LIMIT: usize = 16 * 1024;

/// Answers `GetCheckpoint` to a server with this TLS certificate.
pub(crate) async fn answer(
    server: Arc<Server>,
    peer_certificate: Digest,
    body: ReceivedBody,
) -> Answer {
    let configuration = server
        .configuration_in_force()
        .map_err(|refusal| refused(code::UNAVAILABLE, &refusal.explanation))?;
    let peer = configuration.configuration().server_of(&peer_certificate);
    if peer.is_none() {
        let what = "the TLS certificate of the connection is not registered for a security server";
        return Err(refused(code::PERMISSION_DENIED, what));
    }
    let asked: GetCheckpointRequest = question(body, QUESTION_LIMIT).await?;
    let permit = server.proving().begin().await;
    let permit = permit
        .ok_or_else(|| refused(code::RESOURCE_EXHAUSTED, "too many servers ask for proofs"))?;
    let proving = spawn_blocking(move || {
        let proven = prove(&server, &asked);
        drop(permit);
        proven
    });
    match proving.await {
        Ok(proven) => proven
            .map(|reply| answered(&reply))
            .map_err(|(code, what)| refused(code, &what)),
        Err(error) => {
            tracing::error!(%error, "no proof was made");
            Err(refused(code::UNAVAILABLE, "no proof was made"))
        }
    }
}

/// Blocks on files.
fn prove(
    server: &Server,
    asked: &GetCheckpointRequest,
) -> Result<GetCheckpointReply, (u32, String)> {
    let log = server.recorder().log();
    if !asked.origin.is_empty() && asked.origin != log.origin().as_str() {
        let what = format!("the log of this server is {}", log.origin());
        return Err((code::NOT_FOUND, what));
    }
    if asked.promised.len() > PROMISES_LIMIT {
        let what = format!("at most {PROMISES_LIMIT} promises at once");
        return Err((code::INVALID_ARGUMENT, what));
    }
    let failed = |error: Error| match error {
        Error::NoRecord { .. } => (code::INVALID_ARGUMENT, error.to_string()),
        error => {
            tracing::error!(%error, "a proof that another server asked for was not made");
            let what = "this server cannot prove its records now";
            (code::UNAVAILABLE, what.to_owned())
        }
    };
    let signed = covering(server, asked.promised.last().copied()).map_err(failed)?;
    let size = signed.unverified().size;
    let mut reply = GetCheckpointReply {
        checkpoint: signed.as_bytes().clone(),
        ..GetCheckpointReply::default()
    };
    // A log that had more records than it has can only say so.
    if asked.old_size <= size {
        let consistency = log.consistency(asked.old_size, size).map_err(failed)?;
        reply.consistency = strings(&consistency);
    }
    if !asked.promised.is_empty() {
        let (leaves, inclusion) = log.joint_inclusion(&asked.promised, size).map_err(failed)?;
        (reply.leaves, reply.inclusion) = (strings(&leaves), strings(&inclusion));
    }
    Ok(reply)
}

/// The newest checkpoint, if it covers what was promised; else one that is signed now.
fn covering(server: &Server, promised: Option<u64>) -> Result<SignedCheckpoint, Error> {
    let log = server.recorder().log();
    let covers =
        |signed: &SignedCheckpoint| promised.is_none_or(|at| at < signed.unverified().size);
    match log.last_checkpoint().filter(covers) {
        Some(signed) => Ok(signed),
        None => log.checkpoint(server.log_key().key_pair()),
    }
}

fn strings(hashes: &[Digest]) -> Vec<Bytes> {
    hashes.iter().map(|hash| hash.to_bytes()).collect()
}
