//! `security-server explain`.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use proto::administration::{ExplainReply, ExplainRequest, ExplainedPart, ExplainedRule};
use serde_json::{Value, json};

use super::{
    Answer,
    answers::{Outcome, in_json},
    connect_to, in_words,
};

/// See [`super::Command::Explain`].
#[derive(Debug, Args)]
pub struct Explain {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// The calling subsystem, INSTANCE/CLASS/MEMBER/SUBSYSTEM.
    #[arg(long)]
    client: String,
    /// The subsystem called.
    #[arg(long)]
    service: String,
    /// The method, /package.Service/Method.
    #[arg(long)]
    method: String,
    /// What x-road-purpose would say.
    #[arg(long, default_value = "")]
    purpose: String,
    /// Ask the access rights as of this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) async fn execute(&self) -> Answer {
        let mut administration = connect_to(&self.settings).await?;
        let request = ExplainRequest {
            client: self.client.clone(),
            service: self.service.clone(),
            method: self.method.clone(),
            purpose: self.purpose.clone(),
            at: self.at.map(jiff::Timestamp::as_second),
        };
        let reply = administration.explain(request).await;
        let explained = reply.map_err(in_words)?.into_inner();
        Ok(Outcome {
            holds: explained
                .parts
                .iter()
                .all(|part| part.refusal_code.is_empty()),
            text: if self.json {
                in_json(&as_json(&explained))
            } else {
                explained.parts.iter().map(as_text).collect()
            },
        })
    }
}

fn as_json(explained: &ExplainReply) -> Value {
    let rule = |rule: &ExplainedRule| json!({ "rule": rule.rule, "holds": rule.holds, "found": rule.found });
    let parts = explained.parts.iter().map(|part| {
        json!({
            "side": part.side,
            "allowed": part.refusal_code.is_empty(),
            "refusal": part.refusal_code,
            "message": part.refusal_message,
            "access_right": part.access_right,
            "rules": part.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    });
    json!({ "parts": parts.collect::<Vec<_>>() })
}

fn as_text(part: &ExplainedPart) -> String {
    let mut text = format!("As the {}:\n", part.side);
    for ExplainedRule { rule, holds, found } in &part.rules {
        let answer = match holds {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        // A String takes every write.
        let _ = writeln!(text, "  {answer:<4}{rule}: {found}");
    }
    let _ = match (part.refusal_code.as_str(), part.access_right.as_str()) {
        ("", "") => writeln!(text, "  The {} lets the call pass.", part.side),
        ("", right) => writeln!(text, "  Allowed by the access right {right}."),
        (code, _) => writeln!(text, "  Refused with {code}: {}", part.refusal_message),
    };
    text
}
