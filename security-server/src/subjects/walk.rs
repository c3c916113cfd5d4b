//! Walks over an encoded message to the fields that name persons, and decodes nothing else.

use prost::{
    bytes::Buf,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use trust::subject::{SUBJECTS_LIMIT, SubjectKey, Subjects, Unread};

use super::marks::{Field, Kind, Marks};

/// How deep messages may stand in each other; as deep as common readers go.
const DEPTH: usize = 100;

/// The most values that are hashed, so that no message keeps a server busy.
const VALUES: usize = 10 * SUBJECTS_LIMIT;

/// Whom a message is about that begins at a position of the marks. What stands in the same field
/// again counts too: no reader can take a person for named that is not here.
pub(super) fn subjects(
    marks: &Marks,
    position: usize,
    message: &[u8],
    key: &SubjectKey,
) -> Subjects {
    let mut walk = Walk {
        marks,
        key,
        found: Subjects::default(),
        values: 0,
    };
    if let Err(why) = walk.message(position, message, DEPTH) {
        walk.found.unread = Some(why);
    }
    walk.found
}

struct Walk<'a> {
    marks: &'a Marks,
    key: &'a SubjectKey,
    found: Subjects,
    /// How many values there were, also of the same person.
    values: usize,
}

impl Walk<'_> {
    fn message(&mut self, position: usize, mut bytes: &[u8], depth: usize) -> Result<(), Unread> {
        let marks = self.marks;
        let message = marks.messages.get(position).ok_or(Unread::Unreadable)?;
        let depth = depth.checked_sub(1).ok_or(Unread::Unreadable)?;
        while bytes.has_remaining() {
            let (number, wire_type) = decode_key(&mut bytes).map_err(|_| Unread::Unreadable)?;
            match (message.fields.get(&number), wire_type) {
                (Some(Field::Holds(position)), WireType::LengthDelimited) => {
                    let held = delimited(&mut bytes)?;
                    self.message(*position, held, depth)?;
                }
                // A message may be encoded as a group, as its file says; no walk goes into one.
                (Some(Field::Holds(_)), WireType::StartGroup) => return Err(Unread::Unreadable),
                (Some(Field::Names(kind)), _) => {
                    self.named(*kind, wire_type, number, &mut bytes)?
                }
                _ => skip(wire_type, number, &mut bytes)?,
            }
        }
        Ok(())
    }

    fn named(
        &mut self,
        kind: Kind,
        wire_type: WireType,
        number: u32,
        bytes: &mut &[u8],
    ) -> Result<(), Unread> {
        match (kind, wire_type) {
            (Kind::Other, _) => Err(Unread::Unreadable),
            (Kind::Text, WireType::LengthDelimited) => {
                let text = delimited(bytes)?;
                let text = std::str::from_utf8(text).map_err(|_| Unread::Unreadable)?;
                self.note(text)
            }
            (kind, found) if found == kind.wire_type() => {
                let value = kind.number(bytes)?;
                self.note(&value)
            }
            // Packed.
            (kind, WireType::LengthDelimited) if kind != Kind::Text => {
                let mut values = delimited(bytes)?;
                while values.has_remaining() {
                    let value = kind.number(&mut values)?;
                    self.note(&value)?;
                }
                Ok(())
            }
            // Readers take it for a field that they do not know.
            _ => skip(wire_type, number, bytes),
        }
    }

    fn note(&mut self, identifier: &str) -> Result<(), Unread> {
        if identifier.trim().is_empty() {
            return Ok(());
        }
        self.values += 1;
        if self.values > VALUES {
            return Err(Unread::TooMany);
        }
        let hash = self.key.hash(identifier);
        let hashes = &mut self.found.hashes;
        if hashes.len() == SUBJECTS_LIMIT && !hashes.contains(&hash) {
            return Err(Unread::TooMany);
        }
        hashes.insert(hash);
        Ok(())
    }
}

impl Kind {
    const fn wire_type(self) -> WireType {
        match self {
            Self::Text | Self::Other => WireType::LengthDelimited,
            Self::Int32 | Self::Int64 | Self::Uint32 | Self::Uint64 => WireType::Varint,
            Self::Sint32 | Self::Sint64 => WireType::Varint,
            Self::Fixed32 | Self::Sfixed32 => WireType::ThirtyTwoBit,
            Self::Fixed64 | Self::Sfixed64 => WireType::SixtyFourBit,
        }
    }

    /// The next value of a number, in decimal digits. Of a varint that is too long for its type
    /// readers take the lowest bits.
    #[allow(clippy::cast_possible_truncation, reason = "as readers do")]
    fn number(self, bytes: &mut &[u8]) -> Result<String, Unread> {
        let bits = match self.wire_type() {
            WireType::Varint => decode_varint(bytes).map_err(|_| Unread::Unreadable)?,
            WireType::ThirtyTwoBit => {
                let bits = bytes.try_get_u32_le();
                bits.map_err(|_| Unread::Unreadable)?.into()
            }
            WireType::SixtyFourBit => bytes.try_get_u64_le().map_err(|_| Unread::Unreadable)?,
            _ => return Err(Unread::Unreadable),
        };
        let zigzag = |bits: u64| (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed();
        Ok(match self {
            Self::Int32 | Self::Sfixed32 => (bits as u32).cast_signed().to_string(),
            Self::Uint32 | Self::Fixed32 => (bits as u32).to_string(),
            Self::Sint32 => zigzag(u64::from(bits as u32)).to_string(),
            Self::Sint64 => zigzag(bits).to_string(),
            Self::Int64 | Self::Sfixed64 => bits.cast_signed().to_string(),
            Self::Uint64 | Self::Fixed64 | Self::Text | Self::Other => bits.to_string(),
        })
    }
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Unread> {
    let length = decode_varint(bytes).map_err(|_| Unread::Unreadable)?;
    let length = usize::try_from(length).map_err(|_| Unread::Unreadable)?;
    let (found, rest) = bytes.split_at_checked(length).ok_or(Unread::Unreadable)?;
    *bytes = rest;
    Ok(found)
}

fn skip(wire_type: WireType, number: u32, bytes: &mut &[u8]) -> Result<(), Unread> {
    skip_field(wire_type, number, bytes, DecodeContext::default()).map_err(|_| Unread::Unreadable)
}
