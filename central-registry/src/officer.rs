//! The officers' side: what is wanted, what it changes, signed and given in.

mod describe;
mod difference;
mod file;
mod parcel;
mod session;
mod show;
pub mod values;
mod wanted;

pub use difference::{Difference, Kind, Plan};
pub use file::RegistryFile;
pub(crate) use session::decide;
pub use session::{OfficerKey, Session};
pub use show::file_of;
pub use wanted::{Prune, Wanted};
