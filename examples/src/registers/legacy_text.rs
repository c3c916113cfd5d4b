//! Text as legacy registers have stored it: in TCVN3 and in VNI for Windows, by tables of others.

use std::{collections::HashMap, sync::LazyLock};

/// How each accented letter is stored (examples/data/README.md).
const LETTERS: &str = include_str!("../../data/legacy-letters.tsv");

/// The bytes of each letter in TCVN3 and in VNI.
static BYTES: LazyLock<HashMap<char, [Vec<u8>; 2]>> = LazyLock::new(|| {
    let lines = LETTERS.lines().filter(|line| !line.starts_with('#'));
    let letter = |line: &str| {
        let mut fields = line.split('\t');
        let letter = fields.next()?.chars().next()?;
        let mut bytes = || hex::decode(fields.next()?).ok();
        Some((letter, [bytes()?, bytes()?]))
    };
    lines.filter_map(letter).collect()
});

/// As an ABC font shows it: capitals that it does not have are small letters, shown by a capital font.
#[must_use]
pub fn tcvn3(text: &str) -> Vec<u8> {
    text.chars().flat_map(|letter| bytes(letter, 0)).collect()
}

/// As a VNI font shows it.
#[must_use]
pub fn vni(text: &str) -> Vec<u8> {
    text.chars().flat_map(|letter| bytes(letter, 1)).collect()
}

fn bytes(letter: char, table: usize) -> Vec<u8> {
    if let Some(bytes) = BYTES.get(&letter).and_then(|of| of.get(table)) {
        return bytes.clone();
    }
    match u8::try_from(letter) {
        Ok(letter) if letter.is_ascii() => vec![letter],
        // What Windows puts in their place while somebody types, whatever the font.
        _ => match letter {
            '’' => vec![0x92],
            '–' => vec![0x96],
            _ => vec![b'?'],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stored_as_others_store_them() {
        // Đặng Thị Ước, as iconv writes it; and with a capital that only a capital font has.
        let expected = hex::decode("a7c66e67205468de20a6ed63").unwrap();
        assert_eq!(tcvn3("Đặng Thị Ước"), expected);
        assert_eq!(tcvn3("Ánh"), tcvn3("ánh"));
        // chaøo caùc baïn, as vietnamese-conversion documents it.
        assert_eq!(vni("chào các bạn"), b"cha\xf8o ca\xf9c ba\xefn");
        assert_eq!(BYTES.len(), 134);
        assert_eq!(tcvn3("Ea M’Droh"), b"Ea M\x92Droh");
    }
}
