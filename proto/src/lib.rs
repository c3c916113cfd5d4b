//! The wire between the parts, and what they keep: generated types, and the conversions from and to `trust`.

/// Between security servers.
pub mod exchange {
    #![allow(missing_docs, clippy::all, unused_qualifications)]
    include!("generated/lienthong.exchange.v1.rs");
}

/// The administration sockets of a security server and of the central registry.
pub mod administration {
    #![allow(missing_docs, clippy::all, unused_qualifications)]
    include!("generated/lienthong.administration.v1.rs");
}

/// What a security server keeps of what it remembers.
pub mod recollection {
    #![allow(missing_docs, clippy::all, unused_qualifications)]
    include!("generated/lienthong.recollection.v1.rs");
}

/// The encoded `FileDescriptorSet` of this wire, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

pub mod refusal;
