//! Whom messages are about, by descriptors that protox compiles and messages that prost-reflect encodes.

use std::collections::BTreeSet;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage,
    prost_types::{DescriptorProto, FileDescriptorSet},
};
use trust::{
    Digest, MethodPath,
    header::Direction,
    subject::{SUBJECTS_LIMIT, SubjectKey, Subjects, Unread},
};

use super::{
    marks::{Marks, Root},
    walk,
};

const BIRTHS: &str = r#"
syntax = "proto3";
package vn.births.v1;

import "google/protobuf/timestamp.proto";

service Births {
  rpc Register(Registration) returns (Certificate);
  rpc Count(Period) returns (Period);
  rpc Import(Rows) returns (Period);
}

message Period {
  google.protobuf.Timestamp from = 1;
}

message Parent {
  // Personal identification number.
  // @data-subject
  string number = 7;
  string name = 8;
}

message Registration {
  Parent mother = 1;
  Parent father = 2;
  repeated Parent witnesses = 3;
  string note = 4; // @data-subject is not on a line of its own here: but a note is no person
  map<string, Parent> others = 5;
  Registration earlier = 6;
}

message Certificate {
  message Holder {
    int64 book = 1; // @data-subject
    // @data-subject
    repeated int32 pages = 2;
    // @data-subject
    sint64 signed = 3;
    // @data-subject
    fixed32 fixed = 4;
    // @data-subject
    sfixed64 wide = 5;
    // @data-subject
    uint32 plain = 6;
  }
  Holder holder = 1;
}

message Rows {
  // @data-subject
  repeated string numbers = 1;
  // @data-subject
  bytes fingerprint = 2;
}
"#;

fn key() -> SubjectKey {
    SubjectKey::new(&[7; 32])
}

fn compiled() -> FileDescriptorSet {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("births.proto");
    std::fs::write(&file, BIRTHS).unwrap();
    protox::compile([&file], [folder.path()]).unwrap()
}

/// Whom a message of a method is about that is given as JSON.
fn subjects(method: &str, direction: Direction, json: &str) -> Subjects {
    let set = compiled();
    let pool = DescriptorPool::from_file_descriptor_set(set).unwrap();
    let service = pool.get_service_by_name("vn.births.v1.Births").unwrap();
    let declared = service.methods().find(|it| it.name() == method).unwrap();
    let of_type = match direction {
        Direction::Request => declared.input(),
        Direction::Reply => declared.output(),
    };
    let mut json = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(of_type, &mut json).unwrap();
    of_bytes(method, direction, &message.encode_to_vec())
}

fn of_bytes(method: &str, direction: Direction, bytes: &[u8]) -> Subjects {
    let marks = Marks::read(&compiled().encode_to_vec()).unwrap();
    let path = MethodPath::new("vn.births.v1.Births", method).unwrap();
    match marks.root(&path, direction).unwrap() {
        Root::At(root) => walk::subjects(&marks, root, bytes, &key()),
        Root::Nobody => Subjects::default(),
        Root::Unknown => Subjects::unread(Unread::UnknownMethod),
    }
}

fn hashes(numbers: &[&str]) -> BTreeSet<Digest> {
    numbers.iter().map(|number| key().hash(number)).collect()
}

#[track_caller]
fn assert_about(found: &Subjects, numbers: &[&str]) {
    assert_eq!(found.hashes, hashes(numbers));
    assert_eq!(found.unread, None);
}

#[test]
fn persons_are_found_wherever_a_message_names_them() {
    let json = r#"{
        "mother": { "number": "001", "name": "Nguyễn Thị Hoa" },
        "father": { "name": "unknown" },
        "witnesses": [{ "number": "002" }, { "number": " 001 " }, { "number": "  " }],
        "note": "003",
        "others": { "midwife": { "number": "004" } },
        "earlier": { "earlier": { "father": { "number": "005" } } }
    }"#;
    let found = subjects("Register", Direction::Request, json);
    assert_about(&found, &["001", "002", "004", "005"]);
}

#[test]
fn numbers_are_persons_by_their_digits() {
    let json = r#"{ "holder": { "book": "-5", "pages": [1, 2], "signed": "-3", "fixed": 4, "wide": "-6",
        "plain": 4294967295 } }"#;
    let found = subjects("Register", Direction::Reply, json);
    assert_about(&found, &["-5", "1", "2", "-3", "4", "-6", "4294967295"]);
}

#[test]
fn nobody_is_looked_for_where_nobody_is_marked() {
    let marks = Marks::read(&compiled().encode_to_vec()).unwrap();
    let count = MethodPath::new("vn.births.v1.Births", "Count").unwrap();
    assert_eq!(marks.root(&count, Direction::Request), Some(Root::Nobody));
    let other = MethodPath::new("vn.births.v1.Births", "Erase").unwrap();
    assert_eq!(marks.root(&other, Direction::Request), None);
}

#[test]
fn a_person_named_twice_over_is_found_both_times() {
    let first = b"\x0a\x05\x3a\x03001".to_vec();
    let second = b"\x0a\x05\x3a\x03002";
    // Readers merge the mother of the first with that of the second, whose number is the last.
    let found = of_bytes(
        "Register",
        Direction::Request,
        &[&first, &second[..]].concat(),
    );
    assert_about(&found, &["001", "002"]);
}

#[test]
fn a_number_too_long_for_its_type_is_what_readers_take_it_for() {
    // pages = 2^32 + 9, unpacked and packed.
    for message in [
        &b"\x0a\x06\x10\x89\x80\x80\x80\x10"[..],
        b"\x0a\x07\x12\x05\x89\x80\x80\x80\x10",
    ] {
        let found = of_bytes("Register", Direction::Reply, message);
        assert_about(&found, &["9"]);
    }
}

#[test]
fn what_cannot_be_read_is_said_and_what_was_found_before_stays() {
    let named = b"\x0a\x05\x3a\x03001";
    for (what, rest) in [
        ("a length beyond the end", &b"\x12\x7f"[..]),
        ("no field", b"\x00"),
        ("text that is not UTF-8", b"\x12\x03\x3a\x01\xff"),
        ("a group that does not end", b"\x53"),
    ] {
        let found = of_bytes("Register", Direction::Request, &[&named[..], rest].concat());
        assert_eq!(found.unread, Some(Unread::Unreadable), "{what}");
        assert_eq!(found.hashes, hashes(&["001"]), "{what}");
    }
}

#[test]
fn a_field_of_another_type_is_one_that_readers_do_not_know() {
    // mother as a number; her number as one.
    let found = of_bytes("Register", Direction::Request, b"\x08\x01\x0a\x02\x38\x01");
    assert_about(&found, &[]);
}

#[test]
fn messages_in_messages_are_followed_as_deep_as_readers_go() {
    let nested = |depth: usize| {
        let mut message = b"\x0a\x05\x3a\x03001".to_vec();
        for _ in 0..depth {
            let mut outer = vec![0x32];
            prost::encoding::encode_varint(message.len() as u64, &mut outer);
            outer.append(&mut message);
            message = outer;
        }
        of_bytes("Register", Direction::Request, &message)
    };
    assert_about(&nested(90), &["001"]);
    assert_eq!(nested(101).unread, Some(Unread::Unreadable));
}

#[test]
fn what_marks_a_person_and_is_no_text_or_number_is_said() {
    let json = r#"{ "numbers": ["001"], "fingerprint": "AAAA" }"#;
    let found = subjects("Import", Direction::Request, json);
    assert_eq!(found.unread, Some(Unread::Unreadable));
    assert_eq!(found.hashes, hashes(&["001"]));
}

#[test]
fn a_record_names_so_many_persons_and_says_when_there_are_more() {
    let of = |persons: usize| {
        let numbers: Vec<_> = (0..persons).map(|number| number.to_string()).collect();
        let json = serde_json::json!({ "numbers": numbers }).to_string();
        subjects("Import", Direction::Request, &json)
    };
    assert_eq!(of(SUBJECTS_LIMIT).unread, None);
    let more = of(SUBJECTS_LIMIT + 1);
    assert_eq!(more.unread, Some(Unread::TooMany));
    assert_eq!(more.hashes.len(), SUBJECTS_LIMIT);
}

#[test]
fn a_method_whose_types_are_not_all_described_is_not_said_to_name_nobody() {
    let mut set = compiled();
    for file in &mut set.file {
        file.message_type
            .retain(|message| message.name() != "Parent");
    }
    let marks = Marks::read(&set.encode_to_vec()).unwrap();
    let register = MethodPath::new("vn.births.v1.Births", "Register").unwrap();
    assert_eq!(
        marks.root(&register, Direction::Request),
        Some(Root::Unknown)
    );
    // Google's own types need not be there.
    set.file.retain(|file| file.name() == "births.proto");
    let marks = Marks::read(&set.encode_to_vec()).unwrap();
    let count = MethodPath::new("vn.births.v1.Births", "Count").unwrap();
    assert_eq!(marks.root(&count, Direction::Request), Some(Root::Nobody));
}

#[test]
fn descriptors_are_read_or_refused() {
    assert!(Marks::read(b"\x0a\x7f").is_none());
}

#[test]
fn nobody_is_said_to_be_named_where_the_comments_are_missing_or_types_are_extended() {
    let register = MethodPath::new("vn.births.v1.Births", "Register").unwrap();
    let root = |change: &dyn Fn(&mut FileDescriptorSet)| {
        let mut set = compiled();
        change(&mut set);
        let marks = Marks::read(&set.encode_to_vec()).unwrap();
        marks.root(&register, Direction::Request)
    };
    assert!(matches!(root(&|_| ()), Some(Root::At(_))));
    let without_comments = root(&|set| {
        for file in &mut set.file {
            file.source_code_info = None;
        }
    });
    assert_eq!(without_comments, Some(Root::Unknown));
    let extended = root(&|set| {
        for file in &mut set.file {
            file.extension.push(Default::default());
        }
    });
    assert_eq!(extended, Some(Root::Unknown));
}

#[test]
fn a_descriptor_set_has_bounds() {
    let mut set = compiled();
    let long = "x".repeat(600);
    set.file.last_mut().unwrap().message_type[0].name = Some(long);
    assert!(Marks::read(&set.encode_to_vec()).is_none());
    let mut set = compiled();
    let message = |number: usize| DescriptorProto {
        name: Some(format!("M{number}")),
        ..Default::default()
    };
    set.file.last_mut().unwrap().message_type = (0..20_000).map(message).collect();
    assert!(Marks::read(&set.encode_to_vec()).is_none());
    assert!(Marks::read(&vec![0; 600 * 1024]).is_none());
}

#[test]
fn one_person_over_and_over_keeps_nobody_busy() {
    let numbers = vec!["001"; 20_000];
    let json = serde_json::json!({ "numbers": numbers }).to_string();
    let found = subjects("Import", Direction::Request, &json);
    assert_eq!(found.unread, Some(Unread::TooMany));
    assert_eq!(found.hashes, hashes(&["001"]));
}

#[test]
fn a_message_encoded_as_a_group_is_not_passed_over() {
    // mother as a group: start, number, end.
    let found = of_bytes("Register", Direction::Request, b"\x0b\x3a\x03001\x0c");
    assert_eq!(found.unread, Some(Unread::Unreadable));
}
