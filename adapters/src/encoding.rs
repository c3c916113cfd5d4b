//! Legacy Vietnamese encodings: stored bytes to Unicode text, and a text to every spelling that may be stored.
//!
//! An encoding is declared, never guessed: the bytes of one are letters of another. Text comes out in
//! Unicode's normal form C, whatever was stored.

mod apart;
mod capitals;
mod single_byte;
mod viqr;
mod vni;

use std::borrow::Cow;

use bytes::Bytes;
use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

pub use capitals::Capitals;

/// How text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Unicode.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// TCVN3, also called ABC: a byte a letter, as the .VnTime fonts show them. It has the small letters and
    /// seven capitals; the other capitals are small letters in a capital font: see [`Capitals`].
    Tcvn3,
    /// The same in a column that somebody took for Latin-1 and changed to UTF-8.
    #[serde(rename = "utf-8-of-latin-1-of-tcvn3")]
    Utf8OfLatin1OfTcvn3,
    /// VNI for Windows: a letter and a byte for its marks.
    VniWindows,
    /// VISCII 1.1 (RFC 1456).
    Viscii,
    /// VIQR (RFC 1456): letters and ASCII marks behind them.
    Viqr,
    /// Windows code page 1258: letters and combining tones.
    #[serde(rename = "windows-1258")]
    Windows1258,
}

/// How the text of a column is stored, and what is done where it cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextForm {
    /// Its encoding.
    pub encoding: Encoding,
    /// Which of its small letters are capitals.
    pub capitals: Capitals,
    /// What is done with bytes that mean nothing.
    pub undecodable: Undecodable,
}

/// What is done with stored bytes that mean nothing in their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undecodable {
    /// The call is refused.
    #[default]
    Strict,
    /// U+FFFD is answered, and the record names the field.
    Report,
    /// U+FFFD is answered.
    Replace,
}

/// Text as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// In normal form C; U+FFFD in the place of what could not be understood.
    pub text: String,
    /// How many bytes could not be understood.
    pub undecodable: usize,
    /// Where the first of them stands.
    pub first_undecodable: Option<usize>,
}

/// A text has a character that the encoding does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("U+{:04X} does not exist in {}", u32::from(*.character), .encoding.name())]
pub struct Unencodable {
    /// The first such character.
    pub character: char,
    /// The encoding.
    pub encoding: Encoding,
}

impl TextForm {
    /// Reads stored bytes.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Decoded {
        self.encoding.decode(bytes, self.capitals)
    }

    /// Every way in which a text may be stored: see [`Encoding::spellings`].
    ///
    /// # Errors
    /// When the encoding has not all its characters.
    pub fn spellings(self, text: &str) -> Result<Vec<Bytes>, Unencodable> {
        self.encoding.spellings(text, self.capitals)
    }
}

impl Encoding {
    /// Whether it tells capitals from small letters: TCVN3 leaves most of them to the font.
    #[must_use]
    pub const fn has_capitals(self) -> bool {
        !matches!(self, Self::Tcvn3 | Self::Utf8OfLatin1OfTcvn3)
    }

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Utf8,
        Self::Tcvn3,
        Self::Utf8OfLatin1OfTcvn3,
        Self::VniWindows,
        Self::Viscii,
        Self::Viqr,
        Self::Windows1258,
    ];

    /// What a text in it is called, for errors.
    #[must_use]
    pub const fn expectation(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8 text",
            Self::Tcvn3 => "text that TCVN3 has letters for",
            Self::Utf8OfLatin1OfTcvn3 => "text that TCVN3 has letters for, in UTF-8 of Latin-1",
            Self::VniWindows => "text that VNI-Windows has letters for",
            Self::Viscii => "text that VISCII has letters for",
            Self::Viqr => "text that VIQR has letters for",
            Self::Windows1258 => "text that windows-1258 has letters for",
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Tcvn3 => "tcvn3",
            Self::Utf8OfLatin1OfTcvn3 => "utf-8-of-latin-1-of-tcvn3",
            Self::VniWindows => "vni-windows",
            Self::Viscii => "viscii",
            Self::Viqr => "viqr",
            Self::Windows1258 => "windows-1258",
        }
    }

    /// Whether its letters do not say which of them are capitals.
    #[must_use]
    pub const fn needs_capitals(self) -> bool {
        matches!(self, Self::Tcvn3 | Self::Utf8OfLatin1OfTcvn3)
    }

    /// Reads stored bytes.
    #[must_use]
    pub fn decode(self, bytes: &[u8], capitals: Capitals) -> Decoded {
        let mut decoded = Decoded::default();
        match self {
            Self::Utf8 => utf8(bytes, &mut decoded),
            Self::Tcvn3 => single_byte::TCVN3.decode(bytes, &mut decoded),
            Self::Utf8OfLatin1OfTcvn3 => latin1(bytes, &mut decoded),
            Self::Viscii => single_byte::VISCII.decode(bytes, &mut decoded),
            Self::Windows1258 => single_byte::WINDOWS_1258.decode(bytes, &mut decoded),
            Self::VniWindows => vni::decode(bytes, &mut decoded),
            Self::Viqr => viqr::decode(bytes, &mut decoded),
        }
        if let Cow::Owned(text) = NFC.normalize(&decoded.text) {
            decoded.text = text;
        }
        if self.needs_capitals() {
            decoded.text = capitals.raise(&decoded.text);
        }
        decoded
    }

    /// Every way in which a text may be stored, the commonest first; [`SPELLINGS`] at most.
    ///
    /// # Errors
    /// When the encoding has not all its characters.
    pub fn spellings(self, text: &str, capitals: Capitals) -> Result<Vec<Bytes>, Unencodable> {
        let given = text;
        let text = normal(text);
        let unencodable = |character| Unencodable {
            character,
            encoding: self,
        };
        let spelt = match self {
            // As it was given, first: a statement that compares with one is meant to compare with that.
            Self::Utf8 => Ok([vec![given.as_bytes().to_vec()], apart::spellings(&text)].concat()),
            Self::Tcvn3 => capitals::spellings(&text, capitals),
            Self::Utf8OfLatin1OfTcvn3 => capitals::spellings(&text, capitals).map(|spelt| {
                let as_latin1 =
                    |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect::<String>();
                spelt
                    .into_iter()
                    .map(|bytes| as_latin1(bytes).into_bytes())
                    .collect()
            }),
            Self::Viscii => single_byte::VISCII.encode(&text).map(|spelt| vec![spelt]),
            Self::Windows1258 => single_byte::windows_1258_spellings(&text),
            Self::VniWindows => vni::spellings(&text),
            Self::Viqr => viqr::spellings(&text),
        };
        let mut distinct: Vec<Bytes> = Vec::with_capacity(SPELLINGS);
        for spelling in spelt.map_err(unencodable)? {
            if !distinct.iter().any(|known| **known == *spelling) {
                distinct.push(spelling.into());
            }
        }
        Ok(distinct)
    }
}

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();

/// The most spellings that a text may have.
pub const SPELLINGS: usize = 4;

impl Decoded {
    fn push(&mut self, character: char) {
        self.text.push(character);
    }

    /// Bytes that mean nothing.
    fn fail(&mut self, position: usize, bytes: usize) {
        self.text.push(char::REPLACEMENT_CHARACTER);
        self.undecodable += bytes;
        self.first_undecodable.get_or_insert(position);
    }
}

/// In normal form C.
pub(crate) fn normal(text: &str) -> String {
    NFC.normalize(text).into_owned()
}

fn utf8(bytes: &[u8], decoded: &mut Decoded) {
    let mut position = 0;
    for chunk in bytes.utf8_chunks() {
        decoded.text.push_str(chunk.valid());
        position += chunk.valid().len();
        let invalid = chunk.invalid().len();
        if invalid > 0 {
            decoded.fail(position, invalid);
            position += invalid;
        }
    }
}

/// What stands in the place of bytes in text that was taken for Latin-1.
fn latin1(bytes: &[u8], decoded: &mut Decoded) {
    let mut position = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(u32::from(character)) {
                Ok(byte) => single_byte::TCVN3.decode_one(position, byte, decoded),
                Err(_) => decoded.fail(position, character.len_utf8()),
            }
            position += character.len_utf8();
        }
        let invalid = chunk.invalid().len();
        if invalid > 0 {
            decoded.fail(position, invalid);
            position += invalid;
        }
    }
}

#[cfg(test)]
mod tests;
