//! One SQL text of a method: a single statement that reads, or a step that writes, whose values are bound, never written in.

use std::ops::Range;

use crate::{engine::Engine, field_type::Cell};

mod dialect;
mod tokens;

pub use dialect::{Bind, Bound, Form};
use tokens::{Token, tokens};

/// A statement cut into the SQL as it was written and the places where values are bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pieces: Vec<Piece>,
    first_word: String,
    /// How many values each request field has, in order.
    pub widths: Vec<Width>,
}

/// A part of a statement. Values are counted through all request fields, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// SQL as it was written.
    Sql(String),
    /// A value by itself.
    One {
        value: usize,
        is_bytes: bool,
        /// Whether a number stays one: it is stored, or says how many rows there are; it is compared with nothing.
        is_number: bool,
    },
    /// A value that is only asked for: `:name IS NULL`.
    Asked { value: usize, is_bytes: bool },
    /// `COLUMN IN (:name)`: one of several values.
    OneOf {
        /// The column, if it is one and no expression.
        column: Option<String>,
        /// What was written before the values, the column included.
        before: String,
        values: Range<usize>,
        is_bytes: bool,
        /// What was written behind the values.
        after: String,
    },
}

/// How many values of a request field are bound.
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
    /// Whether it is compared with text.
    pub is_text: bool,
    /// Whether it is bound as bytes of text that is not in UTF-8.
    pub is_bytes: bool,
    /// Whether it is the key by which a repeated call is known: it need be no parameter.
    pub is_key: bool,
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
    /// The first word is not one of a writing statement.
    #[error("the step begins with {0:?}; a step is INSERT, UPDATE, DELETE or CALL")]
    NotWriting(String),
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
    /// A comparison that is not of bytes.
    #[error(
        "MariaDB may take different letters for the same; write COLUMN IN (:{0}), with the parameter alone in the \
         list, which compares bytes"
    )]
    Collation(String),
    /// Something else than a column is compared with a list.
    #[error(
        "what :{0} is looked for in is no column; write COLUMN IN (:{0}) with the name of a column, and for \
         the contrary NOT (COLUMN IN (:{0}))"
    )]
    NoColumn(String),
    /// A request field without its parameter.
    #[error("the request field {0:?} is not used in the SQL text; use :{0} or remove the field")]
    Unused(String),
}

/// What a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It answers rows.
    Reading,
    /// It is a step of a method that writes.
    Writing,
}

impl Statement {
    /// Reads a SQL text whose parameters are exactly the given request fields.
    ///
    /// Quotations and comments are passed over, so that a colon inside them is no parameter.
    pub fn parse(sql: &str, fields: &[Field<'_>], engine: Engine) -> Result<Self, StatementFault> {
        let statements = Self::parse_together(&[(sql, Purpose::Reading)], fields, engine);
        let mut statements = statements.map_err(|(_first, fault)| fault)?;
        statements.pop().ok_or(StatementFault::Empty)
    }

    /// Reads SQL texts that bind the same values, so that each field is a parameter of one of them at least.
    ///
    /// # Errors
    /// The first fault, with the position of its text.
    pub fn parse_together(
        texts: &[(&str, Purpose)],
        fields: &[Field<'_>],
        engine: Engine,
    ) -> Result<Vec<Self>, (usize, StatementFault)> {
        let mut read = Vec::with_capacity(texts.len());
        let mut widths = vec![None; fields.len()];
        for (position, (sql, purpose)) in texts.iter().enumerate() {
            let tokens = tokens(sql, engine, *purpose).map_err(|fault| (position, fault))?;
            widen(&mut widths, &tokens, fields, (engine, *purpose))
                .map_err(|fault| (position, fault))?;
            read.push((tokens, *purpose));
        }
        for (width, field) in widths.iter_mut().zip(fields) {
            if field.is_key {
                width.get_or_insert(Width::One);
            }
        }
        if let Some(unused) = widths.iter().position(Option::is_none) {
            let fault = StatementFault::Unused(fields[unused].name.to_owned());
            return Err((texts.len() - 1, fault));
        }
        let widths: Vec<Width> = widths.into_iter().flatten().collect();
        let cut = |(position, (tokens, purpose)): (usize, &(Vec<_>, Purpose))| {
            let pieces = pieces(tokens, fields, &widths, (engine, *purpose));
            let pieces = pieces.map_err(|fault| (position, fault))?;
            let first = tokens.iter().find(|(kind, _)| *kind != Token::Blank);
            Ok(Self {
                pieces,
                first_word: first
                    .map(|(_, word)| word.to_uppercase())
                    .unwrap_or_default(),
                widths: widths.clone(),
            })
        };
        read.iter().enumerate().map(cut).collect()
    }

    /// The first word of the SQL, in capital letters.
    #[must_use]
    pub fn first_word(&self) -> &str {
        &self.first_word
    }

    /// How many values the statement binds.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.widths.iter().map(|width| width.count()).sum()
    }

    /// Whether the value of a request field is a parameter, and not only asked for.
    #[must_use]
    pub fn uses(&self, field: usize) -> bool {
        let before = self.widths.iter().take(field);
        let first: usize = before.map(|width| width.count()).sum();
        self.pieces.iter().any(|piece| match piece {
            Piece::Sql(_) | Piece::Asked { .. } => false,
            Piece::One { value, .. } => *value == first,
            Piece::OneOf { values, .. } => values.start == first,
        })
    }
}

/// The SQL and the places of values.
fn pieces(
    tokens: &[(Token, &str)],
    fields: &[Field<'_>],
    widths: &[Width],
    (engine, purpose): (Engine, Purpose),
) -> Result<Vec<Piece>, StatementFault> {
    let mut pieces = Vec::new();
    let mut sql_from = 0;
    for (at, (kind, token)) in tokens.iter().enumerate() {
        if *kind != Token::Parameter {
            continue;
        }
        let position = position(token, fields)?;
        let Field { name, is_bytes, .. } = fields[position];
        let first: usize = widths[..position].iter().map(|width| width.count()).sum();
        let (sql_until, piece) = match list_of_one(tokens, at) {
            Some(list) if widths[position] != Width::One => {
                let column = list.column.map(|column| written(&tokens[column]));
                if column.is_none() && engine == Engine::MariaDb {
                    return Err(StatementFault::NoColumn(name.to_owned()));
                }
                let piece = Piece::OneOf {
                    column,
                    before: written(&tokens[list.tokens.start..at]),
                    values: first..(first + widths[position].count()),
                    is_bytes,
                    after: written(&tokens[at + 1..list.tokens.end]),
                };
                (list.tokens, piece)
            }
            _ => {
                let value = first;
                // What is stored is bytes already: MariaDB must not convert it once more.
                let is_stored_text = fields[position].is_text && is_stored(tokens, at, purpose);
                let is_bytes = is_bytes || (is_stored_text && engine == Engine::MariaDb);
                let is_count = ["LIMIT", "OFFSET"]
                    .iter()
                    .any(|word| is_word(previous(tokens, at).and_then(|at| tokens.get(at)), word));
                let is_number = is_count || is_stored(tokens, at, purpose);
                let piece = match is_asked_for_null(tokens, at) {
                    true => Piece::Asked { value, is_bytes },
                    false => Piece::One {
                        value,
                        is_bytes,
                        is_number,
                    },
                };
                (at..(at + 1), piece)
            }
        };
        pieces.push(Piece::Sql(written(&tokens[sql_from..sql_until.start])));
        pieces.push(piece);
        sql_from = sql_until.end;
    }
    pieces.push(Piece::Sql(written(&tokens[sql_from..])));
    Ok(pieces)
}

/// How many values each field has, judged by all the places where its parameter stands.
fn widen(
    widths: &mut [Option<Width>],
    tokens: &[(Token, &str)],
    fields: &[Field<'_>],
    (engine, purpose): (Engine, Purpose),
) -> Result<(), StatementFault> {
    for (at, (kind, token)) in tokens.iter().enumerate() {
        if *kind != Token::Parameter {
            continue;
        }
        let position = position(token, fields)?;
        let field = &fields[position];
        let name = || field.name.to_owned();
        let stands_alone = list_of_one(tokens, at).is_some();
        let is_compared = !is_asked_for_null(tokens, at) && !is_stored(tokens, at, purpose);
        if !stands_alone && is_compared {
            if field.needs_all {
                return Err(StatementFault::OneSpelling(name()));
            }
            if field.is_text && engine == Engine::MariaDb && !is_cast_to_bytes(tokens, at) {
                return Err(StatementFault::Collation(name()));
            }
        }
        // A text that is stored in one way only is looked for by its bytes all the same.
        let width = match stands_alone && (field.ways > 1 || field.is_text) {
            true => Width::Ways(field.ways),
            false => Width::One,
        };
        widths[position] = widths[position].max(Some(width));
    }
    Ok(())
}

/// Whether a parameter is a value to be stored, not one to be looked for: it stands behind no WHERE, ON or HAVING that still
/// is in force.
fn is_stored(tokens: &[(Token, &str)], at: usize, purpose: Purpose) -> bool {
    let mut behind_where = vec![false];
    for (at_token, token) in tokens[..at].iter().enumerate() {
        match token.1 {
            "(" => behind_where.push(false),
            // What a subquery looks for ends with it.
            ")" => drop(behind_where.pop()),
            _ if begins_a_condition(tokens, at_token) => {
                behind_where.pop();
                behind_where.push(true);
            }
            _ => {}
        }
    }
    purpose == Purpose::Writing && !behind_where.contains(&true)
}

/// WHERE, HAVING, and the ON of a join; `ON CONFLICT` and `ON DUPLICATE KEY` begin no condition.
fn begins_a_condition(tokens: &[(Token, &str)], at: usize) -> bool {
    let word = tokens.get(at);
    let next = following(tokens, at).and_then(|next| tokens.get(next));
    let is_upsert = is_word(next, "CONFLICT") || is_word(next, "DUPLICATE");
    is_word(word, "WHERE") || is_word(word, "HAVING") || (is_word(word, "ON") && !is_upsert)
}

/// The field that a parameter stands for.
fn position(parameter: &str, fields: &[Field<'_>]) -> Result<usize, StatementFault> {
    let name = parameter.trim_start_matches(':');
    let found = fields.iter().position(|field| field.name == name);
    found.ok_or_else(|| StatementFault::NoField(name.to_owned()))
}

fn written(tokens: &[(Token, &str)]) -> String {
    tokens.iter().map(|(_, token)| *token).collect()
}

impl Width {
    /// How many values that is.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Ways(most) => most,
        }
    }

    /// So many of these values as are bound: the last one stands for those that are not there.
    #[must_use]
    pub fn fill(self, mut cells: Vec<Cell>) -> Vec<Cell> {
        debug_assert!(self == Self::One || cells.len() <= self.count(), "{self:?}");
        let last = cells.last().cloned().unwrap_or(Cell::Null);
        cells.resize(self.count(), last);
        cells
    }
}

/// `COLUMN IN (:name)`, as positions of tokens.
struct List {
    /// From the column, or from the IN behind something else, to the closing parenthesis.
    tokens: Range<usize>,
    column: Option<Range<usize>>,
}

/// The list in which a parameter stands alone.
fn list_of_one(tokens: &[(Token, &str)], at: usize) -> Option<List> {
    let before = |at: usize| previous(tokens, at);
    let opening = before(at).filter(|opening| tokens[*opening].1 == "(")?;
    let is_in = |word: &usize| is_word(tokens.get(*word), "IN");
    let word = before(opening).filter(is_in)?;
    let closing = following(tokens, at).filter(|closing| tokens[*closing].1 == ")")?;
    let end = closing + 1;
    let column = before(word).and_then(|last| column(tokens, last));
    let start = column.as_ref().map_or(word, |column| column.start);
    Some(List {
        tokens: start..end,
        column,
    })
}

/// Words that a condition may follow.
const BEFORE_A_CONDITION: [&str; 10] = [
    "WHERE", "AND", "OR", "XOR", "NOT", "ON", "HAVING", "WHEN", "THEN", "ELSE",
];

/// The name of a column that ends here: `NAME`, `TABLE.NAME`, `SCHEMA.TABLE.NAME`.
fn column(tokens: &[(Token, &str)], last: usize) -> Option<Range<usize>> {
    let is_name = |at: usize| match tokens[at] {
        (Token::Word, word) => !word.eq_ignore_ascii_case("NOT"),
        (Token::Other, name) => name.starts_with(['"', '`', '[']),
        _ => false,
    };
    let mut start = Some(last).filter(|last| is_name(*last))?;
    while let Some(dot) = previous(tokens, start).filter(|dot| tokens[*dot].1 == ".") {
        start = previous(tokens, dot).filter(|qualifier| is_name(*qualifier))?;
    }
    // Behind anything else it may be the end of an expression.
    let begins = previous(tokens, start).is_some_and(|before| match tokens[before] {
        (Token::Word, word) => BEFORE_A_CONDITION.contains(&word.to_uppercase().as_str()),
        (_, sign) => matches!(sign, "(" | ","),
    });
    begins.then_some(start..(last + 1))
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

/// Whether a parameter is compared as bytes by the SQL itself: `BINARY :name`, `CAST(:name AS BINARY)`.
fn is_cast_to_bytes(tokens: &[(Token, &str)], at: usize) -> bool {
    let is_before = |word| is_word(previous(tokens, at).map(|at| &tokens[at]), word);
    let after = following(tokens, at);
    let as_bytes = after
        .filter(|after| is_word(tokens.get(*after), "AS"))
        .and_then(|after| following(tokens, after))
        .is_some_and(|bytes| is_word(tokens.get(bytes), "BINARY"));
    is_before("BINARY") || as_bytes
}

/// The token before one, blanks passed over.
fn previous(tokens: &[(Token, &str)], at: usize) -> Option<usize> {
    let is_token = |at: &usize| tokens[*at].0 != Token::Blank;
    (0..at).rev().find(is_token)
}

/// The token behind one, blanks passed over.
fn following(tokens: &[(Token, &str)], at: usize) -> Option<usize> {
    let is_token = |at: &usize| tokens[*at].0 != Token::Blank;
    (at + 1..tokens.len()).find(is_token)
}

fn is_word(token: Option<&(Token, &str)>, word: &str) -> bool {
    token.is_some_and(|(kind, token)| *kind == Token::Word && token.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
