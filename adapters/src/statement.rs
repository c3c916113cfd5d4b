//! One SQL text of a method: a single reading statement whose values are bound, never written in.

use std::sync::Arc;

use crate::field_type::Cell;

/// A statement with its named parameters replaced by numbered ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text for the engine, with numbered parameters: those of the first request field, of the second…
    pub text: Arc<str>,
    /// How many parameters each request field has.
    pub widths: Vec<Width>,
}

/// How many parameters a request field is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// Its value.
    One,
    /// Every way in which it may be stored, so many at most.
    Ways(usize),
}

/// A request field as its statement sees it.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Its name: `:name`.
    pub name: &'a str,
    /// In how many ways a value of it may be stored, at most.
    pub ways: usize,
    /// Whether a value is to be looked for in all of them.
    pub needs_all: bool,
    /// Whether it is bound as bytes of text that is not in UTF-8.
    pub is_bytes: bool,
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
    /// One spelling where several may be stored.
    #[error(
        "the SQL parameter :{0} may be stored in several ways; write COLUMN IN (:{0}), which looks for all"
    )]
    OneSpelling(String),
    /// A request field without its parameter.
    #[error("the request field {0:?} is not used in the SQL text; use :{0} or remove the field")]
    Unused(String),
}

impl Statement {
    /// Reads a SQL text whose parameters are exactly the given request fields.
    ///
    /// Quotations and comments are passed over, so that a colon inside them is no parameter.
    pub fn parse(sql: &str, fields: &[Field<'_>]) -> Result<Self, StatementFault> {
        let tokens = tokens(sql)?;
        let position = |name: &str| {
            let found = fields.iter().position(|field| field.name == name);
            found.ok_or_else(|| StatementFault::NoField(name.to_owned()))
        };
        let mut widths = vec![None; fields.len()];
        for (at, (kind, token)) in tokens.iter().enumerate() {
            if *kind != Token::Parameter {
                continue;
            }
            let name = token.trim_start_matches(':');
            let position = position(name)?;
            let field = &fields[position];
            let stands_alone = is_list_of_one(&tokens, at);
            if field.needs_all && !stands_alone && !is_asked_for_null(&tokens, at) {
                return Err(StatementFault::OneSpelling(name.to_owned()));
            }
            let width = match stands_alone && field.ways > 1 {
                true => Width::Ways(field.ways),
                false => Width::One,
            };
            widths[position] = widths[position].max(Some(width));
        }
        if let Some(unused) = widths.iter().position(Option::is_none) {
            return Err(StatementFault::Unused(fields[unused].name.to_owned()));
        }
        let widths: Vec<Width> = widths.into_iter().flatten().collect();
        let mut text = String::with_capacity(sql.len());
        for (at, (kind, token)) in tokens.iter().enumerate() {
            if *kind != Token::Parameter {
                text.push_str(token);
                continue;
            }
            let position = position(token.trim_start_matches(':'))?;
            let before: usize = widths[..position].iter().map(|width| width.count()).sum();
            let count = match is_list_of_one(&tokens, at) {
                true => widths[position].count(),
                false => 1,
            };
            let numbers = (before + 1)..=(before + count);
            // Bytes of another encoding may be stored as text or as bytes, which are never equal.
            let parameters = numbers.map(|number| match (fields[position].is_bytes, count) {
                (false, _) => format!("?{number}"),
                (true, 1) => format!("CAST(?{number} AS TEXT)"),
                (true, _) => format!("CAST(?{number} AS TEXT), CAST(?{number} AS BLOB)"),
            });
            text.push_str(&parameters.collect::<Vec<_>>().join(", "));
        }
        Ok(Self {
            text: text.into(),
            widths,
        })
    }

    /// How many parameters the statement binds.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.widths.iter().map(|width| width.count()).sum()
    }
}

impl Width {
    const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Ways(most) => most,
        }
    }

    /// So many of these values as there are parameters: the last one stands for those that are not there.
    #[must_use]
    pub fn fill(self, mut cells: Vec<Cell>) -> Vec<Cell> {
        debug_assert!(self == Self::One || cells.len() <= self.count(), "{self:?}");
        let last = cells.last().cloned().unwrap_or(Cell::Null);
        cells.resize(self.count(), last);
        cells
    }
}

/// The tokens of one reading statement.
fn tokens(sql: &str) -> Result<Vec<(Token, &str)>, StatementFault> {
    let mut reader = Reader { sql, at: 0 };
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
        Some("SELECT" | "WITH" | "VALUES") => Ok(tokens),
        Some(word) => Err(StatementFault::NotReading(word.to_owned())),
    }
}

/// Whether a parameter stands alone in the list of an IN: `IN (:name)`.
fn is_list_of_one(tokens: &[(Token, &str)], at: usize) -> bool {
    let mut before = tokens[..at]
        .iter()
        .rev()
        .filter(|(kind, _)| *kind != Token::Blank);
    let opens = before.next().is_some_and(|(_, token)| *token == "(");
    opens
        && is_word(before.next(), "IN")
        && next(tokens, at).is_some_and(|(_, token)| *token == ")")
}

/// Whether a parameter is only asked for: `:name IS NULL`, `:name IS NOT NULL`.
fn is_asked_for_null(tokens: &[(Token, &str)], at: usize) -> bool {
    let after = tokens.get(at + 1..).unwrap_or_default();
    let words = after.iter().filter(|(kind, _)| *kind != Token::Blank);
    let words: Vec<_> = words
        .take(3)
        .map(|(_, token)| token.to_uppercase())
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    matches!(words.as_slice(), ["IS", "NULL", ..] | ["IS", "NOT", "NULL"])
}

fn next<'a, 'b>(tokens: &'a [(Token, &'b str)], at: usize) -> Option<&'a (Token, &'b str)> {
    let after = tokens.get(at + 1..).unwrap_or_default();
    after.iter().find(|(kind, _)| *kind != Token::Blank)
}

fn is_word(token: Option<&(Token, &str)>, word: &str) -> bool {
    token.is_some_and(|(kind, token)| *kind == Token::Word && token.eq_ignore_ascii_case(word))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Field<'_> {
        Field {
            name,
            ways: 1,
            needs_all: false,
            is_bytes: false,
        }
    }

    fn text(name: &str, is_legacy: bool) -> Field<'_> {
        Field {
            name,
            ways: 4,
            needs_all: is_legacy,
            is_bytes: is_legacy,
        }
    }

    #[test]
    fn a_text_alone_in_a_list_is_every_spelling_of_it() {
        let sql = "SELECT a FROM t WHERE (:b IS NULL OR b IN ( :b )) AND c = :c AND d IN (:d, 1) AND e IN(:e)";
        let fields = [plain("c"), text("b", true), plain("e"), text("d", false)];
        let statement = Statement::parse(sql, &fields).unwrap();
        assert_eq!(
            &*statement.text,
            "SELECT a FROM t WHERE (CAST(?2 AS TEXT) IS NULL OR b IN ( CAST(?2 AS TEXT), \
             CAST(?2 AS BLOB), CAST(?3 AS TEXT), CAST(?3 AS BLOB), CAST(?4 AS TEXT), \
             CAST(?4 AS BLOB), CAST(?5 AS TEXT), CAST(?5 AS BLOB) )) AND c = ?1 AND d IN (?7, 1) \
             AND e IN(?6)"
        );
        assert_eq!(statement.parameter_count(), 7);
        let cells = vec![Cell::Integer(1), Cell::Integer(2)];
        let filled = [1, 2, 2, 2].map(Cell::Integer);
        assert_eq!(statement.widths[1].fill(cells.clone()), filled);
        assert_eq!(statement.widths[0].fill(cells), [Cell::Integer(1)]);
        let fault = |sql| Statement::parse(sql, &[text("b", true)]).unwrap_err();
        let one = StatementFault::OneSpelling("b".to_owned());
        assert_eq!(fault("SELECT a FROM t WHERE b = :b"), one);
        assert_eq!(fault("SELECT a FROM t WHERE b IN (:b, 'x')"), one);
        assert_eq!(fault("SELECT a FROM t WHERE :b IS b"), one);
        assert_eq!(
            fault("SELECT a FROM t WHERE :b IS NOT DISTINCT FROM b"),
            one
        );
    }

    #[test]
    fn parameters_become_numbers_of_their_request_fields() {
        let sql = "SELECT a FROM t WHERE b = :second AND (:first IS NULL OR c = :first);\n -- end";
        let statement = Statement::parse(sql, &[plain("first"), plain("second")]).unwrap();
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
            Statement::parse("SELECT 1", &[plain("a")]).unwrap_err(),
            StatementFault::Unused("a".to_owned())
        );
    }
}
