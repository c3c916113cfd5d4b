//! What SQLite's own tables say of columns, indexes and triggers (https://www.sqlite.org/pragma.html).

use sqlx::{AssertSqlSafe, Row};

use super::{Session, classify};
use crate::database::{DatabaseError, TableColumn, covers};

/// The columns of a table; none if there is no such table.
pub(super) async fn columns(
    session: &mut Session,
    table: &str,
) -> Result<Vec<TableColumn>, DatabaseError> {
    let asked = "SELECT t.name, t.type, \
                 (t.pk AND (SELECT count(*) FROM pragma_table_info(?1) WHERE pk) = 1) OR EXISTS ( \
                    SELECT 1 FROM pragma_index_list(?1) AS l WHERE l.\"unique\" AND NOT l.partial \
                    AND (SELECT group_concat(i.name) FROM pragma_index_info(l.name) AS i) = t.name), \
                 t.pk = 1 OR EXISTS (SELECT 1 FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i \
                    WHERE i.seqno = 0 AND i.name = t.name) \
                 FROM pragma_table_info(?1) AS t ORDER BY t.cid";
    let query = sqlx::query_as(asked).bind(table);
    let found = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(found.into_iter().map(TableColumn::of_row).collect())
}

/// How many triggers of these names a table has.
pub(super) async fn triggers(
    session: &mut Session,
    table: &str,
    names: &[String],
) -> Result<usize, DatabaseError> {
    let mut found = 0;
    for name in names {
        let asked = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
                     AND lower(tbl_name) = lower(?1) AND lower(name) = lower(?2))";
        let is_there: bool = sqlx::query_scalar(asked)
            .bind(table)
            .bind(name)
            .fetch_one(&mut session.connection)
            .await
            .map_err(classify)?;
        found += usize::from(is_there);
    }
    Ok(found)
}

/// Why numbers of a column do not rise in the order in which rows are inserted; none if they do.
pub(super) async fn fault_of_numbers(
    session: &mut Session,
    table: &str,
    column: &str,
) -> Result<Option<String>, DatabaseError> {
    let asked = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE pk AND lower(name) = lower(?2) \
                 AND lower(type) = 'integer')";
    let is_key: bool = sqlx::query_scalar(asked)
        .bind(table)
        .bind(column)
        .fetch_one(&mut session.connection)
        .await
        .map_err(classify)?;
    let rises = is_key && never_given_again(session, table).await?;
    let fault = || format!("{table}.{column} is no INTEGER PRIMARY KEY AUTOINCREMENT");
    Ok((!rises).then(fault))
}

/// Whether no two rows of a table have the same values in these columns.
pub(super) async fn is_unique(
    session: &mut Session,
    table: &str,
    columns: &[String],
) -> Result<bool, DatabaseError> {
    let asked = "SELECT i.name, (SELECT t.name FROM pragma_table_info(?1) AS t WHERE t.name = c.name AND t.\"notnull\") \
                 FROM pragma_index_list(?1) AS i JOIN pragma_index_info(i.name) AS c \
                 WHERE i.\"unique\" AND NOT i.partial \
                 UNION ALL SELECT 'rowid', name FROM pragma_table_info(?1) WHERE pk AND lower(type) = 'integer' \
                 AND (SELECT count(*) FROM pragma_table_info(?1) WHERE pk) = 1";
    let query = sqlx::query_as(asked).bind(table);
    let found: Vec<(String, Option<String>)> = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(covers(found, columns))
}

/// Whether a table is AUTOINCREMENT: if not, the number of a last row that was deleted is given again. Its program for a new
/// row then takes the largest number so far from a register (https://www.sqlite.org/opcode.html#NewRowid).
async fn never_given_again(session: &mut Session, table: &str) -> Result<bool, DatabaseError> {
    let asked = AssertSqlSafe(format!("EXPLAIN INSERT INTO {table} DEFAULT VALUES"));
    let program = sqlx::query(asked)
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    for instruction in program {
        let name: String = instruction.try_get("opcode").map_err(classify)?;
        if name == "NewRowid" {
            let largest: i64 = instruction.try_get("p3").map_err(classify)?;
            return Ok(largest > 0);
        }
    }
    Ok(false)
}
