//! The `.proto` is the golden one, and its descriptors say the same.

use std::path::Path;

use prost_reflect::Kind;

use super::*;

fn schema() -> Schema {
    let text = include_str!("../example.toml");
    let configuration =
        Configuration::parse(Path::new("/etc/adapter/population.toml"), text).unwrap();
    Schema::write(&configuration, &Lock::begin(&configuration)).unwrap()
}

#[test]
fn the_text_is_the_golden_one() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/population.proto");
    let schema = schema();
    if std::env::var_os("LIENTHONG_WRITE_GENERATED").is_some() {
        std::fs::write(&golden, &schema.text).unwrap();
    }
    let committed = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(
        schema.text, committed,
        "after a wanted change: LIENTHONG_WRITE_GENERATED=1"
    );
    assert_eq!(schema.file_name, "vn/population/v1/population.proto");
}

#[test]
fn fields_have_presence_and_the_types_of_the_configuration() {
    let reply = schema()
        .message("vn.population.v1", "FindPersonReply")
        .unwrap();
    let kinds: Vec<_> = reply
        .fields()
        .map(|field| (field.number(), field.kind()))
        .collect();
    assert_eq!(
        kinds,
        [
            (1, Kind::String),
            (2, Kind::String),
            (3, Kind::String),
            (4, Kind::Bool)
        ]
    );
    assert!(reply.fields().all(|field| field.supports_presence()));
}

#[test]
fn the_data_subject_can_be_read_from_the_descriptors() {
    let schema = schema();
    let set: prost_types::FileDescriptorSet =
        prost::Message::decode(schema.descriptors.as_slice()).unwrap();
    let locations = &set.file[0].source_code_info.as_ref().unwrap().location;
    let marked: Vec<_> = locations
        .iter()
        .filter(|location| {
            location
                .leading_comments()
                .lines()
                .any(|line| line.trim() == SUBJECT_MARK)
        })
        .map(|location| location.path.as_slice())
        .collect();
    // Field 4 of a file are its messages, field 2 of a message its fields.
    assert_eq!(marked, [&[4, 0, 2, 0][..], &[4, 1, 2, 0][..]]);
}
