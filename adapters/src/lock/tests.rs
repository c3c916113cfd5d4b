//! Numbers stay where they were given, and what breaks callers is named.

use durable::simulated::{Disk, every_fault};

use super::*;

const EXAMPLE: &str = include_str!("../example.toml");

fn configuration(text: &str) -> Configuration {
    Configuration::parse(Path::new("/etc/adapter/population.toml"), text).unwrap()
}

fn changed(from: &str, to: &str) -> Configuration {
    assert!(EXAMPLE.contains(from), "{from}");
    configuration(&EXAMPLE.replacen(from, to, 1))
}

fn number(lock: &Lock, field: &str) -> Option<u32> {
    lock.messages("FindPerson")
        .and_then(|(_, reply)| reply.number(field))
}

const FULL_NAME: &str = "    { name = \"full_name\", column = \"ho_ten\", type = \"text\", doc = \"As in the register.\" },\n";

#[test]
fn a_lock_survives_its_file_and_covers_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("population.toml.lock");
    let configuration = configuration(EXAMPLE);
    assert!(matches!(Lock::read(&path), Err(LockError::Missing { .. })));
    let lock = Lock::begin(&configuration);
    lock.write(&path).unwrap();
    let read = Lock::read(&path).unwrap();
    assert_eq!(read, lock);
    read.require_cover(&path, &configuration).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_lock_file_is_the_old_one_or_the_new_one_whatever_fails() {
    let path = Path::new("/adapter/population.toml.lock");
    let old = Lock::begin(&configuration(EXAMPLE));
    let new = old.revise(&changed(FULL_NAME, "")).lock;
    let prepared = Disk::default();
    durable::make_folder(&prepared, Path::new("/adapter")).unwrap();
    old.write_in(&prepared, path).unwrap();
    let cells = every_fault(
        &prepared,
        |disk| new.write_in(disk, path).is_ok(),
        |disk, written| {
            let found = durable::read(disk, path).unwrap();
            let found: Lock = toml::from_str(std::str::from_utf8(&found).unwrap()).unwrap();
            assert!(found == new || (found == old && !*written));
            new.write_in(disk, path).unwrap();
            *written = true;
        },
    );
    println!("a lock file: {cells}");
}

#[test]
fn a_new_field_anywhere_gets_the_next_number_and_moves_no_other() {
    let lock = Lock::begin(&configuration(EXAMPLE));
    let sex = "    { name = \"sex\", column = \"phai\", type = \"text\" },\n";
    let added = changed(FULL_NAME, &format!("{sex}{FULL_NAME}"));
    let revision = lock.revise(&added);
    assert_eq!(revision.breaking, Vec::<String>::new());
    assert_eq!(revision.compatible, ["field sex of FindPersonReply is new"]);
    let fields = ["number", "full_name", "born_on", "alive", "sex"];
    let numbers = fields.map(|field| number(&revision.lock, field));
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4), Some(5)]);
    let error = lock.require_cover(Path::new("x.lock"), &added).unwrap_err();
    assert!(error.to_string().contains("run `adapter proto`"), "{error}");
}

#[test]
fn a_removed_field_keeps_its_number_out_of_use_even_if_it_comes_back() {
    let lock = Lock::begin(&configuration(EXAMPLE));
    let without = changed(FULL_NAME, "");
    let revision = lock.revise(&without);
    assert_eq!(
        revision.breaking,
        ["field full_name of FindPersonReply was removed"]
    );
    let again = revision.lock.revise(&configuration(EXAMPLE));
    assert_eq!(again.breaking, Vec::<String>::new());
    assert_eq!(number(&again.lock, "full_name"), Some(5));
    let (_, reply) = again.lock.messages("FindPerson").unwrap();
    assert_eq!(
        reply.reserved(),
        [&Reserved {
            number: 2,
            name: "full_name".to_owned()
        }]
    );
}

#[test]
fn a_removed_method_keeps_all_its_numbers_out_of_use() {
    let lock = Lock::begin(&configuration(EXAMPLE));
    let start = EXAMPLE.rfind("[[methods]]").unwrap();
    let revision = lock.revise(&configuration(&EXAMPLE[..start]));
    assert_eq!(revision.breaking, ["method ListByUnit was removed"]);
    let again = revision.lock.revise(&configuration(EXAMPLE));
    assert_eq!(again.compatible, ["method ListByUnit is new"]);
    let (request, _) = again.lock.messages("ListByUnit").unwrap();
    assert_eq!(
        (request.number("unit"), request.number("born_from")),
        (Some(3), Some(4))
    );
}

#[test]
fn what_breaks_callers_is_named() {
    let lock = Lock::begin(&configuration(EXAMPLE));
    let cases = [
        (
            "column = \"con_song\", type = \"boolean\"",
            "column = \"con_song\", type = \"integer\"",
            "field alive of FindPersonReply was boolean and became integer",
        ),
        (
            "type = \"date\", required = false",
            "type = \"date\"",
            "field born_from of \
          ListByUnitRequest became required",
        ),
        (
            "v1.Population\"",
            "v2.Population\"",
            "service vn.population.v1.Population became \
          vn.population.v2.Population",
        ),
        (
            "kind = \"server-streaming\"",
            "kind = \"unary\"",
            "method ListByUnit was \
          server-streaming and became unary",
        ),
        (
            "WHERE ma_xa = :unit AND",
            "WHERE ma_xa = :unit AND tinh = :province AND",
            "field province of ListByUnitRequest is new and required",
        ),
    ];
    for (from, to, expected) in cases {
        let mut text = EXAMPLE
            .replacen(from, to, 1)
            .replace("when_none = \"empty\"", "");
        if to.contains(":province") {
            text = text.replacen(
                "    { name = \"born_from\"",
                "    { name = \"province\", type = \"text\" },\n    { name = \"born_from\"",
                1,
            );
        }
        assert_eq!(lock.revise(&configuration(&text)).breaking, [expected]);
    }
    let relaxed = changed(
        "{ name = \"number\", type = \"text\", doc",
        "{ name = \"number\", type = \"text\", required = true, doc",
    );
    lock.require_cover(Path::new("x.lock"), &relaxed).unwrap();
}

#[test]
fn a_lock_that_was_edited_by_hand_into_a_contradiction_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    Lock::begin(&configuration(EXAMPLE)).write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("number = 2", "number = 1", "the number 1 twice"),
        ("version = 1", "version = 2", "version 2 is not 1"),
        ("number = 2", "nr = 2", "unknown field `nr`"),
    ] {
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = Lock::read(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_numbers_that_protobuf_keeps_for_itself_are_passed_over() {
    let mut message = LockedMessage::default();
    message.reserved.push(Reserved {
        number: 18_999,
        name: "old".to_owned(),
    });
    assert_eq!(message.next_number(), 20_000);
}
