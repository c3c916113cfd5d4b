//! VIQR (RFC 1456): letters with ASCII marks behind them; a backslash before what is no mark.

use super::{Decoded, apart::apart};

const TONES: [(u8, char); 5] = [
    (b'\'', '\u{301}'),
    (b'`', '\u{300}'),
    (b'?', '\u{309}'),
    (b'~', '\u{303}'),
    (b'.', '\u{323}'),
];

/// The mark, the letters that it stands on, and what it puts on them.
const HATS: [(u8, &str, char); 4] = [
    (b'^', "aeo", '\u{302}'),
    (b'(', "a", '\u{306}'),
    (b'+', "ou", '\u{31b}'),
    (b'*', "ou", '\u{31b}'),
];

/// Letters that change the state in the RFC; nobody stores them, and passed over they would be lost.
const STATES: &[u8] = b"LlMmVv";

/// What may still be put on the letter before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Tone,
    HatOrTone(u8),
}

pub(super) fn decode(bytes: &[u8], decoded: &mut Decoded) {
    let mut open = Open::Nothing;
    let mut position = 0;
    while let Some(byte) = bytes.get(position).copied() {
        let next = bytes.get(position + 1).copied();
        let mut read = 1;
        if let Some((mark, stays)) = put_on(open, byte) {
            decoded.push(mark);
            open = stays;
        } else if byte == b'\\' && next.is_some_and(|next| next.is_ascii_graphic()) {
            read = 2;
            open = Open::Nothing;
            match next {
                Some(next) if !STATES.contains(&next) => decoded.push(char::from(next)),
                _ => decoded.fail(position, 2),
            }
        } else if next.is_some_and(|next| joins(byte, next)) {
            read = 2;
            open = Open::Nothing;
            decoded.push(if byte == b'D' { 'Đ' } else { 'đ' });
        } else if matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~') {
            decoded.push(char::from(byte));
            open = match byte.to_ascii_lowercase() {
                b'a' | b'e' | b'i' | b'o' | b'u' | b'y' => Open::HatOrTone(byte),
                _ => Open::Nothing,
            };
        } else {
            open = Open::Nothing;
            decoded.fail(position, 1);
        }
        position += read;
    }
}

/// The combining mark that a byte is behind this letter, and what may follow it.
fn put_on(open: Open, byte: u8) -> Option<(char, Open)> {
    if let Open::HatOrTone(letter) = open {
        let letter = char::from(letter.to_ascii_lowercase());
        let hat = HATS
            .iter()
            .find(|(mark, letters, _)| *mark == byte && letters.contains(letter));
        if let Some((_, _, hat)) = hat {
            return Some((*hat, Open::Tone));
        }
    }
    let tone = TONES
        .iter()
        .find(|(mark, _)| *mark == byte && open != Open::Nothing)?;
    Some((tone.1, Open::Nothing))
}

/// With either sign for the horn and either way to write Đ.
pub(super) fn spellings(text: &str) -> Result<Vec<Vec<u8>>, char> {
    [(b'+', b'D'), (b'+', b'd'), (b'*', b'D'), (b'*', b'd')]
        .into_iter()
        .map(|(horn, second)| encode(text, horn, second))
        .collect()
}

fn encode(text: &str, horn: u8, second_of_capital: u8) -> Result<Vec<u8>, char> {
    let mut written: Vec<u8> = Vec::with_capacity(text.len() * 2);
    // The last byte, while it is a letter D that the next could make one letter with.
    let mut bare = None;
    for character in text.chars() {
        if let 'đ' | 'Đ' = character {
            let pair = match character {
                'đ' => *b"dd",
                _ => [b'D', second_of_capital],
            };
            if bare.is_some_and(|before| joins(before, pair[0])) {
                written.insert(written.len() - 1, b'\\');
            }
            written.extend(pair);
            bare = None;
            continue;
        }
        let byte = match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => byte,
            _ => {
                let (letter, hat, tone) = letter_and_marks(character, horn).ok_or(character)?;
                written.push(letter);
                written.extend(hat);
                written.extend(tone);
                bare = None;
                continue;
            }
        };
        if byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r') {
            return Err(character);
        }
        let is_escaped = byte == b'\\'
            || (is_mark(byte) && follows_a_vowel(&written))
            || bare.is_some_and(|before| joins(before, byte));
        if is_escaped {
            written.push(b'\\');
        }
        written.push(byte);
        bare = (!is_escaped && matches!(byte, b'd' | b'D')).then_some(byte);
    }
    Ok(written)
}

fn is_mark(byte: u8) -> bool {
    HATS.iter().any(|(mark, ..)| *mark == byte) || TONES.iter().any(|(mark, _)| *mark == byte)
}

/// Whether two letters are read as one.
const fn joins(first: u8, second: u8) -> bool {
    matches!((first, second), (b'D', b'D' | b'd') | (b'd', b'd'))
}

/// Whether a mark would be put on what stands before.
fn follows_a_vowel(written: &[u8]) -> bool {
    let mut before = written.iter().rev().peekable();
    while before
        .next_if(|byte| HATS.iter().any(|(mark, ..)| mark == *byte))
        .is_some()
    {}
    before
        .next()
        .is_some_and(|byte| b"aeiouyAEIOUY".contains(byte))
}

fn letter_and_marks(character: char, horn: u8) -> Option<(u8, Option<u8>, Option<u8>)> {
    let (hatted, tone) = apart(character);
    let (letter, hat) = match hatted {
        'â' => (b'a', Some(b'^')),
        'Â' => (b'A', Some(b'^')),
        'ê' => (b'e', Some(b'^')),
        'Ê' => (b'E', Some(b'^')),
        'ô' => (b'o', Some(b'^')),
        'Ô' => (b'O', Some(b'^')),
        'ă' => (b'a', Some(b'(')),
        'Ă' => (b'A', Some(b'(')),
        'ơ' => (b'o', Some(horn)),
        'Ơ' => (b'O', Some(horn)),
        'ư' => (b'u', Some(horn)),
        'Ư' => (b'U', Some(horn)),
        letter => (
            u8::try_from(letter)
                .ok()
                .filter(|byte| b"aeiouyAEIOUY".contains(byte))?,
            None,
        ),
    };
    let tone = match tone {
        Some(tone) => Some(TONES.iter().find(|(_, is)| *is == tone)?.0),
        None => None,
    };
    Some((letter, hat, tone))
}
