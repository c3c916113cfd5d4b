//! The civil status register: MariaDB, text in VNI. Nobody in it exists.

use std::path::Path;

use sqlx::{AssertSqlSafe, MySqlConnection};

use super::{Register, configure, ddl, legacy_text::vni, people::Person, servers::Servers, units};
use crate::Error;

/// The gRPC service.
pub const SERVICE: &str = "vn.civilstatus.v1.CivilStatus";

const SCHEMA: &str = include_str!("../../registers/civil-status/schema.sql");
const CONFIGURATION: &str = include_str!("../../registers/civil-status/register.toml");

/// Births are registered here of those who are not older: before that on paper.
const OLDEST: usize = 15;

/// Makes the register with the births and marriages of these people, and the adapter's configuration in a folder.
///
/// # Errors
/// When a server refuses, or files cannot be written.
pub async fn create(
    directory: &Path,
    servers: &Servers,
    people: &[Person],
) -> Result<Register, Error> {
    let database = servers.mariadb().await?;
    let mut connection = database.mariadb().await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    let births = people.iter().filter(|person| person.age() <= OLDEST);
    let births = births.map(|child| birth(child, people));
    insert(&mut connection, BIRTH, births).await?;
    let husbands = people.iter().filter(|person| !person.is_female);
    let couples = husbands.filter_map(|husband| Some((husband, people.get(husband.spouse?)?)));
    insert(&mut connection, MARRIAGE, couples.map(marriage)).await?;
    let configuration = configure(
        directory,
        "civil-status",
        CONFIGURATION,
        &database.as_mariadb(),
    )?;
    database.run_mariadb(&ddl(&configuration).await?).await?;
    let name = &database.name;
    let grant = AssertSqlSafe(format!(
        "GRANT SELECT, INSERT, UPDATE ON {name}.* TO {name}"
    ));
    sqlx::raw_sql(grant).execute(&mut connection).await?;
    Ok(Register {
        database,
        configuration,
    })
}

const BIRTH: &str = "khai_sinh (ma_xa, ngay_dang_ky, ho, dem, ten, gioi_tinh, ngay_sinh, noi_sinh, que_quan, dan_toc, \
    quoc_tich, so_dinh_danh, me_ho_ten, me_nam_sinh, me_dan_toc, me_quoc_tich, me_noi_cu_tru, me_so, cha_ho_ten, cha_nam_sinh, \
    cha_dan_toc, cha_quoc_tich, cha_noi_cu_tru, cha_so, giay_so, giay_ngay)";

const MARRIAGE: &str = "ket_hon (ma_xa, ngay_dang_ky, chong_ho_ten, chong_ngay_sinh, chong_dan_toc, chong_quoc_tich, \
    chong_noi_cu_tru, chong_so, vo_ho_ten, vo_ngay_sinh, vo_dan_toc, vo_quoc_tich, vo_noi_cu_tru, vo_so)";

/// Writes rows of bytes as they shall be stored: a literal in hexadecimal is converted by nobody.
async fn insert(
    connection: &mut MySqlConnection,
    into: &str,
    rows: impl Iterator<Item = Vec<Option<Vec<u8>>>>,
) -> Result<(), Error> {
    let value = |field: Option<Vec<u8>>| {
        field.map_or_else(
            || "NULL".to_owned(),
            |bytes| format!("x'{}'", hex::encode(bytes)),
        )
    };
    let rows: Vec<String> = rows
        .map(|row| {
            format!(
                "({})",
                row.into_iter().map(value).collect::<Vec<_>>().join(",")
            )
        })
        .collect();
    for some in rows.chunks(1_000) {
        let statement = AssertSqlSafe(format!("INSERT INTO {into} VALUES {}", some.join(",")));
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

fn text(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| vni(text))
}

fn birth(child: &Person, people: &[Person]) -> Vec<Option<Vec<u8>>> {
    let parent = |of: Option<usize>| of.and_then(|of| people.get(of));
    let commune = units::find(child.commune);
    let place = commune.map_or("", |commune| commune.name);
    let registered_on = format!("{}-12-05", child.year.min(2025));
    let mut row = vec![
        text(child.commune),
        text(&registered_on),
        text(child.family_name),
        text(child.middle_name),
        text(child.given_name),
        text(if child.is_female { "Nữ" } else { "Nam" }),
        text(&child.born()),
        text(&format!("Trạm y tế {place}")),
        text(place),
        text(child.ethnicity),
        text("VN"),
        text(&child.number),
    ];
    row.extend(of_parent(parent(child.mother)));
    row.extend(of_parent(parent(child.father)));
    row.extend([
        text(&format!("{}/{}-KS", child.number, child.year)),
        text(&registered_on),
    ]);
    row
}

fn of_parent(parent: Option<&Person>) -> [Option<Vec<u8>>; 6] {
    parent.map_or_else(Default::default, |parent| {
        [
            text(&parent.full_name()),
            text(&parent.year.to_string()),
            text(parent.ethnicity),
            text("VN"),
            text(&parent.address),
            text(&parent.number),
        ]
    })
}

fn marriage((husband, wife): (&Person, &Person)) -> Vec<Option<Vec<u8>>> {
    let since = husband.year.max(wife.year) + 19;
    let mut row = vec![
        text(wife.commune),
        text(&format!("{}-10-20", since.min(2025))),
    ];
    for spouse in [husband, wife] {
        row.extend([
            text(&spouse.full_name()),
            text(&spouse.born()),
            text(spouse.ethnicity),
            text("VN"),
            text(&spouse.address),
            text(&spouse.number),
        ]);
    }
    row
}
