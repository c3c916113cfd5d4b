//! Against outside tables: glibc's iconv, published converters, and the official names of all units.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::*;

const LETTERS: &str = include_str!("../../tests/data/vni-and-viqr.tsv");
const UNITS: &str = include_str!("../../tests/data/administrative-units.csv");

/// Letter, VNI and VIQR.
fn letters() -> Vec<(char, Vec<u8>, Vec<u8>)> {
    let lines = LETTERS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('\t');
            let letter = columns.next().unwrap().chars().next().unwrap();
            let vni = columns.next().unwrap();
            let vni = (0..vni.len()).step_by(2);
            let hex = line.split('\t').nth(1).unwrap();
            let vni = vni.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            let viqr = columns.next().unwrap().as_bytes().to_vec();
            (letter, vni.collect(), viqr)
        })
        .collect()
}

/// The official names of provinces and communes.
fn names() -> Vec<&'static str> {
    let rows = UNITS.lines().skip(1);
    rows.map(|row| row.split(',').nth(3).unwrap()).collect()
}

/// What glibc writes; none if it cannot.
fn iconv(to: &str, text: &str) -> Option<Vec<u8>> {
    let mut child = Command::new("iconv")
        .args(["-f", "UTF-8", "-t", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // It stops reading where it fails.
    let _ = writing.join().unwrap();
    output.status.success().then_some(output.stdout)
}

fn decoded(encoding: Encoding, bytes: &[u8]) -> String {
    let decoded = encoding.decode(bytes, Capitals::AsStored);
    assert_eq!(decoded.undecodable, 0, "{encoding:?}: {bytes:x?}");
    decoded.text
}

fn spelt(encoding: Encoding, text: &str) -> Vec<Bytes> {
    encoding.spellings(text, Capitals::AsStored).unwrap()
}

fn contains(spellings: &[Bytes], wanted: &[u8]) -> bool {
    spellings.iter().any(|spelling| **spelling == *wanted)
}

#[test]
fn every_letter_is_what_glibc_says() {
    for (encoding, name) in [
        (Encoding::Viscii, "VISCII"),
        (Encoding::Windows1258, "CP1258"),
    ] {
        for (letter, ..) in letters() {
            let letter = letter.to_string();
            let bytes = iconv(name, &letter).unwrap();
            assert_eq!(decoded(encoding, &bytes), letter, "{name}");
            assert!(
                contains(&spelt(encoding, &letter), &bytes),
                "{name} {letter}"
            );
        }
    }
}

#[test]
fn the_letters_that_tcvn3_has_are_where_glibc_has_them_and_the_others_are_small() {
    let mut same = 0;
    for (letter, ..) in letters() {
        let letter = letter.to_string();
        let spellings = spelt(Encoding::Tcvn3, &letter);
        let bytes = iconv("TCVN5712-1", &letter).unwrap();
        if contains(&spellings, &bytes) {
            same += 1;
            assert_eq!(decoded(Encoding::Tcvn3, &bytes), letter);
        } else {
            let small = letter.to_lowercase();
            assert_ne!(letter, small);
            let bytes = iconv("TCVN5712-1", &small).unwrap();
            assert!(contains(&spellings, &bytes), "{letter}");
        }
    }
    assert_eq!(same, 67 + 7);
}

#[test]
fn every_letter_is_what_published_converters_say() {
    let letters = letters();
    assert_eq!(letters.len(), 134);
    for (letter, vni, viqr) in letters {
        let letter = letter.to_string();
        for (encoding, bytes) in [(Encoding::VniWindows, vni), (Encoding::Viqr, viqr)] {
            assert_eq!(decoded(encoding, &bytes), letter);
            assert_eq!(spelt(encoding, &letter)[0], bytes, "{encoding:?} {letter}");
        }
    }
}

#[test]
fn whole_names_are_what_glibc_says() {
    let names = names();
    let mut unencodable = BTreeSet::new();
    for (encoding, charset) in [
        (Encoding::Viscii, "VISCII"),
        (Encoding::Windows1258, "CP1258"),
    ] {
        let fit = |name: &&str| match encoding.spellings(name, Capitals::AsStored) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(encoding, Encoding::Viscii);
                unencodable.insert(error.character);
                false
            }
        };
        let names: Vec<_> = names.iter().copied().filter(fit).collect();
        assert!(names.len() > 3300);
        let bytes = iconv(charset, &names.join("\n")).unwrap();
        for (name, bytes) in names.iter().zip(bytes.split(|byte| *byte == b'\n')) {
            assert_eq!(decoded(encoding, bytes), *name);
            assert!(contains(&spelt(encoding, name), bytes), "{charset} {name}");
        }
    }
    // Curly apostrophes and a dash.
    assert_eq!(unencodable, BTreeSet::from(['\u{2013}', '\u{2019}']));
}

#[test]
fn every_spelling_of_every_word_is_read_as_the_word() {
    let words: BTreeSet<_> = names().iter().flat_map(|name| name.split(' ')).collect();
    assert!(words.len() > 1000);
    for encoding in Encoding::ALL {
        let mut unencodable = 0;
        for name in words.iter().copied() {
            let Ok(spellings) = encoding.spellings(name, Capitals::AsStored) else {
                unencodable += 1;
                continue;
            };
            assert!((1..=SPELLINGS).contains(&spellings.len()));
            let composed = DecomposingNormalizerBorrowed::new_nfd().normalize(name);
            let sorted = |spellings: &[Bytes]| spellings.iter().cloned().collect::<BTreeSet<_>>();
            let composed = sorted(&spelt(encoding, &composed));
            assert_eq!(sorted(&spellings), composed, "{encoding:?} {name}");
            for spelling in spellings {
                let read = decoded(encoding, &spelling);
                let same = match encoding.needs_capitals() {
                    true => read.to_lowercase() == name.to_lowercase(),
                    false => read == name,
                };
                assert!(same, "{encoding:?} {name} {read}");
            }
        }
        let expected = match encoding {
            Encoding::Utf8 | Encoding::Windows1258 => 0,
            _ => 6,
        };
        assert_eq!(unencodable, expected, "{encoding:?}");
    }
}

#[test]
fn words_of_the_wild_are_read() {
    let hex = |text: &str| -> Vec<u8> {
        let digits = text.split(' ');
        digits
            .map(|digits| u8::from_str_radix(digits, 16).unwrap())
            .collect()
    };
    for (encoding, bytes, text) in [
        (
            Encoding::Tcvn3,
            "48 e9 70 20 6d f8 74 20 74 d5 74",
            "Hộp mứt tết",
        ),
        (
            Encoding::Viscii,
            "48 b5 70 20 6d d1 74 20 74 aa 74",
            "Hộp mứt tết",
        ),
        (
            Encoding::Windows1258,
            "48 f4 f2 70 20 6d fd ec 74 20 74 ea ec 74",
            "Hộp mứt tết",
        ),
        (
            Encoding::Tcvn3,
            "a7 c6 6e 67 20 54 68 de 20 a6 ed 63",
            "Đặng Thị Ước",
        ),
        (
            Encoding::VniWindows,
            "63 68 61 f8 6f 20 63 61 f9 63 20 62 61 ef 6e",
            "chào các bạn",
        ),
        (Encoding::VniWindows, "4e 47 55 59 45 e3 4e", "NGUYỄN"),
        (Encoding::VniWindows, "d1 d6 d4 d8 4e 47", "ĐƯỜNG"),
    ] {
        let bytes = hex(bytes);
        assert_eq!(decoded(encoding, &bytes), text);
        assert!(
            contains(&spelt(encoding, text), &bytes),
            "{encoding:?} {text}"
        );
    }
    let viqr = |bytes: &[u8]| decoded(Encoding::Viqr, bytes);
    assert_eq!(viqr(b"Nguye^~n Thi. DDa(.ng"), "Nguyễn Thị Đặng");
    assert_eq!(viqr(b"U*o*'c hoa\\. A\\'"), "Ước hoa. A'");
    assert_eq!(viqr(b"Bridge.  d\\d"), "Bridgẹ  dd");
    assert_eq!(spelt(Encoding::Viqr, "la. Ad d'A")[0], &b"la\\. Ad d'A"[..]);
}

#[test]
fn text_of_tcvn3_that_was_taken_for_latin1_is_read() {
    let stored = "§Æng ThÞ ¦íc".as_bytes();
    let encoding = Encoding::Utf8OfLatin1OfTcvn3;
    assert_eq!(decoded(encoding, stored), "Đặng Thị Ước");
    assert_eq!(spelt(encoding, "Đặng Thị Ước")[0], stored);
}

#[test]
fn what_means_nothing_is_counted_and_its_place_is_said() {
    for (encoding, bytes, text, undecodable, first) in [
        (
            Encoding::Utf8,
            &b"a\xc3\xa0\xffb\xfe"[..],
            "aà\u{fffd}b\u{fffd}",
            2,
            3,
        ),
        (Encoding::Tcvn3, b"H\x92\xb5", "H\u{fffd}à", 1, 1),
        (Encoding::Tcvn3, b"\0H", "\u{fffd}H", 1, 0),
        (
            Encoding::VniWindows,
            b"t\xf8a\xf8\xf9",
            "t\u{fffd}à\u{fffd}",
            2,
            1,
        ),
        (Encoding::Windows1258, b"a\x81", "a\u{fffd}", 1, 1),
        (Encoding::Viscii, b"a\x01", "a\u{fffd}", 1, 1),
        (Encoding::Viqr, b"a\xe0\\L", "a\u{fffd}\u{fffd}", 3, 1),
        (
            Encoding::Utf8OfLatin1OfTcvn3,
            "H\u{2019}\u{b5}".as_bytes(),
            "H\u{fffd}à",
            3,
            1,
        ),
    ] {
        let decoded = encoding.decode(bytes, Capitals::AsStored);
        assert_eq!(decoded.text, text, "{encoding:?}");
        assert_eq!(decoded.undecodable, undecodable, "{encoding:?}");
        assert_eq!(decoded.first_undecodable, Some(first), "{encoding:?}");
    }
}

#[test]
fn what_an_encoding_does_not_have_is_named() {
    let said = Encoding::Tcvn3.spellings("Ea M\u{2019}Droh", Capitals::Name);
    assert_eq!(
        said.unwrap_err().to_string(),
        "U+2019 does not exist in tcvn3"
    );
    for encoding in [Encoding::VniWindows, Encoding::Viqr, Encoding::Viscii] {
        assert!(encoding.spellings("w\u{302}", Capitals::AsStored).is_err());
        assert!(encoding.spellings("a\0", Capitals::AsStored).is_err());
    }
}

#[test]
fn capitals_are_raised_by_the_rule_of_the_column() {
    let rules = [
        Capitals::AsStored,
        Capitals::Upper,
        Capitals::Word,
        Capitals::Name,
    ];
    for (stored, expected) in [
        (
            "NGUYễN THị áNH",
            [
                "NGUYễN THị áNH",
                "NGUYỄN THỊ ÁNH",
                "NGUYỄN THỊ ÁNH",
                "NGUYỄN THỊ ÁNH",
            ],
        ),
        (
            "Nguyễn Thị ánh",
            [
                "Nguyễn Thị ánh",
                "NGUYỄN THỊ ÁNH",
                "Nguyễn Thị ánh",
                "Nguyễn Thị Ánh",
            ],
        ),
        ("ĐạT", ["ĐạT", "ĐẠT", "ĐẠT", "ĐẠT"]),
        ("Vũ Hà", ["Vũ Hà", "VŨ HÀ", "Vũ Hà", "Vũ Hà"]),
        ("Vũ TRầN", ["Vũ TRầN", "VŨ TRẦN", "VŨ TRẦN", "VŨ TRẦN"]),
        ("Hồ như ý", ["Hồ như ý", "HỒ NHƯ Ý", "Hồ như ý", "Hồ như Ý"]),
        ("LÊ ý", ["LÊ ý", "LÊ Ý", "LÊ Ý", "LÊ Ý"]),
        (
            "UBND xã Hà",
            ["UBND xã Hà", "UBND XÃ HÀ", "UBND xã Hà", "UBND xã Hà"],
        ),
    ] {
        let stored = spelt(Encoding::Tcvn3, stored)[0].clone();
        let read = rules.map(|rule| Encoding::Tcvn3.decode(&stored, rule).text);
        assert_eq!(read, expected);
        for (rule, expected) in rules.into_iter().zip(expected) {
            // What is stored in any case and shown as capitals cannot be told from what is shown.
            if rule != Capitals::Upper {
                let spellings = Encoding::Tcvn3.spellings(expected, rule).unwrap();
                assert!(contains(&spellings, &stored), "{rule:?} {expected}");
            }
        }
    }
}

#[test]
fn what_is_shown_as_capitals_is_looked_for_as_it_is_commonly_typed() {
    let spellings = Encoding::Tcvn3.spellings("LÊ THỊ ÁNH", Capitals::Upper);
    let spellings = spellings.unwrap();
    let read: Vec<_> = spellings
        .iter()
        .map(|bytes| decoded(Encoding::Tcvn3, bytes))
        .collect();
    assert_eq!(
        read,
        ["LÊ THị áNH", "Lê THị áNH", "Lê Thị ánh", "lê thị ánh"]
    );
}

#[test]
fn whatever_is_stored_is_read_in_normal_form_and_what_is_lost_is_counted() {
    for encoding in Encoding::ALL {
        for pair in 0..=u16::MAX {
            let bytes = pair.to_be_bytes();
            let decoded = encoding.decode(&bytes, Capitals::Name);
            assert_eq!(
                decoded.text,
                normal(&decoded.text),
                "{encoding:?} {bytes:x?}"
            );
            let is_marked = decoded.text.contains(char::REPLACEMENT_CHARACTER);
            assert_eq!(
                is_marked,
                decoded.undecodable > 0,
                "{encoding:?} {bytes:x?}"
            );
            assert!(decoded.undecodable <= 2);
            assert!(decoded.first_undecodable.unwrap_or(0) < 2);
        }
    }
}

/// Whatever is written is read as it was, also where letters and marks stand beside each other.
#[test]
fn texts_of_any_letters_and_marks_are_read_as_they_were_written() {
    let letters: Vec<char> = "dDđĐaAâấặăoOơợuUưiĩyỵVLM.'`?~^(+*\\\\ 1".chars().collect();
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 40).unwrap()
    };
    for _ in 0..5_000 {
        let length = 1 + next() % 7;
        let text: String = (0..length)
            .map(|_| letters[next() % letters.len()])
            .collect();
        for encoding in [
            Encoding::VniWindows,
            Encoding::Viscii,
            Encoding::Viqr,
            Encoding::Windows1258,
        ] {
            for spelling in spelt(encoding, &text) {
                assert_eq!(
                    decoded(encoding, &spelling),
                    text,
                    "{encoding:?} {spelling:x?}"
                );
            }
        }
    }
    assert_eq!(spelt(Encoding::Viqr, "dđ\\d")[0], &b"\\ddd\\\\d"[..]);
    assert_eq!(spelt(Encoding::Viqr, "đd")[0], &b"ddd"[..]);
}

/// Found by fuzzing: Ȭ was looked for as Ō with a tilde above the macron, which is another letter.
#[test]
fn a_letter_is_taken_apart_only_so_that_it_is_read_as_it_was() {
    for letter in [
        "\u{22c}",
        "\u{1e4f}",
        "\u{1ed9}",
        "\u{1ee5}",
        "a\u{323}\u{306}",
    ] {
        let whole = normal(letter);
        for spelling in spelt(Encoding::Utf8, letter) {
            assert_eq!(decoded(Encoding::Utf8, &spelling), whole, "{spelling:?}");
        }
    }
}
