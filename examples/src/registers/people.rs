//! Synthetic people in families, made by a seed. Nobody among them exists.

use std::collections::HashMap;

use super::{
    names::{FEMALE, KINH, MALE, Names, OTHERS},
    provinces, units,
};
use crate::dice::Dice;

/// The year in which they are as old as they are.
pub const THIS_YEAR: usize = 2026;

/// A made-up person. Others are named by their positions in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Personal identification number, 12 digits.
    pub number: String,
    /// Surname.
    pub family_name: &'static str,
    /// Middle name; may be empty.
    pub middle_name: &'static str,
    /// Given name.
    pub given_name: &'static str,
    /// A woman.
    pub is_female: bool,
    /// Year of birth.
    pub year: usize,
    /// Month and day of birth; of some old people nobody knows them.
    pub day: Option<(usize, usize)>,
    /// As registers call it.
    pub ethnicity: &'static str,
    /// Code of the commune where the person lives, of today's list.
    pub commune: &'static str,
    /// House and hamlet there.
    pub address: String,
    /// Their mother, if it is known.
    pub mother: Option<usize>,
    /// Their father, if it is known.
    pub father: Option<usize>,
    /// Whom they are married to.
    pub spouse: Option<usize>,
}

impl Person {
    /// Surname, middle and given name, as they are spoken.
    #[must_use]
    pub fn full_name(&self) -> String {
        let names = [self.family_name, self.middle_name, self.given_name];
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        names.join(" ")
    }

    /// `DD/MM/YYYY`; where the day is not known `00/00/YYYY`, or of the oldest `YYYY`.
    #[must_use]
    pub fn born(&self) -> String {
        match self.day {
            Some((month, day)) => format!("{day:02}/{month:02}/{}", self.year),
            None if self.year < 1945 => self.year.to_string(),
            None => format!("00/00/{}", self.year),
        }
    }

    /// In years, this year.
    #[must_use]
    pub const fn age(&self) -> usize {
        THIS_YEAR - self.year
    }

    /// The province of the commune where the person lives, as personal numbers have it.
    #[must_use]
    pub fn province(&self) -> String {
        let commune = units::find(self.commune);
        commune.map_or_else(String::new, |commune| format!("0{}", commune.province))
    }
}

/// Makes at least so many persons, in whole households; the same for the same seed.
#[must_use]
pub fn people(count: usize, seed: u64) -> Vec<Person> {
    let mut country = Country {
        people: Vec::with_capacity(count + 8),
        serials: HashMap::new(),
        communes: units::all()
            .filter(|unit| unit.level == "commune")
            .collect(),
        codes: provinces::all().map(|province| province.code).collect(),
        dice: Dice(seed),
    };
    country.codes.dedup();
    while country.people.len() < count {
        country.household();
    }
    country.people
}

struct Country {
    people: Vec<Person>,
    /// The last serial of each beginning of a number.
    serials: HashMap<String, usize>,
    communes: Vec<units::Unit<'static>>,
    codes: Vec<&'static str>,
    dice: Dice,
}

/// Who is to be born.
struct Plan {
    is_female: bool,
    age: usize,
    mother: Option<usize>,
    father: Option<usize>,
}

impl Country {
    /// People of one house: a couple with children, some with grandparents; or a mother alone, or somebody old.
    fn household(&mut self) {
        let Some(commune) = self.communes.get(self.dice.below(self.communes.len())) else {
            return;
        };
        let (commune, province) = (commune.code, commune.province);
        let names = self.names_of(province);
        let house = House {
            commune,
            province,
            address: format!(
                "{}, thôn {}",
                1 + self.dice.below(300),
                1 + self.dice.below(12)
            ),
        };
        match self.dice.below(20) {
            0 => {
                let old = Plan::of(self.dice.below(2) == 0, 60 + self.dice.below(38));
                self.born(&house, names, None, old);
            }
            1 => {
                let mother = Plan::of(true, 19 + self.dice.below(22));
                let mother = self.born(&house, names, None, mother);
                self.children(&house, names, mother, None);
            }
            _ => self.family(&house, names),
        }
    }

    fn family(&mut self, house: &House, names: &'static Names) {
        let age = 21 + self.dice.below(45);
        let grandparents = (self.dice.below(10) < 4).then(|| {
            let grandmother = Plan::of(true, age + 20 + self.dice.below(12));
            let grandfather = Plan::of(false, grandmother.age + self.dice.below(6));
            let grandfather = self.born(house, names, None, grandfather);
            let grandmother = self.born(house, names, None, grandmother);
            self.marry(grandfather, grandmother);
            (grandfather, grandmother)
        });
        let surname = grandparents.and_then(|(grandfather, _)| self.surname_of(grandfather));
        let father = Plan {
            mother: grandparents.map(|(_, grandmother)| grandmother),
            father: grandparents.map(|(grandfather, _)| grandfather),
            ..Plan::of(false, age)
        };
        let father = self.born(house, names, surname, father);
        let mother = Plan::of(true, (age - self.dice.below(6)).max(19));
        let mother = self.born(house, names, None, mother);
        self.marry(father, mother);
        self.children(house, names, mother, Some(father));
    }

    fn children(
        &mut self,
        house: &House,
        names: &'static Names,
        mother: usize,
        father: Option<usize>,
    ) {
        let mother_age = self.people.get(mother).map_or(0, Person::age);
        let surname = self.surname_of(father.unwrap_or(mother));
        // The oldest first; those over 24 have a house of their own.
        let Some(mut age) = mother_age.checked_sub(19 + self.dice.below(8)) else {
            return;
        };
        for _ in 0..self.dice.below(4) {
            if age < 25 {
                let child = Plan {
                    mother: Some(mother),
                    father,
                    ..Plan::of(self.dice.below(2) == 0, age)
                };
                self.born(house, names, surname, child);
            }
            let Some(next) = age.checked_sub(1 + self.dice.below(6)) else {
                return;
            };
            age = next;
        }
    }

    fn born(
        &mut self,
        house: &House,
        names: &'static Names,
        surname: Option<&'static str>,
        plan: Plan,
    ) -> usize {
        let year = THIS_YEAR - plan.age;
        let sex = if plan.is_female { FEMALE } else { MALE };
        let mut one_of = |names: &'static [&'static str]| {
            names
                .get(self.dice.below(names.len()))
                .copied()
                .unwrap_or_default()
        };
        let drawn = one_of(names.surnames);
        let (middle_name, given_name) = (one_of(names.middle[sex]), one_of(names.given[sex]));
        // Nobody is born after this: who counts newborns begins with none.
        let (month, day) = (1 + self.dice.below(10), 1 + self.dice.below(28));
        let is_known = year >= 1960 || self.dice.below(4) != 0;
        let number = self.number(house.province, plan.is_female, year);
        self.people.push(Person {
            number,
            family_name: surname.unwrap_or(drawn),
            middle_name,
            given_name,
            is_female: plan.is_female,
            year,
            day: is_known.then_some((month, day)),
            ethnicity: names.ethnicity,
            commune: house.commune,
            address: house.address.clone(),
            mother: plan.mother,
            father: plan.father,
            spouse: None,
        });
        self.people.len() - 1
    }

    /// Most were registered in the province where they live, and some in any of before July 2025.
    fn number(&mut self, province: &str, is_female: bool, year: usize) -> String {
        let moved = year < 2025 && self.dice.below(5) == 0;
        let code = match self.codes.get(self.dice.below(self.codes.len())) {
            Some(code) if moved => (*code).to_owned(),
            _ => format!("0{province}"),
        };
        let digit = 2 * (year / 100 - 19) + usize::from(is_female);
        let beginning = format!("{code}{digit}{:02}", year % 100);
        let last = self.serials.entry(beginning.clone()).or_default();
        *last += 1 + self.dice.below(30);
        format!("{beginning}{last:06}")
    }

    fn names_of(&mut self, province: &str) -> &'static Names {
        let chosen = self.dice.below(OTHERS.len());
        let here = OTHERS
            .get(chosen)
            .filter(|(provinces, _)| provinces.contains(&province));
        here.map_or(&KINH, |(_, names)| names)
    }

    fn surname_of(&self, person: usize) -> Option<&'static str> {
        self.people.get(person).map(|person| person.family_name)
    }

    fn marry(&mut self, husband: usize, wife: usize) {
        for (one, other) in [(husband, wife), (wife, husband)] {
            if let Some(person) = self.people.get_mut(one) {
                person.spouse = Some(other);
            }
        }
    }
}

impl Plan {
    const fn of(is_female: bool, age: usize) -> Self {
        Self {
            is_female,
            age,
            mother: None,
            father: None,
        }
    }
}

struct House {
    commune: &'static str,
    province: &'static str,
    address: String,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn people_are_the_same_for_the_same_seed_and_their_families_are_possible() {
        let people = people(5_000, 7);
        assert_eq!(people, super::people(5_000, 7));
        assert_ne!(people, super::people(5_000, 8));
        let numbers: HashSet<_> = people.iter().map(|person| &person.number).collect();
        assert_eq!(numbers.len(), people.len());
        for person in &people {
            for (parent, is_female) in [(person.mother, true), (person.father, false)] {
                let Some(parent) = parent.map(|parent| &people[parent]) else {
                    continue;
                };
                assert_eq!(parent.is_female, is_female);
                assert!(parent.age() >= person.age() + 18, "{parent:?} {person:?}");
                assert!(parent.age() <= person.age() + 60, "{parent:?} {person:?}");
            }
            if let Some(spouse) = person.spouse {
                assert_ne!(people[spouse].is_female, person.is_female);
                assert_eq!(people[people[spouse].spouse.unwrap()], *person);
            }
        }
        let children = people.iter().filter(|person| person.age() < 6).count();
        assert!(children * 100 / people.len() > 2, "{children}");
        let ethnicities: HashSet<_> = people.iter().map(|person| person.ethnicity).collect();
        assert_eq!(ethnicities.len(), 1 + OTHERS.len());
    }
}
