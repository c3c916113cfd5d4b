//! Ed25519 public keys as people give them: 64 hexadecimal digits, or a PEM file.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use certs::LogKey;

use crate::Error;

/// What stands before the 32 bytes in the DER of an Ed25519 public key (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// The most bytes that are read of a file.
const LIMIT: u64 = 16 * 1024;

/// Reads a public key: 64 hexadecimal digits, or the name of a PEM file (relative to `folder`)
/// with the public key or, readable by its owner only, the private one.
///
/// # Errors
/// When it is neither.
pub fn read(text: &str, folder: &Path) -> Result<[u8; 32], Error> {
    if let Some(key) = from_hex(text) {
        return Ok(key);
    }
    let path = folder.join(text);
    let length = fs::metadata(&path)
        .map_err(Error::file("reading", &path))?
        .len();
    if length > LIMIT {
        return Err(Error::content(&path, "is too long for a key file"));
    }
    let content = fs::read(&path).map_err(Error::file("reading", &path))?;
    match public_section(&String::from_utf8_lossy(&content)) {
        Some(key) => Ok(key),
        None => Ok(LogKey::load(&path)?.public_key()),
    }
}

/// A key written as 64 hexadecimal digits.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// The key of the first section `PUBLIC KEY`.
fn public_section(text: &str) -> Option<[u8; 32]> {
    let (_, after) = text.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = after.split_once("-----END PUBLIC KEY-----")?;
    let body: String = body.split_whitespace().collect();
    let der = BASE64_STANDARD.decode(body).ok()?;
    der.strip_prefix(&ED25519_PREFIX)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_all_three_forms() {
        let folder = tempfile::tempdir().unwrap();
        let key = LogKey::generate().unwrap();
        key.write(&folder.path().join("private.pem")).unwrap();
        let der = [ED25519_PREFIX.as_slice(), &key.public_key()].concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64_STANDARD.encode(der)
        );
        fs::write(folder.path().join("public.pem"), pem).unwrap();
        for text in [&hex::encode(key.public_key()), "private.pem", "public.pem"] {
            assert_eq!(
                read(text, folder.path()).unwrap(),
                key.public_key(),
                "{text}"
            );
        }
        fs::write(folder.path().join("else"), "nothing").unwrap();
        for text in ["else", "absent.pem", &"ab".repeat(31)] {
            assert!(read(text, folder.path()).is_err(), "{text}");
        }
    }
}
