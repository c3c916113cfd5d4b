//! Declared formats of days, of which some parts may be unknown.

use std::fmt;

use jiff::civil::Date;

/// How a register writes days: `DD/MM/YYYY`, `YYYYMMDD`, `D/M/YYYY`, `MM/YYYY`, `YYYY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    /// Two digits, or with `false` one or two.
    Month(bool),
    Day(bool),
    Literal(char),
}

/// A day, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartialDate {
    /// The year, 1 to 9999.
    pub year: Option<i16>,
    /// The month, 1 to 12.
    pub month: Option<i8>,
    /// The day of the month.
    pub day: Option<i8>,
}

impl DateFormat {
    /// Reads a format; none if it has not one year, and a month if it has a day.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some(first) = rest.chars().next() {
            let known = [
                ("YYYY", Part::Year),
                ("MM", Part::Month(true)),
                ("DD", Part::Day(true)),
                ("M", Part::Month(false)),
                ("D", Part::Day(false)),
            ];
            let found = known.iter().find(|(name, _)| rest.starts_with(name));
            let (length, part) = match found {
                Some((name, part)) => (name.len(), *part),
                None if first.is_alphanumeric() => return None,
                None => (first.len_utf8(), Part::Literal(first)),
            };
            parts.push(part);
            rest = rest.get(length..)?;
        }
        let count = |is: fn(&Part) -> bool| parts.iter().filter(|part| is(part)).count();
        let years = count(|part| *part == Part::Year);
        let months = count(|part| matches!(part, Part::Month(_)));
        let days = count(|part| matches!(part, Part::Day(_)));
        // A number of one or two digits must end somewhere.
        let is_open = |part: &Part| matches!(part, Part::Month(false) | Part::Day(false));
        let is_clear = parts.windows(2).all(|pair| match pair {
            [first, second] => !is_open(first) || matches!(second, Part::Literal(_)),
            _ => true,
        });
        (years == 1 && months <= 1 && days <= months && is_clear).then(|| Self {
            written: written.to_owned(),
            parts,
        })
    }

    /// Whether it says year, month and day.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Day(_)))
    }

    /// What a text says in this format; zeros are parts that are not known. None if it is not in it, or
    /// says a day that does not exist.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<PartialDate> {
        let mut date = PartialDate::default();
        let mut rest = text;
        for part in &self.parts {
            let most = match part {
                Part::Year => 4,
                Part::Month(_) | Part::Day(_) => 2,
                Part::Literal(literal) => {
                    rest = rest.strip_prefix(*literal)?;
                    continue;
                }
            };
            let digits = rest
                .bytes()
                .take(most)
                .take_while(u8::is_ascii_digit)
                .count();
            let may_be_short = matches!(part, Part::Month(false) | Part::Day(false));
            if digits < most && !(may_be_short && digits == 1) {
                return None;
            }
            let (number, after) = rest.split_at_checked(digits)?;
            let number: i16 = number.parse().ok()?;
            let small = i8::try_from(number).ok().filter(|number| *number > 0);
            match part {
                Part::Year => date.year = (number > 0).then_some(number),
                Part::Month(_) if number <= 12 => date.month = small,
                Part::Day(_) if number <= 31 => date.day = small,
                _ => return None,
            }
            rest = after;
        }
        (rest.is_empty() && date.may_exist()).then_some(date)
    }

    /// A day in this format.
    #[must_use]
    pub fn write(&self, date: Date) -> String {
        let mut text = String::with_capacity(self.written.len() + 2);
        for part in &self.parts {
            text += &match part {
                Part::Year => format!("{:04}", date.year()),
                Part::Month(true) => format!("{:02}", date.month()),
                Part::Month(false) => date.month().to_string(),
                Part::Day(true) => format!("{:02}", date.day()),
                Part::Day(false) => date.day().to_string(),
                Part::Literal(literal) => literal.to_string(),
            };
        }
        text
    }
}

impl PartialDate {
    /// The day, if all of it is known.
    #[must_use]
    pub fn whole(self) -> Option<Date> {
        Date::new(self.year?, self.month?, self.day?).ok()
    }

    /// Whether some day is like this: what is not known may be anything.
    fn may_exist(self) -> bool {
        // A leap year, and a month with all days.
        let (year, month) = (self.year.unwrap_or(2000), self.month.unwrap_or(1));
        let is_said = self.year.is_some() || self.month.is_some() || self.day.is_some();
        is_said && Date::new(year, month, self.day.unwrap_or(1)).is_ok()
    }
}

impl fmt::Display for DateFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<(i16, i8, i8)> {
        let date = DateFormat::parse(format).unwrap().read(text)?;
        Some((
            date.year.unwrap_or(0),
            date.month.unwrap_or(0),
            date.day.unwrap_or(0),
        ))
    }

    #[test]
    fn days_are_read_as_far_as_they_are_known() {
        for (format, text, expected) in [
            ("DD/MM/YYYY", "28/02/1987", Some((1987, 2, 28))),
            ("DD/MM/YYYY", "00/00/1953", Some((1953, 0, 0))),
            ("DD/MM/YYYY", "00/07/1953", Some((1953, 7, 0))),
            ("DD/MM/YYYY", "30/00/1953", Some((1953, 0, 30))),
            ("YYYYMMDD", "19530000", Some((1953, 0, 0))),
            ("YYYY", "1953", Some((1953, 0, 0))),
            ("MM/YYYY", "07/1953", Some((1953, 7, 0))),
            ("D/M/YYYY", "1/7/1953", Some((1953, 7, 1))),
            ("D/M/YYYY", "01/12/1953", Some((1953, 12, 1))),
            ("DD/MM/YYYY", "29/02/0000", Some((0, 2, 29))),
            ("DD/MM/YYYY", "29/02/1953", None),
            ("DD/MM/YYYY", "31/04/1953", None),
            ("DD/MM/YYYY", "1/7/1953", None),
            ("DD/MM/YYYY", "01/13/1953", None),
            ("DD/MM/YYYY", "00/00/0000", None),
            ("DD/MM/YYYY", "01/07/1953 ", None),
            ("DD/MM/YYYY", "01-07-1953", None),
            ("D/M/YYYY", "001/7/1953", None),
            ("YYYY", "953", None),
            ("YYYY", "", None),
            ("YYYY", "+953", None),
            ("YYYY", "１９５３", None),
        ] {
            assert_eq!(read(format, text), expected, "{format} {text}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for wrong in [
            "",
            "DD/MM",
            "DD/YYYY",
            "YY",
            "YYYYYYYY",
            "DMYYYY",
            "DD/MM/YYYYT",
            "YYYY/DD",
        ] {
            assert_eq!(DateFormat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn days_are_written_as_they_are_read() {
        let date = Date::new(1987, 2, 8).unwrap();
        for (format, text) in [
            ("DD/MM/YYYY", "08/02/1987"),
            ("D/M/YYYY", "8/2/1987"),
            ("YYYYMMDD", "19870208"),
        ] {
            let format = DateFormat::parse(format).unwrap();
            assert_eq!(format.write(date), text);
            assert_eq!(format.read(text).unwrap().whole(), Some(date));
        }
    }
}
