//! Buffered reading of a segment file, and of one frame in it.

use std::io;

use bytes::Bytes;
use durable::File;

use crate::{
    error::Fault,
    format::{BATCH_HEADER, BLOCK, BatchHeader, FRAME_HEADER, FrameHeader, SegmentId, is_zero},
    record::KeptPart,
};

/// Single records are read with little, long walks with much at a time.
const FIRST_READ: usize = 8 * 1024;
const LARGEST_READ: usize = 256 * 1024;

/// A part of a file in memory.
pub(crate) struct Window {
    file: Box<dyn File>,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
    next_read: usize,
}

impl Window {
    pub(crate) fn new(file: Box<dyn File>) -> io::Result<Self> {
        Ok(Self {
            length: file.length()?,
            file,
            start: 0,
            bytes: Vec::new(),
            next_read: FIRST_READ,
        })
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Forgets what was read, for a file that somebody else is writing.
    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// The bytes from `offset` on: `length` of them, fewer only where the file ends.
    pub(crate) fn slice(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let held = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + length as u64 > held {
            self.bytes.resize(self.next_read.max(length), 0);
            let filled = durable::read_at(&*self.file, &mut self.bytes, offset)?;
            self.bytes.truncate(filled);
            self.start = offset;
            self.next_read = (self.next_read * 2).min(LARGEST_READ);
        }
        let from = (offset - self.start) as usize;
        let to = self.bytes.len().min(from + length);
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// The first byte from `from` to `to` that is not zero.
    pub(crate) fn first_nonzero(&mut self, from: u64, to: u64) -> io::Result<Option<u64>> {
        let mut offset = from;
        while offset < to {
            let length = usize::try_from(to - offset).map_or(LARGEST_READ, |n| n.min(LARGEST_READ));
            let piece = self.slice(offset, length)?;
            if piece.is_empty() {
                break;
            }
            if !is_zero(piece) {
                let zeros = piece.iter().take_while(|byte| **byte == 0).count();
                return Ok(Some(offset + zeros as u64));
            }
            offset += piece.len() as u64;
        }
        Ok(None)
    }

    /// Where the last byte that is not zero ends, from `from` on; `from` if there is none.
    pub(crate) fn end_of_bytes(&mut self, from: u64) -> io::Result<u64> {
        let (mut end, mut offset) = (from, from);
        loop {
            let piece = self.slice(offset, LARGEST_READ)?;
            if piece.is_empty() {
                return Ok(end);
            }
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                end = offset + last as u64 + 1;
            }
            offset += piece.len() as u64;
        }
    }

    /// The whole header of a batch of this segment that stands at `offset`, if one does.
    pub(crate) fn batch_header(
        &mut self,
        offset: u64,
        id: &SegmentId,
    ) -> io::Result<Result<BatchHeader, Fault>> {
        let header = BatchHeader::decode(self.slice(offset, BATCH_HEADER)?);
        Ok(header.and_then(|header| {
            let ours = header.id == *id;
            let fault = Fault::BatchHeader("it is of another segment");
            ours.then_some(header).ok_or(fault)
        }))
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // Small parts come out of the window, large ones do not push it aside.
        if length <= LARGEST_READ {
            return self.slice(offset, length).map(<[u8]>::to_vec);
        }
        let mut bytes = vec![0; length];
        let filled = durable::read_at(&*self.file, &mut bytes, offset)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn checksum(&mut self, offset: u64, length: u64) -> io::Result<u32> {
        let (mut checksum, mut at) = (0, offset);
        let end = offset + length;
        while at < end {
            let most = usize::try_from(end - at).map_or(LARGEST_READ, |n| n.min(LARGEST_READ));
            let piece = self.slice(at, most)?;
            if piece.is_empty() {
                break;
            }
            checksum = crc32c::crc32c_append(checksum, piece);
            at += piece.len() as u64;
        }
        Ok(checksum)
    }
}

/// What is done with the content of records that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// It is loaded.
    Load,
    /// Its checksum is verified; it is not kept in memory.
    Check,
    /// It is only looked at whether it is zeros.
    Skip,
}

/// What stands where a frame may stand.
pub(crate) enum FrameAt {
    /// A whole record.
    Record(Frame),
    /// Nothing more of this batch.
    End,
    /// Neither.
    Bad(Fault),
}

/// A record and the bytes that the hash of its batch covers.
pub(crate) struct Frame {
    pub(crate) kept: KeptPart,
    pub(crate) content: Bytes,
    pub(crate) content_length: u64,
    /// There are zeros in place of the content.
    pub(crate) is_gone: bool,
    pub(crate) hashed: [Bytes; 2],
    pub(crate) length: u64,
}

impl FrameAt {
    /// Reads what stands at `offset`.
    pub(crate) fn read(
        window: &mut Window,
        offset: u64,
        id: &SegmentId,
        contents: Contents,
    ) -> io::Result<Self> {
        let room = window.length().saturating_sub(offset);
        if offset.is_multiple_of(BLOCK) && window.batch_header(offset, id)?.is_ok() {
            return Ok(Self::End);
        }
        let start = window.slice(offset, FRAME_HEADER)?;
        // Padding can be one byte long: the first byte decides, and whoever sees the end verifies
        // that zeros reach to the next boundary.
        if start.first().is_none_or(|byte| *byte == 0) {
            return Ok(Self::End);
        }
        let start = Bytes::copy_from_slice(start);
        let (frame, checksum) = match FrameHeader::decode(&start) {
            Ok(decoded) => decoded,
            Err(fault) => return Ok(Self::Bad(fault)),
        };
        if frame.length() > room {
            return Ok(Self::Bad(Fault::Frame("it reaches past the segment")));
        }
        let kept = Bytes::from(window.read(offset + FRAME_HEADER as u64, frame.kept_length())?);
        if let Err(fault) = checksum.verify(&kept) {
            return Ok(Self::Bad(fault));
        }
        let from = offset + FRAME_HEADER as u64 + kept.len() as u64;
        let content = match contents {
            Contents::Load => window.read(from, frame.content as usize)?.into(),
            Contents::Check | Contents::Skip => Bytes::new(),
        };
        let checksum = match contents {
            Contents::Load => crc32c::crc32c(&content),
            Contents::Check | Contents::Skip => window.checksum(from, frame.content.into())?,
        };
        let is_whole = checksum == frame.content_checksum;
        let end = from + u64::from(frame.content);
        let is_gone = !is_whole && window.first_nonzero(from, end)?.is_none();
        if !is_whole && !is_gone && contents != Contents::Skip {
            return Ok(Self::Bad(Fault::ContentChecksum));
        }
        let (header, signature) = (frame.header as usize, frame.signature as usize);
        Ok(Self::Record(Frame {
            kept: KeptPart {
                kind: frame.kind,
                header: kept.slice(..header),
                signature: kept.slice(header..header + signature),
                annex: kept.slice(header + signature..),
            },
            content,
            content_length: frame.content.into(),
            is_gone,
            length: frame.length(),
            hashed: [start, kept],
        }))
    }
}
