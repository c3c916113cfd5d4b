//! The bytes on disk: segment header, batch header and frame header. All numbers little-endian.
//!
//! ```text
//! segment header, at offset 0, one block of 512 bytes
//!     0  8  magic "LTSEGMNT"
//!     8  4  version, 1
//!    12  4  zero
//!    16 16  segment id, random
//!    32  8  index of the first record
//!    40  8  length of the file
//!    48 16  id of the previous segment; zero in the first
//!    64  8  where the previous batch ended; zero in the first
//!    72 32  hash of the previous batch; in the first, SHA-256 of the identity file
//!   104  4  CRC-32C of bytes 0 to 103
//!   108     zeros to the end of the block
//!
//! batch header, at a multiple of 512
//!     0  8  magic "LTBATCH\n"
//!     8 16  segment id
//!    24  8  index of the first record
//!    32  8  where the previous batch ended
//!    40 32  hash of the previous batch
//!    72  4  zero
//!    76  4  CRC-32C of bytes 0 to 75
//!
//! frame, directly after the batch header or the frame before
//!     0  4  mark "LTRC"
//!     4  1  kind of the record
//!     5  3  zero
//!     8  4  length of the header
//!    12  4  length of the signature
//!    16  4  length of the annex
//!    20  4  length of the content
//!    24  4  CRC-32C of the content
//!    28  4  CRC-32C of bytes 0 to 27 and header, signature and annex
//!    32     header, signature, annex (the kept part), content
//! ```
//!
//! The *hash of a batch* is SHA-256 over its batch header and, for each record, frame header and
//! kept part. A batch ends where the next header says; after the last frame there are zeros up to
//! the next multiple of 512.

use trust::Digest;

use crate::{
    error::Fault,
    record::{KeptPart, MAX_ANNEX, MAX_CONTENT, MAX_HEADER, MAX_SIGNATURE},
};

/// Batches start at multiples of this: what a disk writes whole.
pub(crate) const BLOCK: u64 = 512;

const SEGMENT_MAGIC: &[u8; 8] = b"LTSEGMNT";
const SEGMENT_VERSION: u32 = 1;
const SEGMENT_CHECKED: usize = 104;

const BATCH_MAGIC: &[u8; 8] = b"LTBATCH\n";
const BATCH_CHECKED: usize = 76;
/// The length of a batch header.
pub(crate) const BATCH_HEADER: usize = BATCH_CHECKED + 4;

const FRAME_MARK: &[u8; 4] = b"LTRC";
const FRAME_CHECKED: usize = 28;
/// The length of a frame header.
pub(crate) const FRAME_HEADER: usize = FRAME_CHECKED + 4;

/// The random name of a segment, so that its bytes are not mistaken elsewhere.
pub(crate) type SegmentId = [u8; 16];

/// The next multiple of [`BLOCK`].
pub(crate) const fn block_after(offset: u64) -> u64 {
    offset.next_multiple_of(BLOCK)
}

/// The name of the segment that starts with record `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("segments/{first:020}.segment")
}

/// The first record of the segment with this file name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// The end of a batch and its hash: what the next header repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) end: u64,
    pub(crate) hash: Digest,
}

/// The first block of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: SegmentId,
    pub(crate) first: u64,
    pub(crate) length: u64,
    pub(crate) previous_id: SegmentId,
    pub(crate) previous: Chain,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        bytes.extend(SEGMENT_MAGIC);
        bytes.extend(SEGMENT_VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.id);
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.previous_id);
        bytes.extend(self.previous.end.to_le_bytes());
        bytes.extend(self.previous.hash.as_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(BLOCK as usize, 0);
        bytes
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, Fault> {
        let fault = |what| Fault::SegmentHeader(what);
        let mut fields = Fields(block);
        let short = || fault("it is cut");
        let magic = fields.take().ok_or_else(short)?;
        let version = fields.u32().ok_or_else(short)?;
        let zero = fields.u32().ok_or_else(short)?;
        let header = Self {
            id: fields.take().ok_or_else(short)?,
            first: fields.u64().ok_or_else(short)?,
            length: fields.u64().ok_or_else(short)?,
            previous_id: fields.take().ok_or_else(short)?,
            previous: fields.chain().ok_or_else(short)?,
        };
        let checksum = fields.u32().ok_or_else(short)?;
        if magic != *SEGMENT_MAGIC {
            return Err(fault("it does not begin as one"));
        }
        if Some(checksum) != block.get(..SEGMENT_CHECKED).map(crc32c::crc32c) {
            return Err(fault("its checksum is wrong"));
        }
        if version != SEGMENT_VERSION || zero != 0 {
            return Err(fault("its version is unknown"));
        }
        if fields.0.len() as u64 + SEGMENT_CHECKED as u64 + 4 != BLOCK || !is_zero(fields.0) {
            return Err(fault("its block does not end with zeros"));
        }
        Ok(header)
    }
}

/// What stands before the frames of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) id: SegmentId,
    pub(crate) first: u64,
    pub(crate) previous: Chain,
}

impl BatchHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BATCH_HEADER);
        bytes.extend(BATCH_MAGIC);
        bytes.extend(self.id);
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.previous.end.to_le_bytes());
        bytes.extend(self.previous.hash.as_bytes());
        bytes.extend([0; 4]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let fault = |what| Fault::BatchHeader(what);
        let mut fields = Fields(bytes);
        let short = || fault("it is cut");
        let magic = fields.take().ok_or_else(short)?;
        let header = Self {
            id: fields.take().ok_or_else(short)?,
            first: fields.u64().ok_or_else(short)?,
            previous: fields.chain().ok_or_else(short)?,
        };
        let zero = fields.u32().ok_or_else(short)?;
        let checksum = fields.u32().ok_or_else(short)?;
        if magic != *BATCH_MAGIC {
            return Err(fault("it does not begin as one"));
        }
        if Some(checksum) != bytes.get(..BATCH_CHECKED).map(crc32c::crc32c) {
            return Err(fault("its checksum is wrong"));
        }
        if zero != 0 {
            return Err(fault("its version is unknown"));
        }
        Ok(header)
    }
}

/// What stands before the bytes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: u8,
    pub(crate) header: u32,
    pub(crate) signature: u32,
    pub(crate) annex: u32,
    pub(crate) content: u32,
    pub(crate) content_checksum: u32,
}

impl FrameHeader {
    /// The header of a record whose lengths were checked.
    pub(crate) fn of(kept: &KeptPart, content: &[bytes::Bytes]) -> Self {
        let checksum = |sum, piece: &bytes::Bytes| crc32c::crc32c_append(sum, piece);
        Self {
            kind: kept.kind,
            header: kept.header.len() as u32,
            signature: kept.signature.len() as u32,
            annex: kept.annex.len() as u32,
            content: content.iter().map(bytes::Bytes::len).sum::<usize>() as u32,
            content_checksum: content.iter().fold(0, checksum),
        }
    }

    pub(crate) fn encode(&self, kept: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_HEADER);
        bytes.extend(FRAME_MARK);
        bytes.extend([self.kind, 0, 0, 0]);
        for number in [
            self.header,
            self.signature,
            self.annex,
            self.content,
            self.content_checksum,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        let own = crc32c::crc32c(&bytes);
        let checksum = kept
            .iter()
            .fold(own, |sum, part| crc32c::crc32c_append(sum, part));
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Decodes the lengths; the checksum of the kept part is verified once that was read.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, KeptChecksum), Fault> {
        let fault = |what| Fault::Frame(what);
        let mut fields = Fields(bytes);
        let short = || fault("it is cut");
        let mark = fields.take().ok_or_else(short)?;
        let [kind, reserved @ ..]: [u8; 4] = fields.take().ok_or_else(short)?;
        let frame = Self {
            kind,
            header: fields.u32().ok_or_else(short)?,
            signature: fields.u32().ok_or_else(short)?,
            annex: fields.u32().ok_or_else(short)?,
            content: fields.u32().ok_or_else(short)?,
            content_checksum: fields.u32().ok_or_else(short)?,
        };
        let checksum = KeptChecksum {
            own: crc32c::crc32c(bytes.get(..FRAME_CHECKED).unwrap_or_default()),
            stated: fields.u32().ok_or_else(short)?,
        };
        if mark != *FRAME_MARK {
            return Err(fault("it does not begin as one"));
        }
        if reserved != [0; 3] {
            return Err(fault("its version is unknown"));
        }
        let bounded = frame.header as usize <= MAX_HEADER
            && frame.signature as usize <= MAX_SIGNATURE
            && frame.annex as usize <= MAX_ANNEX
            && frame.content as usize <= MAX_CONTENT;
        if !bounded {
            return Err(fault("a part is longer than any record"));
        }
        Ok((frame, checksum))
    }

    /// The length of header, signature and annex together.
    pub(crate) const fn kept_length(&self) -> usize {
        self.header as usize + self.signature as usize + self.annex as usize
    }

    /// The length of the whole frame.
    pub(crate) const fn length(&self) -> u64 {
        FRAME_HEADER as u64 + self.kept_length() as u64 + self.content as u64
    }
}

/// The checksum over frame header and kept part, half computed.
pub(crate) struct KeptChecksum {
    own: u32,
    stated: u32,
}

impl KeptChecksum {
    pub(crate) fn verify(&self, kept: &[u8]) -> Result<(), Fault> {
        let right = crc32c::crc32c_append(self.own, kept) == self.stated;
        right.then_some(()).ok_or(Fault::KeptChecksum)
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Takes fixed fields from the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn chain(&mut self) -> Option<Chain> {
        let end = self.u64()?;
        let hash = Digest::from(self.take::<32>()?);
        Some(Chain { end, hash })
    }
}
