//! What a stored value means: the rules of a column, from cells to the value of a field, and back.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};
use serde::{Deserialize, Serialize};

use crate::{
    date_format::{DateFormat, PartialDate},
    encoding::{Encoding, SPELLINGS, TextForm, Undecodable, normal},
    field_type::{Cell, FieldType},
};

/// The rules of the column of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnRules {
    /// How its text is stored.
    pub text: TextForm,
    /// Whether spaces at the end are padding.
    pub trim: bool,
    /// How many characters a text is padded to, where it is looked for.
    pub padded_to: Option<usize>,
    /// What stands for nothing, as text.
    pub absent: Vec<String>,
    /// What the value means.
    pub meaning: Meaning,
}

/// What a stored value means beyond its type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Meaning {
    /// What its type says.
    #[default]
    Plain,
    /// A number of so many digits, which may have lost its leading zeros.
    Digits(usize),
    /// One of these: what is stored, and what is answered.
    Codes(Vec<(String, String)>),
    /// Forms of yes, and forms of no; what is looked for is the first.
    YesNo(Vec<String>, Vec<String>),
    /// A day in one of these formats; what is looked for is in the first.
    Dates(Vec<DateFormat>),
    /// A part of a name.
    Part(NamePart),
}

/// A part of a Vietnamese name, whose first word is the family name and whose last is the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamePart {
    /// The first word, if there are several.
    Family,
    /// The words between.
    Middle,
    /// The last word.
    Given,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// The value; absent for NULL and what stands for it.
    pub value: Option<Content>,
    /// How many of its stored bytes could not be understood.
    pub undecodable: usize,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A value of protobuf.
    Plain(Value),
    /// A day as far as it is known, in a message of its own.
    PartialDate(PartialDate),
}

/// A cell that is not what its field declares; says the kinds only, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// What was asked for.
    pub expected: &'static str,
    /// What was found: a storage class, or what text is not.
    pub found: &'static str,
}

impl Content {
    /// The value of a field; none if the field is not of such a type.
    #[must_use]
    pub fn value(self, field: &FieldDescriptor) -> Option<Value> {
        let date = match self {
            Self::Plain(value) => return Some(value),
            Self::PartialDate(date) => date,
        };
        let kind = field.kind();
        let mut message = DynamicMessage::new(kind.as_message()?.clone());
        let parts = [
            ("year", date.year.map(i32::from)),
            ("month", date.month.map(i32::from)),
            ("day", date.day.map(i32::from)),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                message.set_field(
                    &message.descriptor().get_field_by_name(name)?,
                    Value::I32(part),
                );
            }
        }
        Some(Value::Message(message))
    }
}

impl ColumnRules {
    /// The value of a field; several cells are joined by spaces.
    ///
    /// # Errors
    /// When a cell holds something else than declared.
    pub fn read(&self, field_type: FieldType, cells: &[Cell]) -> Result<Read, Mismatch> {
        if let [cell] = cells {
            return self.read_one(&self.meaning, field_type, cell);
        }
        let mut words = Vec::with_capacity(cells.len());
        let mut undecodable = 0;
        for cell in cells {
            let read = self.read_one(&Meaning::Plain, field_type, cell)?;
            undecodable += read.undecodable;
            if let Some(Content::Plain(Value::String(text))) = read.value
                && !text.trim().is_empty()
            {
                words.push(text.trim().to_owned());
            }
        }
        let joined = (!words.is_empty()).then(|| words.join(" "));
        let value = match &self.meaning {
            Meaning::Part(part) => joined.and_then(|joined| part.of(&joined)),
            _ => joined,
        };
        Ok(Read {
            value: value.map(|text| plain(Value::String(text))),
            undecodable,
        })
    }

    fn read_one(
        &self,
        meaning: &Meaning,
        field_type: FieldType,
        cell: &Cell,
    ) -> Result<Read, Mismatch> {
        let (text, undecodable) = self.text_of(field_type, cell)?;
        let stands_for_nothing = |text: &String| self.absent.contains(text);
        if *cell == Cell::Null || text.as_ref().is_some_and(stands_for_nothing) {
            return Ok(Read {
                value: None,
                undecodable,
            });
        }
        let value = match (meaning, text) {
            (Meaning::Plain, Some(text)) if matches!(cell, Cell::Text(_) | Cell::Blob(_)) => {
                field_type
                    .to_value(&Cell::Text(Bytes::from(text)))
                    .map(plain)
            }
            (Meaning::Plain, _) => field_type.to_value(cell).map(plain),
            (Meaning::Part(part), Some(text)) => {
                return Ok(Read {
                    value: part.of(&text).map(|part| plain(Value::String(part))),
                    undecodable,
                });
            }
            (meaning, Some(text)) => meaning.read(field_type, &text),
            (_, None) => None,
        };
        match value {
            Some(value) => Ok(Read {
                value: Some(value),
                undecodable,
            }),
            None => Err(Mismatch {
                expected: self.expectation(field_type),
                found: cell.storage(),
            }),
        }
    }

    /// A cell as text, if it is text or a whole number, and how many bytes of it mean nothing.
    fn text_of(
        &self,
        field_type: FieldType,
        cell: &Cell,
    ) -> Result<(Option<String>, usize), Mismatch> {
        let bytes = match cell {
            Cell::Integer(number) => return Ok((Some(number.to_string()), 0)),
            // Digits are the same in every encoding.
            Cell::Decimal(digits) => {
                return Ok((Some(String::from_utf8_lossy(digits).into_owned()), 0));
            }
            Cell::Text(bytes) => bytes,
            // Whoever stored bytes of another encoding may have said that they are no text.
            Cell::Blob(bytes) if self.text.encoding != Encoding::Utf8 => bytes,
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => return Ok((None, 0)),
        };
        if field_type == FieldType::Bytes {
            return Ok((None, 0));
        }
        let decoded = self.text.decode(bytes);
        if decoded.undecodable > 0 && self.text.undecodable == Undecodable::Strict {
            return Err(Mismatch {
                expected: self.text.encoding.expectation(),
                found: "bytes that mean nothing there",
            });
        }
        let text = match self.trim {
            true => decoded.text.trim_end_matches(' ').to_owned(),
            false => decoded.text,
        };
        Ok((Some(text), decoded.undecodable))
    }

    /// What the statement binds for a value: each way in which it may be stored, the commonest first.
    ///
    /// # Errors
    /// What was expected instead, in words.
    pub fn bind(&self, field_type: FieldType, value: &Value) -> Result<Vec<Cell>, &'static str> {
        let expected = self.expectation(field_type);
        match (&self.meaning, value) {
            (Meaning::Plain, Value::String(text)) if field_type == FieldType::Text => {
                self.spellings(text).ok_or(expected)
            }
            (Meaning::Plain | Meaning::Part(_), value) => {
                let cell = field_type.to_parameter(value);
                cell.map(|cell| vec![cell]).ok_or(expected)
            }
            (meaning, value) => {
                let stored = meaning.stored(value).ok_or(expected)?;
                let spelt: Option<Vec<_>> =
                    stored.iter().map(|text| self.spellings(text)).collect();
                let mut cells = spelt.ok_or(expected)?.concat();
                // A number is never equal to its digits where the column has no type.
                cells.extend(stored.iter().filter_map(|text| whole_number(text)));
                Ok(cells)
            }
        }
    }

    /// What is stored for a value: the first of its forms, which must be read as the same value again.
    ///
    /// # Errors
    /// What was expected instead, in words.
    pub fn store(&self, field_type: FieldType, value: &Value) -> Result<Cell, &'static str> {
        let expected = self.expectation(field_type);
        let (value, is_plain_text) = match (&self.meaning, value) {
            (Meaning::Plain, Value::String(text)) if field_type == FieldType::Text => {
                (Value::String(normal(text)), true)
            }
            _ => (value.clone(), false),
        };
        let cell = self
            .bind(field_type, &value)?
            .into_iter()
            .next()
            .ok_or(expected)?;
        if let (true, Cell::Text(bytes)) = (is_plain_text, &cell) {
            let read = self.text.decode(bytes);
            let read = match self.padded_to {
                Some(_) => read.text.trim_end_matches(' ').to_owned(),
                None => read.text,
            };
            let is_same = match (&value, self.text.encoding.has_capitals()) {
                (Value::String(text), false) => read.to_lowercase() == text.to_lowercase(),
                (value, _) => Value::String(read) == *value,
            };
            if !is_same {
                return Err("text that the column holds so that it is read as the same again");
            }
        }
        Ok(cell)
    }

    /// A form of the configuration that the encoding of the column cannot hold, so that no value has it.
    #[must_use]
    pub fn unencodable_form(&self) -> Option<&str> {
        let cannot = |form: &&String| self.text.spellings(form).is_err();
        let form = match &self.meaning {
            Meaning::Codes(codes) => codes.iter().map(|(stored, _)| stored).find(cannot),
            Meaning::YesNo(yes, no) => yes.iter().chain(no).find(cannot),
            Meaning::Plain | Meaning::Digits(_) | Meaning::Dates(_) | Meaning::Part(_) => None,
        };
        form.map(String::as_str)
    }

    /// How many cells [`Self::bind`] gives at most.
    #[must_use]
    pub fn most_cells(&self, field_type: FieldType) -> usize {
        let ways = self.meaning.ways();
        match &self.meaning {
            Meaning::Plain | Meaning::Part(_) if field_type == FieldType::Text => SPELLINGS,
            Meaning::Plain | Meaning::Part(_) => 1,
            // ASCII, which has one spelling; and numbers.
            Meaning::Digits(_) | Meaning::Dates(_) => 2 * ways,
            Meaning::Codes(_) | Meaning::YesNo(..) => (SPELLINGS + 1) * ways,
        }
    }

    fn spellings(&self, text: &str) -> Option<Vec<Cell>> {
        let spellings = self.text.spellings(text).ok()?;
        let padded = spellings.into_iter().map(|spelling| self.padded(spelling));
        Some(padded.map(Cell::Text).collect())
    }

    /// With spaces up to the width of its column: letters in Unicode, bytes in other encodings.
    fn padded(&self, spelling: Bytes) -> Bytes {
        let length = match std::str::from_utf8(&spelling) {
            Ok(text) if self.text.encoding == Encoding::Utf8 => text.chars().count(),
            _ => spelling.len(),
        };
        let missing = self.padded_to.unwrap_or(0).saturating_sub(length);
        if missing == 0 {
            return spelling;
        }
        [&*spelling, &vec![b' '; missing]].concat().into()
    }

    /// What is asked of a value, for errors; never the value.
    #[must_use]
    pub fn expectation(&self, field_type: FieldType) -> &'static str {
        match self.meaning {
            Meaning::Plain | Meaning::Part(_) if field_type == FieldType::Text => {
                self.text.encoding.expectation()
            }
            Meaning::Plain | Meaning::Part(_) => field_type.expectation(),
            Meaning::Digits(_) => "a number of the declared digits",
            Meaning::Codes(_) => "one of the declared codes",
            Meaning::YesNo(..) => "one of the declared forms of yes and no",
            Meaning::Dates(_) if field_type == FieldType::PartialDate => {
                "a day, or a part of one, in a declared format"
            }
            Meaning::Dates(_) => "a day that exists, YYYY-MM-DD",
        }
    }
}

impl Meaning {
    fn read(&self, field_type: FieldType, text: &str) -> Option<Content> {
        match self {
            Self::Plain | Self::Part(_) => None,
            Self::Digits(digits) => {
                let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                // Some of its zeros lost is a form that nobody would look for.
                let has_all = text.len() == *digits;
                let has_none = text.len() < *digits && (text == "0" || !text.starts_with('0'));
                let is_it = is_number && (has_all || has_none);
                is_it.then(|| plain(Value::String(format!("{text:0>digits$}"))))
            }
            Self::Codes(codes) => {
                let (_, answered) = codes.iter().find(|(stored, _)| stored == text)?;
                Some(plain(Value::String(answered.clone())))
            }
            Self::YesNo(yes, no) => {
                let is_one = |forms: &[String]| forms.iter().any(|form| form == text);
                let truth = is_one(yes);
                (truth || is_one(no)).then_some(plain(Value::Bool(truth)))
            }
            Self::Dates(formats) => {
                let date = formats.iter().find_map(|format| format.read(text))?;
                match field_type {
                    FieldType::PartialDate => Some(Content::PartialDate(date)),
                    _ => Some(plain(Value::String(date.whole()?.to_string()))),
                }
            }
        }
    }

    /// How a value may be stored.
    fn stored(&self, value: &Value) -> Option<Vec<String>> {
        match (self, value) {
            (Self::Digits(digits), Value::String(text)) => {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                let significant = text.trim_start_matches('0');
                let significant = if significant.is_empty() {
                    "0"
                } else {
                    significant
                };
                let both = || vec![text.clone(), significant.to_owned()];
                (is_number && text.len() == *digits).then(both)
            }
            (Self::Codes(codes), Value::String(text)) => {
                let stored = codes.iter().filter(|(_, answered)| answered == text);
                let stored: Vec<_> = stored.map(|(stored, _)| stored.clone()).collect();
                (!stored.is_empty()).then_some(stored)
            }
            (Self::YesNo(yes, no), Value::Bool(truth)) => {
                Some(if *truth { yes.clone() } else { no.clone() })
            }
            (Self::Dates(formats), Value::String(text)) => {
                let date = FieldType::date(text)?;
                Some(formats.iter().map(|format| format.write(date)).collect())
            }
            _ => None,
        }
    }

    /// What callers are told of the values, if the type does not say it.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Digits(digits) => Some(format!("{digits} digits.")),
            Self::Codes(codes) => {
                let mut answered: Vec<_> = codes.iter().map(|(_, answered)| &**answered).collect();
                answered.sort_unstable();
                answered.dedup();
                Some(format!("One of: {}.", answered.join(", ")))
            }
            Self::Plain | Self::YesNo(..) | Self::Dates(_) | Self::Part(_) => None,
        }
    }

    /// In how many ways a value may be stored, at most.
    #[must_use]
    pub fn ways(&self) -> usize {
        match self {
            Self::Plain | Self::Part(_) => 1,
            Self::Digits(_) => 2,
            Self::Codes(codes) => {
                let same =
                    |answered: &String| codes.iter().filter(|(_, is)| is == answered).count();
                codes
                    .iter()
                    .map(|(_, answered)| same(answered))
                    .max()
                    .unwrap_or(1)
            }
            Self::YesNo(yes, no) => yes.len().max(no.len()),
            Self::Dates(formats) => formats.len(),
        }
    }
}

impl NamePart {
    fn of(self, name: &str) -> Option<String> {
        let words: Vec<_> = name.split_whitespace().collect();
        let part = match (self, words.as_slice()) {
            (Self::Family, [family, .., _]) => (*family).to_owned(),
            (Self::Given, [.., given]) => (*given).to_owned(),
            (Self::Middle, [_, middle @ .., _]) => middle.join(" "),
            _ => String::new(),
        };
        (!part.is_empty()).then_some(part)
    }
}

/// A text as the number that it may be stored as.
fn whole_number(text: &str) -> Option<Cell> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(Cell::Integer(number))
}

const fn plain(value: Value) -> Content {
    Content::Plain(value)
}

#[cfg(test)]
mod tests;
