//! What `adapter proto` does: numbers for new fields, breaking changes refused, the `.proto`.

use crate::{
    configuration::Configuration,
    error::Error,
    lock::{Lock, LockError},
    schema::Schema,
};

/// A published schema, and what changed since the one before.
#[derive(Debug)]
pub struct Publication {
    /// The `.proto` and its descriptors.
    pub schema: Schema,
    /// What changed in the lock file, breaking changes last; empty if nothing did.
    pub changes: Vec<String>,
}

/// Brings the lock file up to the configuration and writes the schema from it.
///
/// The lock file is written only if the names make a valid `.proto`.
pub fn publish(configuration: &Configuration, accept_breaking: bool) -> Result<Publication, Error> {
    let path = configuration.lock_path();
    let (lock, changes) = match Lock::read(&path) {
        Ok(lock) => {
            let revision = lock.revise(configuration);
            if !revision.breaking.is_empty() && !accept_breaking {
                return Err(LockError::Breaking {
                    changes: revision.breaking.join("; "),
                }
                .into());
            }
            (
                revision.lock,
                [revision.compatible, revision.breaking].concat(),
            )
        }
        Err(LockError::Missing { .. }) => {
            let names = configuration
                .methods
                .iter()
                .map(|method| format!("method {} is new", method.name));
            (Lock::begin(configuration), names.collect())
        }
        Err(error) => return Err(error.into()),
    };
    let schema = Schema::write(configuration, &lock)?;
    if !changes.is_empty() {
        lock.write(&path)?;
    }
    Ok(Publication { schema, changes })
}
