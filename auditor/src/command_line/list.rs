//! `auditor list`: which exchanges a log holds.

use std::{fmt::Write, fs, io, path::PathBuf};

use clap::Parser;
use serde_json::json;
use trust::{Digest, ExchangeId, subject::SubjectKey};

use super::{Outcome, WrongUse};
use crate::{
    listing::{Filter, Found, Summary},
    printable::printable,
    records::Records,
    times::in_utc,
};

#[derive(Debug, Parser)]
pub(super) struct List {
    /// The folder of the log.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// The exchange id that the client was given as x-road-exchange-id.
    #[arg(long, value_name = "ID")]
    exchange: Option<ExchangeId>,
    /// The client's own name for the call, x-road-id.
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// The case number, x-road-issue.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Recorded at this time or later, e.g. 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Recorded before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// The other side's security server, e.g. VN/GOV/G01/server-1.
    #[arg(long, value_name = "SERVER")]
    peer: Option<String>,
    /// The client's subsystem, e.g. VN/GOV/G02/desk.
    #[arg(long, value_name = "SUBSYSTEM")]
    client: Option<String>,
    /// The provider's subsystem, e.g. VN/GOV/G01/population.
    #[arg(long, value_name = "SUBSYSTEM")]
    service: Option<String>,
    /// The method: LookUp, or package.Service/LookUp.
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// A person whom a message of it names, by the number that the service has; left out after
    /// --subject-key: the number is read from standard input, so that it stands in no list of commands.
    #[arg(long, value_name = "NUMBER", requires = "subject_key")]
    subject: Option<String>,
    /// The server's key for persons: the file subject-key in the server's directory.
    #[arg(long, value_name = "FILE", conflicts_with = "subject_hash")]
    subject_key: Option<PathBuf>,
    /// The same person by the hash that the operator of the server was told by `security-server
    /// subject-hash`.
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    subject_hash: Option<Digest>,
    /// Only those of which the server could not read, or not wholly, whom they name; `auditor show`
    /// tells why.
    #[arg(long)]
    subjects_unread: bool,
    /// How it ended: answered, refused, closed, open; or a gRPC status, a refusal code, a closing
    /// outcome, e.g. NOT_FOUND, provider.access_denied, peer_lost.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// The most exchanges to print; the newest are.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
    /// Keep an index of the log in this folder, so that the next question is answered without
    /// reading the whole log. It may be deleted at any time.
    #[arg(long, value_name = "DIR")]
    index: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let records = Records::new(&self.log, self.index.clone());
        let subject = self.subject()?;
        let found = records
            .list(self.filter(subject), self.limit, progress)
            .map_err(|source| WrongUse::Unreadable {
                path: self.log.clone(),
                source,
            })?;
        let text = if self.json {
            let whole = json!({
                "exchanges": found.exchanges,
                "older": found.more,
                "unread": subject.map(|_| found.unread),
            });
            format!("{whole:#}\n")
        } else {
            table(&found)
        };
        Ok(Outcome {
            text,
            holds: !found.exchanges.is_empty(),
            unread: Vec::new(),
        })
    }

    /// The hash of the person who is asked for.
    fn subject(&self) -> Result<Option<Digest>, WrongUse> {
        let Some(path) = &self.subject_key else {
            return Ok(self.subject_hash);
        };
        let unusable = |problem: String| WrongUse::SubjectKey {
            path: path.clone(),
            problem,
        };
        let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let key = SubjectKey::from_text(&text);
        let key = key.ok_or_else(|| unusable("it holds no 64 hexadecimal digits".to_owned()))?;
        let number = match &self.subject {
            Some(number) => number.clone(),
            None => {
                let mut line = String::new();
                let read = io::stdin().read_line(&mut line);
                read.map_err(|error| unusable(error.to_string()))?;
                line
            }
        };
        if number.trim().is_empty() {
            return Err(unusable("no number of a person was given".to_owned()));
        }
        Ok(Some(key.hash(&number)))
    }

    fn filter(&self, subject: Option<Digest>) -> Filter {
        Filter {
            exchange: self.exchange,
            request_id: self.id.clone(),
            case_number: self.case.clone(),
            since: self.since.map(jiff::Timestamp::as_millisecond),
            until: self.until.map(jiff::Timestamp::as_millisecond),
            peer: self.peer.clone(),
            client: self.client.clone(),
            service: self.service.clone(),
            method: self.method.clone(),
            subject,
            subjects_unread: self.subjects_unread,
            outcome: self.outcome.clone(),
        }
    }
}

fn table(found: &Found) -> String {
    let mut text = String::new();
    for summary in &found.exchanges {
        // A String takes every write.
        let _ = writeln!(text, "{}", block(summary));
    }
    let (count, more) = (found.exchanges.len(), found.more);
    if found.unread > 0 {
        let _ = writeln!(
            text,
            "{} others may name this person: the server could not read whom they name (--subjects-unread).",
            found.unread
        );
    }
    let _ = match (count, more) {
        (0, _) => writeln!(text, "No such exchange is in this log."),
        (_, 0) => writeln!(text, "{count} found; listed, not verified."),
        _ => writeln!(
            text,
            "{count} listed, not verified; {more} older ones are not shown (--limit)."
        ),
    };
    text
}

fn parse_hash(text: &str) -> Result<Digest, String> {
    Digest::from_hex(text).ok_or_else(|| "a hash has 64 hexadecimal digits".to_owned())
}

/// One exchange in two lines, and one more for what its caller said.
fn block(summary: &Summary) -> String {
    let Summary {
        exchange,
        record,
        peer,
        client,
        service,
        method,
        requests,
        replies,
        ..
    } = summary;
    let at = in_utc(summary.recorded_at);
    let outcome = summary.outcome.words();
    let outcome = printable(&outcome);
    let Some(side) = summary.side else {
        return format!(
            "{at}  {exchange}  {outcome}\n    refused before it was an exchange, called by {}, \
             record {record}\n",
            printable(peer)
        );
    };
    let mut block = format!(
        "{at}  {exchange}  {outcome}\n    {client} calls {service} {method}, {side} here, {peer} \
         there, {requests} + {replies} messages from record {record}\n"
    );
    let said = [
        ("x-road-id", &summary.request_id),
        ("x-road-issue", &summary.case_number),
        ("x-road-userid", &summary.user),
        ("x-road-purpose", &summary.purpose),
    ];
    let said: Vec<_> = said
        .iter()
        .filter(|(name, text)| !(text.is_empty() || *name == "x-road-id" && *text == exchange))
        .map(|(name, text)| format!("{name}: {}", printable(text)))
        .collect();
    if !said.is_empty() {
        let _ = writeln!(block, "    {}", said.join(", "));
    }
    block
}
