//! The population register: PostgreSQL, text in TCVN3. Nobody in it exists.

use std::{collections::BTreeMap, path::Path};

use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    Register, configure, ddl,
    legacy_text::tcvn3,
    people::{Person, THIS_YEAR},
    provinces,
    servers::Servers,
    units,
};
use crate::Error;

/// The gRPC service.
pub const SERVICE: &str = "vn.population.v1.Population";

const SCHEMA: &str = include_str!("../../registers/population/schema.sql");
const CONFIGURATION: &str = include_str!("../../registers/population/register.toml");

/// What the adapter does, and no more: it reads everything and writes what its methods say.
const GRANTS: &str = "
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO ACCOUNT;
    GRANT INSERT, UPDATE ON bo_dem, cong_dan, cu_tru, lienthong_written TO ACCOUNT;";

/// Makes the register with these people in it, and the adapter's configuration in a folder.
///
/// # Errors
/// When a server refuses, or files cannot be written.
pub async fn create(
    directory: &Path,
    servers: &Servers,
    people: &[Person],
) -> Result<Register, Error> {
    let database = servers.postgresql().await?;
    let mut connection = database.postgresql().await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    copy(&mut connection, "dm_tinh", province_rows()).await?;
    copy(
        &mut connection,
        "cong_dan",
        people.iter().map(|person| person_row(person, people)),
    )
    .await?;
    copy(&mut connection, "bo_dem", counter_rows(people)).await?;
    copy(
        &mut connection,
        "giay_to",
        people.iter().flat_map(paper_rows),
    )
    .await?;
    let columns = "cu_tru (so_dinh_danh, loai, ma_xa, dia_chi, tu_ngay, den_ngay)";
    copy(
        &mut connection,
        columns,
        people.iter().flat_map(residence_rows),
    )
    .await?;
    let configuration = configure(
        directory,
        "population",
        CONFIGURATION,
        &database.as_postgresql(),
    )?;
    let needed =
        ddl(&configuration).await? + &GRANTS.replace("ACCOUNT", &database.name) + " ANALYZE;";
    sqlx::raw_sql(AssertSqlSafe(needed))
        .execute(&mut connection)
        .await?;
    Ok(Register {
        database,
        configuration,
    })
}

/// A row as COPY reads it: a field that is nothing is NULL.
type Row = Vec<Option<Vec<u8>>>;

async fn copy(
    connection: &mut PgConnection,
    table: &str,
    rows: impl Iterator<Item = Row>,
) -> Result<(), Error> {
    // The bytes are stored as they are; the connection says that it speaks UTF-8.
    let statement = format!("COPY {table} FROM STDIN WITH (ENCODING 'SQL_ASCII')");
    let mut copying = connection.copy_in_raw(&statement).await?;
    let mut text = Vec::new();
    for row in rows {
        for (position, field) in row.into_iter().enumerate() {
            if position > 0 {
                text.push(b'\t');
            }
            // Nothing that is written here has a tab, a backslash or the end of a line in it.
            text.extend(field.unwrap_or_else(|| b"\\N".to_vec()));
        }
        text.push(b'\n');
        if text.len() > 1 << 20 {
            copying.send(std::mem::take(&mut text)).await?;
        }
    }
    copying.send(text).await?;
    copying.finish().await?;
    Ok(())
}

fn ascii(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| text.as_bytes().to_vec())
}

fn province_rows() -> impl Iterator<Item = Row> {
    provinces::all().map(|province| {
        vec![
            ascii(province.code),
            Some(tcvn3(province.name)),
            ascii(province.from),
            ascii(province.until),
        ]
    })
}

fn person_row(person: &Person, people: &[Person]) -> Row {
    let number = |of: Option<usize>| Some(people.get(of?)?.number.as_bytes().to_vec());
    let sex = if person.is_female { "0" } else { "1" };
    vec![
        ascii(&person.number),
        Some(tcvn3(&person.full_name())),
        ascii(sex),
        ascii(&person.born()),
        Some(tcvn3(&native_place(person))),
        Some(tcvn3(person.ethnicity)),
        ascii("VN"),
        number(person.mother),
        number(person.father),
        ascii("1"),
        None,
    ]
}

/// Commune and province; what Windows has typed for an apostrophe stays as it is.
fn native_place(person: &Person) -> String {
    let commune = units::find(person.commune);
    let province = commune.and_then(|commune| units::find(commune.province));
    let names = [commune, province]
        .into_iter()
        .flatten()
        .map(|unit| unit.name);
    names.collect::<Vec<_>>().join(", ")
}

/// The highest serial that was given out for each beginning of a number.
fn counter_rows(people: &[Person]) -> impl Iterator<Item = Row> {
    let mut last = BTreeMap::new();
    for person in people {
        if let Some((beginning, serial)) = person.number.split_at_checked(6) {
            let highest = last.entry(beginning).or_insert(serial);
            *highest = serial.max(*highest);
        }
    }
    last.into_iter().map(|(beginning, serial)| {
        let (province, rest) = beginning.split_at(3);
        let (century, year) = rest.split_at(1);
        vec![ascii(province), ascii(century), ascii(year), ascii(serial)]
    })
}

/// From fourteen years on a card; people of before 2000 had one of nine digits first.
fn paper_rows(person: &Person) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut paper = |kind: &str, number: String, year: usize, by: &str| {
        rows.push(vec![
            ascii(&person.number),
            ascii(kind),
            Some(number.into_bytes()),
            ascii(&format!("{year}-06-15")),
            Some(tcvn3(by)),
        ]);
    };
    if person.year < 2000 {
        // Of nothing that means anything; unique since it is made of the number that is.
        let digits = person.number.chars().skip(3).collect::<String>();
        paper("CMND", digits, (person.year + 16).max(1976), "Công an tỉnh");
    }
    if person.age() >= 14 {
        let by = "Cục Cảnh sát quản lý hành chính về trật tự xã hội";
        let number = person.number.clone();
        paper(
            "CCCD",
            number,
            (person.year + 14).clamp(2021, THIS_YEAR),
            by,
        );
    }
    rows
}

/// Where the person lives; of some also where they lived before July 2025, in words only.
fn residence_rows(person: &Person) -> Vec<Row> {
    let row = |commune: Option<&str>, address: &str, since: &str, until: &str| {
        vec![
            ascii(&person.number),
            ascii("1"),
            commune.and_then(ascii),
            Some(tcvn3(address)),
            ascii(since),
            ascii(until),
        ]
    };
    let since = person.year.max(1990);
    if person.age() < 30 {
        return vec![row(
            Some(person.commune),
            &person.address,
            &format!("{since}-11-30"),
            "",
        )];
    }
    let before = format!("{}, xã cũ, huyện cũ", person.address);
    vec![
        row(None, &before, &format!("{since}-11-30"), "2025-06-30"),
        row(Some(person.commune), &person.address, "2025-07-01", ""),
    ]
}
