//! Root documents: made and signed offline by the holders of root keys, kept as `root/<version>`.

use std::{io, path::Path};

use bytes::Bytes;
use certs::LogKey;
use durable::{Access, FileSet, FileSystem, Posix};
use prost::Message;
use trust::{
    InstanceId,
    configuration::{Anchor, ROOT_SIGNATURE_CONTEXT, RootDocument},
    wire::configuration::{self as wire, RootSignature, SignedRootDocument},
};

use crate::Error;

/// The most root keys, head keys or sources of a document.
const LIST_LIMIT: usize = 64;
/// The longest source, in bytes.
const SOURCE_LIMIT: usize = 512;
/// The most bytes that are read of a file.
const FILE_LIMIT: u64 = 64 * 1024;

/// What the first document says.
#[derive(Debug)]
pub struct First {
    /// The instance.
    pub instance: InstanceId,
    /// The root keys.
    pub root_keys: Vec<[u8; 32]>,
    /// How many of them must sign.
    pub threshold: u32,
    /// The key that signs heads.
    pub head_key: [u8; 32],
    /// Base URLs of the published files.
    pub sources: Vec<String>,
    /// Seconds since 1970 (UTC).
    pub expires_at: i64,
}

impl First {
    /// The document, not signed yet.
    ///
    /// # Errors
    /// When it says something that cannot be.
    pub fn document(self) -> Result<wire::RootDocument, Error> {
        let document = wire::RootDocument {
            instance: self.instance.to_string(),
            version: 1,
            root_keys: self
                .root_keys
                .iter()
                .map(|key| Bytes::copy_from_slice(key))
                .collect(),
            threshold: self.threshold,
            expires_at: self.expires_at,
            head_keys: vec![Bytes::copy_from_slice(&self.head_key)],
            sources: self.sources,
            witness_keys: Vec::new(),
            witness_threshold: 0,
        };
        check(document)
    }
}

/// What the next document says otherwise than the newest.
#[derive(Debug, Default)]
pub struct Next {
    /// Root keys to add.
    pub add_root_keys: Vec<[u8; 32]>,
    /// Root keys to leave out.
    pub remove_root_keys: Vec<[u8; 32]>,
    /// How many root keys must sign; none: as before.
    pub threshold: Option<u32>,
    /// Head keys to add.
    pub add_head_keys: Vec<[u8; 32]>,
    /// Head keys to leave out.
    pub remove_head_keys: Vec<[u8; 32]>,
    /// Base URLs to add.
    pub add_sources: Vec<String>,
    /// Base URLs to leave out.
    pub remove_sources: Vec<String>,
    /// Seconds since 1970 (UTC).
    pub expires_at: i64,
}

impl Next {
    /// The document that follows `newest`, not signed yet.
    ///
    /// # Errors
    /// When it says something that cannot be, or removes what is not there.
    pub fn document(self, newest: &RootDocument) -> Result<wire::RootDocument, Error> {
        let bytes = |keys: Vec<[u8; 32]>| -> Vec<Bytes> {
            keys.iter().map(|key| Bytes::copy_from_slice(key)).collect()
        };
        let mut document = newest.document().clone();
        document.version += 1;
        document.expires_at = self.expires_at;
        document.threshold = self.threshold.unwrap_or(document.threshold);
        let keys = |key: &Bytes| hex::encode(key);
        replace(
            "root key",
            &mut document.root_keys,
            bytes(self.add_root_keys),
            &bytes(self.remove_root_keys),
            keys,
        )?;
        replace(
            "head key",
            &mut document.head_keys,
            bytes(self.add_head_keys),
            &bytes(self.remove_head_keys),
            keys,
        )?;
        replace(
            "source",
            &mut document.sources,
            self.add_sources,
            &self.remove_sources,
            String::clone,
        )?;
        check(document)
    }
}

/// Adds and removes; what is there twice or not at all is refused.
fn replace<Item: PartialEq>(
    what: &str,
    list: &mut Vec<Item>,
    added: Vec<Item>,
    removed: &[Item],
    shown: impl Fn(&Item) -> String,
) -> Result<(), Error> {
    for item in removed {
        let position = list.iter().position(|found| found == item).ok_or_else(|| {
            Error::Unusable(format!(
                "{what} {} is not in the newest document",
                shown(item)
            ))
        })?;
        list.remove(position);
    }
    for item in added {
        if list.contains(&item) {
            let problem = format!("{what} {} is in the newest document already", shown(&item));
            return Err(Error::Unusable(problem));
        }
        list.push(item);
    }
    Ok(())
}

/// What verifiers would refuse, and what they could not use.
fn check(document: wire::RootDocument) -> Result<wire::RootDocument, Error> {
    let problem =
        if document.threshold == 0 || document.threshold as usize > document.root_keys.len() {
            format!(
                "{} of {} root keys is impossible",
                document.threshold,
                document.root_keys.len()
            )
        } else if document.head_keys.is_empty() {
            "without a head key nothing can be published".to_owned()
        } else if [
            document.root_keys.len(),
            document.head_keys.len(),
            document.sources.len(),
        ]
        .into_iter()
        .any(|length| length > LIST_LIMIT)
        {
            format!("a list of a root document has at most {LIST_LIMIT} items")
        } else if let Some(source) = document.sources.iter().find(|source| !is_source(source)) {
            format!(
                "source \"{}\" is no http:// or https:// address",
                source.escape_default()
            )
        } else {
            return Ok(document);
        };
    Err(Error::Unusable(problem))
}

fn is_source(source: &str) -> bool {
    let host = source
        .strip_prefix("http://")
        .or_else(|| source.strip_prefix("https://"));
    source.len() <= SOURCE_LIMIT
        && source.bytes().all(|byte| byte.is_ascii_graphic())
        && host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
}

/// A document without signatures.
#[must_use]
pub fn unsigned(document: &wire::RootDocument) -> SignedRootDocument {
    SignedRootDocument {
        document: document.encode_to_vec().into(),
        signatures: Vec::new(),
    }
}

/// Adds the signatures of these keys, each once.
pub fn sign<'a>(signed: &mut SignedRootDocument, keys: impl IntoIterator<Item = &'a LogKey>) {
    let bytes = [ROOT_SIGNATURE_CONTEXT, &signed.document].concat();
    for key in keys {
        let public_key = Bytes::copy_from_slice(&key.public_key());
        signed
            .signatures
            .retain(|signature| signature.public_key != public_key);
        let signature = Bytes::copy_from_slice(&key.sign(&bytes));
        signed.signatures.push(RootSignature {
            public_key,
            signature,
        });
    }
}

/// Reads a signed document, nothing of it verified.
///
/// # Errors
/// When the file cannot be read or does not parse.
pub fn read(path: &Path) -> Result<(SignedRootDocument, wire::RootDocument), Error> {
    let bytes = read_bytes(&Posix, path)?;
    let unreadable =
        |error: prost::DecodeError| Error::content(path, format!("is no root document: {error}"));
    let signed = SignedRootDocument::decode(bytes).map_err(unreadable)?;
    let document = wire::RootDocument::decode(signed.document.clone()).map_err(unreadable)?;
    Ok((signed, document))
}

/// Writes a document that is not published yet.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, signed: &SignedRootDocument) -> Result<(), Error> {
    durable::replace(&Posix, path, &signed.encode_to_vec(), 0o644)
        .map_err(Error::file("writing", path))
}

fn read_bytes(files: &dyn FileSystem, path: &Path) -> Result<Bytes, Error> {
    let opened = files.open(path, Access::Read);
    let length = opened.and_then(|file| file.length());
    if length.map_err(Error::file("reading", path))? > FILE_LIMIT {
        return Err(Error::content(path, "is too long for a root document"));
    }
    let bytes = durable::read(files, path).map_err(Error::file("reading", path))?;
    Ok(bytes.into())
}

/// Reads and verifies all documents of a folder, from the first to the newest.
///
/// # Errors
/// When the first is missing, or one does not follow the one before.
pub fn chain(files: &dyn FileSystem, folder: &Path) -> Result<Vec<RootDocument>, Error> {
    let first = Anchor::from_root_document(read_bytes(files, &folder.join("1"))?)?;
    let mut newest = first.root().clone();
    let mut documents = vec![newest.clone()];
    loop {
        let path = folder.join((newest.document().version + 1).to_string());
        let next = match read_bytes(files, &path) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(documents);
            }
            next => next?,
        };
        newest = newest.next(next)?;
        documents.push(newest.clone());
    }
}

/// Puts the next document into the folder of the root documents and beside the published files,
/// after verifying that it follows.
///
/// # Errors
/// When it does not follow the newest one, or cannot be written.
pub fn publish(
    files: &dyn FileSystem,
    signed: Bytes,
    root: &Path,
    public: &Path,
) -> Result<RootDocument, Error> {
    let documents = chain(files, root)?;
    let newest = documents.last().ok_or_else(|| {
        Error::content(
            root,
            "there is no root document; was the registry initialised?",
        )
    })?;
    let next = newest.next(signed)?;
    let name = next.document().version.to_string();
    let path = root.join(&name);
    durable::replace(files, &path, next.signed(), 0o644).map_err(Error::file("writing", path))?;
    put_beside(files, public, &name, next.signed())?;
    Ok(next)
}

/// What a start does: puts those documents of the folder beside the published files that are not
/// there.
pub(crate) fn complete(
    files: &dyn FileSystem,
    documents: &[RootDocument],
    root: &Path,
    public: &Path,
) -> Result<(), Error> {
    // A process that was killed may have left one whose name does not survive: servers must not see
    // what this folder could forget.
    files
        .sync_folder(root)
        .map_err(Error::file("syncing", root))?;
    for document in documents {
        let version = document.document().version.to_string();
        put_beside(files, public, &version, document.signed())?;
    }
    Ok(())
}

/// Puts a document beside the published files, unless it is there.
fn put_beside(
    files: &dyn FileSystem,
    public: &Path,
    version: &str,
    signed: &[u8],
) -> Result<(), Error> {
    let mut set = FileSet::new(files, public, 0o644);
    set.complete(&format!("root/{version}"), signed)
        .and_then(|_| set.sync())
        .map_err(Error::file("publishing in", public))
}

#[cfg(test)]
mod tests;
