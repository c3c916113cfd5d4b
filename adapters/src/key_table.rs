//! The one table that an adapter adds to a database that it writes to: which calls were carried out, and what they were answered.

use crate::{
    database::{Database, DatabaseError, Prepared},
    engine::Engine,
    field_type::Cell,
    statement::{Field, Purpose, Statement},
};

/// The statement that makes the table; its owner runs it, and grants SELECT, INSERT and UPDATE on it.
#[must_use]
pub const fn definition(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "CREATE TABLE lienthong_written (
    method TEXT NOT NULL,
    consumer TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request BLOB NOT NULL,
    reply BLOB,
    written_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (method, consumer, idempotency_key)
);
"
        }
        Engine::Postgresql => {
            "CREATE TABLE lienthong_written (
    method TEXT NOT NULL,
    consumer TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request BYTEA NOT NULL,
    reply BYTEA,
    written_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (method, consumer, idempotency_key)
);
"
        }
        Engine::MariaDb => {
            "CREATE TABLE lienthong_written (
    method VARBINARY(64) NOT NULL,
    consumer VARBINARY(400) NOT NULL,
    idempotency_key VARBINARY(200) NOT NULL,
    request VARBINARY(32) NOT NULL,
    reply LONGBLOB,
    written_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (method, consumer, idempotency_key)
) ENGINE = InnoDB;
"
        }
    }
}

/// The longest key and the longest name of a consumer, in bytes.
pub(crate) const LONGEST_KEY: usize = 200;
pub(crate) const LONGEST_CONSUMER: usize = 400;

/// What a call is known by: its method and consumer, the key that it came with, and a digest of its request.
#[derive(Debug, Clone)]
pub(crate) struct CallKey {
    pub(crate) method: String,
    pub(crate) consumer: String,
    pub(crate) key: String,
    pub(crate) request: [u8; 32],
}

/// The statements over the table.
#[derive(Debug)]
pub(crate) struct KeyTable {
    /// Takes the key, or meets the one that was there before.
    pub(crate) take: Prepared,
    /// The request and the reply of a key.
    pub(crate) find: Prepared,
    /// Keeps the reply.
    pub(crate) keep: Prepared,
}

const NAMES: [&str; 5] = ["method", "consumer", "key", "request", "reply"];
const TAKE: &str = "INSERT INTO lienthong_written (method, consumer, idempotency_key, request) \
                    VALUES (:method, :consumer, :key, :request)";
const FIND: &str = "SELECT request, reply FROM lienthong_written \
                    WHERE method = :method AND consumer = :consumer AND idempotency_key = :key";
const KEEP: &str = "UPDATE lienthong_written SET reply = :reply \
                    WHERE method = :method AND consumer = :consumer AND idempotency_key = :key";

impl KeyTable {
    /// Prepares the statements; refused by the database if there is no such table.
    pub(crate) async fn prepare(database: &Database) -> Result<Self, DatabaseError> {
        let field = |name: &'static str| Field {
            name,
            ways: 1,
            needs_all: false,
            is_text: false,
            is_bytes: false,
            is_key: false,
        };
        let prepare = async |sql: &str, purpose: Purpose, names: &[&'static str]| {
            let fields: Vec<_> = names.iter().copied().map(field).collect();
            let parsed = Statement::parse_together(&[(sql, purpose)], &fields, database.engine());
            let statement = parsed.ok().and_then(|mut parsed| parsed.pop());
            let statement = statement.ok_or(DatabaseError::Stopped {
                detail: "a statement of the adapter's own is none",
            })?;
            database.prepare(&statement).await
        };
        let [method, consumer, key, request, reply] = NAMES;
        Ok(Self {
            take: prepare(TAKE, Purpose::Writing, &[method, consumer, key, request]).await?,
            find: prepare(FIND, Purpose::Reading, &[method, consumer, key]).await?,
            keep: prepare(KEEP, Purpose::Writing, &[method, consumer, key, reply]).await?,
        })
    }
}

impl CallKey {
    /// The values by which the row is found.
    pub(crate) fn place(&self) -> Vec<Cell> {
        let text = |text: &String| Cell::Text(text.clone().into());
        vec![text(&self.method), text(&self.consumer), text(&self.key)]
    }

    /// These, and one more.
    pub(crate) fn place_and(&self, more: Cell) -> Vec<Cell> {
        [self.place(), vec![more]].concat()
    }
}
