//! What holds on every engine: names in an old encoding are found by their bytes, and nothing but values is bound.

use prost_reflect::Value;
use tonic::{Code, Request, Status};

use crate::{
    harness::{Client, Place, reason, replace, string, text},
    servers::{MariaDb, Postgresql},
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
name = "Find"
kind = "unary"
sql = """
SELECT so, ho_ten, que FROM cong_dan
WHERE ho_ten IN (:name) AND (:place IS NULL OR que IN (:place))
"""
request = [
    { name = "name", type = "text" },
    { name = "place", type = "text", required = false },
]
reply = [
    { name = "number", column = "so", type = "text", text = { encoding = "utf-8" } },
    { name = "full_name", column = "ho_ten", type = "text" },
    { name = "native_place", column = "que", type = "text" },
]
sample = { name = "Đặng Thị Ước" }

[[methods]]
name = "List"
kind = "server-streaming"
sql = "SELECT ho_ten, nam_sinh FROM cong_dan WHERE nam_sinh >= :year ORDER BY so"
request = [{ name = "year", type = "integer" }]
reply = [
    { name = "full_name", column = "ho_ten", type = "text" },
    { name = "year", column = "nam_sinh", type = "integer" },
]
sample = { year = 1900 }
"#;

/// A number, a name, a place and a year; text as the hexadecimal digits of its bytes.
type Row = (&'static str, &'static str, &'static str, u16);

/// In TCVN3. Tó, Tỏ and Tõ are bytes that MariaDB's latin1 collation takes for one letter.
const TCVN3: [Row; 5] = [
    (
        "001185123456",
        "a7c66e67205468de20a6ed63",
        "48b5204ee96920",
        1985,
    ),
    ("001285123456", "4e475559d44e205448de20b84e48", "", 1985),
    ("001385123456", "54e3", "", 1990),
    ("001485123456", "54e1", "", 1990),
    ("001585123456", "54e2", "", 1990),
];

/// In UTF-8: Tó, Tỏ, To, Đỗ, Do. MariaDB's utf8mb4 collation takes the first three for the same, and the last two.
const UTF8: [Row; 5] = [
    ("001385123456", "54c3b3", "48c3a0204ee1bb9969", 1990),
    ("001485123456", "54e1bb8f", "", 1990),
    ("001585123456", "546f", "", 1990),
    ("001685123456", "c490e1bb97", "", 1990),
    ("001785123456", "446f", "", 1990),
];

/// A register on one engine.
struct Register {
    engine: &'static str,
    database: Database,
    place: Place,
}

enum Database {
    Sqlite,
    Postgresql(Postgresql),
    MariaDb(MariaDb),
}

/// The table with its rows: the type of text columns, and how their bytes are written in SQL.
fn sql(rows: [Row; 5], text_type: &str, bytes: impl Fn(&str) -> String) -> String {
    let rows = rows.map(|(number, name, place, year)| {
        let place = match place {
            "" => "NULL".to_owned(),
            place => bytes(place),
        };
        format!("('{number}', {}, {place}, {year})", bytes(name))
    });
    format!(
        "CREATE TABLE cong_dan (so CHAR(12), ho_ten {text_type}, que {text_type}, nam_sinh INTEGER);\
         INSERT INTO cong_dan VALUES {};\
         CREATE INDEX cong_dan_ho_ten ON cong_dan (ho_ten);",
        rows.join(", ")
    )
}

/// E'\xa7\xc6': the bytes as they are, in PostgreSQL.
fn escaped(hex: &str) -> String {
    let pairs = hex.as_bytes().chunks(2);
    let bytes: String = pairs
        .map(|pair| format!("\\x{}", std::str::from_utf8(pair).unwrap()))
        .collect();
    format!("E'{bytes}'")
}

async fn registers() -> Vec<Register> {
    let configuration = |table: &str| CONFIGURATION.replace("DATABASE", table);
    let mut registers = Vec::new();
    let as_text = |hex: &str| format!("CAST(x'{hex}' AS TEXT)");
    let sql_of_sqlite = String::leak(sql(TCVN3, "TEXT", as_text));
    registers.push(Register {
        engine: "SQLite",
        place: Place::over(&configuration("sqlite = \"register.db\""), sql_of_sqlite).await,
        database: Database::Sqlite,
    });
    let decoded = |hex: &str| format!("decode('{hex}', 'hex')");
    for (engine, encoding, sql) in [
        (
            "PostgreSQL, SQL_ASCII",
            "SQL_ASCII",
            sql(TCVN3, "VARCHAR(60)", escaped),
        ),
        ("PostgreSQL, LATIN1", "LATIN1", sql(TCVN3, "TEXT", escaped)),
        ("PostgreSQL, bytea", "UTF8", sql(TCVN3, "BYTEA", decoded)),
    ] {
        let database = Postgresql::new(encoding, &sql).await;
        registers.push(Register {
            engine,
            place: Place::without_database(&configuration(&database.table())),
            database: Database::Postgresql(database),
        });
    }
    let of_latin1 = |hex: &str| format!("_latin1 x'{hex}'");
    let binary = |hex: &str| format!("x'{hex}'");
    for (engine, sql) in [
        (
            "MariaDB, latin1",
            sql(TCVN3, "VARCHAR(60) CHARACTER SET latin1", of_latin1),
        ),
        ("MariaDB, binary", sql(TCVN3, "VARBINARY(60)", binary)),
    ] {
        let database = MariaDb::new(&sql).await;
        registers.push(Register {
            engine,
            place: Place::without_database(&configuration(&database.table())),
            database: Database::MariaDb(database),
        });
    }
    registers
}

/// Registers whose text is in UTF-8, so that nothing is refused because an encoding does not have it.
async fn unicode_registers() -> Vec<Register> {
    let configuration = |table: &str| {
        let configuration = CONFIGURATION.replace("DATABASE", table);
        replace(
            &configuration,
            "text = { encoding = \"tcvn3\", capitals = \"name\" }\n",
            "",
        )
    };
    let as_text = |hex: &str| format!("CAST(x'{hex}' AS TEXT)");
    let sql_of_sqlite = String::leak(sql(UTF8, "TEXT", as_text));
    let sqlite = configuration("sqlite = \"register.db\"");
    let postgresql = Postgresql::new("UTF8", &sql(UTF8, "VARCHAR(60)", escaped)).await;
    let text = |hex: &str| format!("_utf8mb4 x'{hex}'");
    let mariadb = MariaDb::new(&sql(UTF8, "VARCHAR(60) CHARACTER SET utf8mb4", text)).await;
    vec![
        Register {
            engine: "SQLite",
            place: Place::over(&sqlite, sql_of_sqlite).await,
            database: Database::Sqlite,
        },
        Register {
            engine: "PostgreSQL",
            place: Place::without_database(&configuration(&postgresql.table())),
            database: Database::Postgresql(postgresql),
        },
        Register {
            engine: "MariaDB",
            place: Place::without_database(&configuration(&mariadb.table())),
            database: Database::MariaDb(mariadb),
        },
    ]
}

impl Register {
    async fn run(&self, sql: &str) {
        match &self.database {
            Database::Sqlite => {
                let mut connection = self.place.connection().await;
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
            Database::Postgresql(database) => database.run(sql).await,
            Database::MariaDb(database) => database.run(sql).await,
        }
    }
}

async fn find(client: &mut Client, name: &str) -> Result<Vec<(String, Value)>, Status> {
    client.ask("Find", &[("name", string(name))]).await
}

fn number(reply: &[(String, Value)]) -> &Value {
    &reply.iter().find(|(name, _)| name == "number").unwrap().1
}

#[tokio::test]
async fn a_unicode_name_finds_its_row_and_no_other_that_a_collation_takes_for_it() {
    for register in registers().await {
        let engine = register.engine;
        let adapter = register.place.serve().await;
        let mut client = adapter.client().await;
        for (asked, found) in [
            ("Đặng Thị Ước", "001185123456"),
            ("ĐẶNG THỊ ƯỚC".to_lowercase().as_str(), "001185123456"),
            ("NGUYỄN THỊ ÁNH", "001285123456"),
            ("Tó", "001385123456"),
            ("Tỏ", "001485123456"),
            ("T\u{f5}", "001585123456"),
            ("To\u{303}", "001585123456"),
        ] {
            let reply = find(&mut client, asked).await;
            if asked.starts_with('đ') {
                // Only the capital rule knows which letters begin names.
                assert_eq!(
                    reply.unwrap_err().code(),
                    Code::NotFound,
                    "{engine}: {asked}"
                );
                continue;
            }
            assert_eq!(number(&reply.unwrap()), &string(found), "{engine}: {asked}");
        }
        let missed = find(&mut client, "To").await.unwrap_err();
        assert_eq!(missed.code(), Code::NotFound, "{engine}");
        let fields = [
            ("name", string("Đặng Thị Ước")),
            ("place", string("Hà Nội ")),
        ];
        assert_eq!(
            number(&client.ask("Find", &fields).await.unwrap()),
            &string("001185123456"),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn different_letters_of_unicode_are_different() {
    for register in unicode_registers().await {
        let engine = register.engine;
        let adapter = register.place.serve().await;
        let mut client = adapter.client().await;
        for (asked, found) in [
            ("Tó", "001385123456"),
            ("Tỏ", "001485123456"),
            ("To\u{309}", "001485123456"),
            ("To", "001585123456"),
            ("Đỗ", "001685123456"),
            ("Do", "001785123456"),
        ] {
            let reply = find(&mut client, asked).await;
            assert_eq!(number(&reply.unwrap()), &string(found), "{engine}: {asked}");
        }
        for missed in ["tó", "Tò", "Dỗ", "To "] {
            let error = find(&mut client, missed).await.unwrap_err();
            assert_eq!(error.code(), Code::NotFound, "{engine}: {missed:?}");
        }
    }
}

#[tokio::test]
async fn a_check_says_that_the_index_serves_the_names() {
    for register in registers().await {
        // Enough rows that a server does not prefer to read all of them.
        let numbers = match &register.database {
            Database::Sqlite => {
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n"
            }
            Database::Postgresql(_) => "SELECT i FROM generate_series(1, 3000) AS n(i)",
            Database::MariaDb(_) => "SELECT seq FROM seq_1_to_3000",
        };
        let name = match register.engine {
            "PostgreSQL, bytea" => "CAST(i AS TEXT)::BYTEA",
            _ => "CAST(i AS CHAR(12))",
        };
        let name = if matches!(register.database, Database::MariaDb(_)) {
            "CAST(seq AS CHAR(12))"
        } else {
            name
        };
        register
            .run(&format!(
                "INSERT INTO cong_dan SELECT '7', {name}, NULL, 1800 FROM ({numbers}) AS many"
            ))
            .await;
        let analyze = if matches!(register.database, Database::MariaDb(_)) {
            "ANALYZE TABLE cong_dan"
        } else {
            "ANALYZE cong_dan"
        };
        register.run(analyze).await;
        assert!(register.place.run("proto", &[]).status.success());
        let checked = register.place.run("check", &[]);
        let said = text(&checked.stdout);
        let engine = register.engine;
        assert!(
            said.contains("ready to serve"),
            "{engine}: {said}{}",
            text(&checked.stderr)
        );
        let plans: Vec<_> = said.lines().filter(|line| line.contains("plan:")).collect();
        assert!(
            plans.iter().any(|plan| plan.contains("cong_dan_ho_ten")),
            "{engine}: {said}"
        );
        assert!(
            plans.iter().any(|plan| plan.contains("reads all of it")),
            "{engine}: {said}"
        );
        assert!(!said.contains("ng Th"), "{engine}: {said}");
    }
}

#[tokio::test]
async fn hostile_values_are_values() {
    let hostile = [
        "' OR '1'='1",
        "x'); DROP TABLE cong_dan; --",
        "%",
        "_ó",
        "\\",
        "\\'; SELECT 1",
        "\u{1}\u{7f}\t\r\n",
        "${jndi:ldap://x}",
        "?",
        "$1",
        ":name",
        "NULL",
    ];
    for register in unicode_registers().await {
        let engine = register.engine;
        let adapter = register.place.serve().await;
        let mut client = adapter.client().await;
        for value in hostile.iter().map(|value| (*value).to_owned()).chain([
            "x".repeat(900_000),
            "\0".to_owned(),
            "a\0b".to_owned(),
        ]) {
            for field in ["name", "place"] {
                let other = if field == "name" { "place" } else { "name" };
                let fields = [(field, string(&value)), (other, string("Tó"))];
                let error = client.ask("Find", &fields).await.unwrap_err();
                let shown: String = value.chars().take(40).collect();
                assert!(
                    matches!(error.code(), Code::NotFound | Code::InvalidArgument),
                    "{engine}: {shown:?}: {error:?}"
                );
            }
        }
        // A number beyond what the column can hold is refused or finds nothing; it is never another number.
        for year in [i64::MAX, i64::MIN, 1 << 31] {
            let request = client.request("List", &[("year", Value::I64(year))]);
            let answered = match client.stream("List", Request::new(request)).await {
                Ok(mut rows) => rows.message().await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(row) => assert!(row.is_some() == (year == i64::MIN), "{engine}: {year}"),
                Err(error) => {
                    let (said, field) = reason(&error, "field");
                    assert_eq!(
                        (said.as_str(), field.as_deref()),
                        ("FIELD_INVALID", Some("year")),
                        "{engine}"
                    );
                }
            }
        }
        // Everything is still there.
        assert_eq!(
            number(&find(&mut client, "Tó").await.unwrap()),
            &string("001385123456"),
            "{engine}"
        );
    }
}
