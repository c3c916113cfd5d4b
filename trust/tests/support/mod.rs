//! What the tests share: vector files, messages from readable fields, and a small registry.

#![allow(dead_code, reason = "each test program uses a part of what is shared")]

pub mod fields;
pub mod registry;
pub mod signer;
pub mod vectors;
