//! `adapter new`: from an unknown table to a called service, on each engine, without a line of code.

use std::process::Command;

use prost_reflect::Value;

use crate::{
    harness::{Place, string, text},
    servers::{MariaDb, Postgresql},
};

/// An unfamiliar register: numbers that lost zeros, padding, days in part, text in an old encoding, an interval.
fn table(text_type: &str, old: impl Fn(&str) -> String, extra: &str) -> String {
    let rows = [
        ("001185123456", "An", "28/02/1987", "a7c66e67", 1),
        ("1285123456", "Binh", "00/00/1953", "416e68", 0),
    ];
    let rows = rows.map(|(number, name, born, place, alive)| {
        format!(
            "('{number}', '{name}  ', '{born}', {}, {alive})",
            old(place)
        )
    });
    format!(
        "CREATE TABLE ho_so (so_cccd VARCHAR(12) PRIMARY KEY, ho_ten VARCHAR(20), ngay_sinh VARCHAR(10),
            que_quan {text_type}, con_song INTEGER {extra});
         INSERT INTO ho_so (so_cccd, ho_ten, ngay_sinh, que_quan, con_song) VALUES {};",
        rows.join(", ")
    )
}

fn new(place: &Place, arguments: &[&str]) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_adapter"))
        .arg("new")
        .arg(place.config())
        .args(["--from-table", "ho_so", "--service", "vn.test.v1.Register"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    std::fs::read_to_string(place.config()).unwrap()
}

fn empty() -> Place {
    let place = Place::without_database("");
    std::fs::remove_file(place.config()).unwrap();
    place
}

/// What the integrator then does: takes the # and -- from what may be answered, and declares the encoding.
fn complete(place: &Place, written: &str) {
    let completed = written
        .lines()
        .map(|line| match line {
            line if line.contains("ho_so") && line.starts_with('#') => line.to_owned(),
            line if line.starts_with("-- , ") => line[3..].to_owned(),
            line if line.starts_with("#   { ") => line[1..].to_owned(),
            line => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    let of_place = "column = \"que_quan\", type = \"text\"";
    assert!(completed.contains(of_place), "{completed}");
    let declared = format!("{of_place}, text = {{ encoding = \"tcvn3\" }}");
    std::fs::write(place.config(), completed.replace(of_place, &declared)).unwrap();
}

#[tokio::test]
async fn an_unknown_table_becomes_a_service_on_each_engine() {
    let as_text = |hex: &str| format!("CAST(x'{hex}' AS TEXT)");
    let sqlite = empty();
    let file = sqlite.path("register.db");
    let mut connection = sqlite.connection().await;
    let sql = sqlx::AssertSqlSafe(table("TEXT", as_text, ""));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let escaped = |hex: &str| {
        let pairs = hex.as_bytes().chunks(2);
        let bytes: String = pairs
            .map(|pair| format!("\\x{}", str::from_utf8(pair).unwrap()))
            .collect();
        format!("E'{bytes}'")
    };
    let postgresql = Postgresql::new("SQL_ASCII", &table("TEXT", escaped, ", cho INTERVAL")).await;
    let mariadb = MariaDb::new(&table(
        "VARCHAR(40) CHARACTER SET latin1",
        |hex| format!("_latin1 x'{hex}'"),
        "",
    ))
    .await;
    let port = postgresql.port.to_string();
    let (folder, socket) = (postgresql.socket_file(), mariadb.socket_file());
    let folder = folder.parent().unwrap().to_str().unwrap();
    let engines = [
        (sqlite, vec!["--sqlite", file.to_str().unwrap()]),
        (
            empty(),
            vec![
                "--postgresql",
                &postgresql.name,
                "--socket",
                folder,
                "--port",
                &port,
                "--user",
                &postgresql.name,
            ],
        ),
        (
            empty(),
            vec![
                "--mariadb",
                &mariadb.name,
                "--socket",
                socket.to_str().unwrap(),
                "--user",
                &mariadb.name,
            ],
        ),
    ];
    for (place, arguments) in engines {
        let written = new(&place, &arguments);
        let engine = arguments[0];
        // What was seen is said, and no value is.
        for note in [
            "so_cccd: unique; looks like the number of a person",
            "has lost leading zeros",
            "ho_ten: is padded with spaces",
            "ngay_sinh: holds days of which only a part is known",
            "que_quan: holds bytes that are no UTF-8: find out the encoding",
        ] {
            assert!(written.contains(note), "{engine}: {note}\n{written}");
        }
        for value in ["1285", "Binh", "1953", "28/02"] {
            assert!(!written.contains(value), "{engine}: {value}\n{written}");
        }
        // As it was written it can be checked and served, and answers nothing but what was asked by.
        assert!(place.run("proto", &[]).status.success());
        let said = text(&place.run("check", &[]).stdout);
        assert!(
            said.contains("ready to serve") && said.contains("1 parameters, 1 columns"),
            "{engine}: {said}"
        );

        complete(&place, &written);
        if engine == "--postgresql" {
            let completed = std::fs::read_to_string(place.config()).unwrap();
            assert!(
                completed.contains("CAST(cho AS text) AS cho"),
                "{completed}"
            );
        }
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        let asked = [("so_cccd", string("001285123456"))];
        let reply = client.ask("FindHoSo", &asked).await.unwrap();
        let field = |name: &str| {
            reply
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(field("so_cccd"), Some(string("001285123456")), "{engine}");
        assert_eq!(field("ho_ten"), Some(string("Binh")), "{engine}");
        assert_eq!(field("que_quan"), Some(string("Anh")), "{engine}");
        assert!(
            matches!(field("ngay_sinh"), Some(Value::Message(_))),
            "{engine}: {reply:?}"
        );
        assert_eq!(field("con_song"), Some(Value::I64(0)), "{engine}");
    }
}

#[tokio::test]
async fn what_cannot_be_begun_is_said() {
    let place = Place::new(crate::harness::CONFIGURATION).await;
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_adapter"))
            .arg("new")
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success());
        text(&output.stderr)
    };
    let (config, file) = (place.path("other.toml"), place.path("register.db"));
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let said = run(&[config, "--from-table", "nothing", "--sqlite", file]);
    assert!(said.contains("has no table or view nothing"), "{said}");
    let said = run(&[
        config,
        "--from-table",
        "person",
        "--sqlite",
        "/nowhere/x.db",
    ]);
    assert!(said.contains("cannot be reached or opened"), "{said}");
    let said = run(&[config, "--from-table", "person"]);
    assert!(said.contains("--sqlite"), "{said}");
    let said = run(&[
        config,
        "--from-table",
        "person",
        "--mariadb",
        "d",
        "--user",
        "u",
        "--host",
        "10.0.0.1",
    ]);
    assert!(said.contains("is another machine"), "{said}");
    let existing = place.config();
    let said = run(&[
        existing.to_str().unwrap(),
        "--from-table",
        "person",
        "--sqlite",
        file,
    ]);
    assert!(
        said.contains("cannot write") && said.contains("File exists"),
        "{said}"
    );
    assert!(!std::path::Path::new(config).exists());
}

#[tokio::test]
async fn a_csv_file_becomes_a_service_too() {
    let place = empty();
    let exports = place.path("exports");
    std::fs::create_dir(&exports).unwrap();
    let lines = b"so_cccd;ho_ten;que_quan\n001185123456;An;\xa7\xc6ng\n1285123456;Binh;Anh\n";
    std::fs::write(exports.join("ho_so.csv"), lines).unwrap();
    let folder = exports.to_str().unwrap().to_owned();
    let written = new(&place, &["--csv", &folder, "--delimiter", ";"]);
    assert!(
        written.contains("que_quan: holds bytes that are no UTF-8"),
        "{written}"
    );
    complete(&place, &written);
    assert!(place.run("proto", &[]).status.success());
    let said = text(&place.run("check", &[]).stdout);
    assert!(said.contains("ready to serve"), "{said}");
    let asked = written
        .lines()
        .find(|line| line.contains("type = \"text\""));
    assert!(
        asked.is_some_and(|line| line.contains("so_cccd")),
        "{written}"
    );
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    let method = written
        .lines()
        .find_map(|line| line.strip_prefix("name = \"Find"));
    let method = format!("Find{}", method.unwrap().trim_end_matches('"'));
    let reply = client
        .ask(&method, &[("so_cccd", string("001285123456"))])
        .await
        .unwrap();
    assert!(
        reply.contains(&("que_quan".to_owned(), string("Anh"))),
        "{reply:?}"
    );
}
