//! What a parent declares at the desk.

use jiff::{ToSpan, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    registers::{provinces, units},
};

/// The most letters of a text: no register has columns for more.
const TEXT_LIMIT: usize = 250;

/// A declaration: of one child, or of twins. Days are written `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The desk's number of the case, unique: `x-road-issue` of every exchange.
    pub case_number: String,
    /// Who at the desk has taken it.
    pub officer: String,
    /// The day on which it was declared, which is when the birth is registered.
    pub declared_on: String,
    /// Code of the commune, five digits.
    pub commune: String,
    /// Code of the province in personal identification numbers, three digits.
    pub province: String,
    /// Where the child will live.
    pub address: String,
    /// Absent or unknown: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mother: Option<Parent>,
    /// Absent or unknown: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub father: Option<Parent>,
    /// A child that was found.
    #[serde(default)]
    pub foundling: bool,
    /// Each gets a dossier.
    pub children: Vec<Child>,
}

/// A parent as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Personal identification number: then the population register is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The name, of a parent without a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// Year of birth, `YYYY`, of a parent without a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<String>,
    /// Ethnicity, of a parent without a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethnicity: Option<String>,
    /// Two letters, of a parent without a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nationality: Option<String>,
    /// Where the parent lives, if that is not where the child will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residence: Option<String>,
}

/// A child that was born.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// Surname.
    pub family_name: String,
    /// Middle name; may be empty.
    #[serde(default)]
    pub middle_name: String,
    /// Given name.
    pub given_name: String,
    /// `male` or `female`.
    pub sex: String,
    /// The day.
    pub born_on: String,
    /// Where.
    #[serde(default)]
    pub place_of_birth: String,
    /// As father or mother, by agreement.
    #[serde(default)]
    pub native_place: String,
    /// As registers call it.
    pub ethnicity: String,
}

impl Parent {
    fn check(&self) -> Result<(), Error> {
        let texts = [
            &self.full_name,
            &self.ethnicity,
            &self.nationality,
            &self.residence,
        ];
        texts
            .into_iter()
            .flatten()
            .try_for_each(|text| fits(text))?;
        match (&self.number, &self.full_name, &self.born) {
            (Some(number), _, _) if is_digits(number, 12) => Ok(()),
            (Some(number), _, _) => Err(format!("{number:?} is no number of twelve digits").into()),
            (None, Some(name), born) if !name.trim().is_empty() => match born {
                Some(year) if !is_digits(year, 4) => Err(format!("{year:?} is no year").into()),
                _ => Ok(()),
            },
            (None, ..) => Err("a parent has a number or a name; leave out who is unknown".into()),
        }
    }
}

fn fits(text: &str) -> Result<(), Error> {
    let length = text.chars().count();
    if length > TEXT_LIMIT {
        let start: String = text.chars().take(20).collect();
        let what = format!("\"{start}...\" has {length} letters; {TEXT_LIMIT} are the most");
        return Err(what.into());
    }
    Ok(())
}

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Child {
    fn check(&self, declared_on: Date) -> Result<(), Error> {
        if self.family_name.trim().is_empty() || self.given_name.trim().is_empty() {
            return Err("a child has a surname and a given name".into());
        }
        let texts = [
            &self.family_name,
            &self.middle_name,
            &self.given_name,
            &self.place_of_birth,
            &self.native_place,
            &self.ethnicity,
        ];
        texts.into_iter().try_for_each(|text| fits(text))?;
        if !["male", "female"].contains(&self.sex.as_str()) {
            return Err(format!("a child's sex is male or female, not {:?}", self.sex).into());
        }
        let born_on = day(&self.born_on)?;
        if born_on > declared_on {
            return Err("a child is born before it is declared".into());
        }
        // The law has the one declaration for them only; the insurance would issue a card to anybody.
        if born_on.checked_add(6.years())? <= declared_on {
            let what = "this desk is for children under six; who is older is registered late, at each agency";
            return Err(what.into());
        }
        Ok(())
    }

    /// Surname, middle and given name.
    #[must_use]
    pub fn full_name(&self) -> String {
        let names = [&self.family_name, &self.middle_name, &self.given_name];
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        names.into_iter().cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Declaration {
    /// Whether a correction of this leaves alone what a registered birth says.
    #[must_use]
    pub fn has_the_birth_of(&self, other: &Self) -> bool {
        let same_children = self
            .children
            .iter()
            .zip(&other.children)
            .all(|(one, other)| {
                let other = Child {
                    native_place: one.native_place.clone(),
                    ..other.clone()
                };
                *one == other
            });
        let corrected = Self {
            officer: other.officer.clone(),
            address: other.address.clone(),
            children: other.children.clone(),
            ..self.clone()
        };
        same_children && self.children.len() == other.children.len() && corrected == *other
    }

    /// What must be there before a dossier is opened; what it says is for the registers to judge.
    ///
    /// # Errors
    /// In words for whoever stands at the desk.
    pub fn check(&self) -> Result<(), Error> {
        let texts = [
            ("case_number", &self.case_number),
            ("officer", &self.officer),
            ("address", &self.address),
        ];
        if let Some((name, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(format!("the declaration has no {name}").into());
        }
        texts.into_iter().try_for_each(|(_, text)| fits(text))?;
        if !is_digits(&self.commune, 5) || !is_digits(&self.province, 3) {
            return Err("a commune has five digits, a province three".into());
        }
        // What a register would refuse later is asked for now: a birth that is registered stays.
        let commune = units::find(&self.commune).filter(|unit| unit.level == "commune");
        if commune.is_none_or(|commune| format!("0{}", commune.province) != self.province) {
            return Err(
                format!("{} is no commune of {} today", self.commune, self.province).into(),
            );
        }
        let mut open = provinces::all().filter(|province| province.until.is_empty());
        if !open.any(|province| province.code == self.province) {
            return Err(format!("no numbers are allocated with {} today", self.province).into());
        }
        for parent in [&self.mother, &self.father].into_iter().flatten() {
            parent.check()?;
        }
        let number = |parent: &Option<Parent>| parent.as_ref()?.number.clone();
        if number(&self.mother).is_some() && number(&self.mother) == number(&self.father) {
            return Err("mother and father have the same number".into());
        }
        if self.children.is_empty() || self.children.len() > 9 {
            return Err(
                "a declaration is of one child, or of up to nine that were born together".into(),
            );
        }
        if self.foundling && (self.mother.is_some() || self.father.is_some()) {
            return Err("a foundling's parents are unknown".into());
        }
        let declared_on = day(&self.declared_on)?;
        let mut children = self.children.iter();
        children.try_for_each(|child| child.check(declared_on))
    }
}

fn day(text: &str) -> Result<Date, Error> {
    text.parse()
        .map_err(|error| format!("{text:?} is no day YYYY-MM-DD: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration() -> Declaration {
        let parent = |number: &str| Parent {
            number: Some(number.to_owned()),
            ..Parent::default()
        };
        Declaration {
            case_number: "case".to_owned(),
            officer: "officer-7".to_owned(),
            declared_on: "2026-11-27".to_owned(),
            commune: "00070".to_owned(),
            province: "001".to_owned(),
            address: "5, thôn 1".to_owned(),
            mother: Some(parent("001190000001")),
            father: Some(parent("001090000002")),
            foundling: false,
            children: vec![Child {
                family_name: "Nguyễn".to_owned(),
                middle_name: String::new(),
                given_name: "Ánh".to_owned(),
                sex: "female".to_owned(),
                born_on: "2026-11-20".to_owned(),
                place_of_birth: String::new(),
                native_place: String::new(),
                ethnicity: "Kinh".to_owned(),
            }],
        }
    }

    #[test]
    fn what_no_register_would_take_or_no_desk_may_do_is_refused_in_words() {
        declaration().check().unwrap();
        type Change = fn(&mut Declaration);
        let cases: [(Change, &str); 9] = [
            (|it| it.officer.clear(), "has no officer"),
            (|it| it.province = "079".to_owned(), "no commune of 079"),
            (|it| it.father.clone_from(&it.mother), "the same number"),
            (|it| it.foundling = true, "parents are unknown"),
            (|it| it.children.clear(), "of one child"),
            (|it| it.address = "thôn ".repeat(60), "300 letters"),
            (
                |it| it.children[0].given_name = "Á".repeat(251),
                "251 letters",
            ),
            (
                |it| it.children[0].born_on = "2026-11-28".to_owned(),
                "before it is declared",
            ),
            (
                |it| it.children[0].born_on = "2020-11-27".to_owned(),
                "under six",
            ),
        ];
        for (change, says) in cases {
            let mut declared = declaration();
            change(&mut declared);
            let refused = declared.check().unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
        // A day before it is six.
        let mut declared = declaration();
        declared.children[0].born_on = "2020-11-28".to_owned();
        declared.check().unwrap();
    }
}
