//! Least data: who asks, and what for, decides which columns are selected and which rows are looked at.

use std::os::unix::fs::PermissionsExt;

use prost_reflect::Value;
use tonic::{Code, Request, Status, metadata::MetadataValue};

use crate::{
    harness::{Client, Place, RunningAdapter, reason, replace, string, text},
    servers::{MariaDb, Postgresql},
};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
unix = "register.sock"

[database]
DATABASE

[[grants]]
name = "births"
consumers = ["VN/GOV/H37.02/desk", "VN/GOV/H37.03/desk"]
purposes = ["đăng ký khai sinh"]
methods = ["Find"]
fields = ["number", "full_name"]
filters = { commune = 24 }

[[grants]]
name = "residence"
consumers = ["VN/GOV/H37.02/desk"]
purposes = ["residence"]
filters = { commune = [24, 25] }
max_rows = 2

[[grants]]
name = "statistics"
consumers = ["VN/GOV/GSO/statistics"]
methods = ["List"]
fields = ["number"]
filters = { commune = [24, 25, 26] }
calls_per_minute = 2

[[methods]]
name = "Find"
kind = "unary"
sql = "SELECT {columns} FROM person WHERE so IN (:number) AND xa IN (:commune)"
request = [{ name = "number", type = "text" }]
filters = [{ name = "commune", type = "integer" }]
reply = [
    { name = "number", column = "so", type = "text" },
    { name = "full_name", column = "ho_ten", type = "text" },
    { name = "religion", column = "ton_giao", type = "text" },
]
sample = { number = "1" }

[[methods]]
name = "List"
kind = "server-streaming"
sql = "SELECT {columns} FROM person WHERE xa IN (:commune) ORDER BY so"
filters = [{ name = "commune", type = "integer" }]
reply = [{ name = "number", column = "so", type = "text" }, { name = "commune", column = "xa", type = "integer" }]
"#;

const SQL: &str = "CREATE TABLE person (so VARCHAR(12), ho_ten VARCHAR(60), ton_giao VARCHAR(60), xa INTEGER);
    INSERT INTO person VALUES ('1', 'An', 'x', 24), ('2', 'Binh', 'y', 25), ('3', 'Chi', 'z', 26), ('4', 'Dung', 'z', 25);";

const DESK: &str = "VN/GOV/H37.02/desk";
const BIRTH: &str = "%C4%91%C4%83ng%20k%C3%BD%20khai%20sinh";

fn request(
    client: &Client,
    method: &str,
    fields: &[(&str, Value)],
    who: &str,
    what_for: &str,
) -> Request<bytes::Bytes> {
    let mut request = Request::new(client.request(method, fields));
    for (key, value) in [("x-road-client", who), ("x-road-purpose", what_for)] {
        if !value.is_empty() {
            request
                .metadata_mut()
                .insert(key, MetadataValue::try_from(value).unwrap());
        }
    }
    request
}

async fn find(
    client: &mut Client,
    number: &str,
    who: &str,
    what_for: &str,
) -> Result<Vec<(String, Value)>, Status> {
    let request = request(client, "Find", &[("number", string(number))], who, what_for);
    client.send("Find", request).await
}

/// The numbers, and how the stream ended.
async fn list(
    client: &mut Client,
    who: &str,
    what_for: &str,
) -> (Vec<Vec<(String, Value)>>, Option<Status>) {
    let request = request(client, "List", &[], who, what_for);
    let mut stream = match client.stream("List", request).await {
        Ok(stream) => stream,
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut records = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => records.push(client.fields("List", message)),
            Ok(None) => return (records, None),
            Err(status) => return (records, Some(status)),
        }
    }
}

async fn registers() -> Vec<(&'static str, RunningAdapter)> {
    let with = |table: &str| CONFIGURATION.replace("DATABASE", table);
    let postgresql = Postgresql::new("UTF8", SQL).await;
    let mariadb = MariaDb::new(SQL).await;
    let sqlite = Place::over(&with("sqlite = \"register.db\""), SQL).await;
    vec![
        ("SQLite", sqlite.serve().await),
        (
            "PostgreSQL",
            Place::without_database(&with(&postgresql.table()))
                .serve()
                .await,
        ),
        (
            "MariaDB",
            Place::without_database(&with(&mariadb.table()))
                .serve()
                .await,
        ),
    ]
}

fn named(fields: &[(&str, &str)]) -> Vec<(String, Value)> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| ((*name).to_owned(), string(value)))
        .collect()
}

fn withheld(names: &[&str]) -> (String, Value) {
    let names = names.iter().map(|name| string(name)).collect();
    ("withheld_fields".to_owned(), Value::List(names))
}

#[tokio::test]
async fn who_asks_and_what_for_decides_columns_and_rows() {
    for (engine, adapter) in registers().await {
        let mut client = adapter.client().await;
        let mut expected = named(&[("number", "1"), ("full_name", "An")]);
        expected.push(withheld(&["religion"]));
        assert_eq!(
            find(&mut client, "1", DESK, BIRTH).await.unwrap(),
            expected,
            "{engine}"
        );
        assert_eq!(
            find(&mut client, "1", "VN/GOV/H37.03/desk", BIRTH)
                .await
                .unwrap(),
            expected,
            "{engine}"
        );
        // A person of another commune is not found, and it cannot be told whether there is one.
        let error = find(&mut client, "2", DESK, BIRTH).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{engine}");
        // The same consumer for another purpose has other columns and rows.
        let all = named(&[("number", "2"), ("full_name", "Binh"), ("religion", "y")]);
        assert_eq!(
            find(&mut client, "2", DESK, "residence").await.unwrap(),
            all,
            "{engine}"
        );
        assert_eq!(
            find(&mut client, "3", DESK, "residence")
                .await
                .unwrap_err()
                .code(),
            Code::NotFound,
            "{engine}"
        );
        for (who, what_for) in [
            (DESK, ""),
            (DESK, "curiosity"),
            ("", BIRTH),
            ("VN/GOV/H37.02/des", BIRTH),
            ("VN/GOV/GSO/statistics", BIRTH),
            ("VN/GOV/H37.03/desk", "residence"),
        ] {
            let error = find(&mut client, "1", who, what_for).await.unwrap_err();
            assert_eq!(
                reason(&error, "retry"),
                ("NOT_GRANTED".into(), Some("false".into())),
                "{engine}: {who} {what_for}"
            );
            assert_eq!(error.code(), Code::PermissionDenied);
        }
    }
}

#[tokio::test]
async fn a_grant_has_limits_of_its_own() {
    for (engine, adapter) in registers().await {
        let mut client = adapter.client().await;
        let (records, ended) = list(&mut client, DESK, "residence").await;
        assert_eq!(records.len(), 2, "{engine}");
        assert_eq!(
            reason(&ended.unwrap(), "limit"),
            ("ROW_LIMIT".into(), Some("2".into())),
            "{engine}"
        );
        for _ in 0..2 {
            let (records, ended) = list(&mut client, "VN/GOV/GSO/statistics", "").await;
            assert!(ended.is_none(), "{engine}: {ended:?}");
            let mut first = named(&[("number", "1")]);
            first.push(withheld(&["commune"]));
            assert_eq!((records.len(), &records[0]), (4, &first), "{engine}");
        }
        let (_, ended) = list(&mut client, "VN/GOV/GSO/statistics", "").await;
        let ended = ended.unwrap();
        assert_eq!(
            reason(&ended, "retry"),
            ("TOO_OFTEN".into(), Some("true".into())),
            "{engine}"
        );
        assert_eq!(ended.code(), Code::ResourceExhausted);
    }
}

#[tokio::test]
async fn columns_that_are_not_granted_are_not_selected() {
    // An account that may not even read them: if they were selected, the database would refuse.
    let database = Postgresql::new("UTF8", SQL).await;
    let name = &database.name;
    database
        .run(&format!(
            "REVOKE SELECT ON person FROM {name}; GRANT SELECT (so, ho_ten, xa) ON person TO {name}"
        ))
        .await;
    let only_births = CONFIGURATION.replace("DATABASE", &database.table());
    let (before, rest) = only_births
        .split_once("[[grants]]\nname = \"residence\"")
        .unwrap();
    let after = &rest[rest.find("[[grants]]").unwrap()..];
    let place = Place::without_database(&format!("{before}{after}"));
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    let reply = find(&mut client, "1", DESK, BIRTH).await.unwrap();
    assert_eq!(reply[1], ("full_name".to_owned(), string("An")));
    let said = text(&adapter.place.run("check", &[]).stdout);
    assert!(
        said.contains("Find (grant births): 1 parameters, 2 columns"),
        "{said}"
    );
    assert!(
        said.contains("List (grant statistics): 0 parameters, 1 columns"),
        "{said}"
    );
}

#[tokio::test]
async fn what_a_write_was_answered_under_one_grant_is_not_for_another() {
    let configuration = r#"
[service]
name = "vn.test.v1.Register"
[listen]
unix = "register.sock"
[database]
sqlite = "register.db"
[[grants]]
name = "narrow"
purposes = ["narrow"]
fields = ["number"]
[[grants]]
name = "wide"
purposes = ["wide"]
[[methods]]
name = "Find"
kind = "unary"
idempotency_key = "number"
steps = [{ name = "write", sql = "INSERT INTO person (so, ho_ten) VALUES (:number, 'An')" }]
sql = "SELECT {columns} FROM person WHERE so IN (:number)"
request = [{ name = "number", type = "text" }]
reply = [{ name = "number", column = "so", type = "text" }, { name = "full_name", column = "ho_ten", type = "text" }]
"#;
    let place = Place::without_database(configuration);
    let sql = String::leak(
        text(&place.run("ddl", &[]).stdout) + "CREATE TABLE person (so TEXT, ho_ten TEXT);",
    );
    let adapter = Place::over(configuration, sql).await.serve().await;
    let mut client = adapter.client().await;
    let wide = find(&mut client, "9", DESK, "wide").await.unwrap();
    assert_eq!(wide, named(&[("number", "9"), ("full_name", "An")]));
    assert_eq!(find(&mut client, "9", DESK, "wide").await.unwrap(), wide);
    let error = find(&mut client, "9", DESK, "narrow").await.unwrap_err();
    assert_eq!(reason(&error, "").0, "KEY_REUSED");
}

#[tokio::test]
async fn only_its_own_user_may_open_the_socket_unless_it_is_said() {
    let with = CONFIGURATION.replace("DATABASE", "sqlite = \"register.db\"");
    for (configuration, mode) in [
        (with.clone(), 0o600),
        (
            replace(
                &with,
                "unix = \"register.sock\"",
                "unix = \"register.sock\"\ngroup_may_connect = true",
            ),
            0o660,
        ),
    ] {
        let adapter = Place::over(&configuration, SQL).await.serve().await;
        let socket = std::fs::metadata(adapter.place.path("register.sock")).unwrap();
        assert_eq!(socket.permissions().mode() & 0o777, mode);
    }
}

#[tokio::test]
async fn grants_that_would_leak_or_leave_nothing_are_refused() {
    let with = CONFIGURATION.replace("DATABASE", "sqlite = \"register.db\"");
    for (from, to, expected) in [
        (
            "unix = \"register.sock\"",
            "address = \"127.0.0.1:0\"",
            "whoever reaches a port can say to be anybody",
        ),
        (
            "SELECT {columns} FROM person WHERE so",
            "SELECT so, ho_ten, ton_giao FROM person WHERE so",
            "grant births: it withholds fields of the method Find",
        ),
        (
            "filters = { commune = 24 }",
            "",
            "grant births: the method Find has a filter commune; give it a value",
        ),
        (
            "filters = { commune = 24 }",
            "filters = { commune = [] }",
            "a filter has 1 to 100 values",
        ),
        (
            "filters = { commune = 24 }",
            "filters = { commune = \"x\" }",
            "the filter commune is a whole number",
        ),
        (
            "filters = { commune = 24 }",
            "filters = { commune = 24, x = 1 }",
            "no method has a filter x",
        ),
        (
            "fields = [\"number\", \"full_name\"]",
            "fields = [\"number\", \"nothing\"]",
            "no method has a reply field nothing",
        ),
        (
            "methods = [\"Find\"]",
            "methods = [\"Found\"]",
            "there is no method Found",
        ),
        (
            "name = \"residence\"",
            "name = \"births\"",
            "the name is used twice",
        ),
        (
            "purposes = [\"residence\"]",
            "purposes = []",
            "purposes is empty",
        ),
        ("max_rows = 2\n", "max_rows = 0\n", "0 is not allowed"),
    ] {
        let place = Place::without_database(&replace(&with, from, to));
        let said = text(&place.run("proto", &[]).stderr);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let start = with.find("[[grants]]").unwrap();
    let end = with.find("[[methods]]").unwrap();
    let none = format!("{}{}", &with[..start], &with[end..]);
    let said = text(&Place::without_database(&none).run("proto", &[]).stderr);
    assert!(
        said.contains("filters get their values from [[grants]], and none is for this method"),
        "{said}"
    );
}

/// MariaDB's collations take "hn" and "HÑ" for "HN": a filter with one value is no less exact than one with several.
#[tokio::test]
async fn a_filter_that_the_database_cannot_compare_is_no_fault_of_callers() {
    let database = Postgresql::new("UTF8", SQL).await;
    let with = CONFIGURATION.replace("DATABASE", &database.table());
    let place = Place::without_database(&replace(
        &with,
        "commune = [24, 25, 26]",
        "commune = 9999999999",
    ));
    assert!(place.run("proto", &[]).status.success());
    for command in ["check", "serve"] {
        let refused = place.run(command, &[]);
        let said = text(&refused.stdout) + &text(&refused.stderr);
        assert!(!refused.status.success());
        assert!(
            said.contains("cannot compare; it must be a whole number of 32 bits"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_text_filter_leaves_the_rows_with_these_bytes() {
    let sql = "CREATE TABLE person (so VARCHAR(12), unit VARCHAR(10), active CHAR(1));
        INSERT INTO person VALUES ('1', 'HN', 'Y'), ('2', 'hn', 'y'), ('3', 'HÑ', 'Y'), ('4', 'HN ', 'N');";
    let with = |filter: &str, allowed: &str, table: &str| {
        format!(
            "[service]\nname = \"vn.test.v1.Register\"\n[listen]\nunix = \"register.sock\"\n[database]\n{table}\n\
             [[grants]]\nname = \"g\"\nfilters = {{ f = {allowed} }}\n\
             [[methods]]\nname = \"List\"\nkind = \"server-streaming\"\n\
             sql = \"SELECT so FROM person WHERE {filter} IN (:f) ORDER BY so\"\n\
             filters = [{{ name = \"f\", {} }}]\nreply = [{{ name = \"so\", type = \"text\" }}]\n",
            match filter {
                "unit" => "type = \"text\"",
                _ => "type = \"boolean\", yes = \"Y\", no = \"N\"",
            }
        )
    };
    let postgresql = Postgresql::new("UTF8", sql).await;
    let mariadb = sql.replace("unit VARCHAR(10)", "unit VARCHAR(10) CHARACTER SET utf8mb4");
    let mariadb = MariaDb::new(&mariadb).await;
    for (filter, allowed, expected) in [
        ("unit", "\"HN\"", &["1"][..]),
        ("unit", "[\"HN\", \"HÑ\"]", &["1", "3"]),
        ("active", "true", &["1", "3"]),
    ] {
        for table in [postgresql.table(), mariadb.table()] {
            let adapter = Place::without_database(&with(filter, allowed, &table));
            let adapter = adapter.serve().await;
            let (records, end) = list(&mut adapter.client().await, DESK, "").await;
            assert!(end.is_none(), "{end:?}");
            let expected: Vec<_> = expected.iter().map(|so| named(&[("so", so)])).collect();
            assert_eq!(records, expected, "{table} {filter} {allowed}");
        }
    }
}
