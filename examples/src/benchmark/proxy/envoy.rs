//! Envoy with one worker: HTTP/2 in, TLS 1.3 with certificates of both sides to the second hop.

use std::path::Path;

use super::{Hop, Side};

/// The configuration file of one side; JSON is YAML too.
pub(super) fn configuration(hop: &Hop) -> String {
    let mut listener = serde_json::json!({
        "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                          http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "here",
                "codec_type": "HTTP2",
                "http2_protocol_options": { "max_concurrent_streams": 1024 },
                "route_config": {
                    "virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{
                            "match": { "prefix": "/" },
                            "route": { "cluster": "next", "timeout": "0s" },
                        }],
                    }],
                },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    },
                }],
            },
        }],
    });
    let mut cluster = serde_json::json!({
        "name": "next",
        "type": "STATIC",
        "circuit_breakers": { "thresholds": [{
            "max_requests": 8192, "max_pending_requests": 8192, "max_connections": 8192,
        }] },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": "next",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(hop.next) } }] }],
        },
    });
    match hop.side {
        Side::First => {
            cluster["transport_socket"] = transport_socket(hop, "UpstreamTlsContext");
        }
        Side::Second => {
            listener["transport_socket"] = transport_socket(hop, "DownstreamTlsContext");
        }
    }
    serde_json::json!({
        "static_resources": {
            "listeners": [{
                "name": "here",
                "address": address(hop.listen),
                "filter_chains": [listener],
            }],
            "clusters": [cluster],
        },
    })
    .to_string()
}

/// How it is started with that file.
pub(super) fn arguments(file: &Path) -> Vec<String> {
    [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
        "--config-path",
        &file.display().to_string(),
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

fn address(of: std::net::SocketAddr) -> serde_json::Value {
    serde_json::json!({
        "socket_address": { "address": of.ip().to_string(), "port_value": of.port() },
    })
}

fn transport_socket(hop: &Hop, context: &str) -> serde_json::Value {
    let file = |name: &str| serde_json::json!({ "filename": hop.directory.join(name) });
    let mut validation = serde_json::json!({
        "trusted_ca": { "filename": hop.authority },
    });
    if hop.side == Side::First {
        validation["match_typed_subject_alt_names"] = serde_json::json!([
            { "san_type": "DNS", "matcher": { "exact": "localhost" } },
        ]);
    }
    let mut socket = serde_json::json!({
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}"),
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "tls_certificates": [{
                "certificate_chain": file("certificate.pem"),
                "private_key": file("key.pem"),
            }],
            "validation_context": validation,
        },
    });
    match hop.side {
        Side::First => socket["sni"] = "localhost".into(),
        Side::Second => socket["require_client_certificate"] = true.into(),
    }
    serde_json::json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": socket,
    })
}
