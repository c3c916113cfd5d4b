//! Root documents: whom to trust for the configuration, from the anchor to the newest.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::invalid;
use crate::{
    InstanceId,
    refusal::Refusal,
    wire::configuration::{self as wire, SignedRootDocument},
};

/// What stands before the document in the bytes that root keys sign.
pub const ROOT_SIGNATURE_CONTEXT: &[u8] = b"lienthong.root-document.v1\n";

/// The most a signed root document may measure.
const ROOT_DOCUMENT_LIMIT: usize = 64 * 1024;

/// A root document whose signatures were verified.
#[derive(Debug, Clone)]
pub struct RootDocument {
    instance: InstanceId,
    document: wire::RootDocument,
    signed: Bytes,
}

impl RootDocument {
    /// Verifies the first document by its own keys. Who hands it over is trusted for it.
    fn first(signed: Bytes) -> Result<Self, Refusal> {
        let (found, parsed) = Self::parse(signed)?;
        if found.document.version != 1 {
            return Err(invalid("the anchor is not version 1 of the root document"));
        }
        found.check_signatures(&parsed, &found.document)?;
        Ok(found)
    }

    /// Verifies the document that follows this one: signed by enough keys of both.
    ///
    /// # Errors
    /// `InvalidConfiguration` in words.
    pub fn next(&self, signed: Bytes) -> Result<Self, Refusal> {
        let (found, parsed) = Self::parse(signed)?;
        if found.instance != self.instance {
            return Err(invalid("the next root document is of another instance"));
        }
        if found.document.version != self.document.version + 1 {
            return Err(invalid(format!(
                "root document {} does not follow {}",
                found.document.version, self.document.version
            )));
        }
        found.check_signatures(&parsed, &self.document)?;
        found.check_signatures(&parsed, &found.document)?;
        Ok(found)
    }

    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The fields as signed.
    #[must_use]
    pub const fn document(&self) -> &wire::RootDocument {
        &self.document
    }

    /// The encoded `SignedRootDocument`.
    #[must_use]
    pub const fn signed(&self) -> &Bytes {
        &self.signed
    }

    /// Asks the newest document's expiry, at a time in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// `InvalidConfiguration` when it has expired.
    pub fn check_expiry(&self, at: i64) -> Result<(), Refusal> {
        if at >= self.document.expires_at {
            return Err(invalid(format!(
                "root document {} has expired; the governing authority must publish the next",
                self.document.version
            )));
        }
        Ok(())
    }

    fn parse(signed: Bytes) -> Result<(Self, SignedRootDocument), Refusal> {
        if signed.len() > ROOT_DOCUMENT_LIMIT {
            return Err(invalid("the root document is too large"));
        }
        let unreadable = |error| invalid(format!("the root document does not parse: {error}"));
        let parsed = SignedRootDocument::decode(signed.clone()).map_err(unreadable)?;
        let document = wire::RootDocument::decode(parsed.document.clone()).map_err(unreadable)?;
        let instance = document
            .instance
            .parse()
            .map_err(|error| invalid(format!("the root document's instance: {error}")))?;
        let threshold = document.threshold as usize;
        if threshold == 0 || threshold > document.root_keys.len() || document.head_keys.is_empty() {
            return Err(invalid(
                "the root document asks for an impossible number of keys",
            ));
        }
        Ok((
            Self {
                instance,
                document,
                signed,
            },
            parsed,
        ))
    }

    /// Whether `threshold` different keys of `keys` signed this document.
    fn check_signatures(
        &self,
        parsed: &SignedRootDocument,
        keys: &wire::RootDocument,
    ) -> Result<(), Refusal> {
        let signed = [ROOT_SIGNATURE_CONTEXT, &parsed.document].concat();
        let mut valid: Vec<&Bytes> = parsed
            .signatures
            .iter()
            .filter(|signature| keys.root_keys.contains(&signature.public_key))
            .filter(|signature| {
                UnparsedPublicKey::new(&ED25519, &signature.public_key)
                    .verify(&signed, &signature.signature)
                    .is_ok()
            })
            .map(|signature| &signature.public_key)
            .collect();
        valid.sort();
        valid.dedup();
        if valid.len() < keys.threshold as usize {
            return Err(invalid(format!(
                "root document {} has {} valid signatures of the {} that version {} asks for",
                self.document.version,
                valid.len(),
                keys.threshold,
                keys.version,
            )));
        }
        Ok(())
    }
}

/// The anchor: the one thing a server or auditor has to be given by hand.
#[derive(Debug, Clone)]
pub struct Anchor {
    root: RootDocument,
}

/// `anchor.json`. `root_document` alone is decisive; the rest is for people.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorFile {
    instance: String,
    root_keys: Vec<String>,
    sources: Vec<String>,
    root_document: String,
}

impl Anchor {
    /// An anchor from the encoded first root document.
    ///
    /// # Errors
    /// `InvalidConfiguration` when it does not verify by its own keys.
    pub fn from_root_document(signed: Bytes) -> Result<Self, Refusal> {
        Ok(Self {
            root: RootDocument::first(signed)?,
        })
    }

    /// Reads `anchor.json`.
    ///
    /// # Errors
    /// `InvalidConfiguration` in words.
    pub fn from_json(text: &str) -> Result<Self, Refusal> {
        let file: AnchorFile = serde_json::from_str(text)
            .map_err(|error| invalid(format!("the anchor file does not parse: {error}")))?;
        let signed = STANDARD
            .decode(&file.root_document)
            .map_err(|error| invalid(format!("the anchor's root document: {error}")))?;
        let anchor = Self::from_root_document(signed.into())?;
        // Whoever reads the file must not be shown something else than what is used.
        if file != anchor.file() {
            return Err(invalid(
                "the anchor file shows other facts than its root document signs",
            ));
        }
        Ok(anchor)
    }

    /// Writes `anchor.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.file()).unwrap_or_default() + "\n"
    }

    /// The first root document.
    #[must_use]
    pub const fn root(&self) -> &RootDocument {
        &self.root
    }

    fn file(&self) -> AnchorFile {
        let document = self.root.document();
        AnchorFile {
            instance: document.instance.clone(),
            root_keys: document.root_keys.iter().map(hex::encode).collect(),
            sources: document.sources.clone(),
            root_document: STANDARD.encode(self.root.signed()),
        }
    }
}
