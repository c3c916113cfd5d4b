//! One SQL text of a method: a single reading statement whose values are bound, never written in.

use std::sync::Arc;

/// A statement with its named parameters replaced by numbered ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text for the engine: parameter `?N` is the N-th request field of the method.
    pub text: Arc<str>,
    /// How many request fields the parameters are numbered over.
    pub parameter_count: usize,
}

/// Why a SQL text cannot be the statement of a method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    /// There is nothing but blanks and comments.
    #[error("the SQL text is empty; write the SELECT that answers the method")]
    Empty,
    /// The first word is not one of a reading statement.
    #[error(
        "the SQL text begins with {0:?}; only statements that read are served: SELECT, WITH, VALUES"
    )]
    NotReading(String),
    /// Something follows the end of the statement.
    #[error("the SQL text holds more than one statement; keep one for each method")]
    Several,
    /// A quotation or comment has no end.
    #[error("{0} in the SQL text is opened and never closed")]
    Unclosed(&'static str),
    /// A parameter that is not written `:name`.
    #[error(
        "the SQL text has a parameter written with {0:?}; write :name, one for a request field"
    )]
    Unnamed(char),
    /// A parameter without its request field.
    #[error("the SQL parameter :{0} has no request field; add a request field of this name")]
    NoField(String),
    /// A request field without its parameter.
    #[error("the request field {0:?} is not used in the SQL text; use :{0} or remove the field")]
    Unused(String),
}

impl Statement {
    /// Reads a SQL text whose parameters are exactly the given request fields.
    ///
    /// Quotations and comments are passed over, so that a colon inside them is no parameter.
    pub fn parse(sql: &str, fields: &[&str]) -> Result<Self, StatementFault> {
        let mut reader = Reader { sql, at: 0 };
        let mut text = String::with_capacity(sql.len());
        let mut used = vec![false; fields.len()];
        let mut first_word = None;
        let mut ended = false;
        while let Some((kind, token)) = reader.next_token()? {
            if ended && kind != Token::Blank {
                return Err(StatementFault::Several);
            }
            match kind {
                Token::End => ended = true,
                Token::Parameter => {
                    let name = token.trim_start_matches(':');
                    let position = fields
                        .iter()
                        .position(|field| *field == name)
                        .ok_or_else(|| StatementFault::NoField(name.to_owned()))?;
                    if let Some(used) = used.get_mut(position) {
                        *used = true;
                    }
                    text.push_str(&format!("?{}", position + 1));
                }
                Token::Blank => text.push_str(token),
                Token::Word | Token::Other => {
                    first_word.get_or_insert_with(|| token.to_uppercase());
                    text.push_str(token);
                }
            }
        }
        match first_word.as_deref() {
            None => return Err(StatementFault::Empty),
            Some("SELECT" | "WITH" | "VALUES") => {}
            Some(word) => return Err(StatementFault::NotReading(word.to_owned())),
        }
        if let Some(position) = used.iter().position(|used| !used) {
            return Err(StatementFault::Unused(fields[position].to_owned()));
        }
        Ok(Self {
            text: text.into(),
            parameter_count: fields.len(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Blank,
    Word,
    Parameter,
    End,
    Other,
}

struct Reader<'a> {
    sql: &'a str,
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
            '[' => (Token::Other, closed(rest, "]", "a quoted name ([)")?),
            _ if rest.starts_with("--") => (Token::Blank, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => {
                let end = rest[2..]
                    .find("*/")
                    .ok_or(StatementFault::Unclosed("a comment (/*)"))?;
                (Token::Blank, end + 4)
            }
            ';' => (Token::End, 1),
            ':' => match 1 + word_length(&rest[1..]) {
                1 => return Err(StatementFault::Unnamed(':')),
                length => (Token::Parameter, length),
            },
            '?' | '@' | '$' => return Err(StatementFault::Unnamed(first)),
            _ if first.is_whitespace() => (Token::Blank, first.len_utf8()),
            _ if is_word(first) => (Token::Word, word_length(rest)),
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

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || !character.is_ascii()
}

/// `$` may stand inside a name, never at its beginning.
fn word_length(rest: &str) -> usize {
    rest.find(|character| !is_word(character) && character != '$')
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_numbers_of_their_request_fields() {
        let sql = "SELECT a FROM t WHERE b = :second AND (:first IS NULL OR c = :first);\n -- end";
        let statement = Statement::parse(sql, &["first", "second"]).unwrap();
        assert_eq!(
            &*statement.text,
            "SELECT a FROM t WHERE b = ?2 AND (?1 IS NULL OR c = ?1)\n -- end"
        );
    }

    #[test]
    fn colons_in_texts_names_and_comments_are_no_parameters() {
        let sql = "/* :a */ SELECT ':b''?' AS \":c\", [x:d], `:e`, t$1 -- :f ?\nFROM t";
        assert_eq!(&*Statement::parse(sql, &[]).unwrap().text, sql);
    }

    #[test]
    fn what_is_not_one_reading_statement_is_refused_by_name() {
        let fault = |sql: &str| Statement::parse(sql, &[]).unwrap_err();
        assert_eq!(fault(" -- nothing\n"), StatementFault::Empty);
        assert_eq!(
            fault("delete from t"),
            StatementFault::NotReading("DELETE".to_owned())
        );
        assert_eq!(
            fault("PRAGMA query_only=0"),
            StatementFault::NotReading("PRAGMA".to_owned())
        );
        assert_eq!(
            fault("(SELECT 1)"),
            StatementFault::NotReading("(".to_owned())
        );
        assert_eq!(fault("SELECT 1; DELETE FROM t"), StatementFault::Several);
        assert_eq!(fault("SELECT 1;;"), StatementFault::Several);
        assert_eq!(fault("SELECT 'a"), StatementFault::Unclosed("a text (')"));
        assert_eq!(
            fault("SELECT 1 /* a"),
            StatementFault::Unclosed("a comment (/*)")
        );
        assert_eq!(fault("SELECT ?"), StatementFault::Unnamed('?'));
        assert_eq!(fault("SELECT $a"), StatementFault::Unnamed('$'));
        assert_eq!(fault("SELECT :a"), StatementFault::NoField("a".to_owned()));
        assert_eq!(
            Statement::parse("SELECT 1", &["a"]).unwrap_err(),
            StatementFault::Unused("a".to_owned())
        );
    }
}
