//! What the server tells whoever watches it, over HTTP: metrics for Prometheus, health, readiness.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

use crate::server::Server;

/// How often what was counted is put together.
const UPKEEP: Duration = Duration::from_secs(5);

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
        gauge!("lienthong_configuration_seconds_left").set(0.0);
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
