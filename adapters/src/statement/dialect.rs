//! A statement as each engine takes it.

use std::{cell::RefCell, ops::Range};

use super::{Piece, Statement};

/// A statement in the words of an engine, whose parameters are not just the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The text for the engine.
    pub sql: String,
    /// What each of its parameters is bound to, in order.
    pub binds: Vec<Bind>,
}

/// What a parameter is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// The value, counted through all request fields.
    pub value: usize,
    /// In which form it is bound.
    pub form: Form,
}

/// The form in which a value is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Own,
    /// As bytes, also if it is text.
    Bytes,
    /// Only whether there is one: true, or NULL.
    Presence,
    /// One of several forms; others of them may stand for one that cannot be stored.
    OneOf {
        /// The first of them.
        first: usize,
        /// How many there are.
        count: usize,
    },
    /// As text, also if it is a number: a text is never equal to a number by the rules of numbers.
    Digits,
}

impl Statement {
    /// With the numbered parameters of SQLite.
    #[must_use]
    pub fn for_sqlite(&self) -> String {
        // Bytes of another encoding may be stored as text or as bytes, which are never equal.
        let one = |value: usize, is_bytes| match is_bytes {
            true => format!("CAST(?{} AS TEXT)", value + 1),
            false => format!("?{}", value + 1),
        };
        let one_of = |value: usize, _all: Range<usize>, is_bytes| match is_bytes {
            true => format!("CAST(?{0} AS TEXT), CAST(?{0} AS BLOB)", value + 1),
            false => format!("?{}", value + 1),
        };
        self.numbered(one, one, one_of)
    }

    /// With the numbered parameters of PostgreSQL, which compares text by its bytes.
    ///
    /// PostgreSQL infers the type of a parameter from what it is compared with. Where a value is only asked for there is
    /// nothing to infer from, so that its presence is a parameter of its own.
    #[must_use]
    pub fn for_postgresql(&self) -> Bound {
        let binds = RefCell::new(Vec::new());
        // A value that a statement does not use has no number in it: it would have no type.
        let number = |bind: Bind| {
            let mut binds = binds.borrow_mut();
            let known = binds.iter().position(|known| *known == bind);
            known.map_or_else(
                || {
                    binds.push(bind);
                    binds.len()
                },
                |position| position + 1,
            )
        };
        let parameter = |value, _is_bytes| {
            let form = Form::Own;
            format!("${}", number(Bind { value, form }))
        };
        let asked = |value, _is_bytes| {
            let form = Form::Presence;
            format!("CAST(${} AS boolean)", number(Bind { value, form }))
        };
        let one_of = |value, all: Range<usize>, _is_bytes| {
            let (first, count) = (all.start, all.len());
            let form = Form::OneOf { first, count };
            format!("${}", number(Bind { value, form }))
        };
        let sql = self.numbered(parameter, asked, one_of);
        let binds = binds.take();
        Bound { sql, binds }
    }

    fn numbered(
        &self,
        one: impl Fn(usize, bool) -> String,
        asked: impl Fn(usize, bool) -> String,
        one_of: impl Fn(usize, Range<usize>, bool) -> String,
    ) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Sql(sql) => sql.clone(),
            Piece::One {
                value, is_bytes, ..
            } => one(*value, *is_bytes),
            Piece::Asked { value, is_bytes } => asked(*value, *is_bytes),
            Piece::OneOf {
                before,
                values,
                is_bytes,
                after,
                ..
            } => {
                let values: Vec<_> = values
                    .clone()
                    .map(|value| one_of(value, values.clone(), *is_bytes))
                    .collect();
                format!("{before}{}{after}", values.join(", "))
            }
        };
        self.pieces.iter().map(piece).collect()
    }

    /// With the parameters of MariaDB, which have no numbers.
    ///
    /// MariaDB compares text by a collation, which may take different letters for the same. So a column is asked twice:
    /// in its own character set, which an index serves, and by its bytes, which decide.
    #[must_use]
    pub fn for_mariadb(&self, character_set: impl Fn(&str) -> Option<String>) -> Bound {
        let mut sql = String::new();
        let mut binds = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Sql(written) => sql.push_str(written),
                Piece::Asked { value, is_bytes } => {
                    sql.push('?');
                    let form = if *is_bytes { Form::Bytes } else { Form::Own };
                    let value = *value;
                    binds.push(Bind { value, form });
                }
                Piece::One {
                    value,
                    is_bytes,
                    is_number,
                } => {
                    sql.push('?');
                    let form = match (is_bytes, is_number) {
                        (true, _) => Form::Bytes,
                        (false, true) => Form::Own,
                        (false, false) => Form::Digits,
                    };
                    let value = *value;
                    binds.push(Bind { value, form });
                }
                Piece::OneOf {
                    column,
                    before,
                    values,
                    after,
                    ..
                } => {
                    let column = column.as_deref().unwrap_or_default();
                    let own = match character_set(column) {
                        Some(character_set) => format!("CONVERT(? USING {character_set})"),
                        None => "?".to_owned(),
                    };
                    let list = |parameter: &str| vec![parameter; values.len()].join(", ");
                    let (own, bytes) = (list(&own), list("?"));
                    sql.push_str(&format!(
                        "({before}{own}{after} AND CAST({column} AS BINARY) IN ({bytes}))"
                    ));
                    let values = values.clone().chain(values.clone());
                    let form = Form::Bytes;
                    binds.extend(values.map(|value| Bind { value, form }));
                }
            }
        }
        Bound { sql, binds }
    }

    /// The columns that a list of values is looked for in.
    pub fn columns_with_lists(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::OneOf { column, .. } => column.as_deref(),
            Piece::Sql(_) | Piece::One { .. } | Piece::Asked { .. } => None,
        })
    }

    /// Whether a name is given to something by the SQL itself: `AS NAME`.
    #[must_use]
    pub fn gives_the_name(&self, name: &str) -> bool {
        let mut before = "";
        self.words().any(|word| {
            let is_given = before.eq_ignore_ascii_case("AS") && word.eq_ignore_ascii_case(name);
            before = word;
            is_given
        })
    }

    /// The SQL as it was written, without the parameters: for the names in it.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let is_of_name = |character: char| character.is_alphanumeric() || "_$".contains(character);
        let sql = self.pieces.iter().map(|piece| match piece {
            Piece::Sql(sql) => sql.as_str(),
            Piece::OneOf { before, .. } => before.as_str(),
            Piece::One { .. } | Piece::Asked { .. } => "",
        });
        sql.flat_map(move |sql| sql.split(move |character| !is_of_name(character)))
            .filter(|word| !word.is_empty())
    }
}
