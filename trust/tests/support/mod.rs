//! What the tests share: vector files, messages from readable fields, a small registry, and every
//! change of a byte.

#![allow(dead_code, reason = "each test program uses a part of what is shared")]

pub mod every_byte;
pub mod fields;
pub mod registry;
pub mod signer;
pub mod vectors;
