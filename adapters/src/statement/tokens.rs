//! The words of a SQL text: enough to find its parameters and its end, not to understand it.

use super::{Purpose, StatementFault};
use crate::engine::Engine;

/// The tokens of one statement.
pub(super) fn tokens(
    sql: &str,
    engine: Engine,
    purpose: Purpose,
) -> Result<Vec<(Token, &str)>, StatementFault> {
    let mut reader = Reader { sql, engine, at: 0 };
    let mut tokens = Vec::new();
    let mut ended = false;
    while let Some((kind, token)) = reader.next_token()? {
        if ended && kind != Token::Blank {
            return Err(StatementFault::Several);
        }
        match kind {
            Token::End => ended = true,
            _ => tokens.push((kind, token)),
        }
    }
    let first = tokens.iter().find(|(kind, _)| *kind != Token::Blank);
    match first.map(|(_, token)| token.to_uppercase()).as_deref() {
        None => Err(StatementFault::Empty),
        Some("SELECT" | "WITH" | "VALUES") if purpose == Purpose::Reading => Ok(tokens),
        Some("INSERT" | "UPDATE" | "DELETE" | "CALL") if purpose == Purpose::Writing => Ok(tokens),
        Some(word) => Err(match purpose {
            Purpose::Reading => StatementFault::NotReading(word.to_owned()),
            Purpose::Writing => StatementFault::NotWriting(word.to_owned()),
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Blank,
    Word,
    Parameter,
    End,
    Other,
}

struct Reader<'a> {
    sql: &'a str,
    engine: Engine,
    at: usize,
}

impl<'a> Reader<'a> {
    fn next_token(&mut self) -> Result<Option<(Token, &'a str)>, StatementFault> {
        let rest = &self.sql[self.at..];
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let (kind, length) = match first {
            '\'' => (Token::Other, closed(rest, "'", "a text (')")?),
            '"' => (Token::Other, closed(rest, "\"", "a quoted name (\")")?),
            '`' => (Token::Other, closed(rest, "`", "a quoted name (`)")?),
            '[' if self.engine == Engine::Sqlite => {
                (Token::Other, closed(rest, "]", "a quoted name ([)")?)
            }
            _ if rest.starts_with("--") => (Token::Blank, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => {
                let end = rest[2..]
                    .find("*/")
                    .ok_or(StatementFault::Unclosed("a comment (/*)"))?;
                (Token::Blank, end + 4)
            }
            ';' => (Token::End, 1),
            // A cast of PostgreSQL's.
            _ if rest.starts_with("::") => (Token::Other, 2),
            ':' => match 1 + word_length(&rest[1..]) {
                1 => return Err(StatementFault::Unnamed(':')),
                length => (Token::Parameter, length),
            },
            '$' => return Err(StatementFault::Unnamed(first)),
            // In PostgreSQL these are operators.
            '?' | '@' if self.engine != Engine::Postgresql => {
                return Err(StatementFault::Unnamed(first));
            }
            _ if first.is_whitespace() => (Token::Blank, first.len_utf8()),
            _ if is_of_word(first) => (Token::Word, word_length(rest)),
            _ => (Token::Other, first.len_utf8()),
        };
        self.at += length;
        Ok(Some((kind, &rest[..length])))
    }
}

/// The length of a quotation, both marks included; a doubled mark reads as two quotations.
fn closed(rest: &str, mark: &str, what: &'static str) -> Result<usize, StatementFault> {
    rest[1..]
        .find(mark)
        .map(|end| end + 2)
        .ok_or(StatementFault::Unclosed(what))
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || !character.is_ascii()
}

/// `$` may stand inside a name, never at its beginning.
fn word_length(rest: &str) -> usize {
    rest.find(|character| !is_of_word(character) && character != '$')
        .unwrap_or(rest.len())
}
