//! Values of the state from the files that people have: certificates and descriptor sets.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use certs::{AuthenticationCertificate, Certificate, Role};
use trust::{Digest, ServerId, wire::configuration as wire};

use crate::{Error, blob};

/// Reads a file with a server's TLS certificate: its digest and the server that it names.
///
/// # Errors
/// When it is not a valid authentication certificate of that server; in words.
pub fn authentication_certificate(
    path: &Path,
    server: Option<&ServerId>,
) -> Result<(Digest, ServerId), String> {
    let chain = certs::file::read_certificates(path).map_err(|error| error.to_string())?;
    let first = chain.first().ok_or("there is no certificate in the file")?;
    let found = AuthenticationCertificate::parse(first).map_err(|error| error.to_string())?;
    match server {
        Some(server) if found.server() != server => Err(format!(
            "the certificate is of {}, not of {server}",
            found.server()
        )),
        _ => Ok((found.certificate().digest(), found.server().clone())),
    }
}

/// Reads the file with an authority's certificate.
///
/// # Errors
/// When it is not one; in words.
pub fn authority_certificate(path: &Path) -> Result<Certificate, String> {
    let found = certs::file::read_certificates(path).map_err(|error| error.to_string())?;
    of_authority(found.first().ok_or("there is no certificate in the file")?)
}

/// The value of an approved authority.
#[must_use]
pub fn authority(
    certificate: &Certificate,
    name: &str,
    signing: bool,
    authentication: bool,
) -> wire::Authority {
    wire::Authority {
        name: name.to_owned(),
        certificate: Bytes::copy_from_slice(certificate.der()),
        signing,
        authentication,
    }
}

/// Reads a descriptor set that describes a service.
///
/// # Errors
/// When it cannot be read or does not.
pub fn descriptor(path: &Path, grpc_service: &str) -> Result<Bytes, Error> {
    let length = fs::metadata(path)
        .map_err(Error::file("reading", path))?
        .len();
    if length > blob::LIMIT as u64 {
        return Err(Error::content(
            path,
            "a descriptor set measures at most 4 MiB",
        ));
    }
    let bytes = fs::read(path).map_err(Error::file("reading", path))?;
    let services = blob::services_of(&bytes).map_err(|problem| Error::content(path, problem))?;
    if services.contains(grpc_service) {
        return Ok(bytes.into());
    }
    let described: Vec<String> = services.into_iter().collect();
    Err(Error::content(
        path,
        format!(
            "describes no service {grpc_service}, but [{}]",
            described.join(", ")
        ),
    ))
}

pub(super) fn of_authority(der: &[u8]) -> Result<Certificate, String> {
    let certificate = Certificate::parse(der).map_err(|error| error.to_string())?;
    certificate
        .require(Role::Authority)
        .map_err(|error| error.to_string())?;
    Ok(certificate)
}

/// The DER of the certificate in a PEM text.
pub(super) fn pem_text(text: &str) -> Result<Vec<u8>, String> {
    let body = text
        .trim()
        .strip_prefix("-----BEGIN CERTIFICATE-----")
        .and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----"))
        .ok_or("the text is not exactly one PEM section CERTIFICATE")?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD
        .decode(body)
        .map_err(|error| format!("the PEM text: {error}"))
}
