//! Names that are the same but for how they are spelled: by capitals, the place of the tone, i or y, and accents.

use icu_normalizer::DecomposingNormalizerBorrowed;
use serde::Deserialize;

/// What two names may differ in and still be taken for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ignoring {
    /// Capitals, blanks, the letter of a word that has its tone (Hoà, Hòa), i for y (Lý, Lí).
    Spelling,
    /// These and all marks: Đặng is Dang.
    Accents,
}

/// Grave, acute, tilde, hook above and dot below (https://www.unicode.org/charts/PDF/U0300.pdf).
const TONES: [char; 5] = ['\u{300}', '\u{301}', '\u{303}', '\u{309}', '\u{323}'];

impl Ignoring {
    /// The form that all names have which are taken for the same.
    #[must_use]
    pub fn fold(self, name: &str) -> String {
        let words = name.split_whitespace().map(|word| self.fold_word(word));
        words.collect::<Vec<_>>().join(" ")
    }

    fn fold_word(self, word: &str) -> String {
        let lower = word.to_lowercase();
        let (mut letters, mut tones) = (String::new(), String::new());
        // The last two letters without their marks.
        let mut before = [' ', ' '];
        for character in DecomposingNormalizerBorrowed::new_nfd()
            .normalize(&lower)
            .chars()
        {
            match (self, character) {
                (Self::Accents, '\u{300}'..='\u{36f}') => continue,
                (Self::Spelling, tone) if TONES.contains(&tone) => {
                    tones.push(tone);
                    continue;
                }
                (_, '\u{300}'..='\u{36f}') => {
                    letters.push(character);
                    continue;
                }
                // Behind another vowel they are different sounds: Mai is not May, Thúi is not Thúy.
                (_, 'y') if is_i(before) => letters.push('i'),
                (Self::Accents, 'đ' | 'ð' | 'ɖ') => letters.push('d'),
                // What converters have made of it.
                (_, 'ð' | 'ɖ') => letters.push('đ'),
                (_, other) => letters.push(other),
            }
            before = [before[1], character];
        }
        letters + &tones
    }
}

/// Whether a y behind these letters is another spelling of i: behind a consonant, and in "quy".
fn is_i([first, second]: [char; 2]) -> bool {
    match second {
        'u' => first == 'q',
        'a' | 'e' | 'i' | 'o' | 'y' | ' ' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(ignoring: Ignoring, one: &str, other: &str) -> bool {
        ignoring.fold(one) == ignoring.fold(other)
    }

    #[test]
    fn spelling_is_capitals_blanks_the_place_of_the_tone_and_i_or_y() {
        for (one, other) in [
            ("Nguyễn Thị Hoà", "NGUYỄN THỊ HÒA"),
            ("Đặng  Thị Thúy ", "Đặng Thị Thuý"),
            ("Lý Mỹ Kỳ", "Lí Mĩ Kì"),
            ("Khoẻ", "Khỏe"),
            ("Trần Quyết", "Tr\u{e2}\u{300}n Quye\u{302}\u{301}t"),
            ("Nguyễn Thị Ước", "nguyễn thị ước"),
            ("Quỳnh Quý", "Quình Quí"),
            ("Ðặng", "Đặng"),
            ("Ɖặng", "đặng"),
        ] {
            assert!(same(Ignoring::Spelling, one, other), "{one} {other}");
            assert!(same(Ignoring::Accents, one, other), "{one} {other}");
        }
    }

    #[test]
    fn spelling_keeps_letters_and_tones_apart() {
        for (one, other) in [
            ("An", "Ân"),
            ("An", "Án"),
            ("Hoà", "Hoá"),
            ("Đung", "Dung"),
            ("Ươc", "Uoc"),
            ("Bình", "Binh"),
            ("An Na", "Anna"),
            ("Mai", "May"),
            ("Hải", "Hảy"),
            ("Thúy", "Thúi"),
            ("Duy", "Dui"),
            ("Yến", "Iến"),
        ] {
            assert!(!same(Ignoring::Spelling, one, other), "{one} {other}");
        }
    }

    #[test]
    fn accents_are_all_marks_and_no_letters() {
        for (one, other) in [("An", "Ẩn"), ("ĐẶNG THỊ ƯỚC", "dang thi uoc"), ("Tổ", "To")]
        {
            assert!(same(Ignoring::Accents, one, other), "{one} {other}");
        }
        for (one, other) in [("An", "Ang"), ("Tâm", "Tam Anh"), ("Dung", "Dũ ng")] {
            assert!(!same(Ignoring::Accents, one, other), "{one} {other}");
        }
    }

    /// A fold that is folded again is itself: stored folds would stay comparable.
    #[test]
    fn a_fold_folds_to_itself() {
        for name in [
            "Đặng Thị Thuý",
            "Nguyễn  Văn\u{a0}Quyết",
            "İstanbul",
            "Ǎb",
            "",
        ] {
            for ignoring in [Ignoring::Spelling, Ignoring::Accents] {
                let fold = ignoring.fold(name);
                assert_eq!(ignoring.fold(&fold), fold, "{name}");
            }
        }
    }
}
