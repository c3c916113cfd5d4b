//! nginx with one worker: HTTP/2 in, TLS 1.3 with certificates of both sides to the second hop.

use std::path::Path;

use super::{Hop, Side};

/// The configuration file of one side.
pub(super) fn configuration(hop: &Hop) -> String {
    let directory = hop.directory.display();
    let listen = hop.listen;
    let (listener, forward) = match &hop.side {
        Side::First => (
            format!("listen {listen} http2;"),
            format!(
                "grpc_pass grpcs://next;
            grpc_ssl_certificate {directory}/certificate.pem;
            grpc_ssl_certificate_key {directory}/key.pem;
            grpc_ssl_trusted_certificate {authority};
            grpc_ssl_verify on;
            grpc_ssl_name localhost;
            grpc_ssl_protocols TLSv1.3;",
                authority = hop.authority.display(),
            ),
        ),
        Side::Second => (
            format!(
                "listen {listen} ssl http2;
        ssl_certificate {directory}/certificate.pem;
        ssl_certificate_key {directory}/key.pem;
        ssl_client_certificate {authority};
        ssl_verify_client on;
        ssl_protocols TLSv1.3;",
                authority = hop.authority.display(),
            ),
            "grpc_pass grpc://next;".to_owned(),
        ),
    };
    format!(
        "daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    keepalive_time 1d;
    client_max_body_size 0;
    client_body_buffer_size 2m;
    grpc_buffer_size 64k;
    http2_max_concurrent_streams 1024;
    upstream next {{
        server {next};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_time 1d;
    }}
    server {{
        {listener}
        location / {{
            {forward}
        }}
    }}
}}
",
        next = hop.next,
    )
}

/// How it is started with that file.
pub(super) fn arguments(file: &Path) -> Vec<String> {
    ["-e", "stderr", "-c", &file.display().to_string()]
        .map(ToOwned::to_owned)
        .to_vec()
}
