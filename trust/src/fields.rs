//! The fields of an encoded message, one after the other, before anything is made of them.

use bytes::Bytes;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// Walks over encoded fields and allocates nothing: a decoded message can be many times larger
/// than its bytes, so what is not trusted is counted first.
pub(crate) struct Fields(pub(crate) Bytes);

impl Iterator for Fields {
    /// The number of a field; its bytes, if it is one that has a length.
    type Item = Result<(u32, Option<Bytes>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0.clear();
        }
        Some(field)
    }
}

impl Fields {
    fn field(&mut self) -> Result<(u32, Option<Bytes>), DecodeError> {
        let (number, wire_type) = decode_key(&mut self.0)?;
        let mut field = self.0.clone();
        skip_field(wire_type, number, &mut self.0, DecodeContext::default())?;
        if wire_type != WireType::LengthDelimited {
            return Ok((number, None));
        }
        field.truncate(field.len() - self.0.len());
        decode_varint(&mut field)?;
        Ok((number, Some(field)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &'static [u8]) -> Vec<Option<(u32, Option<Bytes>)>> {
        let fields = Fields(Bytes::from_static(bytes));
        fields.map(Result::ok).collect()
    }

    #[test]
    fn each_field_is_given_once_and_bad_bytes_end_the_walk() {
        let text = |text: &'static [u8]| Some(Bytes::from_static(text));
        assert_eq!(
            fields(b"\x0a\x02hi\x10\x07\x12\x00"),
            [
                Some((1, text(b"hi"))),
                Some((2, None)),
                Some((2, text(b"")))
            ]
        );
        assert_eq!(fields(b"\x0a\x02h"), [None]);
        assert_eq!(fields(b"\x10\x07\x00\x00"), [Some((2, None)), None]);
        assert!(fields(b"").is_empty());
    }
}
