//! The problems found in a configuration, and the rules that single values keep to.

use std::{ops::RangeInclusive, time::Duration};

use toml::Spanned;

use super::{Problem, file, validation::SUBJECT_MARK};
use crate::{column::ColumnRules, field_type::FieldType};

/// The problems found so far, and what is needed to say where they stand.
pub(super) struct Findings<'a> {
    pub(super) text: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl Findings<'_> {
    pub(super) fn add(&mut self, position: usize, place: &str, fault: String) {
        let line = file::line(self.text, position);
        self.problems.push(Problem {
            line,
            place: place.to_owned(),
            fault,
        });
    }

    pub(super) fn field_name(&mut self, position: usize, place: &str, name: &str, used: bool) {
        if !is_field_name(name) {
            let fault = "a field name begins with a small letter and holds small letters, digits \
                         and single underscores, for example full_name";
            self.add(position, place, fault.to_owned());
        }
        if used {
            self.add(
                position,
                place,
                "the name is used twice; rename one".to_owned(),
            );
        }
    }

    pub(super) fn forms(&mut self, position: usize, place: &str, rules: &ColumnRules) {
        if let Some(form) = rules.unencodable_form() {
            let fault = format!("{form:?} is no {}", rules.text.encoding.expectation());
            self.add(position, place, fault);
        }
    }

    pub(super) fn no_names(&mut self, position: usize, place: &str, field_type: FieldType) {
        if field_type == FieldType::Names {
            let fault = "the type names is the adapter's own; write text, integer, boolean, double, \
                         bytes or date";
            self.add(position, place, fault.to_owned());
        }
    }

    pub(super) fn doc(&mut self, place: &str, doc: Spanned<String>) -> String {
        if doc.get_ref().contains(SUBJECT_MARK) {
            let fault = format!("{SUBJECT_MARK} is written by `subject = \"FIELD\"`, not in a doc");
            self.add(doc.span().start, place, fault);
        }
        doc.into_inner()
    }

    pub(super) fn number(
        &mut self,
        place: &str,
        written: Option<Spanned<u64>>,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> usize {
        let number = written
            .as_ref()
            .map_or(default, |written| *written.get_ref());
        if !allowed.contains(&number) {
            let fault = format!(
                "{number} is not allowed; write {} to {}",
                allowed.start(),
                allowed.end()
            );
            self.add(
                written.map_or(0, |written| written.span().start),
                place,
                fault,
            );
        }
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    pub(super) fn duration(
        &mut self,
        place: &str,
        written: Option<Spanned<String>>,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let Some(written) = written else {
            return default;
        };
        let parsed = parse_duration(written.get_ref());
        match parsed.filter(|parsed| !parsed.is_zero() && *parsed <= longest) {
            Some(duration) => duration,
            None => {
                let fault = format!(
                    "{:?} is no allowed time; write a number with ms, s or m, up to {}s",
                    written.get_ref(),
                    longest.as_secs()
                );
                self.add(written.span().start, place, fault);
                default
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    match text.get(digits..)? {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

pub(super) fn is_type_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Small letters, digits and single underscores between them; also a part of a package.
pub(super) fn is_field_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('_')
        && !name.contains("__")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
