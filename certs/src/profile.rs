//! The certificate profiles: one table, used both to issue certificates and to check them.
//!
//! | role | key usage (critical) | extended key usage | subject | names |
//! |---|---|---|---|---|
//! | authority | keyCertSign, cRLSign | none | CN = its name | |
//! | signing | nonRepudiation | **none** | organizationIdentifier = CN = the member, O = its name | |
//! | authentication | digitalSignature | clientAuth, serverAuth | CN = the server, organizationIdentifier = its owner | not needed |
//! | client | digitalSignature | clientAuth | CN = a free name | |
//! | listener | digitalSignature | serverAuth | CN = a free name | dNSName, iPAddress |
//!
//! Identifiers stand in the subject as they are written everywhere: `VN/GOV/G01`,
//! `VN/GOV/G01/server-1`. All certificates are X.509 version 3 with basicConstraints (critical; an
//! authority has cA and a path length of 0, all others are no authority) and subject and authority
//! key identifiers. Keys are ECDSA P-256; a signing or authentication key may be RSA of 2048 bits
//! or more, for hardware modules. Serial numbers are 16 random bytes, positive.
//!
//! A signing certificate has no extended key usage because OpenSSL's CMS verification refuses the
//! others, and nonRepudiation alone because a signing key signs nothing else: not TLS, not
//! checkpoints. An authentication certificate needs no dNSName: the peer is not found by its name
//! but by the digest of its certificate, which the registry binds to a server.
//!
//! A check is exact where a certificate carries evidence or decides who a server is (signing,
//! authentication). Clients' and listeners' certificates often come from other authorities with
//! profiles of their own; they are checked against this table by `certs show` only.

use std::fmt;

use x509_cert::{
    der::oid::{
        ObjectIdentifier,
        db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
    },
    ext::pkix::KeyUsages,
};

use crate::{certificate::Certificate, name::printable};

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Issues certificates.
    Authority,
    /// A member signs messages with it.
    Signing,
    /// A security server shows it to other security servers.
    Authentication,
    /// An agency's system shows it to its own security server.
    Client,
    /// A server shows it to the systems that call it.
    Listener,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::Authority,
        Self::Signing,
        Self::Authentication,
        Self::Client,
        Self::Listener,
    ];

    /// The role as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Signing => "signing",
            Self::Authentication => "authentication",
            Self::Client => "client",
            Self::Listener => "listener",
        }
    }

    pub(crate) const fn article(self) -> &'static str {
        match self {
            Self::Authority => "an authority",
            Self::Signing => "a signing",
            Self::Authentication => "an authentication",
            Self::Client => "a client",
            Self::Listener => "a listener",
        }
    }

    /// The profile of the role.
    #[must_use]
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::Authority => &Profile::AUTHORITY,
            Self::Signing => &Profile::SIGNING,
            Self::Authentication => &Profile::AUTHENTICATION,
            Self::Client => &Profile::CLIENT,
            Self::Listener => &Profile::LISTENER,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a certificate of one role must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The role.
    pub role: Role,
    /// Exactly these key usages, critical.
    pub key_usages: &'static [KeyUsages],
    /// Exactly these extended key usages; empty: the extension is absent.
    pub extended_key_usages: &'static [ObjectIdentifier],
    /// How long the test authority issues it for, unless told otherwise.
    pub days: u32,
}

impl Profile {
    /// Issues certificates, of end entities only.
    pub const AUTHORITY: Self = Self {
        role: Role::Authority,
        key_usages: &[KeyUsages::KeyCertSign, KeyUsages::CRLSign],
        extended_key_usages: &[],
        days: 3650,
    };
    /// Signs a member's messages.
    pub const SIGNING: Self = Self {
        role: Role::Signing,
        key_usages: &[KeyUsages::NonRepudiation],
        extended_key_usages: &[],
        days: 730,
    };
    /// Identifies a security server to others, on either end of a connection.
    pub const AUTHENTICATION: Self = Self {
        role: Role::Authentication,
        key_usages: &[KeyUsages::DigitalSignature],
        extended_key_usages: &[ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH],
        days: 365,
    };
    /// Identifies an agency's system to its own security server.
    pub const CLIENT: Self = Self {
        role: Role::Client,
        key_usages: &[KeyUsages::DigitalSignature],
        extended_key_usages: &[ID_KP_CLIENT_AUTH],
        days: 365,
    };
    /// Identifies a server to the systems that call it.
    pub const LISTENER: Self = Self {
        role: Role::Listener,
        key_usages: &[KeyUsages::DigitalSignature],
        extended_key_usages: &[ID_KP_SERVER_AUTH],
        days: 365,
    };

    /// Each point where `certificate` differs from this profile.
    #[must_use]
    pub fn violations(&self, certificate: &Certificate) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut require = |holds: bool, requirement: String, actual: String| {
            if !holds {
                found.push(Violation {
                    requirement,
                    actual,
                });
            }
        };

        let usages = certificate.key_usages();
        require(
            same(usages, self.key_usages) && certificate.key_usage_is_critical(),
            format!(
                "keyUsage critical, exactly {}",
                usage_words(self.key_usages)
            ),
            match (usages, certificate.key_usage_is_critical()) {
                ([], _) => "absent".into(),
                (usages, true) => usage_words(usages),
                (usages, false) => format!("{}, not critical", usage_words(usages)),
            },
        );
        require(
            same(certificate.extended_key_usages(), self.extended_key_usages),
            match self.extended_key_usages {
                [] => "no extendedKeyUsage".into(),
                usages => format!("extendedKeyUsage exactly {}", extended_words(usages)),
            },
            extended_words(certificate.extended_key_usages()),
        );
        let authority = self.role == Role::Authority;
        require(
            certificate.is_authority() == authority,
            format!("basicConstraints cA {authority}"),
            certificate.is_authority().to_string(),
        );
        if authority {
            require(
                certificate.path_length() == Some(0),
                "a path length of 0".into(),
                certificate
                    .path_length()
                    .map_or_else(|| "none".into(), |length| length.to_string()),
            );
        }
        require(
            certificate.public_key().is_some(),
            "a key ECDSA P-256 or RSA of 2048 to 8192 bits".into(),
            certificate.key_description().into(),
        );
        require(
            certificate.common_name().is_some(),
            "exactly one commonName".into(),
            "none, several, or no text".into(),
        );
        match self.role {
            Role::Signing => {
                let member = certificate.member();
                require(
                    member.is_some(),
                    "exactly one organizationIdentifier INSTANCE/CLASS/MEMBER".into(),
                    spoken(certificate.organization_identifier()),
                );
                require(
                    certificate.common_name().is_some()
                        && certificate.common_name() == certificate.organization_identifier(),
                    "a commonName equal to the organizationIdentifier".into(),
                    spoken(certificate.common_name()),
                );
            }
            Role::Authentication => {
                let server = certificate.server();
                require(
                    server.is_some(),
                    "a commonName INSTANCE/CLASS/MEMBER/SERVER".into(),
                    spoken(certificate.common_name()),
                );
                require(
                    certificate.member().is_some()
                        && certificate.member() == server.map(|server| server.owner()),
                    "an organizationIdentifier that is the server's owner".into(),
                    spoken(certificate.organization_identifier()),
                );
            }
            Role::Listener => require(
                !certificate.names().is_empty(),
                "at least one dNSName or iPAddress".into(),
                "none".into(),
            ),
            Role::Authority | Role::Client => {}
        }
        found
    }
}

/// One point where a certificate differs from a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What the profile asks for.
    pub requirement: String,
    /// What the certificate has.
    pub actual: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "needs {}, has {}", self.requirement, self.actual)
    }
}

/// The same elements, in any order, none twice.
fn same<T: PartialEq>(left: &[T], right: &[T]) -> bool {
    left.len() == right.len() && right.iter().all(|element| left.contains(element))
}

fn spoken(text: Option<&str>) -> String {
    text.map_or_else(
        || "none, several, or no text".into(),
        |text| format!("\"{}\"", printable(text)),
    )
}

/// Key usages in the words of RFC 5280.
#[must_use]
pub fn usage_words(usages: &[KeyUsages]) -> String {
    let words: Vec<_> = usages
        .iter()
        .map(|usage| match usage {
            KeyUsages::DigitalSignature => "digitalSignature",
            KeyUsages::NonRepudiation => "nonRepudiation",
            KeyUsages::KeyEncipherment => "keyEncipherment",
            KeyUsages::DataEncipherment => "dataEncipherment",
            KeyUsages::KeyAgreement => "keyAgreement",
            KeyUsages::KeyCertSign => "keyCertSign",
            KeyUsages::CRLSign => "cRLSign",
            KeyUsages::EncipherOnly => "encipherOnly",
            KeyUsages::DecipherOnly => "decipherOnly",
        })
        .collect();
    words.join(", ")
}

/// Extended key usages in words, numbers where there is no word.
#[must_use]
pub fn extended_words(usages: &[ObjectIdentifier]) -> String {
    if usages.is_empty() {
        return "none".into();
    }
    let words: Vec<_> = usages
        .iter()
        .map(|usage| match *usage {
            ID_KP_CLIENT_AUTH => "clientAuth".into(),
            ID_KP_SERVER_AUTH => "serverAuth".into(),
            other => other.to_string(),
        })
        .collect();
    words.join(", ")
}
