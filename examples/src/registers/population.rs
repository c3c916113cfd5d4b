//! A population register of synthetic persons. Nobody in it exists.

use std::path::Path;

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use super::units;
use crate::{Error, dice::Dice};

/// The gRPC service.
pub const SERVICE: &str = "vn.population.v1.Population";

/// A made-up person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Personal identification number, 12 digits.
    pub number: String,
    /// Surname, middle and given name in one text.
    pub name: String,
    /// `YYYY-MM-DD`
    pub born_on: String,
    /// `1` male, `0` female, as such databases have it.
    pub sex: &'static str,
    /// Code of the commune where the person lives.
    pub commune: &'static str,
}

const SURNAMES: [&str; 12] = [
    "Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ", "Ngô",
];
const FEMALE: [&str; 8] = [
    "Thị Ước",
    "Thị Hoa",
    "Ngọc Ánh",
    "Thu Hằng",
    "Thị Mỹ Duyên",
    "Bích Thủy",
    "Kim Yến",
    "Thị Sữu",
];
const MALE: [&str; 8] = [
    "Văn Đạt",
    "Hữu Nghĩa",
    "Quốc Khánh",
    "Minh Đức",
    "Văn Ổn",
    "Đình Phúc",
    "Xuân Trường",
    "Công Lý",
];
/// Codes that personal numbers begin with (Decision 124/2004), some of the 63.
const PROVINCES: [&str; 8] = ["001", "024", "031", "038", "048", "079", "087", "092"];

/// Makes `count` persons; the same for the same seed.
#[must_use]
pub fn persons(count: u32, seed: u64) -> Vec<Person> {
    let communes: Vec<&'static str> = units::all()
        .filter(|unit| unit.level == "commune")
        .map(|unit| unit.code)
        .collect();
    let mut dice = Dice(seed);
    (0..count)
        .filter_map(|serial| person(serial, &communes, &mut dice))
        .collect()
}

fn person(serial: u32, communes: &[&'static str], dice: &mut Dice) -> Option<Person> {
    let year = 1940 + dice.below(85);
    let (month, day) = (1 + dice.below(12), 1 + dice.below(28));
    let female = dice.below(2) == 0;
    // Century and sex share a digit: 0 and 1 for 1900 to 1999, 2 and 3 for 2000 to 2099.
    let digit = 2 * (year / 100 - 19) + usize::from(female);
    let province = PROVINCES.get(dice.below(PROVINCES.len()))?;
    let surname = SURNAMES.get(dice.below(SURNAMES.len()))?;
    let names = if female { &FEMALE } else { &MALE };
    let given = names.get(dice.below(names.len()))?;
    Some(Person {
        number: format!("{province}{digit}{:02}{serial:06}", year % 100),
        name: format!("{surname} {given}"),
        born_on: format!("{year}-{month:02}-{day:02}"),
        sex: if female { "0" } else { "1" },
        commune: communes.get(dice.below(communes.len()))?,
    })
}

/// Writes the database and the adapter's configuration; gives the configuration's path.
///
/// # Errors
/// When files cannot be written.
pub async fn create(directory: &Path, persons: &[Person]) -> Result<std::path::PathBuf, Error> {
    let database = directory.join("population.db");
    let options = SqliteConnectOptions::new()
        .filename(&database)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    connection
        .execute(
            "CREATE TABLE CONG_DAN (
                SO_DINH_DANH CHAR(12) PRIMARY KEY, HO_TEN VARCHAR(120) NOT NULL,
                NGAY_SINH CHAR(10), GIOI_TINH CHAR(1), MA_XA CHAR(5))",
        )
        .await?;
    let mut transaction = connection.begin().await?;
    for person in persons {
        sqlx::query("INSERT INTO CONG_DAN VALUES (?, ?, ?, ?, ?)")
            .bind(&person.number)
            .bind(&person.name)
            .bind(&person.born_on)
            .bind(person.sex)
            .bind(person.commune)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    let configuration = directory.join("population.toml");
    std::fs::write(&configuration, CONFIGURATION)?;
    Ok(configuration)
}

const CONFIGURATION: &str = r#"# The population register, as a service.
[service]
name = "vn.population.v1.Population"
doc = "Synthetic persons."

[listen]
address = "127.0.0.1:0"

[database]
sqlite = "population.db"

[[methods]]
name = "FindPerson"
doc = "One person by personal identification number."
kind = "unary"
subject = "number"
sql = "SELECT SO_DINH_DANH, HO_TEN, NGAY_SINH, GIOI_TINH, MA_XA FROM CONG_DAN WHERE SO_DINH_DANH = :number"
request = [{ name = "number", type = "text", doc = "Twelve digits." }]
reply = [
    { name = "number", column = "SO_DINH_DANH", type = "text" },
    { name = "name", column = "HO_TEN", type = "text", doc = "Surname, middle and given name." },
    { name = "born_on", column = "NGAY_SINH", type = "date" },
    { name = "sex", column = "GIOI_TINH", type = "text", doc = "1 male, 0 female." },
    { name = "commune", column = "MA_XA", type = "text", doc = "Code of the commune of residence." },
]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_are_the_same_for_the_same_seed_and_their_numbers_fit_them() {
        let persons = persons(200, 7);
        assert_eq!(persons, super::persons(200, 7));
        assert_ne!(persons, super::persons(200, 8));
        for person in &persons {
            assert_eq!(person.number.len(), 12);
            let digit: u64 = person.number[3..4].parse().unwrap();
            let year = 1900 + 100 * (digit / 2) + person.number[4..6].parse::<u64>().unwrap();
            assert_eq!(person.born_on[..4], year.to_string());
            assert_eq!(digit.is_multiple_of(2), person.sex == "1");
        }
    }
}
