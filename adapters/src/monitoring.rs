//! What an adapter tells whoever watches it, over HTTP: metrics for Prometheus, health, readiness.

use std::{io, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// Seconds: from an index in memory to a long stream.
const DURATIONS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0,
];

/// How often what was counted is put together.
const UPKEEP: Duration = Duration::from_secs(5);

const CALLS: &str = "lienthong_adapter_calls_total";
const ROWS: &str = "lienthong_adapter_rows_total";
const UNDECODABLE: &str = "lienthong_adapter_undecodable_values_total";
const DURATION: &str = "lienthong_adapter_call_duration_seconds";
const DATABASE: &str = "lienthong_adapter_database_answers";

/// What the pages are made of.
#[derive(Clone)]
struct Watched {
    /// Whether the database answered when it was last asked; whoever asks for a page asks it nothing.
    answers: watch::Receiver<Option<bool>>,
    counted: PrometheusHandle,
}

impl Watched {
    fn answers(&self) -> bool {
        *self.answers.borrow() == Some(true)
    }
}

/// Counts a call that ended: how, with how many rows, after how long.
pub(crate) fn count_call(method: &str, outcome: &str, rows: u64, took: Duration) {
    let method = method.to_owned();
    counter!(CALLS, "method" => method.clone(), "outcome" => outcome.to_owned()).increment(1);
    counter!(ROWS, "method" => method.clone()).increment(rows);
    histogram!(DURATION, "method" => method).record(took);
}

/// Counts a value whose stored bytes could not all be understood.
pub(crate) fn count_undecodable(method: &str, field: &str) {
    counter!(UNDECODABLE, "method" => method.to_owned(), "field" => field.to_owned()).increment(1);
}

/// What is counted from now on is kept for whoever asks.
///
/// # Errors
/// When that was done before in this process.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)?
        .install_recorder()?;
    describe_counter!(CALLS, "calls that ended, by method and outcome");
    describe_counter!(ROWS, "records answered");
    describe_counter!(
        UNDECODABLE,
        "values with bytes that mean nothing in their encoding"
    );
    describe_histogram!(DURATION, "from the call to its end");
    describe_gauge!(DATABASE, "1 while the database answers");
    Ok(handle)
}

/// Answers `/metrics`, `/healthz` and `/readyz` for as long as it is polled.
pub(crate) async fn serve(
    answers: watch::Receiver<Option<bool>>,
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
            answers,
            counted: counted.clone(),
        });
    tokio::select! {
        served = axum::serve(listener, pages) => served,
        () = upkeep => Ok(()),
    }
}

async fn metrics_page(State(watched): State<Watched>) -> String {
    let answers = watched.answers();
    gauge!(DATABASE).set(f64::from(u8::from(answers)));
    watched.counted.render()
}

async fn readiness(State(watched): State<Watched>) -> (StatusCode, &'static str) {
    match watched.answers() {
        true => (StatusCode::OK, "ready\n"),
        // What exactly is for the log of the adapter, not for whoever reaches this page.
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the database does not answer\n",
        ),
    }
}
