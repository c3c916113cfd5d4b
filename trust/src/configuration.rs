//! The global configuration: keys and state, root documents, heads, and what they say.

mod directory;
mod fold;
mod head;
mod key;
mod root;
mod state;

pub use directory::Configuration;
pub use fold::{Fold, InvalidEntry};
pub use head::{CLOCK_SKEW_SECONDS, VerifiedHead};
pub use key::{KEY_LIMIT, StateKey};
pub use root::{Anchor, ROOT_SIGNATURE_CONTEXT, RootDocument};
pub use state::{
    Applied, ENTRY_LIMIT, OFFICER_SIGNATURE_CONTEXT, RejectedChange, State, pair_leaf,
    verify_membership,
};

use crate::refusal::{Reason, Refusal};

fn invalid(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidConfiguration, what)
}
