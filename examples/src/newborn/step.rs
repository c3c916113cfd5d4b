//! The steps of a dossier: what each asks of which agency, and what must be done before.

use jiff::{ToSpan, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    declaration::{Child, Declaration, Parent},
    store::Dossier,
};

/// A step, in the order in which a dossier shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The population register is asked for the mother.
    Mother,
    /// The population register is asked for the father.
    Father,
    /// Civil status registers the birth.
    Birth,
    /// The population register allocates the personal identification number.
    Number,
    /// Civil status writes the number into the birth: the law makes it a part of it.
    WriteBack,
    /// Civil status issues the certificate.
    Certificate,
    /// The population register registers where the child lives.
    Residence,
    /// Health insurance issues the card.
    Card,
}

/// The agencies that have the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agency {
    /// Has the population register.
    Population,
    /// Has the civil status register.
    CivilStatus,
    /// Has the register of health insurance cards.
    Insurance,
}

impl Agency {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Population, Self::CivilStatus, Self::Insurance];

    /// Its name in settings and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Population => "population",
            Self::CivilStatus => "civil_status",
            Self::Insurance => "insurance",
        }
    }
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 8] = [
        Self::Mother,
        Self::Father,
        Self::Birth,
        Self::Number,
        Self::WriteBack,
        Self::Certificate,
        Self::Residence,
        Self::Card,
    ];

    /// Its name in the store and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mother => "mother",
            Self::Father => "father",
            Self::Birth => "birth",
            Self::Number => "number",
            Self::WriteBack => "write_back",
            Self::Certificate => "certificate",
            Self::Residence => "residence",
            Self::Card => "card",
        }
    }

    /// The step of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// Whom it asks.
    #[must_use]
    pub const fn agency(self) -> Agency {
        match self {
            Self::Mother | Self::Father | Self::Number | Self::Residence => Agency::Population,
            Self::Birth | Self::WriteBack | Self::Certificate => Agency::CivilStatus,
            Self::Card => Agency::Insurance,
        }
    }

    /// The method it calls.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Mother | Self::Father => "FindPerson",
            Self::Birth => "RegisterBirth",
            Self::Number => "AllocateNumber",
            Self::WriteBack => "WriteBackNumber",
            Self::Certificate => "IssueCertificate",
            Self::Residence => "RegisterResidence",
            Self::Card => "IssueCard",
        }
    }

    /// Whether it only asks: what it brought may be asked again.
    #[must_use]
    pub const fn is_look_up(self) -> bool {
        matches!(self, Self::Mother | Self::Father)
    }

    /// Why it may: the law, as the bus carries it with the exchange.
    #[must_use]
    pub const fn legal_basis(self) -> &'static str {
        match self {
            Self::Mother | Self::Father | Self::Birth => "Law 60/2014/QH13, article 16",
            Self::Number | Self::WriteBack | Self::Certificate => "Law 60/2014/QH13, article 14",
            Self::Residence => "Law 68/2020/QH14, article 20",
            Self::Card => "Law 25/2008/QH12, article 16",
        }
    }

    /// What must be done before it.
    #[must_use]
    pub const fn after(self) -> &'static [Self] {
        match self {
            Self::Mother | Self::Father => &[],
            Self::Birth => &[Self::Mother, Self::Father],
            Self::Number => &[Self::Birth],
            Self::WriteBack => &[Self::Number],
            Self::Certificate => &[Self::WriteBack],
            Self::Residence | Self::Card => &[Self::Certificate],
        }
    }

    /// Whether a dossier has it: a parent without a number is not looked up.
    #[must_use]
    pub fn is_part_of(self, declaration: &Declaration) -> bool {
        let has_number = |parent: &Option<Parent>| {
            parent
                .as_ref()
                .is_some_and(|parent| parent.number.is_some())
        };
        match self {
            Self::Mother => has_number(&declaration.mother),
            Self::Father => has_number(&declaration.father),
            _ => true,
        }
    }

    /// Why who was looked up cannot be this parent of the child, if so.
    #[must_use]
    pub fn objection(self, dossier: &Dossier, brought: &Value) -> Option<String> {
        let (who, other_sex) = match self {
            Self::Mother => ("mother", "male"),
            Self::Father => ("father", "female"),
            _ => return None,
        };
        if brought["sex"] == other_sex {
            return Some(format!("this number is of a {other_sex}, who is no {who}"));
        }
        let child: Date = dossier.child.born_on.parse().ok()?;
        let year = brought["born"]["year"].as_i64()?;
        (year >= i64::from(child.year()))
            .then(|| format!("this number is of somebody born in {year}, as late as the child"))
    }

    /// The request, made of the declaration and of what the steps before have brought. The key is the dossier's: the same for all
    /// attempts, and for no other child.
    #[must_use]
    pub fn request(self, dossier: &Dossier) -> Value {
        let (declaration, child) = (&dossier.declaration, &dossier.child);
        let brought = |step: Self, field: &str| dossier.brought(step, field);
        let mut request = match self {
            Self::Mother | Self::Father => {
                let parent = match self {
                    Self::Mother => &declaration.mother,
                    _ => &declaration.father,
                };
                let number = parent.as_ref().and_then(|parent| parent.number.clone());
                return json!({ "number": number });
            }
            Self::Birth => birth(dossier),
            Self::Number => json!({
                "province": declaration.province,
                "full_name": child.full_name(),
                "sex": child.sex,
                "born_on": child.born_on,
                "native_place": typed(&child.native_place),
                "ethnicity": child.ethnicity,
                "nationality": "VN",
                "mother": number_of(&declaration.mother),
                "father": number_of(&declaration.father),
            }),
            Self::WriteBack => json!({
                "entry": brought(Self::Birth, "entry"),
                "number": brought(Self::Number, "number"),
            }),
            Self::Certificate => json!({
                "entry": brought(Self::Birth, "entry"),
                "issued_on": declaration.declared_on,
            }),
            Self::Residence => json!({
                "number": brought(Self::Number, "number"),
                "commune": declaration.commune,
                "address": typed(&declaration.address),
                "since": declaration.declared_on,
            }),
            Self::Card => json!({
                "province": declaration.province,
                "full_name": child.full_name(),
                "number": brought(Self::Number, "number"),
                "born_on": child.born_on,
                "sex": child.sex,
                "since": child.born_on,
                "until": until_six(child),
            }),
        };
        request["declaration"] = json!(dossier.id);
        without_nothing(request)
    }
}

/// A birth is registered with what the population register knows of the parents, else with what was declared.
fn birth(dossier: &Dossier) -> Value {
    let (declaration, child) = (&dossier.declaration, &dossier.child);
    let mut request = json!({
        "commune": declaration.commune,
        "registered_on": declaration.declared_on,
        "family_name": child.family_name,
        "middle_name": optional(&child.middle_name),
        "given_name": child.given_name,
        "sex": child.sex,
        "born_on": child.born_on,
        "place_of_birth": typed(&child.place_of_birth),
        "native_place": typed(&child.native_place),
        "ethnicity": child.ethnicity,
        "nationality": "VN",
        "foundling": declaration.foundling,
    });
    for (who, step, parent) in [
        ("mother", Step::Mother, &declaration.mother),
        ("father", Step::Father, &declaration.father),
    ] {
        let Some(parent) = parent else { continue };
        let known = |field: &str| dossier.brought(step, field);
        let year = known("born").and_then(|born| born.get("year").map(ToString::to_string));
        request[who] = json!(parent.number);
        request[format!("{who}_full_name")] =
            known("fullName").unwrap_or_else(|| json!(parent.full_name));
        request[format!("{who}_born")] = json!(year.or_else(|| parent.born.clone()));
        request[format!("{who}_ethnicity")] =
            known("ethnicity").unwrap_or_else(|| json!(parent.ethnicity));
        request[format!("{who}_nationality")] =
            known("nationality").unwrap_or_else(|| json!(parent.nationality));
        request[format!("{who}_residence")] = json!(typed(
            parent.residence.as_ref().unwrap_or(&declaration.address)
        ));
    }
    request
}

fn number_of(parent: &Option<Parent>) -> Option<String> {
    parent.as_ref().and_then(|parent| parent.number.clone())
}

/// As registers of the nineties can hold it: the official list has typographic apostrophes and dashes.
fn typed(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.replace('’', "'").replace('–', "-"))
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A card of a child under six is valid until the child is six, or until the end of September if the child is
/// six before the school year.
fn until_six(child: &Child) -> Option<String> {
    let born: Date = child.born_on.parse().ok()?;
    let six = born.checked_add(6.years()).ok()?;
    let school = Date::new(six.year(), 9, 30).ok()?;
    Some(six.max(school).to_string())
}

/// An absent field is left out: to JSON of messages, null is no text.
fn without_nothing(request: Value) -> Value {
    match request {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other,
    }
}
