//! `adapter mock`: the published service from CSV fixtures, before anybody lets the adapter near a database.

use std::{fs, process::Command};

use prost_reflect::Value;
use tonic::{Code, Request};

use crate::harness::{Client, HANGS, Place, reason, string, text};

/// A configuration over a database that is nowhere, with an old encoding, codes, parts of dates and a write.
const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
postgresql = { socket = "/nowhere", database = "hotich", user = "reader" }
text = { encoding = "tcvn3", capitals = "name" }

[[methods]]
name = "Find"
kind = "unary"
sql = "SELECT HO_TEN, SEX, NGAY, CON_SONG, SO_CON FROM CONG_DAN WHERE SO IN (:number) AND (:alive IS NULL OR CON_SONG = :alive)"
request = [
    { name = "number", type = "text", digits = 12 },
    { name = "alive", type = "boolean", required = false },
]
reply = [
    { name = "full_name", column = "HO_TEN", type = "text" },
    { name = "sex", column = "SEX", type = "text", codes = { 0 = "female", 1 = "male" } },
    { name = "born", column = "NGAY", type = "partial-date", format = "DD/MM/YYYY" },
    { name = "alive", column = "CON_SONG", type = "boolean" },
    { name = "children", column = "SO_CON", type = "integer" },
]
sample = { number = "001185123456" }

[[methods]]
name = "Declare"
kind = "unary"
idempotency_key = "key"
steps = [{ name = "insert", sql = "INSERT INTO T VALUES (:key)" }]
sql = "SELECT SO FROM T WHERE K IN (:key)"
request = [{ name = "key", type = "text" }]
reply = [{ name = "number", column = "SO", type = "integer" }]

[[methods]]
name = "List"
kind = "server-streaming"
sql = "SELECT SO FROM T"
reply = [{ name = "number", column = "SO", type = "integer" }]
"#;

fn fixtures(place: &Place) -> String {
    let folder = place.path("fixtures");
    fs::create_dir(&folder).unwrap();
    for (name, content) in [
        (
            "Find.csv",
            "number,alive,full_name,sex,born,children\n\
             001185123456,true,Đặng Thị Ước,female,1985-02-28,2\n\
             001285123456,false,\"Nguyễn, Ánh\",male,1953,\n\
             001485123456,true,x,femal,,\n001585123456,true,x,male,,two\n001685123456,yes,x,male,,\n",
        ),
        ("Declare.csv", "key,number\n,7\n"),
        ("List.csv", "number\n1\n2\n3\n"),
    ] {
        fs::write(folder.join(name), content).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn field<'a>(reply: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    reply
        .iter()
        .find(|(field, _)| field == name)
        .map(|(_, value)| value)
}

async fn find(client: &mut Client, number: &str) -> Result<Vec<(String, Value)>, tonic::Status> {
    client.ask("Find", &[("number", string(number))]).await
}

#[tokio::test]
async fn fixtures_answer_as_the_register_will() {
    let place = Place::without_database(CONFIGURATION);
    let fixtures = fixtures(&place);
    let adapter = place.run_server(&["mock", "--fixtures", &fixtures]).await;
    let mut client = adapter.client().await;
    let reply = find(&mut client, "001185123456").await.unwrap();
    assert_eq!(field(&reply, "full_name"), Some(&string("Đặng Thị Ước")));
    assert_eq!(field(&reply, "sex"), Some(&string("female")));
    assert_eq!(field(&reply, "alive"), Some(&Value::Bool(true)));
    assert_eq!(field(&reply, "children"), Some(&Value::I64(2)));
    let reply = find(&mut client, "001285123456").await.unwrap();
    assert_eq!(field(&reply, "full_name"), Some(&string("Nguyễn, Ánh")));
    assert_eq!(field(&reply, "children"), None);
    let born = field(&reply, "born").unwrap().as_message().unwrap();
    assert_eq!(*born.get_field_by_name("year").unwrap(), Value::I32(1953));
    assert!(!born.has_field_by_name("month"));
    assert_eq!(
        find(&mut client, "001385123456").await.unwrap_err().code(),
        Code::NotFound
    );
    let dead = [
        ("number", string("001185123456")),
        ("alive", Value::Bool(false)),
    ];
    assert_eq!(
        client.ask("Find", &dead).await.unwrap_err().code(),
        Code::NotFound
    );
    let error = client.ask("Find", &[]).await.unwrap_err();
    assert_eq!(
        reason(&error, "field"),
        ("FIELD_MISSING".into(), Some("number".into()))
    );
    for wrong in ["001485123456", "001585123456", "001685123456"] {
        let error = find(&mut client, wrong).await.unwrap_err();
        assert_eq!(reason(&error, "").0, "VALUE_UNREADABLE", "{wrong}");
    }
    // An empty cell stands for any value.
    let reply = client
        .ask("Declare", &[("key", string("whatever"))])
        .await
        .unwrap();
    assert_eq!(reply, [("number".to_owned(), Value::I64(7))]);
    let request = client.request("List", &[]);
    let mut rows = client.stream("List", Request::new(request)).await.unwrap();
    let mut count = 0;
    while tokio::time::timeout(HANGS, rows.message())
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn a_method_without_fixtures_is_told_what_they_are() {
    let place = Place::without_database(CONFIGURATION);
    let folder = fixtures(&place);
    fs::remove_file(format!("{folder}/Find.csv")).unwrap();
    assert!(place.run("proto", &[]).status.success());
    let mock = Command::new(env!("CARGO_BIN_EXE_adapter"))
        .arg("mock")
        .arg(place.config())
        .args(["--fixtures", &folder])
        .output()
        .unwrap();
    let said = text(&mock.stderr);
    assert!(!mock.status.success(), "{said}");
    let expected =
        "for the method Find; its first line is: number,alive,full_name,sex,born,children";
    assert!(
        said.contains("Find.csv") && said.contains(expected),
        "{said}"
    );
    fs::write(
        format!("{folder}/Find.csv"),
        "number,alive,ful_name,sex,born,children\n",
    )
    .unwrap();
    let mock = Command::new(env!("CARGO_BIN_EXE_adapter"))
        .arg("mock")
        .arg(place.config())
        .args(["--fixtures", &folder])
        .output()
        .unwrap();
    let said = text(&mock.stderr);
    assert!(
        said.contains("lacks the columns full_name of the method Find"),
        "{said}"
    );
}
