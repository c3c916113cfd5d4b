//! The register of health insurance cards: SQLite, CHAR columns with padding. Nobody in it exists.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{configure, ddl, people::Person, provinces};
use crate::Error;

/// The gRPC service.
pub const SERVICE: &str = "vn.insurance.v1.HealthInsurance";

const SCHEMA: &str = include_str!("../../registers/insurance/schema.sql");
const CONFIGURATION: &str = include_str!("../../registers/insurance/register.toml");

/// The first number of social insurance that is given out here.
const FIRST: usize = 3_100_000_000;

/// Makes the register with the cards of the children under six, and the adapter's configuration in a folder; gives the database's file and the configuration's.
///
/// # Errors
/// When files cannot be written.
pub async fn create(directory: &Path, people: &[Person]) -> Result<(PathBuf, PathBuf), Error> {
    let file = directory.join("insurance.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    let children = people.iter().filter(|person| person.age() < 6);
    let mut last = FIRST;
    for child in children {
        last += 1;
        let province = child.province();
        sqlx::query("INSERT INTO THE_BHYT VALUES (?, 'TE', '1', ?, 'C', ?, ?, ?, ?, ?, ?, NULL)")
            .bind(last.to_string())
            .bind(province.get(1..).unwrap_or_default())
            .bind(format!("{:<60}", child.full_name()))
            .bind(child.born())
            .bind(if child.is_female { "2" } else { "1" })
            .bind(&child.number)
            .bind(child.born())
            .bind(format!("30/09/{}", child.year + 6))
            .execute(&mut *transaction)
            .await?;
    }
    for province in provinces::all().filter(|province| province.until.is_empty()) {
        sqlx::query("INSERT INTO DM_TINH VALUES (?)")
            .bind(province.code)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("INSERT INTO BO_DEM VALUES ('BHXH', ?)")
        .bind(i64::try_from(last)?)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let name = format!("sqlite = {:?}", file.display());
    let configuration = configure(directory, "insurance", CONFIGURATION, &name)?;
    let needed = AssertSqlSafe(ddl(&configuration).await?);
    sqlx::raw_sql(needed).execute(&mut connection).await?;
    connection.close().await?;
    Ok((file, configuration))
}
