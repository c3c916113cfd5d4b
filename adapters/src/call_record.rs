//! One log line for each call: which exchange, whose, how it ended; no personal value.

use std::time::Instant;

use tonic::{Status, metadata::MetadataMap};

use crate::{monitoring, refusal::Refusal};

/// Longer metadata values are cut in the log; a security server's identifiers are shorter.
const LONGEST: usize = 300;

/// What is known of a running call; dropped unfinished, it says that the caller went away.
#[derive(Debug)]
pub(crate) struct CallRecord {
    method: String,
    exchange: String,
    client: String,
    begun: Instant,
    rows: u64,
    finished: bool,
}

impl CallRecord {
    pub(crate) fn begin(method: &str, metadata: &MetadataMap) -> Self {
        Self {
            method: method.to_owned(),
            exchange: text(metadata, "x-road-exchange-id"),
            client: text(metadata, "x-road-client"),
            begun: Instant::now(),
            rows: 0,
            finished: false,
        }
    }

    pub(crate) fn add_rows(&mut self, rows: u64) {
        self.rows += rows;
    }

    pub(crate) fn answered(&mut self) {
        self.write("answered", "");
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal) -> Status {
        let detail = match refusal {
            Refusal::Statement(code) => format!("database code {code}; run `adapter check`"),
            Refusal::Value {
                field, row, found, ..
            } => {
                format!("field {field} holds {found} in row {row}")
            }
            _ => String::new(),
        };
        self.write(refusal.reason(), &detail);
        refusal.to_status()
    }

    fn write(&mut self, outcome: &str, detail: &str) {
        self.finished = true;
        let took = self.begun.elapsed();
        let milliseconds = took.as_millis() as u64;
        monitoring::count_call(&self.method, outcome, self.rows, took);
        tracing::info!(
            method = self.method,
            exchange = self.exchange,
            client = self.client,
            rows = self.rows,
            milliseconds,
            detail,
            "{outcome}"
        );
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        if !self.finished {
            self.write("cancelled", "the caller went away");
        }
    }
}

/// Header values hold visible ASCII only, so that they cannot break the line.
fn text(metadata: &MetadataMap, key: &str) -> String {
    let value = metadata
        .get(key)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("-");
    value.get(..LONGEST).unwrap_or(value).to_owned()
}
