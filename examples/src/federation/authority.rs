//! The certification authority of the federation: a test authority, as its name says.

use std::path::{Path, PathBuf};

use certs::{PrivateKey, Subject, TestAuthority, Validity, file::write_certificates};
use security_server::{Clock, SystemClock};

use crate::Error;

/// Issues every certificate of the federation.
pub struct Authority {
    authority: TestAuthority,
    directory: PathBuf,
}

impl Authority {
    /// Makes a new one and writes `ca.pem` and `ca.key`.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        let validity = Validity::of(certs::Role::Authority, SystemClock.seconds());
        let authority = TestAuthority::create("Lienthong test authority", validity)?;
        authority.write(directory)?;
        Ok(Self {
            authority,
            directory: directory.to_owned(),
        })
    }

    /// `ca.pem`
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// When the subject is not one, or files cannot be written.
    pub fn issue(&self, subject: &Subject, certificate: &Path, key: &Path) -> Result<(), Error> {
        let private = PrivateKey::generate()?;
        let validity = Validity::of(subject.role(), SystemClock.seconds());
        let der = self.authority.issue_for(&private, subject, validity)?;
        private.write(key)?;
        write_certificates(certificate, &[&der])?;
        Ok(())
    }
}
