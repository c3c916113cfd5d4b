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
}
