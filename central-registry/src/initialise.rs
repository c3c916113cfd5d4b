//! Makes a new registry: keys, the first root document and its anchor, the log with its first entry.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use certs::LogKey;
use durable::Posix;
use prost::Message;
use trust::{
    InstanceId,
    configuration::{Anchor, Fold, StateKey},
    wire::configuration::{Change, ChangeSet, Entry, Officer, entry::Body},
};

use crate::{
    Error, Settings, clock::Clock, officer, registry_log::RegistryLog, root_document, settings,
};

/// The most root keys.
const ROOT_KEYS_LIMIT: u32 = 16;

/// What a new registry is asked to be.
#[derive(Debug, Clone)]
pub struct NewRegistry {
    /// The instance.
    pub instance: InstanceId,
    /// Where to make it. The folder must not exist, or be empty.
    pub out: PathBuf,
    /// Base URLs of the published files.
    pub sources: Vec<String>,
    /// How many root keys must sign.
    pub threshold: u32,
    /// How many root keys there are.
    pub root_keys: u32,
    /// How many days the first root document is valid.
    pub valid_days: u32,
    /// The name of the first officer.
    pub officer: String,
    /// Where the published files are served.
    pub listen: Option<SocketAddr>,
}

impl NewRegistry {
    /// Makes it: wholly, or not at all. Blocks on files.
    ///
    /// # Errors
    /// When there is something in the way, or something cannot be made.
    pub async fn make(self, clock: Clock) -> Result<Anchor, Error> {
        let name = self
            .out
            .file_name()
            .ok_or_else(|| Error::Exists(self.out.clone()))?;
        let unfinished = self
            .out
            .with_file_name(format!(".{}.new", name.to_string_lossy()));
        must_be_free(&self.out)?;
        if unfinished.exists() {
            // Left behind by an attempt that was cut off: nobody has seen its keys.
            fs::remove_dir_all(&unfinished).map_err(Error::file("removing", &unfinished))?;
        }
        durable::make_folder(&Posix, &unfinished).map_err(Error::file("making", &unfinished))?;
        let made = self.make_in(&unfinished, clock).await;
        if made.is_err() {
            // Keys that nobody will use must not lie about.
            fs::remove_dir_all(&unfinished).map_err(Error::file("removing", &unfinished))?;
        }
        let anchor = made?;
        durable::rename(&Posix, &unfinished, &self.out)
            .map_err(Error::file("making", &self.out))?;
        Ok(anchor)
    }

    async fn make_in(&self, folder: &Path, clock: Clock) -> Result<Anchor, Error> {
        if self.root_keys > ROOT_KEYS_LIMIT {
            let problem = format!("there can be at most {ROOT_KEYS_LIMIT} root keys");
            return Err(Error::Unusable(problem));
        }
        let now = clock.seconds();
        let root_keys = (0..self.root_keys)
            .map(|_| LogKey::generate())
            .collect::<Result<Vec<_>, _>>()?;
        for (key, number) in root_keys.iter().zip(1..) {
            key.write(&made(folder, "root-keys")?.join(format!("root-{number}.pem")))?;
        }
        let head_key = LogKey::generate()?;
        head_key.write(&folder.join("head-key.pem"))?;

        let document = root_document::First {
            instance: self.instance.clone(),
            root_keys: root_keys.iter().map(LogKey::public_key).collect(),
            threshold: self.threshold,
            head_key: head_key.public_key(),
            sources: self.sources.clone(),
            expires_at: now.saturating_add(i64::from(self.valid_days) * 86_400),
        }
        .document()?;
        let mut signed = root_document::unsigned(&document);
        root_document::sign(&mut signed, root_keys.iter().take(self.threshold as usize));
        let signed = Bytes::from(signed.encode_to_vec());
        write(&made(folder, "root")?.join("1"), &signed)?;
        let anchor = Anchor::from_root_document(signed)?;
        write(&folder.join("anchor.json"), anchor.to_json().as_bytes())?;

        self.begin_log(folder, clock).await?;
        let text = Settings::new_file(&self.instance, self.listen);
        write(&folder.join(settings::FILE), text.as_bytes())?;
        Ok(anchor)
    }

    /// The log with its first entry, which names the first officer.
    async fn begin_log(&self, folder: &Path, clock: Clock) -> Result<(), Error> {
        let key = LogKey::generate()?;
        let name = StateKey::Officer(self.officer.clone());
        let value = Officer {
            public_key: Bytes::copy_from_slice(&key.public_key()),
        };
        let set = ChangeSet {
            instance: self.instance.to_string(),
            changes: vec![Change {
                key: name.to_string(),
                value: Some(value.encode_to_vec().into()),
            }],
            reason: "the first officer, named when the registry was made".to_owned(),
            based_on: 0,
        };
        let entry = Entry {
            instance: self.instance.to_string(),
            created_at: clock.seconds(),
            body: Some(Body::Changes(officer::decide(&self.officer, &key, &set))),
        };
        let entry = Bytes::from(entry.encode_to_vec());
        Fold::new(self.instance.clone()).entry(&entry)?;
        key.write(&made(folder, "officers")?.join(format!("{}.pem", self.officer)))?;

        let path = folder.join("log");
        RegistryLog::create(&path, &self.instance, clock.clone())?;
        let log = RegistryLog::open(&path, &self.instance, clock)?;
        log.append(entry, &[]).await?;
        Ok(())
    }
}

fn must_be_free(folder: &Path) -> Result<(), Error> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("looking into", folder)(error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::Exists(folder.to_owned())),
        },
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    durable::replace(&Posix, path, bytes, 0o644).map_err(Error::file("writing", path))
}

fn made(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    durable::make_folder(&Posix, &path).map_err(Error::file("making", &path))?;
    Ok(path)
}
