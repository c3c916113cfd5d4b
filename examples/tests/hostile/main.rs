//! Hostile and mistaken security servers, towards an honest provider and an honest consumer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod not_an_answer;
mod replies;
mod requests;
mod stage;
mod towards_consumer;
mod towards_provider;
mod unverifiable;

use stage::Stage;
use trust::{Reason, refusal::Fault};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_servers_are_refused_by_name_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(directory.path(), towards_provider::PEERS).await;
    towards_provider::act(&stage).await;
    towards_consumer::act(&mut stage).await;
    stage.federation.stop().await.unwrap();
}

/// The gRPC status of a refusal.
fn status_of(refusal: &str) -> tonic::Code {
    let (_, name) = refusal.split_once('.').unwrap();
    let mut reasons = Reason::ALL.iter();
    let reason = reasons.find(|reason| reason.name() == name);
    let reason = reason.unwrap_or_else(|| panic!("{refusal} is no code"));
    // What the provider's server did wrong is not the calling system's doing.
    if refusal.starts_with("consumer.") && reason.blames_peer() {
        return tonic::Code::Internal;
    }
    let status = reason.status();
    tonic::Code::from_i32(i32::try_from(status).unwrap())
}

/// Whom a refusal must blame: in all these cases the peer, but for a few.
fn fault_of(refusal: &str) -> Fault {
    match refusal {
        "provider.access_denied" | "provider.unknown_service" => Fault::Client,
        "provider.message_too_large" | "consumer.message_too_large" => Fault::Client,
        "provider.peer_lost" | "consumer.peer_lost" => Fault::Network,
        other if other.starts_with("provider.busy") => Fault::Provider,
        other if other.starts_with("provider.") => Fault::Consumer,
        _ => Fault::Provider,
    }
}
