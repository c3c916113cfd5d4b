//! Files that survive: what the file system is asked for, and the few ways to write what must stay.
//!
//! Everything that must be there after a power cut is written through here. [`FileSystem`] and
//! [`File`] are single calls of POSIX, and say what each leaves behind when the power goes:
//! contents survive by [`File::sync`], names by [`FileSystem::sync_folder`], and nothing else. The
//! ways to write stand once on top: [`replace`], [`create`], [`FileSet`], [`make_folder`].
//!
//! [`Posix`] is the file system of this machine. [`simulated::Disk`] is one in memory that fails,
//! fills up, forgets and crashes as a test asks; writers take `&dyn FileSystem` so that it can
//! stand under each of them.

mod blocks;
mod file_set;
mod file_system;
mod posix;
pub mod simulated;
mod writing;

pub use blocks::{BLOCK, BlockBuffer};
pub use file_set::FileSet;
pub use file_system::{Access, Entry, File, FileSystem};
pub use posix::Posix;
pub use writing::{
    create, make_folder, read, read_at, remove_if_there, remove_unfinished, rename, replace,
    replace_from, write_at,
};
