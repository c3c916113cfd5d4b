//! What the codes in personal identification numbers stand for, and when.

/// The list (examples/data/README.md).
const LIST: &str = include_str!("../../data/personal-number-provinces.csv");

/// A code and what it stands for in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Province {
    /// Three digits.
    pub code: &'static str,
    /// What it stands for.
    pub name: &'static str,
    /// The first day, `YYYY-MM-DD`; empty: always before.
    pub from: &'static str,
    /// The last day; empty: until today, so that numbers are allocated with it.
    pub until: &'static str,
}

/// The whole list: 63 of before July 2025, then 34 of since.
pub fn all() -> impl Iterator<Item = Province> {
    LIST.lines().skip(1).filter_map(|line| {
        let mut fields = line.split(',');
        Some(Province {
            code: fields.next()?,
            name: fields.next()?,
            from: fields.next()?,
            until: fields.next()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_63_of_which_34_are_allocated() {
        let before = all().filter(|province| !province.until.is_empty()).count();
        let today = all().filter(|province| province.until.is_empty()).count();
        assert_eq!((before, today), (63, 34));
    }
}
