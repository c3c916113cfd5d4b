//! Asks other servers to prove what their replies promised, and records what they give.

use std::{sync::Arc, time::Duration};

use proto::exchange::{GetCheckpointReply, GetCheckpointRequest};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use trust::{
    ServerId,
    checkpoint::{LogKey, Origin},
    configuration::StateKey,
    peer_log::{Fault, Judgement, PROMISES_LIMIT},
    wire::evidence::PeerCheckpoint,
};

use super::answer::CHECKPOINT_PATH;
use crate::{grpc::unary, server::Server, snapshot::Snapshot};

/// The longest answer: proofs of 1024 leaves in a large tree, and less than a record may hold.
const ANSWER_LIMIT: usize = 896 * 1024;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How many logs are asked at once.
const AT_ONCE: usize = 16;

/// How many times in a row a log is asked in vain before that is recorded: a server may restart.
const UNANSWERED: u32 = 6;

/// Asks every log with unproven promises, again and again.
pub(crate) async fn follow(server: Arc<Server>, interval: Duration) {
    loop {
        sleep(interval).await;
        let mut asking = JoinSet::new();
        for origin in server.peer_logs().unproven() {
            if asking.len() >= AT_ONCE {
                asking.join_next().await;
            }
            let server = Arc::clone(&server);
            asking.spawn(async move { follow_log(&server, &origin).await });
        }
        while asking.join_next().await.is_some() {}
    }
}

/// Asks one log until it was asked about all its promises.
async fn follow_log(server: &Server, origin: &Origin) {
    let mut from = 0;
    loop {
        let asked = server.peer_logs().indices_from(origin, from);
        if !ask_and_record(server, origin, &asked).await {
            return;
        }
        match asked.last() {
            Some(last) if asked.len() == PROMISES_LIMIT => from = last.saturating_add(1),
            _ => return,
        }
    }
}

/// Whether there was an answer with which nothing was wrong.
async fn ask_and_record(server: &Server, origin: &Origin, asked: &[u64]) -> bool {
    let Ok(snapshot) = server.configuration_in_force() else {
        return false;
    };
    let question = GetCheckpointRequest {
        origin: origin.to_string(),
        old_size: server.peer_logs().newest_size(origin),
        promised: asked.to_vec(),
    };
    let given = match origin.server() {
        Some((keeper, _)) => ask(server, &snapshot, &keeper, &question).await,
        None => Err("it is no log of a server".to_owned()),
    };
    let unanswered = server.peer_logs().count(origin, given.is_ok());
    let (given, why) = match given {
        Ok(given) => (given, None),
        Err(why) => {
            tracing::info!(log = %origin, why, "a log did not prove its promises");
            if unanswered < UNANSWERED {
                return false;
            }
            (GetCheckpointReply::default(), Some(why))
        }
    };
    let mut answer = PeerCheckpoint {
        origin: origin.to_string(),
        checkpoint: given.checkpoint,
        consistency: given.consistency,
        promised: asked.to_vec(),
        leaves: given.leaves,
        inclusion: given.inclusion,
        verdict: String::new(),
    };
    let key = log_key(&snapshot, origin);
    let judge = |log: &trust::peer_log::PeerLog| log.judge(&answer, origin, key.as_ref());
    let judgement = server.peer_logs().judge(origin, judge);
    let holds = judgement.fault.is_none();
    if !server
        .peer_logs()
        .is_worth_recording(origin, &judgement, server.clock().seconds())
    {
        return holds;
    }
    if judgement.newest.is_none() {
        // Hashes that prove nothing are not kept: the verdict is the same without them.
        (answer.consistency, answer.leaves, answer.inclusion) = Default::default();
    }
    judgement.verdict().clone_into(&mut answer.verdict);
    say(origin, &judgement, why.as_deref());
    let keys = origin
        .server()
        .map(|(of, number)| StateKey::Log(of, number));
    let recorder = server.recorder();
    let recorded = recorder.record_peer_checkpoint(&answer, &snapshot, keys);
    if let Err(error) = recorded.await {
        tracing::error!(log = %origin, %error, "what it proved is not recorded");
    }
    holds
}

fn say(origin: &Origin, judgement: &Judgement, why: Option<&str>) {
    let kept = judgement.kept.len();
    match &judgement.fault {
        None => tracing::debug!(log = %origin, kept, "promises are kept"),
        Some((Fault::NoAnswer, words)) => {
            tracing::warn!(log = %origin, why = why.unwrap_or(words), "a log proves nothing");
        }
        Some((fault, why)) => {
            let fault = fault.name();
            tracing::error!(log = %origin, fault, why, "ALARM: another server's log is not what it was");
        }
    }
}

/// Asks a server about its log.
///
/// # Errors
/// In words, what happened instead of an answer.
pub(crate) async fn ask(
    server: &Server,
    snapshot: &Snapshot,
    keeper: &ServerId,
    question: &GetCheckpointRequest,
) -> Result<GetCheckpointReply, String> {
    let address = address_of(snapshot, keeper)?;
    let asking = async {
        let connection = server.peers().to(keeper, address).await;
        let mut connection = connection.map_err(|refusal| refusal.explanation)?;
        unary::ask(
            &mut connection,
            address,
            CHECKPOINT_PATH,
            question,
            ANSWER_LIMIT,
        )
        .await
    };
    match timeout(ANSWER_TIMEOUT, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{keeper} did not answer within 20 seconds")),
    }
}

/// Where a server listens for others.
///
/// # Errors
/// In words, when it is not registered.
pub(crate) fn address_of<'a>(snapshot: &'a Snapshot, server: &ServerId) -> Result<&'a str, String> {
    let address = snapshot.configuration().address_of(server);
    address.ok_or_else(|| format!("{server} has no address in the global configuration"))
}

/// The registered key of a log.
pub(crate) fn log_key(snapshot: &Snapshot, origin: &Origin) -> Option<LogKey> {
    let (keeper, generation) = origin.server()?;
    let key = snapshot.configuration().log_key(&keeper, generation)?;
    LogKey::from_slice(&key)
}
