//! What the catalogue of MariaDB says of columns, indexes, tables and the account.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::{Session, classify};
use crate::{
    database::{DatabaseError, TableColumn, covers},
    statement::Statement,
};

/// The character set of the text column that a list of values is looked for in; none if it is no text.
pub(super) async fn character_set(
    session: &mut Session,
    statement: &Statement,
    column: &str,
) -> Result<Result<Option<String>, String>, DatabaseError> {
    let name = column.rsplit('.').next().unwrap_or(column);
    let name = name.trim().trim_matches(['`', '"']);
    if statement.gives_the_name(name) {
        return Ok(Err(format!(
            "the SQL text gives the name {name} to something else than the column, so that its character set is not \
             certain; choose another name behind AS"
        )));
    }
    // Compared by bytes, since the names are those that stand in the SQL text.
    let words: BTreeSet<_> = statement.words().collect();
    let places = vec!["?"; words.len()].join(", ");
    let asked = format!(
        "SELECT DISTINCT COALESCE(character_set_name, '') FROM information_schema.columns \
         WHERE column_name = ? AND (table_schema = DATABASE() OR table_schema IN ({places})) \
         AND table_name IN ({places})"
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(asked)).bind(name);
    for word in words.iter().chain(&words) {
        query = query.bind(*word);
    }
    let found: Vec<Vec<u8>> = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(match found.as_slice() {
        [one] if one.is_empty() => Ok(None),
        [one] if WIDE.contains(&&**one) => Err(format!(
            "the column {name} is in {}, whose bytes no declared encoding has; read a view that converts it",
            String::from_utf8_lossy(one)
        )),
        [one] => Ok(Some(String::from_utf8_lossy(one).into_owned())),
        [] => Err(format!("no table of the SQL text has a column {name}")),
        _ => Err(format!(
            "tables of the SQL text have columns {name} in different character sets, which cannot be told apart; \
             use a view that names one of them otherwise"
        )),
    })
}

/// Why numbers of a column do not rise in the order in which rows are inserted; none if they do.
pub(super) async fn fault_of_numbers(
    session: &mut Session,
    table: &str,
    column: &str,
) -> Result<Option<String>, DatabaseError> {
    let asked = "SELECT CAST(EXTRA AS BINARY) = 'auto_increment', CAST(ENGINE AS BINARY) = 'InnoDB', \
                 @@auto_increment_increment <> 1 OR EXISTS (SELECT 1 FROM information_schema.global_variables \
                    WHERE variable_name = 'WSREP_ON' AND variable_value = 'ON'), \
                 @@gtid_slave_pos <> '' OR EXISTS (SELECT 1 FROM information_schema.global_status \
                    WHERE variable_name = 'SLAVES_RUNNING' AND variable_value <> '0'), \
                 EXISTS (SELECT 1 FROM information_schema.statistics AS s WHERE s.table_schema = columns.table_schema \
                    AND s.table_name = columns.table_name AND s.non_unique = 0 AND s.column_name <> columns.column_name) \
                 FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
                 WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND column_name = ?";
    let (schema, name) = match table.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, table),
    };
    let found: Option<(bool, bool, bool, bool, bool)> = sqlx::query_as(asked)
        .bind(schema)
        .bind(name)
        .bind(column)
        .fetch_optional(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(match found {
        Some((true, true, false, false, false)) => None,
        Some((true, true, true, ..)) => Some(
            "the server is one of a cluster (auto_increment_increment, Galera), each of which gives numbers of its own; \
             changes cannot be told in their order there"
                .to_owned(),
        ),
        Some((true, true, _, true, _)) => Some(
            "the server is a replica (or was one: gtid_slave_pos), which shows no transaction that is still open; read the \
             changes where they are made"
                .to_owned(),
        ),
        Some((true, true, .., true)) => Some(format!(
            "the table {table} has another unique key, so that a number may be taken long before its row is there"
        )),
        Some((true, false, ..)) => Some(format!(
            "the table {table} is not in InnoDB, so that a change is seen before it is done; let its owner change it \
             (ENGINE = InnoDB)"
        )),
        _ => Some(format!("{table}.{column} is no AUTO_INCREMENT column")),
    })
}

/// Character sets of two or four bytes a letter.
const WIDE: [&[u8]; 4] = [b"ucs2", b"utf16", b"utf16le", b"utf32"];

/// Tables of a statement whose storage engine keeps what was written when the transaction is taken back.
pub(super) async fn tables_that_cannot_roll_back(
    session: &mut Session,
    statement: &Statement,
) -> Result<Vec<String>, DatabaseError> {
    let words: BTreeSet<_> = statement.words().collect();
    let places = vec!["?"; words.len()].join(", ");
    let asked = format!(
        "SELECT CAST(CONCAT('the table ', t.table_name, ' is kept by ', t.engine, ', which cannot take back a \
         transaction; convert it: ALTER TABLE ', t.table_name, ' ENGINE = InnoDB') AS BINARY) \
         FROM information_schema.tables AS t JOIN information_schema.engines AS e ON e.engine = t.engine \
         WHERE e.transactions <> 'YES' AND t.table_name IN ({places}) \
         AND (t.table_schema = DATABASE() OR t.table_schema IN ({places}))"
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(asked));
    for word in words.iter().chain(&words) {
        query = query.bind(*word);
    }
    let found: Vec<Vec<u8>> = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    let text = |fault: &Vec<u8>| String::from_utf8_lossy(fault).into_owned();
    Ok(found.iter().map(text).collect())
}

/// The columns of a table; none if there is no such table.
pub(super) async fn columns(
    session: &mut Session,
    table: &str,
) -> Result<Vec<TableColumn>, DatabaseError> {
    let asked = "SELECT CAST(c.column_name AS BINARY), CAST(c.column_type AS BINARY), \
                 EXISTS (SELECT 1 FROM information_schema.statistics AS s WHERE s.table_schema = c.table_schema \
                    AND s.table_name = c.table_name AND s.non_unique = 0 GROUP BY s.index_name \
                    HAVING GROUP_CONCAT(s.column_name) = c.column_name AND MAX(s.sub_part) IS NULL), \
                 c.column_key <> '' FROM information_schema.columns AS c \
                 WHERE c.table_schema = DATABASE() AND c.table_name = ? ORDER BY c.ordinal_position";
    let query = sqlx::query_as(asked).bind(table);
    let found: Vec<(Vec<u8>, Vec<u8>, bool, bool)> = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let row = |(name, type_name, unique, indexed)| (text(name), text(type_name), unique, indexed);
    Ok(found
        .into_iter()
        .map(row)
        .map(TableColumn::of_row)
        .collect())
}

/// Whether no two rows of a table have the same values in these columns.
pub(super) async fn is_unique(
    session: &mut Session,
    table: &str,
    columns: &[String],
) -> Result<bool, DatabaseError> {
    let asked = "SELECT CAST(index_name AS BINARY), CAST(IF(sub_part IS NULL AND nullable <> 'YES', column_name, NULL) AS BINARY) \
                 FROM information_schema.statistics \
                 WHERE non_unique = 0 AND table_schema = DATABASE() AND table_name = ?";
    let query = sqlx::query_as(asked).bind(table);
    let found: Vec<(Vec<u8>, Option<Vec<u8>>)> = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let found = found
        .into_iter()
        .map(|(index, column)| (text(index), column.map(text)));
    Ok(covers(found.collect(), columns))
}

/// What the account may do beyond reading, in words.
pub(super) async fn may_write(session: &mut Session) -> Result<Option<String>, DatabaseError> {
    let grants: Vec<Vec<u8>> = sqlx::query_scalar("SHOW GRANTS")
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    let grants = grants.iter().map(|grant| String::from_utf8_lossy(grant));
    Ok(grants.filter_map(|grant| beyond_reading(&grant)).next())
}

/// A line of SHOW GRANTS that allows more than to read.
fn beyond_reading(grant: &str) -> Option<String> {
    const READING: [&str; 6] = [
        "USAGE",
        "SELECT",
        "SHOW VIEW",
        "SHOW DATABASES",
        "PROCESS",
        "SLAVE MONITOR",
    ];
    // A role is granted without ON; what it allows has lines of its own while it is in force.
    let (privileges, place) = grant.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let place = place.split(" TO ").next().unwrap_or(place);
    // SELECT (a, b): a comma within parentheses is none between privileges.
    let mut depth = 0;
    let separated = privileges.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    let mut names =
        separated.map(|privilege| privilege.split('(').next().unwrap_or_default().trim());
    let more = names.find(|name| !READING.contains(name))?;
    Some(format!("has the privilege {more} on {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_that_allows_more_than_to_read_is_named() {
        for reading in [
            "GRANT USAGE ON *.* TO `reader`@`%` IDENTIFIED BY PASSWORD '*CAFE'",
            "GRANT SELECT, SHOW VIEW ON `hotich`.* TO `reader`@`%`",
            "GRANT SELECT (`SO`, `HO_TEN`) ON `hotich`.`CONG_DAN` TO `reader`@`%`",
            "GRANT `registrar` TO `reader`@`%`",
            "SET DEFAULT ROLE NONE FOR `reader`@`%`",
        ] {
            assert_eq!(beyond_reading(reading), None, "{reading}");
        }
        for (writing, expected) in [
            (
                "GRANT ALL PRIVILEGES ON *.* TO `root`@`%`",
                "ALL PRIVILEGES on *.*",
            ),
            (
                "GRANT SELECT, INSERT ON `hotich`.* TO `a`@`%`",
                "INSERT on `hotich`.*",
            ),
            (
                "GRANT SELECT (`A`, `B`), UPDATE (`A`) ON `h`.`T` TO `a`@`%`",
                "UPDATE on `h`.`T`",
            ),
            ("GRANT FILE ON *.* TO `a`@`%`", "FILE on *.*"),
        ] {
            assert_eq!(
                beyond_reading(writing),
                Some(format!("has the privilege {expected}"))
            );
        }
    }
}
