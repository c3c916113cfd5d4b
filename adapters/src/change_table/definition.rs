//! The SQL that makes the table with a row for each change, and the triggers that fill it.

use crate::{configuration::ChangeTable, engine::Engine};

/// The SQL that makes the table of a method's changes and the triggers that fill it; its owner runs it.
#[must_use]
pub(crate) fn definition(engine: Engine, changes: &ChangeTable) -> Option<String> {
    let watched = changes.watched.as_ref()?;
    let text = match engine {
        Engine::Sqlite => IN_SQLITE,
        Engine::Postgresql => IN_POSTGRESQL,
        Engine::MariaDb => IN_MARIADB,
    };
    let quoted = |name: &str| engine.quoted(name);
    let list = |prefix: &str| {
        let columns = watched.key.iter();
        let columns = columns.map(|column| format!("{prefix}{}", quoted(column)));
        columns.collect::<Vec<_>>().join(", ")
    };
    // By their bytes: for a collation they may be the same.
    let same = watched.key.iter().map(|column| {
        let column = quoted(column);
        match engine {
            Engine::Sqlite => format!("OLD.{column} IS NEW.{column} COLLATE BINARY"),
            Engine::Postgresql => format!(
                "OLD.{column}::text COLLATE \"C\" IS NOT DISTINCT FROM NEW.{column}::text COLLATE \"C\""
            ),
            Engine::MariaDb => {
                format!("CAST(OLD.{column} AS BINARY) <=> CAST(NEW.{column} AS BINARY)")
            }
        }
    });
    let (schema, name) = match changes.table.rsplit_once('.') {
        Some(parts) => parts,
        None => ("public", changes.table.as_str()),
    };
    let own = |suffix: &str| quoted(&format!("{name}_{suffix}"));
    let values = [
        ("{table}", engine.quoted_table(&changes.table)),
        ("{keep}", format!("{}.{}", quoted(schema), own("keep"))),
        ("{schema}", quoted(schema)),
        ("{name}", quoted(name)),
        ("{insert}", own("insert")),
        ("{update}", own("update")),
        ("{delete}", own("delete")),
        ("{rows}", own("rows")),
        ("{all}", own("all")),
        ("{number}", quoted(&changes.number)),
        ("{of}", engine.quoted_table(&watched.table)),
        ("{key}", list("")),
        ("{old}", list("OLD.")),
        ("{new}", list("NEW.")),
        ("{same}", same.collect::<Vec<_>>().join(" AND ")),
    ];
    let filled = values.iter().fold(text.to_owned(), |text, (place, value)| {
        text.replace(place, value)
    });
    Some(filled)
}

/// The triggers that it makes.
pub(crate) fn triggers(engine: Engine, changes: &ChangeTable) -> Vec<String> {
    let name = changes.table.rsplit('.').next().unwrap_or_default();
    let suffixes: &[&str] = match engine {
        Engine::Postgresql => &["rows", "all"],
        Engine::Sqlite | Engine::MariaDb => &["insert", "update", "delete"],
    };
    let triggers = suffixes.iter().map(|suffix| format!("{name}_{suffix}"));
    triggers.collect()
}

const IN_SQLITE: &str = "\
-- What changes in {of}: I inserted, U updated, D deleted. INSERT OR REPLACE tells what it removes only with
-- PRAGMA recursive_triggers = ON. Old rows may be deleted at any time, but for the newest one.
CREATE TABLE {table} (
    {number} INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL,
    changed_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    {key}
);
CREATE TRIGGER {insert} AFTER INSERT ON {of} BEGIN
    INSERT INTO {name} (operation, {key}) VALUES ('I', {new});
END;
CREATE TRIGGER {update} AFTER UPDATE ON {of} BEGIN
    INSERT INTO {name} (operation, {key}) SELECT 'D', {old} WHERE NOT ({same});
    INSERT INTO {name} (operation, {key}) VALUES (CASE WHEN {same} THEN 'U' ELSE 'I' END, {new});
END;
CREATE TRIGGER {delete} AFTER DELETE ON {of} BEGIN
    INSERT INTO {name} (operation, {key}) VALUES ('D', {old});
END;
";

const IN_POSTGRESQL: &str = "\
-- What changes in {of}: I inserted, U updated, D deleted, T all removed by TRUNCATE. The account of the adapter needs
-- GRANT SELECT ON {schema}.{name}. For a session that has written {of}, lastval() is the number of the change: a program that
-- calls it must use RETURNING or currval() instead. Rows of tables that inherit from {of}, and what is done to a single partition (TRUNCATE, DETACH), are not
-- told. Old rows may be deleted at any time, but for the newest one.
BEGIN;
CREATE TABLE {schema}.{name} AS SELECT {key} FROM {of} WITH NO DATA;
ALTER TABLE {schema}.{name}
    ADD COLUMN {number} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN operation text NOT NULL,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE FUNCTION {keep}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {schema}.{name} (operation) VALUES ('T');
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO {schema}.{name} (operation, {key}) VALUES ('I', {new});
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {schema}.{name} (operation, {key}) VALUES ('D', {old});
    ELSIF {same} THEN
        INSERT INTO {schema}.{name} (operation, {key}) VALUES ('U', {new});
    ELSE
        INSERT INTO {schema}.{name} (operation, {key}) VALUES ('D', {old});
        INSERT INTO {schema}.{name} (operation, {key}) VALUES ('I', {new});
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION {keep}() FROM PUBLIC;
CREATE TRIGGER {rows} AFTER INSERT OR UPDATE OR DELETE ON {of}
    FOR EACH ROW EXECUTE FUNCTION {keep}();
CREATE TRIGGER {all} AFTER TRUNCATE ON {of}
    FOR EACH STATEMENT EXECUTE FUNCTION {keep}();
ALTER TABLE {of} ENABLE ALWAYS TRIGGER {rows}, ENABLE ALWAYS TRIGGER {all};
COMMIT;
";

const IN_MARIADB: &str = "\
-- What changes in {of}: I inserted, U updated, D deleted. The account of the adapter needs GRANT SELECT ON {table}.
-- SHOW TRIGGERS LIKE '{of}' must list three when this is done. TRUNCATE and
-- rows that a foreign key removes (ON DELETE CASCADE) fire no trigger in MariaDB and are not told. Old rows may be deleted
-- at any time, but for the newest one.
CREATE TABLE {table} ENGINE = InnoDB SELECT {key} FROM {of} WHERE FALSE;
ALTER TABLE {table}
    ADD COLUMN {number} BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    ADD COLUMN operation CHAR(1) CHARACTER SET ascii NOT NULL,
    ADD COLUMN changed_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6);
DELIMITER //
CREATE TRIGGER {insert} AFTER INSERT ON {of} FOR EACH ROW
    INSERT INTO {table} (operation, {key}) VALUES ('I', {new})//
CREATE TRIGGER {update} AFTER UPDATE ON {of} FOR EACH ROW
BEGIN
    IF {same} THEN
        INSERT INTO {table} (operation, {key}) VALUES ('U', {new});
    ELSE
        INSERT INTO {table} (operation, {key}) VALUES ('D', {old});
        INSERT INTO {table} (operation, {key}) VALUES ('I', {new});
    END IF;
END//
CREATE TRIGGER {delete} AFTER DELETE ON {of} FOR EACH ROW
    INSERT INTO {table} (operation, {key}) VALUES ('D', {old})//
DELIMITER ;
";
