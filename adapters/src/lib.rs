//! Make a legacy database answer as a gRPC service, by configuration only.
