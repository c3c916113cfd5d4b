//! The commands that make something.

use std::{error::Error, path::Path};

use certs::{
    Certificate, CertificateRequest, FileError, FileProblem, IssueError, LogKey, PrivateKey, Role,
    Subject, TestAuthority, Validity,
    authority::{CERTIFICATE_FILE, KEY_FILE},
    file,
};
use durable::Posix;
use jiff::Timestamp;

use crate::arguments::{EndRole, Issue, NewAuthority, NewKey};

pub fn new_authority(wanted: &NewAuthority, now: i64) -> Result<String, Box<dyn Error>> {
    let days = wanted.days.unwrap_or(Role::Authority.profile().days);
    let authority = TestAuthority::create(&wanted.name, Validity::days(now, days))?;
    authority.write(&wanted.out)?;
    Ok(format!(
        "test authority {}, until {}\n  certificate  {}  SHA-256 {}\n  private key  {}\n",
        authority.certificate().subject(),
        Timestamp::from_second(authority.certificate().not_after())?,
        wanted.out.join(CERTIFICATE_FILE).display(),
        authority.digest(),
        wanted.out.join(KEY_FILE).display(),
    ))
}

pub fn new_key(wanted: &NewKey) -> Result<String, Box<dyn Error>> {
    let subject = subject(wanted.role, &wanted.subject, None, &[])?;
    let key_path = wanted.out.join("key.pem");
    let request_path = wanted.out.join("request.pem");
    let key = PrivateKey::generate()?;
    let request = key.request(&subject)?;
    durable::make_folder(&Posix, &wanted.out).map_err(|error| FileError {
        path: wanted.out.clone(),
        problem: FileProblem::Write(error),
    })?;
    key.write(&key_path)?;
    file::write_pem(&request_path, "CERTIFICATE REQUEST", &request, 0o644)?;
    Ok(format!(
        "{} key of {}\n  private key  {}\n  request      {}\n",
        subject.role(),
        subject.common_name(),
        key_path.display(),
        request_path.display(),
    ))
}

pub fn issue(wanted: &Issue, now: i64) -> Result<String, Box<dyn Error>> {
    let request = CertificateRequest::parse(&file::read_request(&wanted.request)?)
        .map_err(|error| format!("{}: {error}", wanted.request.display()))?;
    let name = wanted
        .subject
        .as_deref()
        .or_else(|| request.common_name())
        .ok_or_else(|| {
            format!(
                "{}: the request asks for no single commonName; say with --subject whom it is for",
                wanted.request.display()
            )
        })?;
    let subject = subject(
        wanted.role,
        name,
        wanted.organization.as_deref(),
        &wanted.names,
    )?;
    let authority = TestAuthority::load(&wanted.authority)?;
    let profile = subject.role().profile();
    let days = wanted.days.unwrap_or(profile.days);
    let der = authority.issue(&request, &subject, Validity::days(now, days))?;
    let certificate = Certificate::parse(&der)?;
    file::write_certificates(&wanted.out, &[&der])?;
    Ok(format!(
        "{} certificate {}, until {}\n  certificate  {}  SHA-256 {}\n",
        subject.role(),
        certificate.subject(),
        Timestamp::from_second(certificate.not_after())?,
        wanted.out.display(),
        certificate.digest(),
    ))
}

pub fn new_log_key(out: &Path) -> Result<String, Box<dyn Error>> {
    let key = LogKey::generate()?;
    key.write(out)?;
    Ok(format!(
        "log key (Ed25519)\n  private key  {}\n  public key   {}\n",
        out.display(),
        hex::encode(key.public_key()),
    ))
}

pub fn show_log_key(file: &Path) -> Result<String, Box<dyn Error>> {
    Ok(format!(
        "{}\n",
        hex::encode(LogKey::load(file)?.public_key())
    ))
}

/// Whom a certificate is for, its name read as the role asks.
fn subject(
    role: EndRole,
    name: &str,
    organization: Option<&str>,
    names: &[String],
) -> Result<Subject, IssueError> {
    let unusable = |error: trust::InvalidIdentifier| IssueError::Subject(error.to_string());
    if !names.is_empty() && role != EndRole::Listener {
        return Err(IssueError::Subject(
            "only a listener is called by name; leave out --name".into(),
        ));
    }
    let organization = organization.map(Into::into);
    if organization.is_some() && matches!(role, EndRole::Client | EndRole::Listener) {
        return Err(IssueError::Subject(
            "only signing and authentication certificates name a member; leave out --organization"
                .into(),
        ));
    }
    Ok(match role {
        EndRole::Signing => Subject::Signing {
            member: name.parse().map_err(unusable)?,
            organization,
        },
        EndRole::Authentication => Subject::Authentication {
            server: name.parse().map_err(unusable)?,
            organization,
        },
        EndRole::Client => Subject::Client { name: name.into() },
        EndRole::Listener => Subject::Listener {
            name: name.into(),
            names: names.to_vec(),
        },
    })
}
