//! Names that are the same but for their spelling, beside an exact condition.

use prost_reflect::Value;
use tonic::{Code, Request, Status};

use crate::{
    harness::{Client, Place, reason, replace, string, text},
    servers::{MariaDb, Postgresql, Register},
};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
DATABASE
text = { encoding = "tcvn3", capitals = "name" }

[[methods]]
name = "Match"
kind = "unary"
max_rows = 5
sql = "SELECT so, ho_ten FROM cong_dan WHERE nam_sinh = :born ORDER BY so"
request = [
    { name = "born", type = "integer" },
    { name = "full_name", type = "text", folded = { reply = "full_name", ignoring = "spelling" } },
]
reply = [{ name = "number", column = "so", type = "text", text = { encoding = "utf-8" } }, { name = "full_name", column = "ho_ten", type = "text" }]

[[methods]]
name = "List"
kind = "server-streaming"
max_rows = 5
when_none = "not-found"
sql = "SELECT so, ho_ten FROM cong_dan WHERE nam_sinh = :born ORDER BY so"
request = [
    { name = "born", type = "integer" },
    { name = "full_name", type = "text", required = false, folded = { reply = "full_name", ignoring = "accents" } },
]
reply = [{ name = "number", column = "so", type = "text", text = { encoding = "utf-8" } }, { name = "full_name", column = "ho_ten", type = "text" }]
"#;

/// In TCVN3: nguyễn thị hoà, NGUYễN THị HòA (capital font), nguyễn thị hoa, lý văn an; and too many of 2001.
const NAMES: [(&str, &str, i64); 4] = [
    ("1", "4e677579d46e205468de20686fb5", 1985),
    ("2", "4e475559d44e205448de2048df41", 1985),
    ("3", "4e677579d46e205468de20486f61", 1985),
    ("4", "4cfd2056a86e20416e", 1985),
];

fn tables(text_type: &str, bytes: impl Fn(&str) -> String) -> String {
    let rows = NAMES.map(|(number, name, born)| format!("('{number}', {}, {born})", bytes(name)));
    let many = (10..16).map(|number| format!("('{number}', 'An', 2001)"));
    let rows: Vec<_> = rows.into_iter().chain(many).collect();
    format!(
        "CREATE TABLE cong_dan (so VARCHAR(12), ho_ten {text_type}, nam_sinh INTEGER); INSERT INTO cong_dan VALUES {};",
        rows.join(", ")
    )
}

async fn registers() -> [Register; 3] {
    let sqlite = tables("TEXT", |hex| format!("CAST(x'{hex}' AS TEXT)"));
    let escaped = |hex: &str| {
        let pairs = hex.as_bytes().chunks(2);
        let bytes: String = pairs
            .map(|pair| format!("\\x{}", str::from_utf8(pair).unwrap()))
            .collect();
        format!("E'{bytes}'")
    };
    let postgresql = tables("VARCHAR(60)", escaped);
    let latin1 = tables("VARCHAR(60) CHARACTER SET latin1", |hex| {
        format!("_latin1 x'{hex}'")
    });
    [
        Register::sqlite(&sqlite).await,
        Register::Postgresql(Postgresql::new("LATIN1", &postgresql).await),
        Register::MariaDb(MariaDb::new(&latin1).await),
    ]
}

fn fields(born: i64, name: Option<&str>) -> Vec<(&'static str, Value)> {
    let name = name.map(|name| ("full_name", string(name)));
    [("born", Value::I64(born))]
        .into_iter()
        .chain(name)
        .collect()
}

/// The number of the one who is found.
async fn find(client: &mut Client, born: i64, name: Option<&str>) -> Result<String, Status> {
    let reply = client.ask("Match", &fields(born, name)).await?;
    Ok(reply[0].1.as_str().unwrap().to_owned())
}

async fn list(client: &mut Client, born: i64, name: Option<&str>) -> Result<Vec<String>, Status> {
    let request = Request::new(client.request("List", &fields(born, name)));
    let mut stream = client.stream("List", request).await?;
    let mut numbers = Vec::new();
    while let Some(message) = stream.message().await? {
        let number = client.fields("List", message)[0].1.clone();
        numbers.push(number.as_str().unwrap().to_owned());
    }
    Ok(numbers)
}

#[tokio::test]
async fn a_name_is_found_however_it_is_spelled_among_those_of_the_exact_condition() {
    for register in registers().await {
        let engine = register.engine();
        let place = Place::without_database(&replace(CONFIGURATION, "DATABASE", &register.table()));
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        for name in [
            "Lý Văn An",
            "LÍ VĂN AN",
            "lí  văn an ",
            "Ly\u{301} Va\u{306}n An",
        ] {
            assert_eq!(
                find(&mut client, 1985, Some(name)).await.unwrap(),
                "4",
                "{engine}: {name}"
            );
        }
        assert_eq!(
            find(&mut client, 1985, Some("Nguyễn Thị Hoa"))
                .await
                .unwrap(),
            "3",
            "{engine}"
        );
        // One has the tone on the a, the other on the o, and capitals.
        let several = find(&mut client, 1985, Some("Nguyễn Thị Hòa"))
            .await
            .unwrap_err();
        assert_eq!(several.code(), Code::FailedPrecondition, "{engine}");
        let expected = ("SEVERAL_RECORDS".to_owned(), Some("2".to_owned()));
        assert_eq!(reason(&several, "count"), expected, "{engine}");
        for (born, name) in [
            (1985, "Nguyễn Thị Hoá"),
            (1985, "Ly Van An"),
            (1986, "Lý Văn An"),
        ] {
            let none = find(&mut client, born, Some(name)).await.unwrap_err();
            assert_eq!(none.code(), Code::NotFound, "{engine}: {name}");
        }
        let found = list(&mut client, 1985, Some("nguyen thi hoa"))
            .await
            .unwrap();
        assert_eq!(found, ["1", "2", "3"], "{engine}");
        let found = list(&mut client, 1985, None).await.unwrap();
        assert_eq!(found, ["1", "2", "3", "4"], "{engine}");
        let none = list(&mut client, 1985, Some("Tran")).await.unwrap_err();
        assert_eq!(none.code(), Code::NotFound, "{engine}");
        // More rows than may be read and compared: nobody is told that there is none.
        for refused in [
            find(&mut client, 2001, Some("Bình"))
                .await
                .map(drop)
                .unwrap_err(),
            list(&mut client, 2001, Some("Bình"))
                .await
                .map(drop)
                .unwrap_err(),
        ] {
            let expected = ("ROW_LIMIT".to_owned(), Some("5".to_owned()));
            assert_eq!(reason(&refused, "limit"), expected, "{engine}");
        }
        for blank in [None, Some(""), Some("  ")] {
            let missing = find(&mut client, 1985, blank).await.unwrap_err();
            let expected = ("FIELD_MISSING".to_owned(), Some("full_name".to_owned()));
            assert_eq!(reason(&missing, "field"), expected, "{engine}");
        }
        // It is a field like any other for callers.
        let proto = text(&adapter.place.run("proto", &[]).stdout);
        assert!(proto.contains("optional string full_name = 2;"), "{proto}");
    }
}

#[tokio::test]
async fn of_those_who_are_not_asked_for_nothing_else_is_read() {
    let register = Register::sqlite(
        "CREATE TABLE cong_dan (so TEXT, ho_ten TEXT, nam_sinh INTEGER); \
         INSERT INTO cong_dan VALUES ('1', 'An', 1985), (CAST(x'ff' AS TEXT), 'Binh', 1985)",
    )
    .await;
    let place = Place::without_database(&replace(CONFIGURATION, "DATABASE", &register.table()));
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    assert_eq!(find(&mut client, 1985, Some("An")).await.unwrap(), "1");
    let none = find(&mut client, 1985, Some("Chi")).await.unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
    let unreadable = find(&mut client, 1985, Some("Binh")).await.unwrap_err();
    assert_eq!(
        reason(&unreadable, "field"),
        ("VALUE_UNREADABLE".into(), Some("number".into()))
    );
}

#[tokio::test]
async fn what_would_read_everything_or_give_away_what_is_withheld_is_refused() {
    let base = replace(CONFIGURATION, "DATABASE", "sqlite = \"register.db\"");
    let grant =
        "[[grants]]\nname = \"numbers\"\nfields = [\"number\"]\n[[methods]]\nname = \"Match\"";
    for (from, to, said) in [
        (
            "WHERE nam_sinh = :born ORDER BY so\"\nrequest = [\n    { name = \"born\", type = \"integer\" },",
            "\"\nrequest = [",
            "needs a required request field beside it",
        ),
        (
            "{ name = \"born\", type = \"integer\" },",
            "{ name = \"born\", type = \"integer\", required = false },",
            "needs a required request field beside it",
        ),
        (
            "reply = \"full_name\", ignoring",
            "reply = \"name\", ignoring",
            "which is no reply field of type text",
        ),
        (
            "{ name = \"full_name\", type = \"text\", folded",
            "{ name = \"born\", type = \"text\", folded",
            "the name born is used twice",
        ),
        (
            "{ name = \"full_name\", type = \"text\", folded",
            "{ name = \"full_name\", type = \"date\", folded",
            "a folded field is of type text",
        ),
        (
            "ignoring = \"spelling\"",
            "ignoring = \"everything\"",
            "unknown variant `everything`",
        ),
        (
            "[[methods]]\nname = \"Match\"",
            grant,
            "it withholds full_name, which callers of Match would find out",
        ),
    ] {
        let place = Place::without_database(&replace(&base, from, to));
        let said_now = text(&place.run("proto", &[]).stderr);
        assert!(said_now.contains(said), "{said}\n{said_now}");
    }
}
