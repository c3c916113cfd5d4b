//! Pure: all that a third party needs to check an exchange. No IO, clock, async or network.

pub mod access;
pub mod batch;
pub mod checkpoint;
pub mod configuration;
pub mod content;
pub mod digest;
pub mod exchange;
mod fields;
pub mod header;
pub mod identifier;
pub mod leaf;
pub mod merkle;
pub mod message;
pub mod peer_log;
pub mod promise;
pub mod record;
pub mod refusal;
pub mod replay;
pub mod signature;
pub mod subject;
pub mod tile;

pub use content::Content;
pub use digest::Digest;
pub use identifier::{
    ExchangeId, InstanceId, InvalidIdentifier, MemberId, MethodPath, ServerId, SubsystemId,
};
pub use refusal::{Reason, Refusal};

/// The generated types of everything that is signed, kept or published.
pub mod wire {
    /// Messages, signatures, annexes and the bodies of local records.
    pub mod evidence {
        #![allow(missing_docs, clippy::all, unused_qualifications)]
        include!("generated/lienthong.evidence.v1.rs");
    }
    /// Registry entries, heads, snapshots, root documents and the values of the state.
    pub mod configuration {
        #![allow(missing_docs, clippy::all, unused_qualifications)]
        include!("generated/lienthong.configuration.v1.rs");
    }
}
