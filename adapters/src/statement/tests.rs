//! Parameters become what each engine binds; what is not one reading statement is refused.

use super::*;
use crate::engine::Engine::{MariaDb, Postgresql, Sqlite};

fn plain(name: &str) -> Field<'_> {
    Field {
        name,
        ways: 1,
        needs_all: false,
        is_text: false,
        is_bytes: false,
        is_key: false,
    }
}

fn text(name: &str, is_legacy: bool) -> Field<'_> {
    Field {
        name,
        ways: 4,
        needs_all: is_legacy,
        is_text: true,
        is_bytes: is_legacy,
        is_key: false,
    }
}

#[test]
fn a_text_alone_in_a_list_is_every_spelling_of_it() {
    let sql = "SELECT a FROM t WHERE (:b IS NULL OR b IN ( :b )) AND c = :c AND d IN (:d, 1) AND e IN(:e)";
    let fields = [plain("c"), text("b", true), plain("e"), text("d", false)];
    let statement = Statement::parse(sql, &fields, Sqlite).unwrap();
    assert_eq!(
        statement.for_sqlite(),
        "SELECT a FROM t WHERE (CAST(?2 AS TEXT) IS NULL OR b IN ( CAST(?2 AS TEXT), \
         CAST(?2 AS BLOB), CAST(?3 AS TEXT), CAST(?3 AS BLOB), CAST(?4 AS TEXT), \
         CAST(?4 AS BLOB), CAST(?5 AS TEXT), CAST(?5 AS BLOB) )) AND c = ?1 AND d IN (?7, 1) \
         AND e IN(?6)"
    );
    assert_eq!(statement.value_count(), 7);
    let cells = vec![Cell::Integer(1), Cell::Integer(2)];
    let filled = [1, 2, 2, 2].map(Cell::Integer);
    assert_eq!(statement.widths[1].fill(cells.clone()), filled);
    assert_eq!(statement.widths[0].fill(cells), [Cell::Integer(1)]);
    let fault = |sql| Statement::parse(sql, &[text("b", true)], Sqlite).unwrap_err();
    let one = StatementFault::OneSpelling("b".to_owned());
    assert_eq!(fault("SELECT a FROM t WHERE b = :b"), one);
    assert_eq!(fault("SELECT a FROM t WHERE b IN (:b, 'x')"), one);
    assert_eq!(fault("SELECT a FROM t WHERE :b IS b"), one);
    assert_eq!(
        fault("SELECT a FROM t WHERE :b IS NOT DISTINCT FROM b"),
        one
    );
}

#[test]
fn parameters_become_numbers_of_their_request_fields() {
    let sql = "SELECT a FROM t WHERE b = :second AND (:first IS NULL OR c = :first);\n -- end";
    let statement = Statement::parse(sql, &[plain("first"), plain("second")], Sqlite).unwrap();
    assert_eq!(
        statement.for_sqlite(),
        "SELECT a FROM t WHERE b = ?2 AND (?1 IS NULL OR c = ?1)\n -- end"
    );
}

#[test]
fn colons_in_texts_names_and_comments_are_no_parameters() {
    let sql = "/* :a */ SELECT ':b''?' AS \":c\", [x:d], `:e`, t$1 -- :f ?\nFROM t";
    assert_eq!(
        Statement::parse(sql, &[], Sqlite).unwrap().for_sqlite(),
        sql
    );
}

#[test]
fn what_is_not_one_reading_statement_is_refused_by_name() {
    let fault = |sql: &str| Statement::parse(sql, &[], Sqlite).unwrap_err();
    assert_eq!(fault(" -- nothing\n"), StatementFault::Empty);
    assert_eq!(
        fault("delete from t"),
        StatementFault::NotReading("DELETE".to_owned())
    );
    assert_eq!(
        fault("PRAGMA query_only=0"),
        StatementFault::NotReading("PRAGMA".to_owned())
    );
    assert_eq!(
        fault("(SELECT 1)"),
        StatementFault::NotReading("(".to_owned())
    );
    assert_eq!(fault("SELECT 1; DELETE FROM t"), StatementFault::Several);
    assert_eq!(fault("SELECT 1;;"), StatementFault::Several);
    assert_eq!(fault("SELECT 'a"), StatementFault::Unclosed("a text (')"));
    assert_eq!(
        fault("SELECT 1 /* a"),
        StatementFault::Unclosed("a comment (/*)")
    );
    assert_eq!(fault("SELECT ?"), StatementFault::Unnamed('?'));
    assert_eq!(fault("SELECT $a"), StatementFault::Unnamed('$'));
    assert_eq!(fault("SELECT :a"), StatementFault::NoField("a".to_owned()));
    assert_eq!(
        Statement::parse("SELECT 1", &[plain("a")], Sqlite).unwrap_err(),
        StatementFault::Unused("a".to_owned())
    );
}

#[test]
fn the_key_of_a_call_need_be_no_parameter() {
    let key = Field {
        is_key: true,
        ..plain("key")
    };
    let parsed = |key| Statement::parse("SELECT :b", &[key, plain("b")], Postgresql);
    assert_eq!(parsed(key).unwrap().value_count(), 2);
    let fault = parsed(plain("key")).unwrap_err();
    assert_eq!(fault, StatementFault::Unused("key".to_owned()));
}

#[test]
fn postgresql_has_numbers_casts_and_operators_of_its_own() {
    let sql =
        "SELECT a::text, b[1], c @> '{}', d ? 'x' FROM t WHERE e IN (:e) AND f = :f AND g[:f] = 1";
    let statement = Statement::parse(sql, &[plain("f"), text("e", true)], Postgresql).unwrap();
    assert_eq!(
        statement.for_postgresql().sql,
        "SELECT a::text, b[1], c @> '{}', d ? 'x' FROM t WHERE e IN ($1, $2, $3, $4) AND f = $5 AND g[$5] = 1"
    );
    let optional = "SELECT a FROM t WHERE :b IS NULL OR b IN (:b) OR :f IS NOT NULL AND f = :f";
    let fields = [text("b", true), plain("f")];
    let bound = Statement::parse(optional, &fields, Postgresql)
        .unwrap()
        .for_postgresql();
    assert_eq!(
        bound.sql,
        "SELECT a FROM t WHERE CAST($1 AS boolean) IS NULL OR b IN ($2, $3, $4, $5) OR CAST($6 AS boolean) IS NOT NULL \
         AND f = $7"
    );
    let presence = |value| Bind {
        value,
        form: Form::Presence,
    };
    assert_eq!((bound.binds[0], bound.binds[5]), (presence(0), presence(4)));
    let fault = Statement::parse("SELECT $1", &[], Postgresql).unwrap_err();
    assert_eq!(fault, StatementFault::Unnamed('$'));
}

#[test]
fn mariadb_is_asked_for_the_bytes_of_a_text_and_in_its_own_character_set() {
    let sql =
        "SELECT a FROM t AS u WHERE (:b IS NULL OR u . `b` IN ( :b )) AND c = :c AND d IN (:d)";
    let fields = [plain("c"), text("b", true), text("d", false)];
    let statement = Statement::parse(sql, &fields, MariaDb).unwrap();
    let fault = |sql: &str| Statement::parse(sql, &[text("b", false)], MariaDb).unwrap_err();
    let bound = statement.for_mariadb(|column| (column == "d").then(|| "latin1".to_owned()));
    assert_eq!(
        bound.sql,
        "SELECT a FROM t AS u WHERE (? IS NULL OR (u . `b` IN ( ?, ?, ?, ? ) AND CAST(u . `b` AS BINARY) IN (?, ?, ?, ?))) \
         AND c = ? AND (d IN (CONVERT(? USING latin1), CONVERT(? USING latin1), CONVERT(? USING latin1), \
         CONVERT(? USING latin1)) AND CAST(d AS BINARY) IN (?, ?, ?, ?))"
    );
    let values: Vec<_> = bound
        .binds
        .iter()
        .map(|bind| (bind.value, bind.form == Form::Bytes))
        .collect();
    let both = |values: Range<usize>| values.clone().chain(values).map(|value| (value, true));
    let expected = [(1, true)]
        .into_iter()
        .chain(both(1..5))
        .chain([(0, false)])
        .chain(both(5..9));
    assert_eq!(values, expected.collect::<Vec<_>>());
    assert_eq!(
        statement.columns_with_lists().collect::<Vec<_>>(),
        ["u . `b`", "d"]
    );

    let collation = StatementFault::Collation("b".to_owned());
    assert_eq!(fault("SELECT a FROM t WHERE b = :b"), collation);
    assert_eq!(fault("SELECT a FROM t WHERE b LIKE :b"), collation);
    let no_column = StatementFault::NoColumn("b".to_owned());
    for expression in [
        "b NOT IN (:b)",
        "TRIM(b) IN (:b)",
        "a || b IN (:b)",
        "1 + b IN (:b)",
    ] {
        assert_eq!(
            fault(&format!("SELECT a FROM t WHERE {expression}")),
            no_column
        );
    }
    for by_bytes in [
        "b = BINARY :b",
        "b = CAST(:b AS BINARY)",
        "NOT (t.b IN (:b))",
    ] {
        let sql = format!("SELECT a FROM t WHERE {by_bytes}");
        assert!(
            Statement::parse(&sql, &[text("b", false)], MariaDb).is_ok(),
            "{sql}"
        );
    }
}

#[test]
fn mariadb_is_given_numbers_to_store_and_digits_to_compare() {
    let sql =
        "UPDATE t SET a = :a, b = :b WHERE a = :a AND c IN (SELECT d FROM u WHERE e > :a) LIMIT :a";
    let fields = [plain("a"), text("b", false)];
    let texts = [(sql, Purpose::Writing)];
    let statement = Statement::parse_together(&texts, &fields, MariaDb)
        .unwrap()
        .remove(0);
    let forms = statement.for_mariadb(|_| None).binds;
    let forms: Vec<_> = forms.iter().map(|bind| bind.form).collect();
    assert_eq!(
        forms,
        [
            Form::Own,
            Form::Bytes,
            Form::Digits,
            Form::Digits,
            Form::Own
        ]
    );
}
