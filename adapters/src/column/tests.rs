//! Stored values as registers hold them, both ways.

use super::*;
use crate::encoding::{Capitals, Encoding};

fn text(text: &'static str) -> Cell {
    Cell::Text(Bytes::from_static(text.as_bytes()))
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn meaning(meaning: Meaning) -> ColumnRules {
    ColumnRules {
        meaning,
        ..ColumnRules::default()
    }
}

/// The value that is read, if the cell is what was declared.
fn read(rules: &ColumnRules, field_type: FieldType, cell: Cell) -> Option<Option<Value>> {
    let read = rules.read(field_type, &[cell]).ok()?;
    assert_eq!(read.undecodable, 0);
    Some(read.value.map(|content| match content {
        Content::Plain(value) => value,
        Content::PartialDate(date) => panic!("{date:?}"),
    }))
}

fn read_text(rules: &ColumnRules, cell: Cell) -> Option<Option<Value>> {
    read(rules, FieldType::Text, cell)
}

fn stored(rules: &ColumnRules, field_type: FieldType, value: &Value) -> Vec<String> {
    let cells = rules.bind(field_type, value).unwrap();
    assert!(cells.len() <= rules.most_cells(field_type));
    let cells = cells.into_iter().filter_map(|cell| match cell {
        Cell::Text(text) => Some(String::from_utf8(text.into()).unwrap()),
        Cell::Integer(_) => None,
        other => panic!("{other:?}"),
    });
    cells.collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn null_is_absent_whatever_the_rules() {
    let rules = [
        meaning(Meaning::Plain),
        meaning(Meaning::Digits(3)),
        meaning(Meaning::Codes(vec![("1".to_owned(), "a".to_owned())])),
        meaning(Meaning::Part(NamePart::Given)),
    ];
    for rules in rules {
        assert_eq!(read_text(&rules, Cell::Null), Some(None));
    }
}

#[test]
fn bytes_that_mean_nothing_are_refused_unless_something_else_is_declared() {
    for undecodable in [
        Undecodable::Strict,
        Undecodable::Report,
        Undecodable::Replace,
    ] {
        for (encoding, cell) in [
            (Encoding::Utf8, Cell::Text(Bytes::from_static(b"H\xc3"))),
            (Encoding::Tcvn3, Cell::Text(Bytes::from_static(b"H\xff"))),
            (Encoding::Tcvn3, Cell::Blob(Bytes::from_static(b"H\xff"))),
        ] {
            let text = TextForm {
                encoding,
                undecodable,
                ..TextForm::default()
            };
            let rules = ColumnRules {
                text,
                ..ColumnRules::default()
            };
            let read = rules.read(FieldType::Text, &[cell]);
            if undecodable == Undecodable::Strict {
                assert_eq!(read.unwrap_err().expected, encoding.expectation());
                continue;
            }
            let read = read.unwrap();
            assert_eq!(read.value, Some(plain(string("H\u{fffd}"))));
            assert_eq!(read.undecodable, 1);
        }
    }
    let blob = Cell::Blob(Bytes::from_static(b"a"));
    assert_eq!(read_text(&ColumnRules::default(), blob), None);
}

#[test]
fn padding_is_taken_off_and_put_on_where_it_is_declared() {
    let rules = ColumnRules {
        trim: true,
        padded_to: Some(5),
        ..ColumnRules::default()
    };
    assert_eq!(
        read_text(&rules, text(" TE1  ")),
        Some(Some(string(" TE1")))
    );
    assert_eq!(read_text(&rules, text("   ")), Some(Some(string(""))));
    assert_eq!(
        read_text(&ColumnRules::default(), text("a ")),
        Some(Some(string("a ")))
    );
    assert_eq!(
        stored(&rules, FieldType::Text, &string("TE1")),
        owned(&["TE1  "])
    );
}

#[test]
fn what_stands_for_nothing_is_absent() {
    let rules = ColumnRules {
        trim: true,
        absent: owned(&["", "0", "01/01/1900"]),
        ..ColumnRules::default()
    };
    for nothing in [text(""), text("  "), text("0"), text("01/01/1900")] {
        assert_eq!(read_text(&rules, nothing), Some(None));
    }
    assert_eq!(
        read(&rules, FieldType::Integer, Cell::Integer(0)),
        Some(None)
    );
    assert_eq!(
        read(&rules, FieldType::Integer, Cell::Integer(7)),
        Some(Some(Value::I64(7)))
    );
    assert_eq!(
        read(&rules, FieldType::Date, text("01/01/1900")),
        Some(None)
    );
    assert_eq!(read(&rules, FieldType::Date, text("02/01/1900")), None);
}

#[test]
fn lost_leading_zeros_are_put_back_and_looked_for_both_ways() {
    let rules = meaning(Meaning::Digits(12));
    for cell in [
        Cell::Integer(1_087_123_456),
        text("1087123456"),
        text("001087123456"),
    ] {
        assert_eq!(read_text(&rules, cell), Some(Some(string("001087123456"))));
    }
    for wrong in [
        text(""),
        text("1087x"),
        text("-1"),
        Cell::Integer(-1),
        text("0010871234567"),
        text("01087123456"),
        text("１"),
    ] {
        assert_eq!(read_text(&rules, wrong), None);
    }
    let both = stored(&rules, FieldType::Text, &string("001087123456"));
    assert_eq!(both, owned(&["001087123456", "1087123456"]));
    let zeros = stored(&rules, FieldType::Text, &string("000000000000"));
    assert_eq!(zeros, owned(&["000000000000", "0"]));
    for wrong in ["1087123456", "00108712345x", ""] {
        assert!(
            rules.bind(FieldType::Text, &string(wrong)).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn codes_and_forms_of_yes_are_translated_both_ways_and_others_refused() {
    let codes = [("0", "female"), ("1", "male"), ("M", "male")];
    let codes = codes.map(|(stored, answered)| (stored.to_owned(), answered.to_owned()));
    let rules = meaning(Meaning::Codes(codes.to_vec()));
    assert_eq!(
        read_text(&rules, Cell::Integer(0)),
        Some(Some(string("female")))
    );
    assert_eq!(read_text(&rules, text("M")), Some(Some(string("male"))));
    assert_eq!(read_text(&rules, text("2")), None);
    assert_eq!(
        stored(&rules, FieldType::Text, &string("male")),
        owned(&["1", "M"])
    );
    assert!(rules.bind(FieldType::Text, &string("1")).is_err());

    let rules = meaning(Meaning::YesNo(owned(&["C", "1"]), owned(&["K"])));
    let boolean = |cell| read(&rules, FieldType::Boolean, cell);
    assert_eq!(boolean(text("C")), Some(Some(Value::Bool(true))));
    assert_eq!(boolean(Cell::Integer(1)), Some(Some(Value::Bool(true))));
    assert_eq!(boolean(text("K")), Some(Some(Value::Bool(false))));
    assert_eq!(boolean(Cell::Integer(0)), None);
    assert_eq!(
        stored(&rules, FieldType::Boolean, &Value::Bool(true)),
        owned(&["C", "1"])
    );
    assert_eq!(
        stored(&rules, FieldType::Boolean, &Value::Bool(false)),
        owned(&["K"])
    );
}

#[test]
fn days_are_read_in_the_declared_formats_and_looked_for_in_all() {
    let formats = ["DD/MM/YYYY", "YYYYMMDD"].map(|format| DateFormat::parse(format).unwrap());
    let rules = meaning(Meaning::Dates(formats.to_vec()));
    let day = Some(Some(string("1987-02-28")));
    assert_eq!(read(&rules, FieldType::Date, text("28/02/1987")), day);
    assert_eq!(
        read(&rules, FieldType::Date, Cell::Integer(19_870_228)),
        day
    );
    for wrong in [text("00/02/1987"), text("1987-02-28"), text("30/02/1987")] {
        assert_eq!(read(&rules, FieldType::Date, wrong), None);
    }
    let looked_for = stored(&rules, FieldType::Date, &string("1987-02-28"));
    assert_eq!(looked_for, owned(&["28/02/1987", "19870228"]));
    assert!(rules.bind(FieldType::Date, &string("28/02/1987")).is_err());

    let known = rules
        .read(FieldType::PartialDate, &[text("00/00/1953")])
        .unwrap();
    let year = PartialDate {
        year: Some(1953),
        ..PartialDate::default()
    };
    assert_eq!(known.value, Some(Content::PartialDate(year)));
    let nothing = rules.read(FieldType::PartialDate, &[text("00/00/0000")]);
    assert!(nothing.is_err());
}

#[test]
fn names_are_split_and_joined() {
    let part = |part, name| read_text(&meaning(Meaning::Part(part)), text(name)).unwrap();
    let full = "Nguyễn  Thị Minh Ánh ";
    assert_eq!(part(NamePart::Family, full), Some(string("Nguyễn")));
    assert_eq!(part(NamePart::Middle, full), Some(string("Thị Minh")));
    assert_eq!(part(NamePart::Given, full), Some(string("Ánh")));
    assert_eq!(part(NamePart::Middle, "Lê Chi"), None);
    assert_eq!(part(NamePart::Family, "Chi"), None);
    assert_eq!(part(NamePart::Given, "Chi"), Some(string("Chi")));
    assert_eq!(part(NamePart::Given, " "), None);

    let rules = ColumnRules::default();
    let joined = |cells: &[Cell]| rules.read(FieldType::Text, cells).unwrap().value;
    let cells = [
        text("Nguyễn "),
        text("Thị  Minh"),
        Cell::Null,
        text(""),
        text("Ánh"),
    ];
    assert_eq!(joined(&cells), Some(plain(string("Nguyễn Thị  Minh Ánh"))));
    assert_eq!(joined(&[Cell::Null, text(" ")]), None);
    assert!(
        rules
            .read(FieldType::Text, &[text("a"), Cell::Integer(1)])
            .is_err()
    );
}

#[test]
fn forms_are_looked_for_in_every_spelling_and_as_numbers() {
    let rules = meaning(Meaning::YesNo(
        owned(&["Có", "C", "1"]),
        owned(&["0", "00"]),
    ));
    let yes = stored(&rules, FieldType::Boolean, &Value::Bool(true));
    assert_eq!(yes, owned(&["Có", "Co\u{301}", "C", "1"]));
    let yes = rules.bind(FieldType::Boolean, &Value::Bool(true)).unwrap();
    assert_eq!(yes.last(), Some(&Cell::Integer(1)));
    let no = rules.bind(FieldType::Boolean, &Value::Bool(false)).unwrap();
    let zero = [text("0"), text("00"), Cell::Integer(0)];
    assert_eq!(no, zero);
    let digits = meaning(Meaning::Digits(3))
        .bind(FieldType::Text, &string("007"))
        .unwrap();
    assert_eq!(digits, [text("007"), text("7"), Cell::Integer(7)]);
}

#[test]
fn a_text_is_padded_as_it_is_stored() {
    let padded = |encoding, value| {
        let rules = ColumnRules {
            padded_to: Some(5),
            text: TextForm {
                encoding,
                ..TextForm::default()
            },
            ..ColumnRules::default()
        };
        let cells = rules.bind(FieldType::Text, &string(value)).unwrap();
        let bytes = cells.into_iter().map(|cell| match cell {
            Cell::Text(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        });
        bytes.collect::<Vec<_>>()
    };
    let decomposed = "Co\u{301}";
    assert!(padded(Encoding::Utf8, decomposed).contains(&"Có   ".as_bytes().to_vec()));
    assert!(padded(Encoding::Utf8, "Có").contains(&"Co\u{301}  ".as_bytes().to_vec()));
    assert_eq!(padded(Encoding::VniWindows, "Có")[0], b"Co\xf9  ");
    assert_eq!(padded(Encoding::Tcvn3, decomposed)[0], b"C\xe3   ");
    assert_eq!(padded(Encoding::Tcvn3, "Cóóóóóó")[0].len(), 7);
}

#[test]
fn a_part_is_taken_of_the_joined_name() {
    let rules = meaning(Meaning::Part(NamePart::Given));
    let read = rules
        .read(FieldType::Text, &[text("Nguyễn Thị"), text("Ánh")])
        .unwrap();
    assert_eq!(read.value, Some(plain(string("Ánh"))));
    let rules = meaning(Meaning::Part(NamePart::Family));
    let read = rules
        .read(FieldType::Text, &[text("Nguyễn"), text("Ánh")])
        .unwrap();
    assert_eq!(read.value, Some(plain(string("Nguyễn"))));
}

#[test]
fn a_form_that_the_column_cannot_hold_is_a_fault_of_the_configuration() {
    let rules = |encoding| ColumnRules {
        text: TextForm {
            encoding,
            ..TextForm::default()
        },
        meaning: Meaning::YesNo(owned(&["Có", "\u{2713}"]), owned(&["K"])),
        ..ColumnRules::default()
    };
    assert_eq!(rules(Encoding::Utf8).unencodable_form(), None);
    assert_eq!(rules(Encoding::Tcvn3).unencodable_form(), Some("\u{2713}"));
}

/// All official names of units, as an address or a place has them. What TCVN3 has no capital for is kept as a small letter.
#[test]
fn a_text_is_kept_in_tcvn3_whatever_the_rule_makes_of_its_capitals() {
    let names = include_str!("../../tests/data/administrative-units.csv");
    let names = names
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(3));
    for capitals in [Capitals::AsStored, Capitals::Name] {
        let mut rules = ColumnRules::default();
        rules.text.encoding = Encoding::Tcvn3;
        rules.text.capitals = capitals;
        let mut kept = 0;
        for name in names.clone().chain(["Ấp 3", "ánh", "Đặng Thị Ước"]) {
            match rules.store(FieldType::Text, &string(name)) {
                Ok(cell) => {
                    let read = read_text(&rules, cell).unwrap().unwrap();
                    let read = read.as_str().unwrap().to_lowercase();
                    assert_eq!(read, name.to_lowercase());
                    kept += 1;
                }
                Err(_) => assert!(name.contains(['’', '–']), "{name}"),
            }
        }
        assert_eq!(kept, 34 + 3321 + 3 - 6);
    }
    // Where capitals are told apart, they are kept or refused.
    let mut rules = ColumnRules::default();
    rules.text.encoding = Encoding::VniWindows;
    let cell = rules.store(FieldType::Text, &string("Ấp 3")).unwrap();
    assert_eq!(read_text(&rules, cell), Some(Some(string("Ấp 3"))));
}
