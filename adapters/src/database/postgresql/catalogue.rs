//! What the catalogue of PostgreSQL says of columns, indexes, collations and the account.

use super::{Session, classify};
use crate::{
    database::{DatabaseError, TableColumn, covers},
    statement::Statement,
};

/// The columns of a table; none if there is no such table.
pub(super) async fn columns(
    session: &mut Session,
    table: &str,
) -> Result<Vec<TableColumn>, DatabaseError> {
    let asked = "SELECT attname::text, format_type(atttypid, atttypmod), \
                 EXISTS (SELECT 1 FROM pg_index WHERE indrelid = attrelid AND indisunique AND indpred IS NULL \
                    AND indnkeyatts = 1 AND indkey[0] = attnum), \
                 EXISTS (SELECT 1 FROM pg_index WHERE indrelid = attrelid AND indkey[0] = attnum) \
                 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
                 ORDER BY attnum";
    let query = sqlx::query_as(asked).bind(table);
    let found = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(found.into_iter().map(TableColumn::of_row).collect())
}

/// Whether no two rows of a table have the same values in these columns.
pub(super) async fn is_unique(
    session: &mut Session,
    table: &str,
    columns: &[String],
) -> Result<bool, DatabaseError> {
    let asked = "SELECT indexrelid::regclass::text, CASE WHEN attnotnull THEN attname::text END FROM pg_index \
                 CROSS JOIN unnest(indkey) AS number LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = number \
                 WHERE indisunique AND indimmediate AND indisvalid AND indpred IS NULL AND indrelid = to_regclass($1)";
    let query = sqlx::query_as(asked).bind(table);
    let found: Vec<(String, Option<String>)> = query
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(covers(found, columns))
}

/// Why numbers of a column do not rise in the order in which rows are inserted; none if they do.
pub(super) async fn fault_of_numbers(
    session: &mut Session,
    table: &str,
    column: &str,
) -> Result<Option<String>, DatabaseError> {
    // Numbers between, or from a cache, are given later; an unlogged table is empty after a crash.
    let asked = "SELECT attidentity = 'a' AND seqcache = 1 AND seqincrement = 1 AND seqmin >= 1 AND NOT seqcycle \
                    AND relpersistence = 'p', \
                 pg_is_in_recovery() OR EXISTS (SELECT 1 FROM pg_subscription_rel WHERE srrelid = attrelid) \
                 FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid \
                 JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum \
                    AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i') \
                 JOIN pg_sequence ON seqrelid = objid \
                 WHERE attrelid = to_regclass($1) AND attname = $2";
    let found: Option<(bool, bool)> = sqlx::query_as(asked)
        .bind(table)
        .bind(column)
        .fetch_optional(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(match found {
        Some((true, false)) => None,
        Some((_, true)) => Some(format!(
            "{table} is a copy that is filled by replication, which shows no transaction that is still open; read the \
             changes where they are made"
        )),
        Some((false, false)) | None => Some(format!(
            "{table}.{column} is no column of the kind GENERATED ALWAYS AS IDENTITY of a logged table, that counts from 1, \
             by 1, without CACHE and CYCLE"
        )),
    })
}

/// How many triggers of these names a table has that fire.
pub(super) async fn triggers(
    session: &mut Session,
    table: &str,
    names: &[String],
) -> Result<usize, DatabaseError> {
    let asked = "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = ANY($2) \
                 AND tgenabled IN ('O', 'A')";
    let found: i64 = sqlx::query_scalar(asked)
        .bind(table)
        .bind(names)
        .fetch_one(&mut session.connection)
        .await
        .map_err(classify)?;
    Ok(usize::try_from(found).unwrap_or(0))
}

/// Columns of a statement in which different letters are the same, by a collation or by the type citext.
pub(super) async fn confused_letters(
    session: &mut Session,
    statement: &Statement,
) -> Result<Vec<String>, DatabaseError> {
    // Whoever writes a collation into the SQL text has chosen it.
    if statement
        .words()
        .any(|word| word.eq_ignore_ascii_case("COLLATE"))
    {
        return Ok(Vec::new());
    }
    let words: Vec<String> = statement.words().map(str::to_lowercase).collect();
    let asked = "SELECT DISTINCT format('%I.%I', relname, attname) FROM pg_attribute \
                 JOIN pg_class ON pg_class.oid = attrelid JOIN pg_type ON pg_type.oid = atttypid \
                 LEFT JOIN pg_collation ON pg_collation.oid = attcollation \
                 WHERE attnum > 0 AND NOT attisdropped AND (typname = 'citext' OR NOT collisdeterministic) \
                 AND lower(relname) = ANY($1) AND lower(attname) = ANY($1)";
    let found: Vec<String> = sqlx::query_scalar(asked)
        .bind(words)
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    let fault = |column| {
        format!(
            "the column {column} takes different letters for the same, so that another person could be found; write \
             COLLATE \"C\" behind it where it is compared (citext: CAST({column} AS text) COLLATE \"C\")"
        )
    };
    Ok(found.into_iter().map(fault).collect())
}

/// What the account may do beyond reading, in words.
pub(super) async fn may_write(session: &mut Session) -> Result<Option<String>, DatabaseError> {
    sqlx::query_scalar(MAY_WRITE)
        .fetch_optional(&mut session.connection)
        .await
        .map_err(classify)
}

/// What the account may do beyond reading; at most one line.
const MAY_WRITE: &str = "
SELECT what FROM (
    SELECT 1 AS weight, 'is a superuser' AS what FROM pg_roles WHERE rolname = current_user AND rolsuper
    UNION ALL
    SELECT 2, 'may write ' || format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'f') AND nspname NOT IN ('pg_catalog', 'information_schema')
        AND (has_table_privilege(pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            OR has_any_column_privilege(pg_class.oid, 'INSERT, UPDATE'))
    UNION ALL
    SELECT 3, 'may use the sequence ' || format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE CASE relkind WHEN 'S' THEN has_sequence_privilege(pg_class.oid, 'USAGE, UPDATE') END
    UNION ALL
    SELECT 4, 'may create tables in the schema ' || quote_ident(nspname)
    FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\\_%' AND has_schema_privilege(oid, 'CREATE')
    UNION ALL
    SELECT 5, 'may create schemas in the database' WHERE has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 6, 'is a member of ' || quote_ident(rolname)
    FROM pg_roles
    WHERE rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_execute_server_program')
        AND pg_has_role(oid, 'MEMBER')
) AS found
ORDER BY weight, what
LIMIT 1";
