//! VNI for Windows: a letter, and behind it one byte for all its marks; some letters are a byte of their own.

use super::{Decoded, apart::apart};

/// Letters of one byte, small; the capital is 0x20 less.
const LETTERS: [(u8, char); 9] = [
    (0xf1, 'đ'),
    (0xf4, 'ơ'),
    (0xf6, 'ư'),
    (0xed, 'í'),
    (0xec, 'ì'),
    (0xe6, 'ỉ'),
    (0xf3, 'ĩ'),
    (0xf2, 'ị'),
    (0xee, 'ỵ'),
];

/// Marks, small, and what they put on a letter: a hat and a tone. Their own case says nothing.
const MARKS: [(u8, Hat, Option<char>); 17] = [
    (0xf9, Hat::None, Some('\u{301}')),
    (0xf8, Hat::None, Some('\u{300}')),
    (0xfb, Hat::None, Some('\u{309}')),
    (0xf5, Hat::None, Some('\u{303}')),
    (0xef, Hat::None, Some('\u{323}')),
    (0xe2, Hat::Circumflex, None),
    (0xe1, Hat::Circumflex, Some('\u{301}')),
    (0xe0, Hat::Circumflex, Some('\u{300}')),
    (0xe5, Hat::Circumflex, Some('\u{309}')),
    (0xe3, Hat::Circumflex, Some('\u{303}')),
    (0xe4, Hat::Circumflex, Some('\u{323}')),
    (0xea, Hat::Breve, None),
    (0xe9, Hat::Breve, Some('\u{301}')),
    (0xe8, Hat::Breve, Some('\u{300}')),
    (0xfa, Hat::Breve, Some('\u{309}')),
    (0xfc, Hat::Breve, Some('\u{303}')),
    (0xeb, Hat::Breve, Some('\u{323}')),
];

const CAPITAL: u8 = 0x20;

/// What a mark puts on a letter besides a tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hat {
    None,
    Circumflex,
    Breve,
}

impl Hat {
    /// The letters that it stands on.
    const fn letters(self) -> &'static str {
        match self {
            Self::None => "aeouyơư",
            Self::Circumflex => "aeo",
            Self::Breve => "a",
        }
    }

    const fn mark(self) -> Option<char> {
        match self {
            Self::None => None,
            Self::Circumflex => Some('\u{302}'),
            Self::Breve => Some('\u{306}'),
        }
    }
}

pub(super) fn decode(bytes: &[u8], decoded: &mut Decoded) {
    // The letter before, while it has no mark.
    let mut bare = None;
    for (position, byte) in bytes.iter().enumerate() {
        if let Some((hat, tone)) = mark(*byte) {
            match bare.take() {
                Some(letter) if hat.letters().contains(small(letter)) => {
                    decoded.text.extend(hat.mark());
                    decoded.text.extend(tone);
                }
                _ => decoded.fail(position, 1),
            }
            continue;
        }
        bare = letter(*byte);
        match bare {
            Some(letter) => decoded.push(letter),
            None => decoded.fail(position, 1),
        }
    }
}

fn mark(byte: u8) -> Option<(Hat, Option<char>)> {
    let small = byte | CAPITAL;
    let found = MARKS
        .iter()
        .find(|(mark, ..)| byte >= 0xc0 && *mark == small);
    found.map(|(_, hat, tone)| (*hat, *tone))
}

fn letter(byte: u8) -> Option<char> {
    if matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~') {
        return Some(char::from(byte));
    }
    let found = LETTERS.iter().find_map(|(small, letter)| match byte {
        byte if byte == *small => Some(*letter),
        byte if byte == *small - CAPITAL => letter.to_uppercase().next(),
        _ => None,
    });
    // Windows' own space that does not break.
    found.or_else(|| (byte == 0xa0).then_some('\u{a0}'))
}

fn small(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

/// How the case of a mark is chosen.
#[derive(Clone, Copy)]
enum MarkCase {
    OfLetter,
    Small,
    Capital,
}

/// With marks in the case of their letters, all small, and all capital.
pub(super) fn spellings(text: &str) -> Result<Vec<Vec<u8>>, char> {
    [MarkCase::OfLetter, MarkCase::Small, MarkCase::Capital]
        .into_iter()
        .map(|case| encode(text, case))
        .collect()
}

fn encode(text: &str, case: MarkCase) -> Result<Vec<u8>, char> {
    let mut written = Vec::with_capacity(text.len());
    for character in text.chars() {
        if let Some(byte) = one_byte(character) {
            written.push(byte);
            continue;
        }
        let (letter, mark) = letter_and_mark(character).ok_or(character)?;
        let is_capital = match case {
            MarkCase::OfLetter => character.is_uppercase(),
            MarkCase::Small => false,
            MarkCase::Capital => true,
        };
        written.push(letter);
        written.push(if is_capital { mark - CAPITAL } else { mark });
    }
    Ok(written)
}

fn one_byte(character: char) -> Option<u8> {
    let bytes = match character.is_ascii() {
        true => 0..=0x7f,
        false => 0x80..=0xff,
    };
    let mut bytes = bytes.filter(|byte| mark(*byte).is_none());
    bytes.find(|byte| letter(*byte) == Some(character))
}

fn letter_and_mark(character: char) -> Option<(u8, u8)> {
    let (hatted, tone) = apart(character);
    let (letter, hat) = match hatted {
        'â' => ('a', Hat::Circumflex),
        'Â' => ('A', Hat::Circumflex),
        'ê' => ('e', Hat::Circumflex),
        'Ê' => ('E', Hat::Circumflex),
        'ô' => ('o', Hat::Circumflex),
        'Ô' => ('O', Hat::Circumflex),
        'ă' => ('a', Hat::Breve),
        'Ă' => ('A', Hat::Breve),
        letter => (letter, Hat::None),
    };
    let is_it = |(_, on, with): &&(u8, Hat, Option<char>)| *on == hat && *with == tone;
    let (mark, ..) = MARKS.iter().find(is_it)?;
    if !hat.letters().contains(small(letter)) {
        return None;
    }
    Some((one_byte(letter)?, *mark))
}
