//! A one-stop desk: a parent declares a birth once, and the agencies do the rest, each in its own register.
//!
//! The desk is an ordinary client of the bus with a small store of its own. A dossier is one child; its steps are
//! exchanges with agencies, each with a key that is the same for all attempts. An agency may be away for as
//! long as it likes: its steps wait, those that do not need it go on, and after a restart of anything they are tried again
//! with the same key. What an agency refuses for a reason of substance comes back to the desk.

pub mod agencies;
pub mod births;
pub mod command_line;
pub mod declaration;
pub mod desk;
pub mod evidence;
pub mod outcome;
pub mod settings;
pub mod step;
pub mod store;
