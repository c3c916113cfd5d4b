//! `security-server ping`.

use std::path::PathBuf;

use clap::Args;
use proto::administration::PingRequest;
use serde_json::json;

use super::{
    Answer,
    answers::{Outcome, in_json},
    connect_to,
};

/// See [`super::Command::Ping`].
#[derive(Debug, Args)]
pub struct Ping {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// The other security server, INSTANCE/CLASS/MEMBER/SERVER.
    server: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Ping {
    pub(super) async fn execute(&self) -> Answer {
        let mut administration = connect_to(&self.settings).await?;
        let server = self.server.clone();
        let reply = administration.ping(PingRequest { server }).await;
        let reply = reply.map_err(|status| status.message().to_owned())?;
        let ping = reply.into_inner();
        let certificate = hex::encode(&ping.certificate_digest);
        if self.json {
            return Ok(Outcome::good(in_json(&json!({
                "server": self.server,
                "address": ping.address,
                "connected_in_microseconds": ping.connected_in_microseconds,
                "answered_in_microseconds": ping.answered_in_microseconds,
                "certificate": certificate,
                "log": ping.origin,
                "checkpoint": ping.checkpoint,
            }))));
        }
        Ok(Outcome::good(format!(
            "{} at {}: connected in {} ms, answered in {} ms\n\
             TLS certificate {certificate}, as registered\n\
             log {}: the checkpoint covers {} records, signed with the registered key\n",
            self.server,
            ping.address,
            milliseconds(ping.connected_in_microseconds),
            milliseconds(ping.answered_in_microseconds),
            ping.origin,
            ping.checkpoint,
        )))
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{}", microseconds / 1000, microseconds % 1000 / 100)
}
