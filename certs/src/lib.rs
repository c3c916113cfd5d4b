//! Keys and certificates: issue, parse, verify; rustls configurations.
//!
//! A certificate comes in as DER and leaves as a type that says what was checked:
//! [`Certificate`] is well formed, [`SigningCertificate`] and [`AuthenticationCertificate`] meet
//! the profile of their role and name a member or a server, [`VouchedCertificate`] was in addition
//! issued, at a given time, by an authority that the caller approves of. Nothing here keeps a
//! clock: the time is an argument, except in [`tls`], where rustls asks its time provider.

pub mod authority;
pub mod cades;
pub mod certificate;
pub mod chain;
pub mod error;
pub mod file;
pub mod key;
mod name;
pub mod profile;
pub mod request;
pub mod role;
pub mod subject_public_key;
pub mod tls;

pub use authority::{Subject, TestAuthority, Validity};
pub use certificate::Certificate;
pub use chain::{TrustedAuthority, VouchedCertificate, vouch, vouch_authentication};
pub use error::{CertificateError, Fault, FileError, FileProblem, IssueError, MAXIMUM_PATH};
pub use key::{LogKey, PrivateKey, SigningKey};
pub use profile::{Profile, Role, Violation};
pub use request::CertificateRequest;
pub use role::{AuthenticationCertificate, SigningCertificate, SigningIdentity};
pub use subject_public_key::SubjectPublicKey;
