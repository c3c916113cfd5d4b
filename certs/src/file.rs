//! Files of keys and certificates: read within limits, written whole or not at all, never over one
//! that exists.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use durable::{FileSystem, Posix};
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer,
    pem::{self, PemObject},
};
use x509_cert::der::pem::{LineEnding, encode_string};

use crate::error::{FileError, FileProblem, MAXIMUM_DER};

/// The most bytes that are read from one file: a chain of the longest certificates in PEM.
const MAXIMUM_FILE: usize = 8 * MAXIMUM_DER;

/// The label of a private key in PKCS #8.
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

impl FileProblem {
    pub(crate) fn at(self, path: &Path) -> FileError {
        FileError {
            path: path.into(),
            problem: self,
        }
    }
}

/// Reads the certificates of a PEM file, or the one of a DER file, in order; at least one.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, FileError> {
    let bytes = read(path)?;
    if is_der(&bytes) {
        return Ok(vec![bytes]);
    }
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&bytes)
        .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(&error).at(path))?;
    if found.is_empty() {
        return Err(FileProblem::Missing("CERTIFICATE").at(path));
    }
    Ok(found)
}

/// Reads a certificate request (PKCS #10), PEM or DER.
///
/// # Errors
/// When the file cannot be read or holds no request.
pub fn read_request(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = read(path)?;
    if is_der(&bytes) {
        return Ok(bytes);
    }
    match CertificateSigningRequestDer::from_pem_slice(&bytes) {
        Ok(request) => Ok(request.to_vec()),
        Err(pem::Error::NoItemsFound) => Err(FileProblem::Missing("CERTIFICATE REQUEST").at(path)),
        Err(error) => Err(malformed(&error).at(path)),
    }
}

/// Reads a private key file, which nobody but its owner may read.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|error| FileProblem::Read(error).at(path))?;
    // The mode of the open file, not of the path, so that it cannot change in between.
    let mode = file
        .metadata()
        .map_err(|error| FileProblem::Read(error).at(path))?
        .mode();
    if mode & 0o077 != 0 {
        return Err(FileProblem::Exposed(mode & 0o7777).at(path));
    }
    read_open(file, path)
}

/// Writes DER as one PEM section into a new file.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_pem(path: &Path, label: &str, der: &[u8], mode: u32) -> Result<(), FileError> {
    write_pem_in(&Posix, path, label, der, mode)
}

/// The same in any file system.
pub(crate) fn write_pem_in(
    files: &dyn FileSystem,
    path: &Path,
    label: &str,
    der: &[u8],
    mode: u32,
) -> Result<(), FileError> {
    let text = in_pem(label, der).map_err(|problem| problem.at(path))?;
    write_new(files, path, text.as_bytes(), mode)
}

/// DER as one PEM section (RFC 7468).
///
/// # Errors
/// When the label is none.
pub fn in_pem(label: &str, der: &[u8]) -> Result<String, FileProblem> {
    encode_string(label, LineEnding::LF, der)
        .map_err(|error| FileProblem::Malformed(error.to_string()))
}

/// Writes certificates in PEM into a new file, the holder's first.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_certificates(path: &Path, chain: &[&[u8]]) -> Result<(), FileError> {
    write_certificates_in(&Posix, path, chain)
}

/// The same in any file system.
pub(crate) fn write_certificates_in(
    files: &dyn FileSystem,
    path: &Path,
    chain: &[&[u8]],
) -> Result<(), FileError> {
    let text: String = chain
        .iter()
        .map(|der| in_pem("CERTIFICATE", der))
        .collect::<Result<_, _>>()
        .map_err(|problem| problem.at(path))?;
    write_new(files, path, text.as_bytes(), 0o644)
}

/// Writes a new file so that it is there whole and durable, or not at all.
fn write_new(
    files: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> Result<(), FileError> {
    durable::create(files, path, bytes, mode).map_err(|error| write_error(error, path))
}

fn write_error(error: io::Error, path: &Path) -> FileError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => FileProblem::Exists.at(path),
        _ => FileProblem::Write(error).at(path),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|error| FileProblem::Read(error).at(path))?;
    read_open(file, path)
}

fn read_open(file: File, path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(MAXIMUM_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| FileProblem::Read(error).at(path))?;
    if bytes.len() > MAXIMUM_FILE {
        return Err(FileProblem::TooLarge(MAXIMUM_FILE).at(path));
    }
    Ok(bytes)
}

/// Whether the bytes begin as a DER sequence with a long length, which no PEM text does.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0x84, ..])
}

pub(crate) fn malformed(error: &pem::Error) -> FileProblem {
    FileProblem::Malformed(error.to_string())
}
