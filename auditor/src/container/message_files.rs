//! The files of one message in a container: as signed, what signed it, and the way between them.

use bytes::Bytes;
use certs::cades::detached_signature;
use trust::{
    Digest,
    batch::BatchPath,
    merkle::Side,
    message::KeptMessage,
    signature::{batch_manifest, batch_name},
};
use verifiable_log::RawRecord;

use super::files::Certificates;

/// The files, and the name of what was signed: this message, or its batch.
pub(super) struct MessageFiles {
    pub(super) files: Vec<(String, Bytes)>,
    pub(super) signed: String,
}

/// Makes the files of a message whose names begin with `name`.
///
/// # Errors
/// In words, when its signature cannot be made a standard one.
pub(super) fn files(
    name: &str,
    record: &RawRecord,
    message: &KeptMessage,
    certificates: &Certificates,
) -> Result<MessageFiles, String> {
    let attributes = message
        .signed_attributes()
        .map_err(|refusal| refusal.explanation)?;
    let chain = certificates.chain(&message.certificate_digest());
    let cms = detached_signature(&chain, &attributes, message.signature_value())
        .map_err(|error| error.to_string())?;
    let mut files = vec![(format!("{name}.header"), record.kept.header.clone())];
    // Content that was destroyed, or never kept, is no file.
    if Digest::of(&record.content) == message.header().content_digest {
        files.push((format!("{name}.content"), record.content.clone()));
    }
    let manifest = message.manifest();
    let (signed, manifest) = match message.batch() {
        None => (name.to_owned(), manifest),
        Some(path) => {
            let root = root_of(path, message)?;
            files.push((format!("{name}.manifest"), manifest.into()));
            files.push((format!("{name}.path"), steps(path)?.into()));
            let batch = batch_name(&root);
            files.push((format!("{batch}.root"), root.to_bytes()));
            (batch, batch_manifest(&root))
        }
    };
    files.push((
        format!("META-INF/ASiCManifest-{signed}.xml"),
        manifest.into(),
    ));
    files.push((format!("META-INF/signature-{signed}.p7s"), cms.into()));
    Ok(MessageFiles { files, signed })
}

fn root_of(path: &BatchPath, message: &KeptMessage) -> Result<Digest, String> {
    path.root(&message.digest())
        .map_err(|error| error.to_string())
}

/// A line for each hash on the way up: on which side it stands, and the hash.
fn steps(path: &BatchPath) -> Result<String, String> {
    let steps = path.steps().map_err(|error| error.to_string())?;
    let lines = steps.iter().map(|(side, hash)| match side {
        Side::Left => format!("left {hash}\n"),
        Side::Right => format!("right {hash}\n"),
    });
    Ok(lines.collect())
}
