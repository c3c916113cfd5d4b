//! The lock file: field numbers of the `.proto`, kept beside the configuration and never reused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use durable::{FileSystem, Posix};
use serde::{Deserialize, Serialize};

use crate::{
    configuration::{Configuration, Method, MethodKind},
    field_type::FieldType,
};

const VERSION: u32 = 1;
const HEADER: &str = "# Field numbers of the .proto, written by `adapter proto`. Commit this file \
                      beside the configuration.\n# A number that was once given is never given \
                      again: callers may still use it.\n\n";

/// What callers rely on: the numbers, types and presence rules of everything published so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    service: String,
    #[serde(default)]
    methods: BTreeMap<String, LockedMethod>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedMethod {
    kind: MethodKind,
    /// The method is gone; its messages keep their numbers reserved, should it come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    request: LockedMessage,
    reply: LockedMessage,
}

/// The numbers of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedMessage {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reserved: Vec<Reserved>,
    #[serde(default)]
    fields: BTreeMap<String, LockedField>,
}

/// The number of a field that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// The number that stays out of use.
    pub number: u32,
    /// The name that it had.
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedField {
    number: u32,
    #[serde(rename = "type")]
    field_type: FieldType,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    required: bool,
}

/// What a configuration changes in its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The lock that covers the configuration.
    pub lock: Lock,
    /// Changes that leave every caller as it was.
    pub compatible: Vec<String>,
    /// Changes that break callers built on the earlier `.proto`.
    pub breaking: Vec<String>,
}

/// A lock file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// There is none yet.
    #[error("there is no lock file {}; run `adapter proto`, which gives the fields their numbers, \
             and commit the file", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot read or write the lock file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what `adapter proto` writes.
    #[error("the lock file {} is damaged: {fault}; restore it from version control", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// The configuration has changed since `adapter proto` ran.
    #[error("the lock file {} does not cover the configuration ({changes}); run `adapter proto`",
            path.display())]
    Behind {
        /// The file.
        path: PathBuf,
        /// The changes, separated by semicolons.
        changes: String,
    },
    /// The configuration would break its callers.
    #[error(
        "the configuration breaks callers of the published .proto: {changes}; offer the change \
             as a new field or method, or run `adapter proto --accept-breaking-changes` once every \
             caller is known to follow"
    )]
    Breaking {
        /// The changes, separated by semicolons.
        changes: String,
    },
}

impl Lock {
    /// Reads a lock file and checks that no number is used twice.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LockError::Missing {
                path: path.to_owned(),
            },
            _ => LockError::Io {
                path: path.to_owned(),
                source,
            },
        })?;
        let damaged = |fault| LockError::Damaged {
            path: path.to_owned(),
            fault,
        };
        let lock: Self =
            toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if lock.version != VERSION {
            return Err(damaged(format!(
                "version {} is not {VERSION}",
                lock.version
            )));
        }
        for (name, method) in &lock.methods {
            for (suffix, message) in [("Request", &method.request), ("Reply", &method.reply)] {
                if let Some(number) = message.repeated_number() {
                    return Err(damaged(format!(
                        "{name}{suffix} uses the number {number} twice or outside 1 to 536870911"
                    )));
                }
            }
        }
        Ok(lock)
    }

    /// Writes the lock file in one step, so that a stopped write leaves the earlier one.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        self.write_in(&Posix, path)
    }

    pub(crate) fn write_in(&self, files: &dyn FileSystem, path: &Path) -> Result<(), LockError> {
        let io = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let text = toml::to_string(self).map_err(|error| io(io::Error::other(error)))?;
        let text = format!("{HEADER}{text}");
        durable::replace(files, path, text.as_bytes(), 0o644).map_err(io)
    }

    /// The first lock of a configuration.
    pub fn begin(configuration: &Configuration) -> Self {
        let service = configuration.service.to_string();
        let empty = Self {
            version: VERSION,
            service,
            methods: BTreeMap::new(),
        };
        empty.revise(configuration).lock
    }

    /// The lock that covers a configuration, and what had to change for it.
    pub fn revise(&self, configuration: &Configuration) -> Revision {
        let mut changes = Changes::default();
        let mut lock = self.clone();
        let service = configuration.service.to_string();
        if lock.service != service {
            changes
                .breaking
                .push(format!("service {} became {service}", lock.service));
            lock.service = service;
        }
        for method in &configuration.methods {
            lock.revise_method(method, &mut changes);
        }
        for (name, locked) in &mut lock.methods {
            let kept = configuration
                .methods
                .iter()
                .any(|method| method.name == *name);
            if !kept && !locked.removed {
                changes.breaking.push(format!("method {name} was removed"));
                locked.removed = true;
                locked.request.reserve_all();
                locked.reply.reserve_all();
            }
        }
        Revision {
            lock,
            compatible: changes.compatible,
            breaking: changes.breaking,
        }
    }

    /// Refuses a configuration that is not the one the numbers were given for.
    pub fn require_cover(
        &self,
        path: &Path,
        configuration: &Configuration,
    ) -> Result<(), LockError> {
        let revision = self.revise(configuration);
        let changes = [revision.compatible, revision.breaking].concat();
        if changes.is_empty() {
            return Ok(());
        }
        Err(LockError::Behind {
            path: path.to_owned(),
            changes: changes.join("; "),
        })
    }

    /// The numbers of a method's request and reply messages.
    pub fn messages(&self, method: &str) -> Option<(&LockedMessage, &LockedMessage)> {
        self.methods
            .get(method)
            .map(|locked| (&locked.request, &locked.reply))
    }

    fn revise_method(&mut self, method: &Method, changes: &mut Changes) {
        let name = &method.name;
        let known = self.methods.contains_key(name);
        let locked = self
            .methods
            .entry(name.clone())
            .or_insert_with(|| LockedMethod {
                kind: method.kind,
                removed: false,
                request: LockedMessage::default(),
                reply: LockedMessage::default(),
            });
        let is_new = !known || locked.removed;
        if is_new {
            changes.compatible.push(format!("method {name} is new"));
        } else if locked.kind != method.kind {
            changes.breaking.push(format!(
                "method {name} was {} and became {}",
                locked.kind.name(),
                method.kind.name()
            ));
        }
        locked.kind = method.kind;
        locked.removed = false;
        let request = method
            .request_fields()
            .map(|(name, field_type, required, _)| (name, field_type, required));
        let reply = method
            .reply_fields()
            .map(|(name, field_type, _)| (name, field_type, false));
        locked
            .request
            .revise(&method.request_message(), request, is_new, changes);
        locked
            .reply
            .revise(&method.record_message(), reply, is_new, changes);
    }
}

impl LockedMessage {
    /// The number of a field.
    pub fn number(&self, field: &str) -> Option<u32> {
        self.fields.get(field).map(|locked| locked.number)
    }

    /// The numbers of fields that are no more, in ascending order.
    pub fn reserved(&self) -> Vec<&Reserved> {
        let mut reserved: Vec<_> = self.reserved.iter().collect();
        reserved.sort_by_key(|reserved| reserved.number);
        reserved
    }

    fn revise<'a>(
        &mut self,
        message: &str,
        fields: impl Iterator<Item = (&'a str, FieldType, bool)>,
        is_new: bool,
        changes: &mut Changes,
    ) {
        let mut present = BTreeSet::new();
        for (name, field_type, required) in fields {
            present.insert(name);
            let place = format!("field {name} of {message}");
            match self.fields.get_mut(name) {
                Some(locked) if locked.field_type == field_type => {
                    match (locked.required, required) {
                        (false, true) => changes.breaking.push(format!("{place} became required")),
                        (true, false) => {
                            changes
                                .compatible
                                .push(format!("{place} is no longer required"));
                        }
                        _ => {}
                    }
                    locked.required = required;
                    continue;
                }
                Some(locked) => {
                    changes.breaking.push(format!(
                        "{place} was {} and became {}",
                        locked.field_type.name(),
                        field_type.name()
                    ));
                    self.reserve(name);
                }
                None if is_new => {}
                None if required => changes
                    .breaking
                    .push(format!("{place} is new and required")),
                None => changes.compatible.push(format!("{place} is new")),
            }
            let number = self.next_number();
            self.fields.insert(
                name.to_owned(),
                LockedField {
                    number,
                    field_type,
                    required,
                },
            );
        }
        let gone: Vec<String> = self
            .fields
            .keys()
            .filter(|name| !present.contains(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            changes
                .breaking
                .push(format!("field {name} of {message} was removed"));
            self.reserve(&name);
        }
    }

    fn reserve(&mut self, name: &str) {
        if let Some(locked) = self.fields.remove(name) {
            self.reserved.push(Reserved {
                number: locked.number,
                name: name.to_owned(),
            });
        }
    }

    fn reserve_all(&mut self) {
        for (name, locked) in std::mem::take(&mut self.fields) {
            self.reserved.push(Reserved {
                number: locked.number,
                name,
            });
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        let fields = self.fields.values().map(|field| field.number);
        fields.chain(self.reserved.iter().map(|reserved| reserved.number))
    }

    fn next_number(&self) -> u32 {
        match self.numbers().max().unwrap_or(0) + 1 {
            19_000..=19_999 => 20_000, // protobuf keeps these for itself
            number => number,
        }
    }

    fn repeated_number(&self) -> Option<u32> {
        let mut seen = BTreeSet::new();
        self.numbers()
            .find(|number| !(1..=536_870_911).contains(number) || !seen.insert(*number))
    }
}

#[derive(Default)]
struct Changes {
    compatible: Vec<String>,
    breaking: Vec<String>,
}

#[cfg(test)]
mod tests;
