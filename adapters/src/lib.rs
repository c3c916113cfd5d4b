//! Make a legacy database answer as a gRPC service, by configuration only.
//!
//! One TOML file names a database (SQLite, CSV files, PostgreSQL or MariaDB) and, for each method, one SQL text whose parameters are
//! the request fields and whose columns are the reply fields. There is no code for a service:
//!
//! ```no_run
//! # async fn run() -> Result<(), adapters::Error> {
//! let configuration = adapters::Configuration::read("population.toml".as_ref())?;
//! let adapter = adapters::Adapter::open(configuration).await?.bind().await?;
//! println!("{}", adapter.address());
//! adapter.serve(std::future::pending()).await
//! # }
//! ```
//!
//! The `.proto` is written from the configuration ([`Schema`]) with field numbers that a lock file
//! keeps ([`Lock`]). The database is opened for reading only unless a
//! method says what it writes, parameters are bound and never written into the SQL text, and rows are streamed no faster than the caller takes them.

mod adapter;
mod beside;
mod bound;
mod call_record;
mod change_table;
mod changes;
mod codec;
mod granting;
mod listening;
mod method_service;
mod monitoring;
mod request;
mod served_method;
mod streaming;
mod tls_listener;
mod writing;

pub mod check;
pub mod column;
pub mod configuration;
pub mod database;
pub mod date_format;
pub mod encoding;
pub mod engine;
pub mod error;
pub mod field_type;
pub mod folding;
pub mod inspection;
pub mod key_table;
pub mod lock;
pub mod mock;
pub mod provider;
pub mod publication;
pub mod refusal;
pub mod registration;
pub mod reloading;
pub mod scaffold;
pub mod schema;
pub mod statement;

pub use adapter::Adapter;
pub use bound::BoundAdapter;
pub use configuration::Configuration;
pub use error::Error;
pub use listening::Address;
pub use lock::Lock;
pub use publication::publish;
pub use schema::Schema;
