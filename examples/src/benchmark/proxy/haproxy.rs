//! HAProxy with one thread: HTTP/2 in, TLS 1.3 with certificates of both sides to the second hop.

use std::path::Path;

use super::{Hop, Side};

/// The configuration file of one side.
///
/// Connections are kept, but not shared between those who call: with many large messages at once,
/// calls that share one wait for each other for ever (HAProxy 2.6).
pub(super) fn configuration(hop: &Hop) -> String {
    let identity = format!("{}/identity.pem", hop.directory.display());
    let authority = hop.authority.display();
    let (listener, server) = match hop.side {
        Side::First => (
            "proto h2".to_owned(),
            format!(
                "ssl alpn h2 ssl-min-ver TLSv1.3 crt {identity} ca-file {authority} verify required \
                 verifyhost localhost sni str(localhost)"
            ),
        ),
        Side::Second => (
            format!(
                "ssl alpn h2 ssl-min-ver TLSv1.3 crt {identity} ca-file {authority} verify required"
            ),
            "proto h2".to_owned(),
        ),
    };
    format!(
        "global
    nbthread 1
    maxconn 8192
    tune.h2.initial-window-size 1048576
    tune.h2.max-concurrent-streams 1024

defaults
    mode http
    http-reuse never
    timeout connect 10s
    timeout client 60s
    timeout server 60s

frontend here
    bind {listen} {listener}
    default_backend next

backend next
    server next {next} {server}
",
        listen = hop.listen,
        next = hop.next,
    )
}

/// How it is started with that file.
pub(super) fn arguments(file: &Path) -> Vec<String> {
    ["-db", "-f", &file.display().to_string()]
        .map(ToOwned::to_owned)
        .to_vec()
}
