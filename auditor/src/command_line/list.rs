//! `auditor list`: which exchanges a log holds.

use std::{fmt::Write, path::PathBuf};

use clap::Parser;
use serde_json::json;
use trust::ExchangeId;

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
        let found = records
            .list(self.filter(), self.limit, progress)
            .map_err(|source| WrongUse::Unreadable {
                path: self.log.clone(),
                source,
            })?;
        let text = if self.json {
            let whole = json!({ "exchanges": found.exchanges, "older": found.more });
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

    fn filter(&self) -> Filter {
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
