//! Stored values of legacy registers, and the names that are looked for in them.

use adapters::{
    date_format::DateFormat,
    encoding::{Capitals, Encoding, SPELLINGS},
};

const CAPITALS: [Capitals; 4] = [
    Capitals::AsStored,
    Capitals::Upper,
    Capitals::Word,
    Capitals::Name,
];

pub fn stored_texts() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 8] = [
        b"\x00\x00Nguy\xe1\xbb\x85n",
        b"\x01\x03\xa7\xc6ng Th\xde \xa6\xedc",
        b"\x01\x02NGUY\xd4N TH\xde \xb8NH",
        b"\x02\x00\xc2\xa7\xc3\x86ng",
        b"\x03\x00cha\xf8o ca\xf9c ba\xefn",
        b"\x04\x00H\xb5p m\xd1t t\xaat",
        b"\x05\x00Nguye^~n DDa(.ng hoa\\. d\\d",
        b"\x06\x00H\xf4\xf2p m\xfd\xect",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}

/// What is read can be looked for, and each spelling that is looked for is read as the same.
pub fn stored_text(bytes: &[u8]) {
    let [encoding, capitals, bytes @ ..] = bytes else {
        return;
    };
    let encoding = Encoding::ALL[usize::from(*encoding) % Encoding::ALL.len()];
    let capitals = CAPITALS[usize::from(*capitals) % CAPITALS.len()];
    let read = encoding.decode(bytes, capitals);
    assert_eq!(read.undecodable > 0, read.first_undecodable.is_some());
    assert!(read.undecodable <= bytes.len());
    // A request has the same letters in any case.
    let small = |text: &str| text.to_lowercase();
    let texts = [
        read.text.as_str(),
        std::str::from_utf8(bytes).unwrap_or_default(),
    ];
    for text in texts {
        let Ok(spellings) = encoding.spellings(text, capitals) else {
            continue;
        };
        assert!((1..=SPELLINGS).contains(&spellings.len()));
        let normal = Encoding::Utf8
            .decode(text.as_bytes(), Capitals::AsStored)
            .text;
        for spelling in spellings {
            let again = encoding.decode(&spelling, capitals);
            assert_eq!(again.undecodable, 0, "{text:?} {spelling:x?}");
            if encoding.needs_capitals() {
                assert_eq!(small(&again.text), small(&normal), "{spelling:x?}");
            } else {
                assert_eq!(again.text, normal, "{spelling:x?}");
            }
        }
    }
}

pub fn stored_dates() -> Vec<Vec<u8>> {
    let seeds = [
        "DD/MM/YYYY\n28/02/1987",
        "D/M/YYYY\n1/12/1953",
        "YYYYMMDD\n19530000",
        "YYYY\n1953",
    ];
    seeds.map(|seed| seed.as_bytes().to_vec()).to_vec()
}

/// A whole day is written as it was read, in a format that has no two ways to write it.
pub fn stored_date(bytes: &[u8]) {
    let Some((format, text)) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Some(format) = DateFormat::parse(format) else {
        return;
    };
    if let Some(day) = format.read(text).and_then(|date| date.whole()) {
        let written = format.write(day);
        assert_eq!(
            format.read(&written).and_then(|date| date.whole()),
            Some(day)
        );
    }
}
