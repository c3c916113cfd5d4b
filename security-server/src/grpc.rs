//! gRPC over HTTP/2 without a schema: frames, metadata, status, as they stand on the wire.

pub(crate) mod budget;
pub(crate) mod metadata;
pub(crate) mod reader;
pub(crate) mod status;
pub(crate) mod timeout;
pub(crate) mod unary;
pub(crate) mod writer;
