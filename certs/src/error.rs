//! What can be wrong with a certificate, a file or an order to issue, in words an operator can use.

use std::{io, path::PathBuf};

use jiff::Timestamp;
use trust::{Digest, ServerId};

use crate::profile::{Role, Violation};

/// A certificate that was refused: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate {certificate}: {fault}")]
pub struct CertificateError {
    /// The subject and the start of the digest; the digest alone if it cannot be parsed.
    pub certificate: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl CertificateError {
    pub(crate) fn unparsed(der: &[u8], fault: Fault) -> Self {
        Self {
            certificate: short(&Digest::of(der)),
            fault,
        }
    }
}

/// What is wrong with a certificate, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than anything we take.
    #[error("it has {0} bytes, more than the {MAXIMUM_DER} that are accepted")]
    TooLarge(usize),
    /// Not the DER of an X.509 version 3 certificate.
    #[error(
        "it is no DER-encoded X.509 version 3 certificate ({0}); ask its holder for a new copy"
    )]
    Malformed(String),
    /// A certificate with something after it.
    #[error("bytes follow the certificate; send exactly one DER certificate")]
    TrailingBytes,
    /// A key that this role cannot use.
    #[error(
        "its key is {0}; use ECDSA P-256, or RSA of 2048 to 8192 bits where the hardware asks for it"
    )]
    UnsupportedKey(String),
    /// A sound certificate of another role.
    #[error(
        "it is {} certificate, but {} certificate is needed; give that one",
        .found.article(),
        .wanted.article()
    )]
    WrongRole {
        /// The role asked for.
        wanted: Role,
        /// The role whose profile it meets.
        found: Role,
    },
    /// A certificate that meets no profile, or not the one asked for.
    #[error("it does not meet the profile of {} certificate: {}; have it issued again", .role.article(), join(.violations))]
    Profile {
        /// The profile asked for.
        role: Role,
        /// Each point where it differs.
        violations: Vec<Violation>,
    },
    /// Before its validity.
    #[error("it is valid only from {}; check the clock of this machine", time(*.0))]
    NotValidYet(i64),
    /// After its validity.
    #[error("it was valid until {}; renew it", time(*.0))]
    Expired(i64),
    /// Not one of those that may call.
    #[error(
        "it is none of those that may call here; put it among the certificates of callers, if its holder may"
    )]
    NoCaller,
    /// No approved authority issued it.
    #[error(
        "its issuer \"{0}\" is no approved authority for this role, or is not valid at that time; \
         have it issued by an approved one, or have that authority approved in the registry"
    )]
    UnknownIssuer(String),
    /// The path to an authority does not verify.
    #[error("its path to an approved authority does not verify: {0}; have it issued again")]
    BadPath(String),
    /// Too many certificates between it and the authority.
    #[error(
        "{0} certificates lie between it and the authority, more than the {MAXIMUM_PATH} that are accepted"
    )]
    PathTooLong(usize),
    /// Not in the registry.
    #[error(
        "it is registered for no security server; register its digest {0} in the central registry, \
         or wait until the new configuration has arrived"
    )]
    NotRegistered(Digest),
    /// Registered for another server than it names.
    #[error("it names server {named} but is registered for {registered}; correct the registration")]
    WrongRegistration {
        /// The server in its subject.
        named: ServerId,
        /// The server in the registry.
        registered: ServerId,
    },
    /// The wrong server answered.
    #[error(
        "it belongs to server {found}, but {expected} was called; \
         check the address of {expected} in the central registry"
    )]
    WrongServer {
        /// The server we wanted to reach.
        expected: ServerId,
        /// The server that answered.
        found: ServerId,
    },
}

/// The longest certificate, request or key that is read.
pub const MAXIMUM_DER: usize = 64 * 1024;

/// The most certificates between a certificate and its authority.
pub const MAXIMUM_PATH: usize = 4;

/// A file of keys or certificates that cannot be used: which one, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; part of the text, so no source of its own.
    pub problem: FileProblem,
}

/// What is wrong with a file, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It could not be read.
    #[error("cannot be read ({0}); check the path and its permissions")]
    Read(io::Error),
    /// It could not be written.
    #[error("cannot be written ({0}); check the directory, its permissions and the space left")]
    Write(io::Error),
    /// It is there already, and keys and certificates are never overwritten.
    #[error("exists already and is not overwritten; move it away or choose another place")]
    Exists,
    /// More than a certificate file can have.
    #[error("has more than {0} bytes and is no file of keys or certificates")]
    TooLarge(usize),
    /// A private key that others can read.
    #[error(
        "is a private key that others may read (mode {0:04o}); chmod 600 it, \
         and replace the key if others had access"
    )]
    Exposed(u32),
    /// No PEM section of the kind that is needed.
    #[error("holds no PEM section \"{0}\"")]
    Missing(&'static str),
    /// A PEM section that does not parse.
    #[error("is no sound PEM file ({0}); get a new copy")]
    Malformed(String),
    /// A key that cannot serve here.
    #[error("holds no key for this use: {0}")]
    Key(String),
    /// Key and certificate of different pairs.
    #[error("does not belong to the certificate in {}; give the key and certificate of one pair", .0.display())]
    KeyMismatch(PathBuf),
    /// A certificate that was refused.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Why a key, a request or a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The request is not sound.
    #[error("the certificate request {0}; make it again, e.g. with `certs key new`")]
    Request(String),
    /// The subject cannot be written into a certificate.
    #[error("the subject is unusable: {0}")]
    Subject(String),
    /// The validity is empty, or outlives the authority.
    #[error("the validity is unusable: {0}; choose other --days")]
    Validity(String),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed: {0}")]
    Cryptography(String),
    /// A certificate that was made does not meet its own profile.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self::Cryptography(error.to_string())
    }
}

impl From<aws_lc_rs::error::Unspecified> for IssueError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Cryptography("no key or random bytes could be made".into())
    }
}

/// A time as RFC 3339 in UTC, or the bare seconds if it lies outside the calendar.
pub(crate) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

/// The first eight bytes of a digest, enough to find the certificate again.
pub(crate) fn short(digest: &Digest) -> String {
    format!("sha256:{}", hex::encode(&digest.as_bytes()[..8]))
}

fn join(violations: &[Violation]) -> String {
    let words: Vec<_> = violations.iter().map(ToString::to_string).collect();
    words.join("; ")
}
