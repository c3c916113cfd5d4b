//! `central-registry root`: root documents, offline.

use std::path::{Path, PathBuf};

use central_registry::{
    Error, Settings,
    clock::Clock,
    public_key,
    root_document::{self, Next},
};
use certs::LogKey;
use durable::Posix;
use jiff::Timestamp;
use prost::Message;
use trust::wire::configuration::RootDocument;

use crate::{
    arguments::{RootCommand, RootNext},
    print::line,
};

pub fn run(command: RootCommand, clock: &Clock) -> Result<(), Error> {
    match command {
        RootCommand::Next(wanted) => next(wanted, clock),
        RootCommand::Sign(wanted) => {
            let (mut signed, document) = root_document::read(&wanted.file)?;
            root_document::sign(&mut signed, &load(&wanted.keys)?);
            root_document::write(&wanted.file, &signed)?;
            describe(&document);
            line(&format!(
                "It has {} signatures now.",
                signed.signatures.len()
            ));
            Ok(())
        }
        RootCommand::Publish(wanted) => {
            let (signed, _) = root_document::read(&wanted.file)?;
            publish(&wanted.directory.directory, signed.encode_to_vec().into())
        }
        RootCommand::Show(directory) => {
            let settings = Settings::load(&directory.directory)?;
            if let Some(newest) = root_document::chain(&Posix, &settings.root)?.last() {
                describe(newest.document());
            }
            Ok(())
        }
    }
}

fn next(wanted: RootNext, clock: &Clock) -> Result<(), Error> {
    let settings = Settings::load(&wanted.directory.directory)?;
    let chain = root_document::chain(&Posix, &settings.root)?;
    let Some(newest) = chain.last() else {
        return Err(Error::Unusable(
            "there is no root document to follow".to_owned(),
        ));
    };
    let keys = |texts: &[String]| -> Result<Vec<[u8; 32]>, Error> {
        texts
            .iter()
            .map(|text| public_key::read(text, Path::new("")))
            .collect()
    };
    let document = Next {
        add_root_keys: keys(&wanted.add_root_key)?,
        remove_root_keys: keys(&wanted.remove_root_key)?,
        threshold: wanted.threshold,
        add_head_keys: keys(&wanted.add_head_key)?,
        remove_head_keys: keys(&wanted.remove_head_key)?,
        add_sources: wanted.add_source,
        remove_sources: wanted.remove_source,
        expires_at: clock
            .seconds()
            .saturating_add(i64::from(wanted.valid_days) * 86_400),
    }
    .document(newest)?;
    let mut signed = root_document::unsigned(&document);
    root_document::sign(&mut signed, &load(&wanted.keys)?);
    match wanted.out {
        Some(file) => {
            root_document::write(&file, &signed)?;
            describe(&document);
            line(&format!(
                "Written to {}: have it signed by {} of the old and {} of the new root keys \
                 (`root sign`), then `root publish` it.",
                file.display(),
                newest.document().threshold,
                document.threshold
            ));
            Ok(())
        }
        None => publish(&wanted.directory.directory, signed.encode_to_vec().into()),
    }
}

fn publish(directory: &Path, signed: bytes::Bytes) -> Result<(), Error> {
    let settings = Settings::load(directory)?;
    let published = root_document::publish(&Posix, signed, &settings.root, &settings.public)?;
    describe(published.document());
    line(
        "Published. To change the head key: publish a document with both, restart the registry \
         with the new one (head_key in registry.toml), then publish a document without the old one.",
    );
    Ok(())
}

fn load(files: &[PathBuf]) -> Result<Vec<LogKey>, Error> {
    Ok(files
        .iter()
        .map(|file| LogKey::load(file))
        .collect::<Result<_, _>>()?)
}

fn describe(document: &RootDocument) {
    let expiry = Timestamp::from_second(document.expires_at).map_or_else(
        |_| format!("{} s", document.expires_at),
        |time| time.to_string(),
    );
    line(&format!(
        "Root document {} of {}, valid until {expiry}: {} of {} root keys",
        document.version,
        document.instance,
        document.threshold,
        document.root_keys.len()
    ));
    for (what, keys) in [
        ("root key", &document.root_keys),
        ("head key", &document.head_keys),
    ] {
        for key in keys {
            line(&format!("  {what} {}", hex::encode(key)));
        }
    }
    for source in &document.sources {
        line(&format!("  source   {source}"));
    }
}
