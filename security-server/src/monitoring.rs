//! What the server tells whoever watches it, over HTTP: metrics for Prometheus, health, readiness.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};
use trust::refusal::{Side, reason_of};

use crate::{exchange::Counts, server::Server};

/// Seconds: from a fast disk to a patient caller.
const DURATIONS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Records that one sync served.
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// How often what was counted is put together.
const UPKEEP: Duration = Duration::from_secs(5);

/// What is counted from now on is kept for whoever asks.
///
/// # Errors
/// When that was done before in this process.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &BATCHES)?
        .install_recorder()
}

/// What the pages are made of.
#[derive(Clone)]
struct Watched {
    server: Arc<Server>,
    counted: PrometheusHandle,
}

/// Answers `/metrics`, `/healthz` and `/readyz` for as long as it is polled.
pub(crate) async fn serve(
    server: Arc<Server>,
    counted: PrometheusHandle,
    listener: TcpListener,
) -> io::Result<()> {
    let mut due = interval(UPKEEP);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let upkeep = async {
        loop {
            due.tick().await;
            counted.run_upkeep();
        }
    };
    let pages = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readiness))
        .with_state(Watched {
            server,
            counted: counted.clone(),
        });
    tokio::select! {
        served = axum::serve(listener, pages) => served,
        () = upkeep => Ok(()),
    }
}

async fn metrics_page(State(watched): State<Watched>) -> String {
    watched.server.gauge_state();
    watched.counted.render()
}

async fn readiness(State(watched): State<Watched>) -> (StatusCode, String) {
    match watched.server.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(refusal) => {
            let why = refusal.explanation;
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {why}\n"),
            )
        }
    }
}

impl Server {
    /// What is known only when somebody asks.
    fn gauge_state(&self) {
        let now = self.clock().seconds();
        gauge!("lienthong_ready").set(f64::from(u8::from(self.ready().is_ok())));
        gauge!("lienthong_exchanges_open").set(self.exchanges().count() as f64);
        if let Some(snapshot) = self.newest().peek() {
            let head = snapshot.configuration().head();
            let publication = head.publication();
            gauge!("lienthong_configuration_serial").set(head.serial() as f64);
            let age = now - publication.issued_at;
            gauge!("lienthong_configuration_age_seconds").set(age as f64);
            let left = publication.expires_at - now;
            gauge!("lienthong_configuration_seconds_left").set(left as f64);
        }
        for of in self.shown_certificates() {
            let days = (of.not_after - now) as f64 / 86_400.0;
            let digest = hex::encode(&of.digest);
            let labels = [
                ("role", of.role),
                ("subject", of.subject),
                ("digest", digest),
            ];
            gauge!("lienthong_certificate_days_left", &labels).set(days);
        }
        let log = self.recorder().log();
        gauge!("lienthong_log_records").set(log.size() as f64);
        if let Some(last) = log.last_checkpoint() {
            gauge!("lienthong_log_checkpoint_records").set(last.unverified().size as f64);
        }
        for peer in self.shown_peer_logs() {
            let labels = [("log", peer.origin)];
            gauge!("lienthong_peer_log_unproven_promises", &labels).set(peer.unproven as f64);
            let alarm = !["", "kept"].contains(&peer.verdict.as_str());
            gauge!("lienthong_peer_log_alarm", &labels).set(f64::from(u8::from(alarm)));
        }
    }
}

/// Counts an exchange that ended, by the code of its refusal; none: it was answered.
pub(crate) fn count_exchange(side: Side, refusal: Option<&str>) {
    let outcome = refusal.map_or("answered", known);
    counter!("lienthong_exchanges_total", "side" => side.name(), "outcome" => outcome.to_owned())
        .increment(1);
}

/// Counts the messages of an answered exchange.
pub(crate) fn count_messages(side: Side, counts: &Counts) {
    for (direction, messages) in [("request", counts.requests), ("reply", counts.replies)] {
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
