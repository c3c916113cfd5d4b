//! Capitals that TCVN3 has no bytes for: stored as small letters and shown by a capital font.

use serde::{Deserialize, Serialize};

use super::{normal, single_byte::TCVN3};

/// Which small letters were capitals when the text was typed. TCVN3 stores the case of ASCII letters and of
/// Ă Â Ê Ô Ơ Ư Đ, and of no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capitals {
    /// As the bytes say: "NGUYễN", "ánh".
    #[default]
    AsStored,
    /// The column holds nothing but capitals: "NGUYỄN".
    Upper,
    /// Letters in an otherwise capital word: "NGUYỄN", and "Hà" beside it becomes "HÀ"; "ánh" stays.
    Word,
    /// The same in names, whose words begin with a capital: "Ánh".
    Name,
}

impl Capitals {
    /// The text with its capitals.
    pub(super) fn raise(self, text: &str) -> String {
        match self {
            Self::AsStored => text.to_owned(),
            Self::Upper => text.to_uppercase(),
            Self::Word | Self::Name => self.raise_words(text),
        }
    }

    fn raise_words(self, text: &str) -> String {
        let is_capital = words(text).any(|word| Evidence::of(word).capitals > 1)
            && words(text).all(|word| Evidence::of(word).small == 0);
        let mut raised = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = rest
                .find(|letter: char| letter.is_alphabetic() != first.is_alphabetic())
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let evidence = Evidence::of(word);
            if evidence.small == 0 && (evidence.capitals > 1 || is_capital) {
                raised.push_str(&word.to_uppercase());
            } else if self == Self::Name && !keeps_case(first) {
                raised.extend(first.to_uppercase());
                raised.push_str(&word[first.len_utf8()..]);
            } else {
                raised.push_str(word);
            }
            rest = after;
        }
        raised
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphabetic())
        .filter(|word| !word.is_empty())
}

/// What the letters of a word that keep their case say of the others.
struct Evidence {
    capitals: usize,
    small: usize,
}

impl Evidence {
    fn of(word: &str) -> Self {
        let kept = || word.chars().filter(|letter| keeps_case(*letter));
        Self {
            capitals: kept().filter(|letter| letter.is_uppercase()).count(),
            small: kept().filter(|letter| letter.is_lowercase()).count(),
        }
    }
}

/// Whether TCVN3 has both the letter and its capital.
fn keeps_case(letter: char) -> bool {
    letter.is_ascii_alphabetic() || "ĂÂÊÔƠƯĐăâêôơưđ".contains(letter)
}

fn capital(letter: char) -> Option<char> {
    letter.to_uppercase().next()
}

/// As the letters are; with the seven capitals as the capital font shows their small letters; and where
/// every letter is shown as a capital, also all small and with nothing but the initials capital.
pub(super) fn spellings(text: &str, capitals: Capitals) -> Result<Vec<Vec<u8>>, char> {
    let small = text.to_lowercase();
    let plain_capitals: String = text
        .chars()
        .map(|letter| {
            if letter.is_ascii() {
                letter
            } else {
                lower(letter)
            }
        })
        .collect();
    let mut written = vec![text.to_owned(), plain_capitals];
    if capitals == Capitals::Upper {
        written.push(initials(&small));
        written.push(small);
    }
    written.iter().map(|text| encode(text)).collect()
}

fn encode(text: &str) -> Result<Vec<u8>, char> {
    let byte = |letter| TCVN3.byte(letter).or_else(|| TCVN3.byte(lower(letter)));
    normal(text)
        .chars()
        .map(|letter| byte(letter).ok_or(letter))
        .collect()
}

fn lower(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

fn initials(small: &str) -> String {
    let mut before = ' ';
    let mut written = String::with_capacity(small.len());
    for letter in small.chars() {
        let is_initial = letter.is_alphabetic() && !before.is_alphabetic();
        written.push(match capital(letter) {
            Some(capital) if is_initial => capital,
            _ => letter,
        });
        before = letter;
    }
    written
}
