//! What some rows say of a column: kinds and shapes, never a value.

use crate::{
    engine::Engine,
    field_type::{Cell, FieldType},
};

/// What was seen in a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    texts: usize,
    integers: usize,
    /// Numbers with a fraction.
    fractions: usize,
    others: usize,
    not_utf8: usize,
    padded: usize,
    /// The most letters of a padded text.
    width: usize,
    empty: usize,
    digits: Digits,
    dates: usize,
    days_first: usize,
    partial_days: usize,
}

/// Numbers of twelve digits, which may have lost their zeros.
#[derive(Debug, Clone, Default)]
struct Digits {
    twelve: usize,
    fewer: usize,
}

impl Evidence {
    pub(super) fn look_at(&mut self, cell: &Cell) {
        let bytes = match cell {
            Cell::Null => return,
            Cell::Integer(number) => {
                self.integers += 1;
                return self.look_at_digits(&number.to_string());
            }
            Cell::Decimal(digits) if digits.contains(&b'.') => {
                self.fractions += 1;
                return;
            }
            Cell::Decimal(digits) => {
                self.integers += 1;
                return self.look_at_digits(&String::from_utf8_lossy(digits));
            }
            Cell::Real(_) => {
                self.fractions += 1;
                return;
            }
            Cell::Blob(_) => {
                self.others += 1;
                return;
            }
            Cell::Text(bytes) => bytes,
        };
        self.texts += 1;
        if bytes.ends_with(b" ") {
            self.padded += 1;
            self.width = self
                .width
                .max(String::from_utf8_lossy(bytes).chars().count());
        }
        let Ok(text) = str::from_utf8(bytes) else {
            self.not_utf8 += 1;
            return;
        };
        let text = text.trim_end_matches(' ');
        self.empty += usize::from(text.is_empty());
        self.look_at_digits(text);
        let shape: String = text
            .chars()
            .map(|letter| if letter.is_ascii_digit() { '9' } else { letter })
            .collect();
        self.dates += usize::from(FieldType::date(text).is_some());
        self.days_first += usize::from(shape == "99/99/9999" && !text.starts_with("00"));
        self.partial_days +=
            usize::from(shape == "9999" || (shape == "99/99/9999" && text.starts_with("00")));
    }

    fn look_at_digits(&mut self, text: &str) {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        match text.len() {
            12 => self.digits.twelve += 1,
            // Of a number that begins with 0 or 00 these are left.
            10 | 11 => self.digits.fewer += 1,
            _ => {}
        }
    }

    const fn seen(&self) -> usize {
        self.texts + self.integers + self.fractions + self.others
    }

    /// Whether all that was seen are numbers like those of persons.
    pub(super) const fn is_personal_number(&self) -> bool {
        let numbers = self.digits.twelve + self.digits.fewer;
        self.digits.twelve > 0 && numbers + self.empty == self.seen()
    }

    const fn is_partial_date(&self) -> bool {
        let days = self.days_first + self.partial_days;
        self.days_first > 0 && days + self.empty == self.texts && self.texts == self.seen()
    }

    /// The type of the field, if the values say more than the declaration.
    pub(super) fn field_type(&self, declared: FieldType) -> FieldType {
        if self.seen() == 0 {
            return declared;
        }
        if self.is_personal_number() {
            return FieldType::Text;
        }
        if self.is_partial_date() {
            return match self.partial_days {
                0 => FieldType::Date,
                _ => FieldType::PartialDate,
            };
        }
        // SQLite keeps what it is given, whatever the column says.
        match declared {
            FieldType::Date if self.dates < self.texts => FieldType::Text,
            FieldType::Integer | FieldType::Boolean | FieldType::Double if self.texts > 0 => {
                FieldType::Text
            }
            FieldType::Integer if self.fractions > 0 => FieldType::Text,
            FieldType::Text if self.fractions > 0 => FieldType::Text,
            FieldType::Boolean if self.others > 0 => FieldType::Text,
            FieldType::Text if self.texts == 0 && self.integers > 0 => FieldType::Integer,
            declared => declared,
        }
    }

    /// Rules of the reply field, as they are written in it.
    pub(super) fn rules(&self) -> String {
        let mut rules = String::new();
        if self.is_personal_number() && self.digits.fewer > 0 {
            rules.push_str(", digits = 12");
        } else if self.is_partial_date() {
            let formats = match self.partial_days {
                0 => "\"DD/MM/YYYY\"",
                _ => "[\"DD/MM/YYYY\", \"YYYY\"]",
            };
            rules.push_str(&format!(", format = {formats}"));
        }
        if self.padded > 0 {
            rules.push_str(", trim = true");
        }
        rules
    }

    /// Rules of the request field that asks by it.
    pub(super) fn rules_of_request(&self, engine: Engine) -> String {
        let digits = match self.is_personal_number() && self.digits.fewer > 0 {
            true => ", digits = 12",
            false => "",
        };
        // The servers know of padding themselves.
        match engine == Engine::Sqlite && self.padded > 0 && self.not_utf8 == 0 {
            true => format!("{digits}, padded_to = {}", self.width),
            false => digits.to_owned(),
        }
    }

    /// What an integrator should look into.
    pub(super) fn notes(&self) -> Vec<&'static str> {
        let mut notes = Vec::new();
        if self.not_utf8 > 0 {
            notes.push("holds bytes that are no UTF-8: find out the encoding, and declare it as `text = { encoding = ... }`");
        }
        if self.padded > 0 {
            notes.push("is padded with spaces");
        }
        if self.is_personal_number() && self.digits.fewer > 0 {
            notes.push("has lost leading zeros");
        }
        if self.partial_days > 0 && self.is_partial_date() {
            notes.push("holds days of which only a part is known");
        }
        if self.empty > 0 {
            notes.push("is empty in some rows: `absent = \"\"` if that means nothing");
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Evidence {
        let mut evidence = Evidence::default();
        for text in texts {
            evidence.look_at(&Cell::Text(text.as_bytes().to_vec().into()));
        }
        evidence
    }

    #[test]
    fn shapes_say_what_a_column_holds() {
        let person = of(&["001185123456", "1185123456", ""]);
        assert!(person.is_personal_number());
        assert_eq!(person.rules(), ", digits = 12");
        assert!(!of(&["1185123456"]).is_personal_number());
        let days = of(&["28/02/1987", "1953", "00/00/1953"]);
        assert_eq!(days.field_type(FieldType::Text), FieldType::PartialDate);
        assert_eq!(days.rules(), ", format = [\"DD/MM/YYYY\", \"YYYY\"]");
        assert_eq!(
            of(&["28/02/1987"]).field_type(FieldType::Text),
            FieldType::Date
        );
        assert_eq!(
            of(&["1987-02-28"]).field_type(FieldType::Date),
            FieldType::Date
        );
        assert_eq!(
            of(&["1987-02-28", "?"]).field_type(FieldType::Date),
            FieldType::Text
        );
        assert_eq!(of(&["An  "]).rules(), ", trim = true");
        assert_eq!(of(&["7"]).field_type(FieldType::Integer), FieldType::Text);
        let mut old = Evidence::default();
        old.look_at(&Cell::Text(vec![0xa7, b'n'].into()));
        assert!(old.notes()[0].contains("no UTF-8"));
    }
}
