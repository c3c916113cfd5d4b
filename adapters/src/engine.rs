//! The kinds of database that an adapter reads.

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file of SQLite.
    Sqlite,
    /// A server of PostgreSQL.
    Postgresql,
    /// A server of MariaDB.
    MariaDb,
}

impl Engine {
    /// The name that it is known by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// A table in SQL, maybe with its schema, in quotation marks where it needs them.
    #[must_use]
    pub fn quoted_table(self, table: &str) -> String {
        let parts: Vec<_> = table.split('.').map(|part| self.quoted(part)).collect();
        parts.join(".")
    }

    /// A name in SQL, in quotation marks where it needs them.
    #[must_use]
    pub fn quoted(self, name: &str) -> String {
        const RESERVED: [&str; 24] = [
            "order",
            "group",
            "user",
            "table",
            "select",
            "from",
            "where",
            "key",
            "index",
            "check",
            "default",
            "desc",
            "asc",
            "in",
            "is",
            "as",
            "on",
            "to",
            "by",
            "and",
            "or",
            "not",
            "limit",
            "references",
        ];
        let is_plain = |character: char| match self {
            Self::Postgresql => character.is_ascii_lowercase(),
            _ => character.is_ascii_alphabetic(),
        };
        let begins = name.starts_with(|first| is_plain(first) || first == '_');
        let rest = name
            .chars()
            .all(|other| is_plain(other) || other == '_' || other.is_ascii_digit());
        if begins && rest && !RESERVED.contains(&name.to_lowercase().as_str()) {
            return name.to_owned();
        }
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
