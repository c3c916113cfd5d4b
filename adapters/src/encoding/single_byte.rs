//! Encodings in which each byte is a character or a combining tone.

use std::sync::LazyLock;

use super::{Decoded, apart::tones_apart};

/// What each byte is.
pub(super) struct SingleByte([Option<char>; 256]);

/// TCVN3 as the .VnTime fonts show it: the small letters, and those capitals that have no tone.
pub(super) static TCVN3: LazyLock<SingleByte> = LazyLock::new(|| {
    SingleByte::new(
        &[],
        [
            "................",
            "................",
            "\u{a0}ĂÂÊÔƠƯĐăâêôơưđ.",
            ".....àảãáạ.ằẳẵắ.",
            "......ặầẩẫấậè.ẻẽ",
            "éẹềểễếệìỉ...ĩíịò",
            ".ỏõóọồổỗốộờởỡớợù",
            ".ủũúụừửữứựỳỷỹýỵ.",
        ],
    )
});

/// VISCII 1.1 (RFC 1456).
pub(super) static VISCII: LazyLock<SingleByte> = LazyLock::new(|| {
    SingleByte::new(
        &[
            (0x02, 'Ẳ'),
            (0x05, 'Ẵ'),
            (0x06, 'Ẫ'),
            (0x14, 'Ỷ'),
            (0x19, 'Ỹ'),
            (0x1e, 'Ỵ'),
        ],
        [
            "ẠẮẰẶẤẦẨẬẼẸẾỀỂỄỆỐ",
            "ỒỔỖỘỢỚỜỞỊỎỌỈỦŨỤỲ",
            "Õắằặấầẩậẽẹếềểễệố",
            "ồổỗỠƠộờởịỰỨỪỬơớƯ",
            "ÀÁÂÃẢĂẳẵÈÉÊẺÌÍĨỳ",
            "ĐứÒÓÔạỷừửÙÚỹỵÝỡư",
            "àáâãảăữẫèéêẻìíĩỉ",
            "đựòóôõỏọụùúũủýợỮ",
        ],
    )
});

/// Windows code page 1258.
pub(super) static WINDOWS_1258: LazyLock<SingleByte> = LazyLock::new(|| {
    SingleByte::new(
        &[],
        [
            "€.‚ƒ„…†‡ˆ‰.‹Œ...",
            ".‘’“”•–—˜™.›œ..Ÿ",
            "\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯",
            "°±²³´µ¶·¸¹º»¼½¾¿",
            "ÀÁÂĂÄÅÆÇÈÉÊË\u{300}ÍÎÏ",
            "ĐÑ\u{309}ÓÔƠÖ×ØÙÚÛÜƯ\u{303}ß",
            "àáâăäåæçèéêë\u{301}íîï",
            "đñ\u{323}óôơö÷øùúûüư₫ÿ",
        ],
    )
});

impl SingleByte {
    /// ASCII, but for those control characters that are letters; and from 0x80 on what stands here,
    /// sixteen a line, with a dot where there is nothing.
    fn new(controls: &[(u8, char)], upper: [&str; 8]) -> Self {
        let mut characters = [None; 256];
        for (byte, character) in (0..=u8::MAX).zip(&mut characters) {
            *character = is_plain(byte).then(|| char::from(byte));
        }
        let upper = upper.iter().flat_map(|line| line.chars());
        let upper = (0x80..).zip(upper.map(|is| (is != '.').then_some(is)));
        let controls = controls
            .iter()
            .map(|(byte, is)| (usize::from(*byte), Some(*is)));
        for (byte, is) in upper.chain(controls) {
            if let Some(character) = characters.get_mut(byte) {
                *character = is;
            }
        }
        Self(characters)
    }

    pub(super) fn decode(&self, bytes: &[u8], decoded: &mut Decoded) {
        for (position, byte) in bytes.iter().enumerate() {
            self.decode_one(position, *byte, decoded);
        }
    }

    pub(super) fn decode_one(&self, position: usize, byte: u8, decoded: &mut Decoded) {
        match self.character(byte) {
            Some(character) => decoded.push(character),
            None => decoded.fail(position, 1),
        }
    }

    /// The bytes of a text, or the first character that there is none for.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u8>, char> {
        text.chars()
            .map(|character| self.byte(character).ok_or(character))
            .collect()
    }

    fn character(&self, byte: u8) -> Option<char> {
        self.0.get(usize::from(byte)).copied().flatten()
    }

    pub(super) fn byte(&self, character: char) -> Option<u8> {
        let position = self.0.iter().position(|is| *is == Some(character))?;
        u8::try_from(position).ok()
    }
}

/// ASCII that stands in text. Other control characters are no part of it, and may be letters.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')
}

/// With letters whole where the code page has them, as most programs convert; and with all tones apart,
/// as the Vietnamese keyboard types.
pub(super) fn windows_1258_spellings(text: &str) -> Result<Vec<Vec<u8>>, char> {
    let mut whole = String::with_capacity(text.len());
    for letter in text.chars() {
        match WINDOWS_1258.byte(letter) {
            Some(_) => whole.push(letter),
            None => whole.push_str(&tones_apart(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    let apart = tones_apart(text);
    Ok(vec![
        WINDOWS_1258.encode(&whole)?,
        WINDOWS_1258.encode(&apart)?,
    ])
}
