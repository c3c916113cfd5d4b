//! The register of administrative units: the official list in a database as registers have them.

use std::path::Path;

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::Error;

/// The gRPC service.
pub const SERVICE: &str = "vn.units.v1.AdministrativeUnits";

/// The official list (examples/data/README.md).
const LIST: &str = include_str!("../../data/administrative-units.csv");

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Writes the database and the adapter's configuration; gives the configuration's path.
///
/// # Errors
/// When files cannot be written.
pub async fn create(directory: &Path) -> Result<std::path::PathBuf, Error> {
    let database = directory.join("units.db");
    let options = SqliteConnectOptions::new()
        .filename(&database)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    connection
        .execute(
            "CREATE TABLE DM_DVHC (
                MA_DVHC CHAR(5) PRIMARY KEY, CAP CHAR(1) NOT NULL, LOAI_HINH VARCHAR(60),
                TEN_DVHC VARCHAR(120) NOT NULL, MA_TINH CHAR(2))",
        )
        .await?;
    let mut transaction = connection.begin().await?;
    for unit in all() {
        let level = if unit.level == "province" { "T" } else { "X" };
        sqlx::query("INSERT INTO DM_DVHC VALUES (?, ?, ?, ?, NULLIF(?, ''))")
            .bind(unit.code)
            .bind(level)
            .bind(unit.kind)
            .bind(unit.name)
            .bind(unit.province)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    let configuration = directory.join("units.toml");
    std::fs::write(&configuration, CONFIGURATION)?;
    Ok(configuration)
}

const CONFIGURATION: &str = r#"# The register of administrative units, as a service.
[service]
name = "vn.units.v1.AdministrativeUnits"
doc = "The official list of provinces and communes."

[listen]
address = "127.0.0.1:0"

[database]
sqlite = "units.db"

[[methods]]
name = "FindUnit"
doc = "One unit by its code."
kind = "unary"
sql = "SELECT MA_DVHC, CAP, LOAI_HINH, TEN_DVHC, MA_TINH FROM DM_DVHC WHERE MA_DVHC = :code"
request = [{ name = "code", type = "text", doc = "Two digits for a province, five for a commune." }]
reply = [
    { name = "code", column = "MA_DVHC", type = "text" },
    { name = "level", column = "CAP", type = "text", doc = "T province, X commune." },
    { name = "kind", column = "LOAI_HINH", type = "text" },
    { name = "name", column = "TEN_DVHC", type = "text" },
    { name = "province", column = "MA_TINH", type = "text" },
]

[[methods]]
name = "ListUnits"
doc = "The whole register, by code."
kind = "server-streaming"
sql = "SELECT MA_DVHC, CAP, LOAI_HINH, TEN_DVHC, MA_TINH FROM DM_DVHC WHERE CAP >= :from_level ORDER BY CAP, MA_DVHC"
request = [{ name = "from_level", type = "text", doc = "T: everything; X: communes only." }]
reply = [
    { name = "code", column = "MA_DVHC", type = "text" },
    { name = "level", column = "CAP", type = "text" },
    { name = "kind", column = "LOAI_HINH", type = "text" },
    { name = "name", column = "TEN_DVHC", type = "text" },
    { name = "province", column = "MA_TINH", type = "text" },
]
"#;

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
