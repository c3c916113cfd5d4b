//! The register of administrative units: the official list in a database as registers have them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{configure, provinces};
use crate::Error;

/// The gRPC service.
pub const SERVICE: &str = "vn.units.v1.AdministrativeUnits";

/// The official list (examples/data/README.md).
const LIST: &str = include_str!("../../data/administrative-units.csv");

/// One row of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Code: two digits for a province, five for a commune.
    pub code: &'a str,
    /// `province` or `commune`.
    pub level: &'a str,
    /// What it is called, e.g. `phường`.
    pub kind: &'a str,
    /// Its name, as the list writes it.
    pub name: &'a str,
    /// The province of a commune.
    pub province: &'a str,
}

/// The whole list.
///
/// No field of it has a comma or quote, so a line is split at its commas.
pub fn all() -> impl Iterator<Item = Unit<'static>> {
    LIST.lines().skip(1).filter_map(|line| {
        let mut fields = line.split(',');
        Some(Unit {
            code: fields.next()?,
            level: fields.next()?,
            kind: fields.next()?,
            name: fields.next()?,
            province: fields.next()?,
        })
    })
}

/// The unit with this code.
#[must_use]
pub fn find(code: &str) -> Option<Unit<'static>> {
    static UNITS: LazyLock<HashMap<&'static str, Unit<'static>>> =
        LazyLock::new(|| all().map(|unit| (unit.code, unit)).collect());
    UNITS.get(code).copied()
}

const SCHEMA: &str = include_str!("../../registers/units/schema.sql");
const CONFIGURATION: &str = include_str!("../../registers/units/register.toml");

/// Agencies of the demonstration, with the codes that they had before: nothing of these follows from the other.
const AGENCIES: &str = "
    INSERT INTO DM_CO_QUAN VALUES
        ('G01', 'A ministry', '2020-09-15', NULL),
        ('G12.07', 'A tax office', '2020-09-15', NULL),
        ('H37.02', 'A commune''s People''s Committee', '2020-09-15', NULL);
    INSERT INTO MA_CU VALUES
        ('000.00.00.G01', 'G01'), ('000.07.00.G12', 'G12.07'), ('000.02.37.H37', 'H37.02'), ('00.02.H37', 'H37.02');";

/// Writes the database and the adapter's configuration; gives the configuration's path.
///
/// # Errors
/// When files cannot be written.
pub async fn create(directory: &Path) -> Result<PathBuf, Error> {
    let database = directory.join("units.db");
    let options = SqliteConnectOptions::new()
        .filename(&database)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    for unit in all() {
        let level = if unit.level == "province" { "T" } else { "X" };
        sqlx::query("INSERT INTO DM_DVHC VALUES (?, ?, ?, ?, NULLIF(?, ''), '2025-07-01', NULL)")
            .bind(unit.code)
            .bind(level)
            .bind(unit.kind)
            .bind(unit.name)
            .bind(unit.province)
            .execute(&mut *transaction)
            .await?;
    }
    for province in provinces::all() {
        sqlx::query("INSERT INTO DM_TINH_SO_DINH_DANH VALUES (?, ?, NULLIF(?, ''), NULLIF(?, ''))")
            .bind(province.code)
            .bind(province.name)
            .bind(province.from)
            .bind(province.until)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::raw_sql(AGENCIES).execute(&mut *transaction).await?;
    transaction.commit().await?;
    connection.close().await?;
    configure(directory, "units", CONFIGURATION, "sqlite = \"units.db\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_34_provinces_and_3321_communes() {
        let provinces = all().filter(|unit| unit.level == "province").count();
        let communes = all().filter(|unit| unit.level == "commune").count();
        assert_eq!((provinces, communes), (34, 3321));
        assert_eq!(LIST.lines().count(), 1 + 34 + 3321);
    }
}
