//! Texts of others as they may be printed: nothing in them moves a cursor or hides what they say.

use std::{borrow::Cow, fmt::Write};

/// The text with control characters, and those that turn the direction of writing or break lines,
/// written as escapes.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unprintable(character) {
            // A String takes every write.
            let _ = write!(printable, "{}", character.escape_debug());
        } else {
            printable.push(character);
        }
    }
    Cow::Owned(printable)
}

fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_what_a_terminal_would_obey_is_changed() {
        let harmless = "Đăng ký khai sinh \"số 1\" \\ ok";
        assert_eq!(printable(harmless), harmless);
        for (text, printed) in [
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\r\n\tb\0", "a\\r\\n\\tb\\0"),
            ("a\u{7f}\u{9b}b", "a\\u{7f}\\u{9b}b"),
            (
                "a\u{202e}b\u{2066}\u{2028}",
                "a\\u{202e}b\\u{2066}\\u{2028}",
            ),
            ("\u{200f}\u{61c}", "\\u{200f}\\u{61c}"),
        ] {
            assert_eq!(printable(text), printed);
        }
    }
}
