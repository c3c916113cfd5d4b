//! Every fault of a configuration is named with its line, its place and what to do.

use std::time::Duration;

use super::*;
use crate::field_type::Cell;

const EXAMPLE: &str = include_str!("../example.toml");

fn parse(text: &str) -> Result<Configuration, Vec<Problem>> {
    Configuration::parse(Path::new("/etc/adapter/population.toml"), text)
}

/// The problems of the example after one change, as they are shown.
fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(from), "{from}");
    parse(&EXAMPLE.replacen(from, to, 1))
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn assert_problem(from: &str, to: &str, expected: &str) {
    let found = problems(from, to);
    assert!(
        found.iter().any(|problem| problem.contains(expected)),
        "{found:#?}"
    );
}

#[test]
fn the_example_is_read_with_its_defaults() {
    let configuration = parse(EXAMPLE).unwrap();
    assert_eq!(
        configuration.service.to_string(),
        "vn.population.v1.Population"
    );
    assert_eq!(
        configuration.listen,
        Listen::Tcp(([127, 0, 0, 1], 0).into())
    );
    assert_eq!(
        configuration.database.source.to_string(),
        "/etc/adapter/population.db"
    );
    assert_eq!(configuration.limits.request_bytes, 1024 * 1024);
    assert_eq!(configuration.limits.reply_bytes, 16 * 1024 * 1024);
    assert_eq!(
        configuration.lock_path(),
        Path::new("/etc/adapter/population.toml.lock")
    );
    let [find, list] = configuration.methods.as_slice() else {
        panic!()
    };
    assert_eq!(
        (find.kind, find.when_none),
        (MethodKind::Unary, WhenNone::NotFound)
    );
    assert_eq!(find.subjects, ["number"]);
    assert!(find.request[0].required);
    assert_eq!(find.sample, Some(vec![Cell::Text("001087123456".into())]));
    assert_eq!(list.timeout, Duration::from_secs(30));
    assert!(!list.request[1].required);
    assert_eq!(list.when_none, WhenNone::Empty);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let found = problems("connections = 4", "conections = 4");
    let line = EXAMPLE
        .lines()
        .position(|line| line.starts_with("connections"));
    let expected = format!(
        "line {}, [database]: unknown field `conections`",
        line.unwrap() + 1
    );
    assert!(found[0].starts_with(&expected), "{found:?}");
    let found = problems("timeout = \"30s\"", "timout = \"30s\"");
    assert!(
        found[0].contains("method ListByUnit: unknown field `timout`"),
        "{found:?}"
    );
}

#[test]
fn a_type_that_does_not_exist_is_named_with_the_ones_that_do() {
    assert_problem(
        "type = \"date\"",
        "type = \"day\"",
        "unknown variant `day`, expected one of",
    );
}

#[test]
fn a_missing_key_is_named_with_its_method() {
    assert_problem(
        "kind = \"unary\"",
        "",
        "method FindPerson: missing field `kind`",
    );
}

#[test]
fn only_this_machine_can_be_listened_on_in_plaintext() {
    let expected = "[listen]: 0.0.0.0:50051 can be reached from other machines";
    assert_problem("127.0.0.1:0", "0.0.0.0:50051", expected);
    assert_problem(
        "127.0.0.1:0",
        "localhost",
        "[listen]: \"localhost\" is no address",
    );
    let both = "address = \"127.0.0.1:0\"\nunix = \"adapter.sock\"";
    assert_problem(
        "address = \"127.0.0.1:0\"",
        both,
        "give either `address`, with `tls` if it is for other machines, or `unix`",
    );
    assert_problem(
        "address = \"127.0.0.1:0\"",
        "unix = \"adapter.sock\"\ntls = { name = \"h\", certificate = \"c\", key = \"k\", callers = \"f\" }",
        "give either `address`, with `tls`",
    );
}

#[test]
fn a_parameter_and_its_request_field_belong_together() {
    let expected = "method FindPerson: the SQL parameter :numbr has no request field";
    assert_problem("= :number", "= :numbr", expected);
    let expected = "method FindPerson: the request field \"number\" is not used in the SQL text";
    assert_problem("= :number", "= '1'", expected);
}

#[test]
fn names_and_values_outside_their_rules_are_refused_by_place() {
    let cases = [
        (
            "vn.population.v1.Population",
            "Population",
            "[service] name: \"Population\" is no gRPC",
        ),
        (
            "name = \"FindPerson\"",
            "name = \"find\"",
            "method find: a method name begins",
        ),
        (
            "name = \"full_name\"",
            "name = \"fullName\"",
            "reply field fullName: a field name",
        ),
        (
            "name = \"full_name\"",
            "name = \"number\"",
            "reply field number: the name is used twice",
        ),
        (
            "name = \"ListByUnit\"",
            "name = \"FindPerson\"",
            "method FindPerson: the name is used",
        ),
        (
            "subject = \"number\"",
            "subject = \"name\"",
            "subject \"name\" is no field of the request or the reply",
        ),
        (
            "subject = \"number\"",
            "subject = [\"number\", \"alive\"]",
            "subject \"alive\" identifies nobody",
        ),
        (
            "timeout = \"30s\"",
            "timeout = \"30 s\"",
            "timeout: \"30 s\" is no allowed time",
        ),
        (
            "timeout = \"30s\"",
            "timeout = \"0s\"",
            "timeout: \"0s\" is no allowed time",
        ),
        (
            "max_rows = 1000",
            "max_rows = 0",
            "max_rows: 0 is not allowed",
        ),
        (
            "connections = 4",
            "connections = 65",
            "connections: 65 is not allowed; write 1 to 64",
        ),
        (
            "kind = \"unary\"",
            "kind = \"unary\"\nwhen_none = \"empty\"",
            "has no empty answer",
        ),
        (
            "sample = { number",
            "sample = { nr",
            "sample number: the field is required",
        ),
        (
            "{ number = \"001087123456\" }",
            "{ number = 1 }",
            "sample number: write UTF-8 text",
        ),
        (
            "doc = \"One person",
            "doc = \"@data-subject",
            "is written by `subject = \"FIELD\"`",
        ),
    ];
    for (from, to, expected) in cases {
        assert_problem(from, to, expected);
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_error() {
    let text = EXAMPLE
        .replace("127.0.0.1:0", "10.0.0.1:1")
        .replace("30s", "soon");
    let problems = parse(&text).unwrap_err();
    assert_eq!(problems.len(), 2);
    let error = ConfigurationError::Invalid {
        path: "population.toml".into(),
        problems,
    };
    assert!(
        error
            .to_string()
            .starts_with("population.toml cannot be used:\n  line 9, [listen]: ")
    );
}

#[test]
fn a_database_is_one_and_is_reached_safely() {
    let sqlite = "sqlite = \"population.db\" ";
    let server = |keys: &str| format!("postgresql = {{ database = \"d\", user = \"u\"{keys} }}\n#");
    for (keys, expected) in [
        ("", "give either `socket` or `host`"),
        (
            ", socket = \"/s\", host = \"h\"",
            "give either `socket` or `host`",
        ),
        (
            ", host = \"db.example.vn\"",
            "db.example.vn is another machine, and records would travel in plaintext",
        ),
        (", host = \"10.0.0.1\"", "10.0.0.1 is another machine"),
        (
            ", socket = \"/s\", ca = \"c\"",
            "there is no TLS on a Unix socket",
        ),
        (
            ", socket = \"/s\", password = \"x\"",
            "unknown field `password`",
        ),
        (
            ", socket = \"/s\", password_file = \"f\", password_variable = \"V\"",
            "give either `password_file` or `password_variable`",
        ),
    ] {
        assert_problem(sqlite, &server(keys), expected);
    }
    assert_problem(
        sqlite,
        "#",
        "give one of `sqlite`, `csv`, `postgresql` and `mariadb`",
    );
    let both = format!("sqlite = \"x.db\"\n{}", server(", socket = \"/s\""));
    assert_problem(
        sqlite,
        &both,
        "give one of `sqlite`, `csv`, `postgresql` and `mariadb`",
    );
    let expected = "memory_bytes is for SQLite, which works in this program; remove it";
    assert_problem(sqlite, &server(", socket = \"/s\""), expected);

    let text = EXAMPLE.replacen("memory_bytes = 134217728", "#", 1);
    let source = |keys: &str| {
        let parsed = parse(&text.replacen(sqlite, &server(keys), 1)).unwrap();
        parsed.database.source.to_string()
    };
    assert_eq!(
        source(", socket = \"s\""),
        "PostgreSQL database d at /etc/adapter/s, port 5432"
    );
    assert_eq!(
        source(", host = \"::1\""),
        "PostgreSQL database d at ::1:5432"
    );
    let tls = ", host = \"db.example.vn\", port = 1, ca = \"ca.pem\"";
    assert_eq!(source(tls), "PostgreSQL database d at db.example.vn:1");
}
