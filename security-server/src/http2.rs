//! HTTP/2 without gRPC: connections, calls on them and answers to them, each driven by its own exchange.
//!
//! Calls stand on h2 itself: an exchange writes and reads its streams in its own task, and nothing is
//! handed over between tasks but to and from the connection (docs/decisions/0021).

pub(crate) mod client;
pub(crate) mod line;
pub(crate) mod received;
pub(crate) mod server;
