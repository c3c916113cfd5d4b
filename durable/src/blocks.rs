//! Whole blocks of a file, written from memory that the disk itself can read.

use std::io::{self, IoSlice};

use crate::{file_system::File, writing::write_at};

/// What [`Access::Blocks`](crate::Access::Blocks) writes is a multiple of this, in bytes.
pub const BLOCK: usize = 512;
/// No disk asks for more of the memory that it reads.
pub(crate) const ALIGNMENT: usize = 4096;
/// What is longer is written in pieces of this size.
const CAPACITY: usize = 1024 * 1024;

/// Memory in which parts are laid end to end before they are written. It takes as much of the
/// machine's as was once written at a time, at most a mebibyte.
pub struct BlockBuffer {
    memory: Vec<u8>,
    start: usize,
}

impl Default for BlockBuffer {
    fn default() -> Self {
        let memory = vec![0; CAPACITY + ALIGNMENT];
        Self {
            start: memory.as_ptr().align_offset(ALIGNMENT),
            memory,
        }
    }
}

impl BlockBuffer {
    /// Writes all parts one after the other from `offset` on, which is a multiple of [`BLOCK`], and
    /// zeros to the end of the last block. They survive once the file was synced.
    ///
    /// # Errors
    /// When not all was written; any part of it may have been.
    pub fn write<'a>(
        &mut self,
        file: &dyn File,
        parts: impl IntoIterator<Item = &'a [u8]>,
        offset: u64,
    ) -> io::Result<()> {
        let blocks = self.blocks();
        let (mut offset, mut filled) = (offset, 0);
        for mut part in parts {
            while !part.is_empty() {
                let room = blocks.get_mut(filled..).unwrap_or_default();
                let (now, later) = part.split_at(part.len().min(room.len()));
                if let Some(room) = room.get_mut(..now.len()) {
                    room.copy_from_slice(now);
                }
                part = later;
                filled += now.len();
                if filled == blocks.len() {
                    write_at(file, &mut [IoSlice::new(blocks)], offset)?;
                    offset += filled as u64;
                    filled = 0;
                }
            }
        }
        let padded = filled.next_multiple_of(BLOCK);
        if let Some(padding) = blocks.get_mut(filled..padded) {
            padding.fill(0);
        }
        let rest = blocks.get(..padded).unwrap_or_default();
        write_at(file, &mut [IoSlice::new(rest)], offset)
    }

    /// The memory, as many whole blocks as are written at a time.
    pub(crate) fn blocks(&mut self) -> &mut [u8] {
        let blocks = self.memory.get_mut(self.start..);
        let blocks = blocks.and_then(|blocks| blocks.get_mut(..CAPACITY));
        blocks.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Access, FileSystem, Posix, read, simulated::Disk};

    /// What is written stands where it was written, in any file system and however it is cut up.
    #[test]
    fn parts_of_any_length_are_laid_end_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let files: [(&dyn FileSystem, &Path); 2] =
            [(&Posix, folder.path()), (&disk, Path::new("/"))];
        for (files, folder) in files {
            for lengths in [
                &[][..],
                &[1],
                &[512],
                &[511, 2],
                &[CAPACITY, 700, 0, 3 * CAPACITY + 1],
            ] {
                let path = folder.join(format!("{lengths:?}"));
                files.create(&path, 0o600).unwrap();
                let file = files.open(&path, Access::Blocks).unwrap();
                let parts: Vec<_> = lengths.iter().map(|length| vec![7; *length]).collect();
                // Of another one, so that what it leaves behind would be seen.
                let mut buffer = BlockBuffer::default();
                buffer.write(&*file, [[1; 5000].as_slice()], 512).unwrap();
                buffer
                    .write(&*file, parts.iter().map(Vec::as_slice), 5632)
                    .unwrap();
                file.sync().unwrap();
                let written = lengths.iter().sum::<usize>();
                let mut expected = vec![0; 512];
                expected.resize(5512, 1);
                expected.resize(5632, 0);
                expected.resize(5632 + written, 7);
                expected.resize(5632 + written.next_multiple_of(BLOCK), 0);
                assert!(read(files, &path).unwrap() == expected, "{lengths:?}");
            }
        }
    }
}
