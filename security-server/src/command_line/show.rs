//! `security-server show`.

use std::path::PathBuf;

use clap::Args;
use proto::administration::{ShowReply, ShowRequest, ShownCertificate};
use serde_json::{Value, json};

use super::{
    Answer,
    answers::{Outcome, days, in_json, in_utc},
    connect_to, in_words,
};
use crate::state_file::StateFile;

/// See [`super::Command::Show`].
#[derive(Debug, Args)]
pub struct Show {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn execute(&self) -> Answer {
        let mut administration = connect_to(&self.settings).await?;
        let shown = administration.show(ShowRequest {}).await;
        let shown = shown.map_err(in_words)?.into_inner();
        Ok(Outcome::good(if self.json {
            in_json(&as_json(&shown))
        } else {
            as_text(&shown)?
        }))
    }
}

fn as_json(shown: &ShowReply) -> Value {
    let log = shown.log.clone().unwrap_or_default();
    let certificates = shown.certificates.iter().map(|certificate| {
        json!({
            "role": certificate.role,
            "subject": certificate.subject,
            "digest": hex::encode(&certificate.digest),
            "not_after": in_utc(certificate.not_after),
            "days_left": days(shown.clock, certificate.not_after),
        })
    });
    let peer_logs = shown.peer_logs.iter().map(|peer| {
        json!({
            "log": peer.origin,
            "checkpoint": peer.checkpoint,
            "unproven": peer.unproven,
            "verdict": peer.verdict,
        })
    });
    json!({
        "server": shown.server,
        "serving": shown.serving,
        "not_serving_because": shown.not_serving_because,
        "clock": in_utc(shown.clock),
        "configuration_serial": shown.configuration_serial,
        "configuration_expires_at": shown.configuration_expires_at,
        "configuration_age_seconds": shown.clock.saturating_sub(shown.configuration_issued_at),
        "certificates": certificates.collect::<Vec<_>>(),
        "log": { "origin": log.origin, "records": log.records, "checkpoint": log.checkpoint },
        "peer_logs": peer_logs.collect::<Vec<_>>(),
        "state": StateFile::of(&shown.state),
    })
}

/// A state file, and above it as comments how the server is.
fn as_text(shown: &ShowReply) -> Result<String, toml::ser::Error> {
    let mut text = String::new();
    let mut line = |said: String| text.push_str(&format!("# {said}\n"));
    let server = &shown.server;
    line(if shown.serving {
        format!("{server} is serving")
    } else {
        format!("{server} is NOT SERVING: {}", shown.not_serving_because)
    });
    line(match shown.configuration_serial {
        0 => "no global configuration yet".to_owned(),
        serial => {
            let age = shown.clock.saturating_sub(shown.configuration_issued_at);
            let expires = in_utc(shown.configuration_expires_at);
            format!("global configuration {serial}, {age} s old, in force until {expires}")
        }
    });
    let log = shown.log.clone().unwrap_or_default();
    line(match log.checkpoint {
        Some(covered) => {
            let (origin, records) = (log.origin, log.records);
            format!("log {origin}: {records} records, the checkpoint covers {covered}")
        }
        None => format!("log {}: {} records, no checkpoint", log.origin, log.records),
    });
    for certificate in &shown.certificates {
        line(in_one_line(certificate, shown.clock));
    }
    for peer in &shown.peer_logs {
        let (origin, unproven) = (&peer.origin, peer.unproven);
        line(match peer.verdict.as_str() {
            "" => format!("log {origin}: {unproven} promises not proven yet, not asked yet"),
            "kept" => format!("log {origin}: promises kept, {unproven} not proven yet"),
            fault => format!("ALARM: log {origin}: {fault}; {unproven} promises not proven"),
        });
    }
    text.push_str(&toml::to_string(&StateFile::of(&shown.state))?);
    Ok(text)
}

fn in_one_line(certificate: &ShownCertificate, clock: i64) -> String {
    let ShownCertificate {
        role,
        subject,
        not_after,
        ..
    } = certificate;
    let until = in_utc(*not_after);
    match days(clock, *not_after) {
        left if left < 0 => format!("{role} certificate of {subject} EXPIRED {until}"),
        left => format!("{role} certificate of {subject}: {left} days left, until {until}"),
    }
}
