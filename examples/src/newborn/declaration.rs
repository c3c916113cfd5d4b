//! What a parent declares at the desk.

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    registers::{provinces, units},
};

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

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Child {
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
        if self.children.is_empty() || self.children.len() > 9 {
            return Err(
                "a declaration is of one child, or of up to nine that were born together".into(),
            );
        }
        if self.foundling && (self.mother.is_some() || self.father.is_some()) {
            return Err("a foundling's parents are unknown".into());
        }
        day(&self.declared_on)?;
        for child in &self.children {
            if child.family_name.trim().is_empty() || child.given_name.trim().is_empty() {
                return Err("a child has a surname and a given name".into());
            }
            if !["male", "female"].contains(&child.sex.as_str()) {
                return Err(format!("a child's sex is male or female, not {:?}", child.sex).into());
            }
            if day(&child.born_on)? > day(&self.declared_on)? {
                return Err("a child is born before it is declared".into());
            }
        }
        Ok(())
    }
}

fn day(text: &str) -> Result<jiff::civil::Date, Error> {
    text.parse()
        .map_err(|error| format!("{text:?} is no day YYYY-MM-DD: {error}").into())
}
