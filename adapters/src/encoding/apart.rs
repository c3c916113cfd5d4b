//! A letter and its tone, apart: how most encodings and some programs write Vietnamese.

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::normal;

/// The five tones as combining marks.
const TONES: [char; 5] = ['\u{300}', '\u{301}', '\u{303}', '\u{309}', '\u{323}'];

/// The letter without its tone, and the tone.
pub(super) fn apart(letter: char) -> (char, Option<char>) {
    if letter.is_ascii() {
        return (letter, None);
    }
    let whole = letter.to_string();
    let marks = DecomposingNormalizerBorrowed::new_nfd().normalize(&whole);
    let is_tone = |mark: &char| TONES.contains(mark);
    let toneless: String = marks.chars().filter(|mark| !is_tone(mark)).collect();
    let tone = marks.chars().find(is_tone);
    match (normal(&toneless).chars().next(), tone) {
        // Other languages put a mark above the tone: apart, they would be read as another letter.
        (Some(toneless), Some(tone)) if normal(&format!("{toneless}{tone}")) == whole => {
            (toneless, Some(tone))
        }
        _ => (letter, None),
    }
}

/// A text with its tones behind their letters, as decomposed by some Windows programs.
pub(super) fn tones_apart(text: &str) -> String {
    let mut written = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        let (letter, tone) = apart(letter);
        written.push(letter);
        written.extend(tone);
    }
    written
}

/// How a text may stand in Unicode.
pub(super) fn spellings(text: &str) -> Vec<Vec<u8>> {
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    vec![
        text.as_bytes().to_vec(),
        decomposed.as_bytes().to_vec(),
        tones_apart(text).into_bytes(),
    ]
}
