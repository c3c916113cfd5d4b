//! The stages of the two routes: one file each, one line in the route each.
//!
//! A stage takes the proof that the stage before it made. The constructors of the proofs are
//! private to their files, so that a route which leaves out a stage does not compile.

pub(crate) mod answer;
pub(crate) mod authorise;
pub(crate) mod call_adapter;
pub(crate) mod deliver;
pub(crate) mod forward;
pub(crate) mod identify_client;
pub(crate) mod record;
pub(crate) mod resolve;
pub(crate) mod sign;
pub(crate) mod verify;
