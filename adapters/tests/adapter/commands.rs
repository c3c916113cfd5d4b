//! The commands as an integrator runs them: what they print, write and refuse.

use tonic::transport::Endpoint;

use crate::harness::{CONFIGURATION, Place, RunningAdapter, SERVICE, names, replace, text};

const DELETING: &str = "WITH x AS (SELECT 1) DELETE FROM unit RETURNING code";

#[tokio::test]
async fn proto_gives_numbers_once_and_refuses_to_break_callers() {
    let place = Place::new(CONFIGURATION).await;
    let first = place.run("proto", &[]);
    assert!(first.status.success());
    assert!(text(&first.stdout).contains("rpc List(ListRequest) returns (stream ListReply);"));
    assert!(text(&first.stderr).contains("method Find is new"));
    let lock = std::fs::read(place.path("register.toml.lock")).unwrap();
    let out = place.path("register.proto");
    let second = place.run("proto", &["--out", out.to_str().unwrap()]);
    assert!(second.status.success() && second.stderr.is_empty());
    assert_eq!(std::fs::read(&out).unwrap(), first.stdout);
    let changed = replace(
        CONFIGURATION,
        "    { name = \"photo\", type = \"bytes\" },\n",
        "",
    );
    std::fs::write(place.config(), changed).unwrap();
    let refused = place.run("proto", &[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("field photo of FindReply was removed"),
        "{said}"
    );
    assert_eq!(
        std::fs::read(place.path("register.toml.lock")).unwrap(),
        lock
    );
    let accepted = place.run("proto", &["--accept-breaking-changes"]);
    assert!(text(&accepted.stdout).contains("reserved 6; // was photo"));
}

#[tokio::test]
async fn serve_and_check_ask_for_the_lock_file() {
    let place = Place::new(CONFIGURATION).await;
    let refused = place.run("serve", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("run `adapter proto`"),
        "{}",
        text(&refused.stderr)
    );
    let checked = place.run("check", &[]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("WRONG there is no lock file"));
    assert!(place.run("proto", &[]).status.success());
    let more = replace(
        CONFIGURATION,
        "sql = \"SELECT code FROM unit\"\nmax_rows = 10\nreply = [",
        "sql = \"SELECT code, name FROM unit\"\nmax_rows = 10\nreply = [{ name = \"name\", type = \
         \"text\" }, ",
    );
    std::fs::write(place.config(), more).unwrap();
    let refused = text(&place.run("serve", &[]).stderr);
    assert!(refused.contains("does not cover") && refused.contains("field name of CountReply"));
}

#[tokio::test]
async fn check_reports_types_and_counts_and_no_value() {
    let place = Place::new(CONFIGURATION).await;
    assert!(place.run("proto", &[]).status.success());
    // The endless method is sampled to its first rows; the slow one has none in its time.
    let quick = replace(CONFIGURATION, "WHERE i < 0", "LIMIT 1");
    std::fs::write(place.config(), quick).unwrap();
    let checked = place.run("check", &[]);
    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    for expected in [
        "Find: 3 parameters, 6 columns\n  plan: SCAN person (reads all of it)\n  sample of 1 rows\n    id: 1 TEXT\n",
        "    born_on: 1 TEXT\n    alive: 1 INTEGER\n    weight: 1 REAL\n    photo: 1 BLOB\n",
        "List: 1 parameters, 2 columns\n  plan: SEARCH unit USING INTEGER PRIMARY KEY (rowid>?)\n  no sample: give the method `sample",
        "  plan: SCAN CONSTANT ROW\n",
        "  sample of 100 rows\n    i: 100 INTEGER\n",
        "ready to serve vn.test.v1.Register",
    ] {
        assert!(said.contains(expected), "{expected}\nin\n{said}");
    }
    assert!(
        !said.contains("001087123456") && !said.contains("Nguy"),
        "{said}"
    );
}

#[tokio::test]
async fn check_names_everything_that_does_not_fit() {
    let wrong = replace(CONFIGURATION, "column = \"born\"", "column = \"birth\"");
    let wrong = replace(
        &wrong,
        "SELECT code FROM unit\"",
        "SELECT code FROM units\"",
    );
    let wrong = replace(
        &wrong,
        "SELECT code FROM unit WHERE",
        "SELECT code, code FROM unit WHERE",
    );
    let wrong = replace(&wrong, "SELECT code, name FROM", "SELECT * FROM person, ");
    let place = Place::new(&replace(&wrong, "id = \"001087123456\"", "id = \"0\"")).await;
    assert!(place.run("proto", &[]).status.success());
    let checked = place.run("check", &[]);
    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for expected in [
        "WRONG method Find: reply field born_on: the SQL text has no column \"birth\"; it has id, ",
        "WRONG method Find: the SQL text selects \"born\", which no reply field answers",
        "WRONG method Count: SQLite refuses the SQL text: no such table: units",
        "WRONG method Few: reply field code: the SQL text has two columns \"code\"",
        "WRONG method List: the SQL text selects \"photo\", which no reply field answers",
    ] {
        assert!(said.contains(expected), "{expected}\nin\n{said}");
    }
    let refused = place.run("serve", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("method Count: SQLite refuses"));
}

#[tokio::test]
async fn a_sample_that_does_not_decode_is_named_by_row_and_kind() {
    let place = Place::new(&replace(
        CONFIGURATION,
        "\"001087123456\"",
        "\"014200000001\"",
    ))
    .await;
    assert!(place.run("proto", &[]).status.success());
    let said = text(&place.run("check", &[]).stdout);
    let expected = "WRONG method Find: reply field born_on: row 1 of the sample holds TEXT where a \
                    day that exists";
    assert!(said.contains(expected) && !said.contains("1953"), "{said}");
}

#[tokio::test]
async fn sql_that_writes_is_refused_before_it_runs() {
    let sql = "sql = \"SELECT code FROM unit\"";
    let place = Place::new(&replace(
        CONFIGURATION,
        sql,
        &format!("sql = \"{DELETING}\""),
    ))
    .await;
    assert!(place.run("proto", &[]).status.success());
    let before = std::fs::read(place.path("register.db")).unwrap();
    let checked = place.run("check", &[]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("WRONG method Count: the SQL text writes"));
    let refused = place.run("serve", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("method Count: the SQL text writes"));
    assert_eq!(std::fs::read(place.path("register.db")).unwrap(), before);
    let dropping = replace(CONFIGURATION, sql, "sql = \"DROP TABLE unit\"");
    std::fs::write(place.config(), dropping).unwrap();
    let refused = text(&place.run("check", &[]).stderr);
    assert!(
        refused.contains("method Count: the SQL text begins with \"DROP\""),
        "{refused}"
    );
}

#[tokio::test]
async fn a_missing_database_and_wrong_use_have_their_own_exit_codes() {
    let place = Place::new(&replace(CONFIGURATION, "register.db", "nowhere.db")).await;
    let checked = place.run("check", &[]);
    assert_eq!(checked.status.code(), Some(1));
    let said = text(&checked.stderr);
    assert!(
        said.contains("nowhere.db") && said.contains("see that the file exists"),
        "{said}"
    );
    assert!(!place.path("nowhere.db").exists());
    assert_eq!(place.run("check", &["--loud"]).status.code(), Some(2));
    assert_eq!(place.run("guess", &[]).status.code(), Some(2));
}

#[tokio::test]
async fn both_signals_end_the_adapter_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let mut adapter = RunningAdapter::start().await;
        drop(adapter.client().await);
        assert_eq!(adapter.stop(signal).await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_unix_socket_is_served_replaced_if_abandoned_and_removed_at_the_end() {
    let unix = "unix = \"register.sock\"";
    let place = Place::new(&replace(CONFIGURATION, "address = \"127.0.0.1:0\"", unix)).await;
    let socket = place.path("register.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut adapter = place.serve().await;
    assert_eq!(adapter.address, format!("unix:{}", socket.display()));
    let endpoint = Endpoint::from_shared(adapter.address.clone()).unwrap();
    endpoint.connect().await.unwrap();
    let second = adapter.place.run("serve", &[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("cannot listen on unix:"),
        "{}",
        text(&second.stderr)
    );
    assert_eq!(adapter.stop("-TERM").await.code(), Some(0));
    let left = names(adapter.place.folder.path());
    assert!(!left.contains(&"register.sock".to_owned()), "{left:?}");
}

#[tokio::test]
async fn what_hosts_the_service_is_printed_for_the_state_file() {
    let subsystem = "VN/GOV/G30/beds";
    let clients = ["VN/GOV/H37.02/desk", "VN/GOV/A \"B\"/x"];
    let asked = [
        "--subsystem",
        subsystem,
        "--client",
        clients[0],
        "--client",
        clients[0],
    ];
    let place = Place::new(CONFIGURATION).await;
    let refused = place.run("register", &asked);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("127.0.0.1:0"), "{refused:?}");

    let fixed = replace(
        CONFIGURATION,
        "address = \"127.0.0.1:0\"",
        "unix = \"the socket\"",
    );
    std::fs::write(place.config(), fixed).unwrap();
    let printed = text(&place.run("register", &asked).stdout);
    let printed: toml::Table = printed.parse().unwrap();
    let service = &printed["services"][0];
    assert_eq!(service["subsystem"].as_str(), Some(subsystem));
    assert_eq!(service["grpc_service"].as_str(), Some(SERVICE));
    let socket = format!("unix:{}", place.path("the socket").display());
    assert_eq!(service["adapter"].as_str(), Some(&*socket));
    assert_eq!(printed["access_rights"].as_array().unwrap().len(), 1);
    assert_eq!(
        printed["access_rights"][0]["client"].as_str(),
        Some(clients[0])
    );

    for wrong in ["VN/GOV/G30", clients[1], ""] {
        let refused = place.run("register", &["--subsystem", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
    }
}
