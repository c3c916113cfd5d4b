//! A folder of CSV files as a database: read as it stands, again when it changes, and left alone while it is wrong.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use tonic::Code;

use crate::harness::{Client, HANGS, Place, RunningAdapter, reason, replace, string, text};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
csv = { folder = "exports", delimiter = ";", indexes = ["cong_dan.HO TEN"] }
text = { encoding = "tcvn3", capitals = "name" }

[[methods]]
name = "Find"
kind = "unary"
sql = "SELECT c.SO AS so, u.ten AS unit FROM cong_dan AS c LEFT JOIN unit AS u ON u.ma = c.XA WHERE c.\"HO TEN\" IN (:name)"
request = [{ name = "name", type = "text" }]
reply = [
    { name = "number", column = "so", type = "text", digits = 12, text = { encoding = "utf-8" } },
    { name = "unit", type = "text", text = { encoding = "utf-8" } },
]
sample = { name = "Đặng Thị Ước" }
"#;

/// The second name is in TCVN3; the third has the delimiter and a line in it.
const PERSONS: &[u8] = b"\xef\xbb\xbfSO;HO TEN;XA\r\n1185123456;\xa7\xc6ng Th\xde \xa6\xedc;24\r\n001285123456;\"An; \"\"Binh\"\"\nChi\";25\r\n";

/// Files that are put there have been at rest for a while.
fn put(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    let temporary = folder.join("new.tmp");
    fs::write(&temporary, content).unwrap();
    let written = fs::metadata(&temporary).unwrap().modified().unwrap();
    let since = written - Duration::from_secs(60);
    File::options()
        .write(true)
        .open(&temporary)
        .unwrap()
        .set_modified(since)
        .unwrap();
    fs::rename(temporary, path).unwrap();
}

fn place(configuration: &str) -> Place {
    let place = Place::without_database(configuration);
    let exports = place.path("exports");
    fs::create_dir(&exports).unwrap();
    put(&exports, "cong_dan.csv", PERSONS);
    put(&exports, "unit.CSV", "ma;ten\n24;Hà Nội\n".as_bytes());
    put(&exports, "notes.txt", b"no table");
    place
}

async fn find(
    client: &mut Client,
    name: &str,
) -> Result<Vec<(String, prost_reflect::Value)>, tonic::Status> {
    client.ask("Find", &[("name", string(name))]).await
}

fn number(number: &str) -> (String, prost_reflect::Value) {
    ("number".to_owned(), string(number))
}

#[tokio::test]
async fn files_are_tables_with_text_as_it_stands_in_them() {
    let place = place(CONFIGURATION);
    assert!(place.run("proto", &[]).status.success());
    let said = text(&place.run("check", &[]).stdout);
    assert!(
        said.contains("USING INDEX") && said.contains("ready to serve"),
        "{said}"
    );
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    let found = find(&mut client, "Đặng Thị Ước").await.unwrap();
    assert_eq!(
        found,
        [
            number("001185123456"),
            ("unit".to_owned(), string("Hà Nội"))
        ]
    );
    assert_eq!(
        find(&mut client, "An; \"Binh\"\nChi").await.unwrap(),
        [number("001285123456")]
    );
}

/// Asks until the answer has this number, or until the time for that is over.
async fn until(client: &mut Client, name: &str, expected: &str) {
    let found = async {
        loop {
            match find(client, name).await {
                Ok(found) if found[0] == number(expected) => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(HANGS, found).await.unwrap();
}

#[tokio::test]
async fn a_new_file_is_read_and_one_that_is_wrong_leaves_the_one_before() {
    let mut adapter: RunningAdapter = place(CONFIGURATION).serve().await;
    let exports = adapter.place.path("exports");
    let mut client = adapter.client().await;
    put(
        &exports,
        "cong_dan.csv",
        b"SO;HO TEN;XA\n000000000007;An;24\n",
    );
    until(&mut client, "An", "000000000007").await;
    assert_eq!(
        find(&mut client, "Đặng Thị Ước").await.unwrap_err().code(),
        Code::NotFound
    );
    for (wrong, expected) in [
        (&b"SO;HO TEN;XA\n1;An;24\n2;Binh\n"[..], "line: 3"),
        (
            b"SO;HO TEN;so\n1;An;24\n",
            "name 3 of the first line is there twice",
        ),
        (
            b"\xa7;HO TEN;XA\n1;An;24\n",
            "a name in the first line is no UTF-8",
        ),
        (b"SO;HO TEN\n1;An\n", "there is no cong_dan.XA any more"),
        (b"X;Y\n1;2\n", "there is no cong_dan.HO TEN for an index"),
    ] {
        put(&exports, "cong_dan.csv", wrong);
        assert_eq!(
            find(&mut client, "An").await.unwrap()[0],
            number("000000000007")
        );
        let line = adapter.log_line(&["not loaded"]).await;
        assert!(line.contains(expected), "{line}");
    }
    put(
        &exports,
        "cong_dan.csv",
        b"SO;HO TEN;XA\n000000000009;An;24\n",
    );
    until(&mut client, "An", "000000000009").await;
    // A link that leads nowhere is no table; a file from the future is read like another.
    std::os::unix::fs::symlink("nowhere", exports.join("link.csv")).unwrap();
    // The year 2100.
    let later = std::time::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    let new = exports.join("new");
    fs::write(&new, b"SO;HO TEN;XA\n000000000010;An;24\n").unwrap();
    File::options()
        .append(true)
        .open(&new)
        .unwrap()
        .set_modified(later)
        .unwrap();
    fs::rename(&new, exports.join("cong_dan.csv")).unwrap();
    until(&mut client, "An", "000000000010").await;
    fs::write(exports.join("CONG_DAN.csv"), b"SO\n").unwrap();
    let line = adapter.log_line(&["not loaded"]).await;
    assert!(line.contains("would be one table"), "{line}");
    fs::remove_file(exports.join("CONG_DAN.csv")).unwrap();
    // The folder goes away and comes back.
    let away = adapter.place.path("away");
    fs::rename(&exports, &away).unwrap();
    adapter.log_line(&["exports: No such file"]).await;
    let error = find(&mut client, "An").await.unwrap_err();
    assert_eq!(
        reason(&error, "retry"),
        ("DATABASE_UNAVAILABLE".into(), Some("true".into()))
    );
    fs::rename(&away, &exports).unwrap();
    until(&mut client, "An", "000000000010").await;
}

#[tokio::test]
async fn what_is_no_folder_of_tables_is_refused() {
    let missing = replace(
        CONFIGURATION,
        "folder = \"exports\"",
        "folder = \"nowhere\"",
    );
    let said_of = |configuration: &str| {
        let place = place(configuration);
        text(&place.run("proto", &[]).stderr) + &text(&place.run("check", &[]).stderr)
    };
    let said = said_of(&missing);
    assert!(said.contains("nowhere: No such file"), "{said}");
    let said = said_of(&replace(
        CONFIGURATION,
        "delimiter = \";\"",
        "delimiter = \"tab\"",
    ));
    assert!(
        said.contains("delimiter is one character of ASCII"),
        "{said}"
    );
    let said = said_of(&replace(CONFIGURATION, "cong_dan.HO TEN", "HO TEN"));
    assert!(said.contains("write TABLE.COLUMN"), "{said}");
    let write = "kind = \"unary\"\nidempotency_key = \"name\"\nsteps = [{ name = \"s\", sql = \"DELETE FROM unit WHERE ma IN (:name)\" }]\n";
    let said = said_of(&replace(CONFIGURATION, "kind = \"unary\"\n", write));
    assert!(said.contains("CSV files are only read"), "{said}");
}
