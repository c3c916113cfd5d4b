//! What is counted while the server works, for whoever watches it.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use trust::refusal::{Side, reason_of};

/// Seconds: from a fast disk to a patient caller.
const DURATIONS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Records that one sync served.
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What is counted from now on is kept for whoever asks.
///
/// # Errors
/// When that was done before in this process.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &BATCHES)?
        .install_recorder()?;
    for (name, what) in DESCRIBED {
        if name.ends_with("_total") {
            describe_counter!(*name, *what);
        } else if name.contains("duration") || name.contains("sync") || name.contains("batch") {
            describe_histogram!(*name, *what);
        } else {
            describe_gauge!(*name, *what);
        }
    }
    Ok(handle)
}

/// What each metric is, for whoever reads `/metrics`; the table of docs/operations.md.
const DESCRIBED: &[(&str, &str)] = &[
    (
        "lienthong_exchanges_total",
        "exchanges that ended, by outcome",
    ),
    (
        "lienthong_refused_total",
        "refused before it was an exchange",
    ),
    ("lienthong_messages_total", "messages of answered exchanges"),
    (
        "lienthong_exchange_duration_seconds",
        "from the call to its recorded end",
    ),
    ("lienthong_exchanges_open", "exchanges under way"),
    (
        "lienthong_log_sync_seconds",
        "how long one sync of the log takes",
    ),
    (
        "lienthong_log_batch_records",
        "how many records one sync serves",
    ),
    ("lienthong_log_records", "records in the log"),
    (
        "lienthong_log_checkpoint_records",
        "records that the newest checkpoint covers",
    ),
    (
        "lienthong_configuration_serial",
        "serial of the newest configuration",
    ),
    (
        "lienthong_configuration_age_seconds",
        "since it was published",
    ),
    (
        "lienthong_configuration_seconds_left",
        "until it expires; 0: there is none",
    ),
    (
        "lienthong_certificate_days_left",
        "until a certificate ends",
    ),
    (
        "lienthong_peer_log_unproven_promises",
        "promises of another server not proven yet",
    ),
    (
        "lienthong_peer_log_alarm",
        "1 while something is wrong with another server's log",
    ),
    ("lienthong_ready", "1 while calls can be served"),
];

/// Counts an exchange that ended, by the code of its refusal; none: it was answered.
pub(crate) fn count_exchange(side: Side, refusal: Option<&str>) {
    let outcome = refusal.map_or("answered", known);
    counter!("lienthong_exchanges_total", "side" => side.name(), "outcome" => outcome.to_owned())
        .increment(1);
}

/// Counts the messages of an answered exchange.
pub(crate) fn count_messages(side: Side, requests: u64, replies: u64) {
    for (direction, messages) in [("request", requests), ("reply", replies)] {
        counter!("lienthong_messages_total", "side" => side.name(), "direction" => direction)
            .increment(messages);
    }
}

/// Counts a call or message that was refused before it was an exchange.
pub(crate) fn count_refused(refusal: &str) {
    counter!("lienthong_refused_total", "refusal" => known(refusal).to_owned()).increment(1);
}

/// Notes how long an exchange was open.
pub(crate) fn note_duration(side: Side, took: Duration) {
    histogram!("lienthong_exchange_duration_seconds", "side" => side.name()).record(took);
}

/// Codes of other versions come from outside: they are counted together.
fn known(refusal: &str) -> &str {
    let is_known = [Side::Consumer, Side::Provider]
        .into_iter()
        .any(|side| reason_of(refusal, side).is_some());
    if is_known { refusal } else { "other" }
}
