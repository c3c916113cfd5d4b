//! A register whose text is in TCVN3: found by Unicode names, answered in Unicode.

use prost_reflect::Value;
use tonic::{Code, Status};

use crate::harness::{Client, Place, RunningAdapter, reason, replace, string, text};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
sqlite = "register.db"
text = { encoding = "tcvn3", capitals = "name" }

[[methods]]
name = "Find"
kind = "unary"
sql = """
SELECT SO, HO_TEN, QUE FROM CONG_DAN
WHERE HO_TEN IN (:name) AND (:place IS NULL OR QUE IN (:place))
"""
request = [
    { name = "name", type = "text" },
    { name = "place", type = "text", required = false },
]
reply = [
    { name = "number", column = "SO", type = "text", text = { encoding = "utf-8" } },
    { name = "full_name", column = "HO_TEN", type = "text" },
    { name = "native_place", column = "QUE", type = "text" },
]
sample = { name = "Đặng Thị Ước" }

[[methods]]
name = "List"
kind = "server-streaming"
sql = "SELECT HO_TEN, QUE FROM CONG_DAN ORDER BY SO"
reply = [
    { name = "full_name", column = "HO_TEN", type = "text" },
    { name = "native_place", column = "QUE", type = "text", text = { encoding = "tcvn3", undecodable = "replace" } },
]
"#;

/// Đặng Thị Ước of Hà Nội; NGUYỄN THỊ ÁNH as a capital font shows it; Hộp of Ea M’Droh, with an apostrophe that
/// TCVN3 does not have; Hứa, kept as bytes and not as text.
const DATABASE: &str = "
CREATE TABLE CONG_DAN (SO TEXT, HO_TEN TEXT, QUE TEXT);
INSERT INTO CONG_DAN VALUES
    ('001185123456', CAST(x'a7c66e67205468de20a6ed63' AS TEXT), CAST(x'48b5204ee96920' AS TEXT)),
    ('001285123456', CAST(x'4e475559d44e205448de20b84e48' AS TEXT), NULL),
    ('001385123456', x'48f861', NULL),
    ('066087123456', CAST(x'48e970' AS TEXT), CAST(x'4561204d9244726f68' AS TEXT));
CREATE INDEX CONG_DAN_HO_TEN ON CONG_DAN (HO_TEN);
";

const REPORT: &str = "text = { encoding = \"tcvn3\", undecodable = \"report\" }";

async fn find(client: &mut Client, name: &str) -> Result<Vec<(String, Value)>, Status> {
    client.ask("Find", &[("name", string(name))]).await
}

fn named(found: &[(&str, &str)]) -> Vec<(String, Value)> {
    let fields = found.iter();
    fields
        .map(|(name, value)| ((*name).to_owned(), string(value)))
        .collect()
}

async fn serve(configuration: &str) -> RunningAdapter {
    Place::over(configuration, DATABASE).await.serve().await
}

#[tokio::test]
async fn a_unicode_name_finds_its_row_however_it_is_written() {
    let adapter = serve(CONFIGURATION).await;
    let mut client = adapter.client().await;
    let expected = named(&[
        ("number", "001185123456"),
        ("full_name", "Đặng Thị Ước"),
        ("native_place", "Hà Nội "),
    ]);
    let decomposed = "Đa\u{323}\u{306}ng Thi\u{323} U\u{31b}o\u{31b}\u{301}c";
    let tones_apart = "Đă\u{323}ng Thi\u{323} Ươ\u{301}c";
    for name in ["Đặng Thị Ước", decomposed, tones_apart] {
        assert_eq!(find(&mut client, name).await.unwrap(), expected, "{name}");
    }
    let found = find(&mut client, "NGUYỄN THỊ ÁNH").await.unwrap();
    assert_eq!(found[1], ("full_name".to_owned(), string("NGUYỄN THỊ ÁNH")));
    let found = find(&mut client, "Hứa").await.unwrap();
    assert_eq!(
        found,
        named(&[("number", "001385123456"), ("full_name", "Hứa")])
    );
    let both = [
        ("name", string("Đặng Thị Ước")),
        ("place", string("Hà Nội ")),
    ];
    assert_eq!(client.ask("Find", &both).await.unwrap(), expected);
    let elsewhere = [("name", string("Đặng Thị Ước")), ("place", string("Huế"))];
    let none = client.ask("Find", &elsewhere).await.unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
}

#[tokio::test]
async fn what_the_register_cannot_hold_is_refused_and_everything_else_is_a_value() {
    let adapter = serve(CONFIGURATION).await;
    let mut client = adapter.client().await;
    for name in ["Ea M\u{2019}Droh", "\u{0}", "Nguyễn\u{2028}", "名"] {
        let status = find(&mut client, name).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}");
        let field = ("FIELD_INVALID".to_owned(), Some("name".to_owned()));
        assert_eq!(reason(&status, "field"), field);
        assert!(status.message().contains("TCVN3"), "{status:?}");
    }
    let long = "Đặng ".repeat(10_000);
    for name in [
        "' OR 1=1 --",
        "%",
        "Đặng%",
        "Đặng Thị Ước'",
        "dặng thị ước",
        &long,
    ] {
        let status = find(&mut client, name).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{name:?}");
    }
}

#[tokio::test]
async fn bytes_that_mean_nothing_are_refused_reported_or_replaced() {
    let adapter = serve(CONFIGURATION).await;
    let mut client = adapter.client().await;
    let status = find(&mut client, "Hộp").await.unwrap_err();
    let field = (
        "VALUE_UNREADABLE".to_owned(),
        Some("native_place".to_owned()),
    );
    assert_eq!(reason(&status, "field"), field);
    let request = tonic::Request::new(client.request("List", &[]));
    let mut rows = client.stream("List", request).await.unwrap();
    let mut last = None;
    while let Some(row) = rows.message().await.unwrap() {
        last = Some(client.fields("List", row));
    }
    let replaced = named(&[("full_name", "Hộp"), ("native_place", "Ea M\u{fffd}Droh")]);
    assert_eq!(last.unwrap(), replaced);

    let column = "column = \"QUE\", type = \"text\" }";
    let report = replace(column, "}", &format!(", {REPORT} }}"));
    let adapter = serve(&replace(CONFIGURATION, column, &report)).await;
    let mut client = adapter.client().await;
    let found = find(&mut client, "Hộp").await.unwrap();
    let mut reported = named(&[
        ("number", "066087123456"),
        ("full_name", "Hộp"),
        ("native_place", "Ea M\u{fffd}Droh"),
    ]);
    let names = Value::List(vec![string("native_place")]);
    reported.push(("undecodable_fields".to_owned(), names));
    assert_eq!(found, reported);
    let found = find(&mut client, "Đặng Thị Ước").await.unwrap();
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn check_says_where_bytes_mean_nothing_and_shows_no_value() {
    let place = Place::over(CONFIGURATION, DATABASE).await;
    assert!(place.run("proto", &[]).status.success());
    let said = text(&place.run("check", &[]).stdout);
    let stray = "UNDECODABLE reply field native_place: row 4, column QUE: the byte 0x92 at 4 means nothing in \
                 the declared encoding (1 in this value)\n";
    assert!(said.contains(stray), "{said}");
    assert!(said.contains("ready to serve"), "{said}");
    assert!(!said.contains("Droh"), "{said}");

    let strict = replace(CONFIGURATION, ", undecodable = \"replace\"", "");
    std::fs::write(place.config(), strict).unwrap();
    let checked = place.run("check", &[]);
    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("WRONG method List: reply field native_place: row 4"),
        "{said}"
    );
}

#[tokio::test]
async fn what_cannot_be_declared_is_said_with_its_line() {
    for (from, to, expected) in [
        (
            "HO_TEN IN (:name)",
            "HO_TEN = :name",
            "several ways; write COLUMN IN (:name)",
        ),
        (
            "\"tcvn3\", capitals",
            "\"viscii\", capitals",
            "viscii says itself which letters are capitals",
        ),
        (
            "encoding = \"utf-8\"",
            "encoding = \"vni\"",
            "unknown variant `vni`",
        ),
        (
            "name = \"place\", type = \"text\"",
            "name = \"place\", type = \"names\"",
            "the adapter's own",
        ),
        (
            "type = \"text\", required",
            "type = \"date\", text = { encoding = \"viqr\" }, required",
            "only fields of type text",
        ),
    ] {
        let place = Place::over(&replace(CONFIGURATION, from, to), DATABASE).await;
        let said = text(&place.run("proto", &[]).stderr);
        assert!(said.contains(expected) && said.contains("line "), "{said}");
    }
}

#[tokio::test]
async fn each_table_may_have_an_encoding_of_its_own() {
    let configuration = r#"
[service]
name = "vn.test.v1.Register"
[listen]
address = "127.0.0.1:0"
[database]
sqlite = "register.db"
text = { encoding = "viscii" }
[[tables]]
name = "CU"
text = { encoding = "tcvn3", capitals = "name" }
[[tables]]
name = "moi"
text = { encoding = "utf-8" }
[[methods]]
name = "Old"
kind = "unary"
sql = "SELECT ten FROM cu WHERE ten IN (:name)"
request = [{ name = "name", type = "text" }]
reply = [{ name = "name", column = "ten", type = "text" }]
[[methods]]
name = "New"
kind = "unary"
sql = "SELECT ten FROM moi WHERE ten IN (:name)"
request = [{ name = "name", type = "text" }]
reply = [{ name = "name", column = "ten", type = "text" }]
[[methods]]
name = "Both"
kind = "unary"
text = { encoding = "tcvn3", capitals = "name" }
sql = "SELECT cu.ten AS old, moi.ten AS new FROM cu, moi WHERE cu.ten IN (:name)"
request = [{ name = "name", type = "text" }]
reply = [{ name = "old", type = "text" }, { name = "new", type = "text", text = { encoding = "utf-8" } }]
"#;
    let sql = "CREATE TABLE cu (ten TEXT); INSERT INTO cu VALUES (CAST(x'a7c66e67' AS TEXT));
               CREATE TABLE moi (ten TEXT); INSERT INTO moi VALUES ('Đặng');";
    let adapter = Place::over(configuration, sql).await.serve().await;
    let mut client = adapter.client().await;
    let asked = [("name", string("Đặng"))];
    for method in ["Old", "New"] {
        let reply = client.ask(method, &asked).await.unwrap();
        assert_eq!(reply, [("name".to_owned(), string("Đặng"))], "{method}");
    }
    let reply = client.ask("Both", &asked).await.unwrap();
    assert!(
        reply.iter().all(|(_, value)| *value == string("Đặng")),
        "{reply:?}"
    );
    let both =
        "name = \"Both\"\nkind = \"unary\"\ntext = { encoding = \"tcvn3\", capitals = \"name\" }";
    for (from, to, said) in [
        (
            both,
            "name = \"Both\"\nkind = \"unary\"",
            "its tables keep text in different ways",
        ),
        (
            "name = \"moi\"",
            "name = \"moi2\"",
            "no SQL text names the table moi2",
        ),
        ("name = \"moi\"", "name = \"cu\"", "the name is used twice"),
    ] {
        let place = Place::without_database(&replace(configuration, from, to));
        let refused = text(&place.run("proto", &[]).stderr);
        assert!(refused.contains(said), "{said}: {refused}");
    }
}
