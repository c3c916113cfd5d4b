//! Checkpoints: signed notes over the size and root of a log (C2SP tlog-checkpoint, signed-note).

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;

use crate::{Digest, InstanceId, ServerId};

/// The longest checkpoint that is read, cosignatures included.
pub const MAX_LENGTH: usize = 64 * 1024;
/// The most signature lines that are read.
const MAX_SIGNATURES: usize = 64;
/// The longest origin: an identifier of four parts of 64, and a generation.
const MAX_ORIGIN: usize = 300;
/// The signature type of Ed25519 in a key id.
const ED25519_TYPE: u8 = 1;

/// Why bytes are no checkpoint, or not one of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// The form of a signed note or of its text is broken.
    #[error("this is no checkpoint: {0}")]
    Form(&'static str),
    /// It belongs to another log.
    #[error("the checkpoint is of log {found}, not of {expected}")]
    Origin {
        /// The origin that was asked for.
        expected: Origin,
        /// The origin it has.
        found: Origin,
    },
    /// The key has signed nothing of it.
    #[error("the checkpoint of log {origin} is not signed by the log's key")]
    NotSigned {
        /// The origin.
        origin: Origin,
    },
    /// The key's signature does not verify.
    #[error("the signature of the checkpoint of log {origin} does not verify")]
    Signature {
        /// The origin.
        origin: Origin,
    },
}

/// The name of a log: `instance/server/generation`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Box<str>);

/// A text that cannot be the origin of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no origin of a log: 1 to 300 visible ASCII characters, no space and no plus")]
pub struct InvalidOrigin;

impl Origin {
    /// The message log of a security server; a log that was lost gets the next generation.
    #[must_use]
    pub fn of_server(server: &ServerId, generation: u32) -> Self {
        Self(format!("{server}/{generation}").into())
    }

    /// The log of the central registry of an instance.
    #[must_use]
    pub fn of_registry(instance: &InstanceId) -> Self {
        Self(format!("{instance}/registry").into())
    }

    /// The security server and the generation whose message log this is; none of another log.
    #[must_use]
    pub fn server(&self) -> Option<(ServerId, u32)> {
        let (server, generation) = self.0.rsplit_once('/')?;
        let (server, generation) = (server.parse().ok()?, generation.parse().ok()?);
        (Self::of_server(&server, generation) == *self).then_some((server, generation))
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let valid = (1..=MAX_ORIGIN).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'+');
        valid.then(|| Self(text.into())).ok_or(InvalidOrigin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Origin({self})")
    }
}

/// The public Ed25519 key of a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogKey([u8; 32]);

impl LogKey {
    /// The public half of a signing key.
    #[must_use]
    pub fn of(key: &Ed25519KeyPair) -> Option<Self> {
        Self::from_slice(key.public_key().as_ref())
    }

    /// A key as it is registered: exactly 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the key has signed `message`.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// The key id of signed-note: four bytes of SHA-256 over name, line feed, type and key.
    #[must_use]
    pub fn id(&self, name: &str) -> [u8; 4] {
        let digest = Digest::of_parts(&[name.as_bytes(), &[b'\n', ED25519_TYPE], &self.0]);
        let [first, second, third, fourth, ..] = *digest.as_bytes();
        [first, second, third, fourth]
    }

    /// The key as the verifier key of signed-note: `name+id+key`, as witnesses configure it.
    #[must_use]
    pub fn verifier_key(&self, name: &str) -> String {
        let key = BASE64_STANDARD.encode([&[ED25519_TYPE], self.0.as_slice()].concat());
        format!("{name}+{}+{key}", hex::encode(self.id(name)))
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LogKey({})", hex::encode(self.0))
    }
}

/// The size and root of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: Origin,
    /// How many records it has.
    pub size: u64,
    /// The root of the tree over their leaves.
    pub root: Digest,
}

impl Checkpoint {
    /// Signs it: the one place where checkpoints get their signature.
    #[must_use]
    pub fn sign(self, key: &Ed25519KeyPair) -> SignedCheckpoint {
        let text = self.text();
        let name = self.origin.as_str();
        // The public half of a key pair always has 32 bytes.
        let id = LogKey::of(key).map_or([0; 4], |public| public.id(name));
        let line = SignatureLine {
            name: name.into(),
            key_id: id,
            signature: Bytes::copy_from_slice(key.sign(text.as_bytes()).as_ref()),
        };
        SignedCheckpoint {
            note: format!("{text}\n{line}").into(),
            text_length: text.len(),
            checkpoint: self,
            signatures: vec![line],
        }
    }

    /// The text that is signed.
    fn text(&self) -> String {
        let root = BASE64_STANDARD.encode(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Reads the text. Extension lines are refused: no log of this project writes one, and
    /// nobody could audit what they say.
    fn parse(text: &str) -> Result<Self, InvalidCheckpoint> {
        let mut lines = text.split_terminator('\n');
        let mut line = || {
            lines
                .next()
                .ok_or(InvalidCheckpoint::Form("a line is missing"))
        };
        let (origin, size, root) = (line()?, line()?, line()?);
        if lines.next().is_some() {
            return Err(InvalidCheckpoint::Form("there are extension lines"));
        }
        let size: u64 = size
            .parse()
            .ok()
            .filter(|parsed: &u64| parsed.to_string() == size)
            .ok_or(InvalidCheckpoint::Form(
                "the size is no plain decimal number",
            ))?;
        let root = BASE64_STANDARD
            .decode(root)
            .ok()
            .and_then(|bytes| Digest::from_slice(&bytes))
            .ok_or(InvalidCheckpoint::Form("the root is no base64 of 32 bytes"))?;
        Ok(Self {
            origin: origin
                .parse()
                .map_err(|InvalidOrigin| InvalidCheckpoint::Form("the origin is invalid"))?,
            size,
            root,
        })
    }
}

/// A signature of a note: the log's own, or a cosignature of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name of the key.
    pub name: Box<str>,
    /// The id of the key.
    pub key_id: [u8; 4],
    /// What follows the key id; its form depends on the type of the key.
    pub signature: Bytes,
}

impl SignatureLine {
    /// Reads one line without its line feed.
    fn parse(line: &str) -> Result<Self, InvalidCheckpoint> {
        let (name, value) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(InvalidCheckpoint::Form("a signature line is malformed"))?;
        if name.is_empty() || name.contains(|c: char| c == '+' || c.is_whitespace()) {
            return Err(InvalidCheckpoint::Form("the name of a key is malformed"));
        }
        let value = BASE64_STANDARD
            .decode(value)
            .map_err(|_| InvalidCheckpoint::Form("a signature is no base64"))?;
        match value.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() => Ok(Self {
                name: name.into(),
                key_id: *key_id,
                signature: Bytes::copy_from_slice(signature),
            }),
            _ => Err(InvalidCheckpoint::Form("a signature is too short")),
        }
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = BASE64_STANDARD.encode([&self.key_id, self.signature.as_ref()].concat());
        writeln!(formatter, "\u{2014} {} {value}", self.name)
    }
}

/// A checkpoint as it is kept and passed on: the exact bytes, whoever has signed them.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Bytes,
    text_length: usize,
    checkpoint: Checkpoint,
    signatures: Vec<SignatureLine>,
}

impl SignedCheckpoint {
    /// Reads a signed note strictly. Says nothing yet about who signed it.
    ///
    /// # Errors
    /// When it is malformed or larger than [`MAX_LENGTH`].
    pub fn parse(note: &[u8]) -> Result<Self, InvalidCheckpoint> {
        if note.len() > MAX_LENGTH {
            return Err(InvalidCheckpoint::Form("it is longer than 64 KiB"));
        }
        let text = std::str::from_utf8(note)
            .map_err(|_| InvalidCheckpoint::Form("it is not valid UTF-8"))?;
        if text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(InvalidCheckpoint::Form("it contains a control character"));
        }
        let (_, after) = text
            .rsplit_once("\n\n")
            .ok_or(InvalidCheckpoint::Form("no empty line before signatures"))?;
        let lines = after
            .strip_suffix('\n')
            .ok_or(InvalidCheckpoint::Form("the last line is not ended"))?;
        let text_length = note.len() - after.len() - 1;
        let text = text.get(..text_length).unwrap_or_default();
        let signatures = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(SignatureLine::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(InvalidCheckpoint::Form("it has more than 64 signatures"));
        }
        Ok(Self {
            note: Bytes::copy_from_slice(note),
            text_length,
            checkpoint: Checkpoint::parse(text)?,
            signatures,
        })
    }

    /// Verifies that it is of this log and that the log's key has signed it.
    ///
    /// # Errors
    /// When it is of another log, or the key's signature is missing or wrong.
    pub fn verify(&self, origin: &Origin, key: &LogKey) -> Result<&Checkpoint, InvalidCheckpoint> {
        let found = &self.checkpoint.origin;
        if found != origin {
            return Err(InvalidCheckpoint::Origin {
                expected: origin.clone(),
                found: found.clone(),
            });
        }
        verify_note(self.text(), &self.signatures, origin.as_str(), key).map_err(|known| {
            let origin = origin.clone();
            match known {
                KnownKey::No => InvalidCheckpoint::NotSigned { origin },
                KnownKey::Yes => InvalidCheckpoint::Signature { origin },
            }
        })?;
        Ok(&self.checkpoint)
    }

    /// What it claims; nobody's signature has been verified by this.
    #[must_use]
    pub const fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// All signature lines in order.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.note.get(..self.text_length).unwrap_or_default()
    }

    /// The whole note, byte for byte as it was read or made.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.note
    }
}

impl fmt::Debug for SignedCheckpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", String::from_utf8_lossy(&self.note))
    }
}

/// Whether a note names the key at all.
#[derive(Debug, PartialEq, Eq)]
enum KnownKey {
    Yes,
    No,
}

/// Every signature by the key (same name and id) must verify, and there must be one.
fn verify_note(
    text: &[u8],
    signatures: &[SignatureLine],
    name: &str,
    key: &LogKey,
) -> Result<(), KnownKey> {
    let id = key.id(name);
    let mut outcome = Err(KnownKey::No);
    for line in signatures {
        if *line.name == *name && line.key_id == id {
            if !key.has_signed(text, &line.signature) {
                return Err(KnownKey::Yes);
            }
            outcome = Ok(());
        }
    }
    outcome
}

#[cfg(test)]
mod tests;
