//! Durable, append-only Merkle log; used for messages and for registrations.
