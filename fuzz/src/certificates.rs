//! Certificates, requests for them, the files they come in, and the signature files made of them.

use std::{fs, sync::LazyLock};

use certs::{
    AuthenticationCertificate, Certificate, CertificateRequest, PrivateKey, Role,
    SigningCertificate, Subject, TestAuthority, TrustedAuthority, Validity, cades, file, vouch,
    vouch_authentication,
};
use tempfile::TempDir;
use trust::{
    Digest,
    signature::{SIGNED_ATTRIBUTES_LENGTH, signed_attributes},
};

use crate::{files::folder, seeds};

const NOW: i64 = 1_800_000_000;

/// An authority, and certificates and a request of its subjects.
struct Issued {
    trusted: TrustedAuthority,
    certificates: Vec<Vec<u8>>,
    request: Vec<u8>,
}

static ISSUED: LazyLock<Issued> = LazyLock::new(|| {
    let validity = Validity::of(Role::Authority, NOW);
    let authority = TestAuthority::create("Fuzzed authority", validity).unwrap();
    let member = Subject::Signing {
        member: "VN/GOV/G01".parse().unwrap(),
        organization: Some("Bộ Tư pháp".into()),
    };
    let server = Subject::Authentication {
        server: "VN/GOV/G01/server-1".parse().unwrap(),
        organization: None,
    };
    let key = PrivateKey::generate().unwrap();
    let issue = |subject: &Subject| {
        let validity = Validity::of(subject.role(), NOW);
        authority.issue_for(&key, subject, validity).unwrap()
    };
    let own = authority.certificate().der().to_vec();
    Issued {
        trusted: authority.trusted().unwrap(),
        certificates: vec![issue(&member), issue(&server), own],
        request: key.request(&member).unwrap(),
    }
});

pub fn certificates() -> Vec<Vec<u8>> {
    let vectors = seeds::of(
        "trust/tests/vectors/keys.json",
        &["certificate", "authority"],
    );
    [ISSUED.certificates.clone(), vectors].concat()
}

/// What is vouched for was issued; every role is another one.
pub fn certificate(der: &[u8]) {
    let Ok(certificate) = Certificate::parse(der) else {
        assert!(SigningCertificate::parse(der).is_err());
        return;
    };
    assert_eq!(certificate.der(), der);
    for shown in [certificate.subject(), certificate.issuer()] {
        assert!(shown.len() < 1000 && !shown.contains(char::is_control));
    }
    let roles = Role::ALL
        .into_iter()
        .filter(|role| certificate.require(*role).is_ok());
    assert!(roles.count() <= 1);
    let is_signing = SigningCertificate::parse(der).is_ok();
    assert!(!is_signing || AuthenticationCertificate::parse(der).is_err());
    let _ = TrustedAuthority::parse(der);
    let trusted = std::slice::from_ref(&ISSUED.trusted);
    for between in [&[][..], &[der]] {
        let vouched = vouch(der, between, trusted, NOW).is_ok()
            || vouch_authentication(der, between, trusted, NOW).is_ok();
        assert!(!vouched || ISSUED.certificates.iter().any(|issued| issued == der));
    }
    let leaf = &ISSUED.certificates[0];
    vouch(leaf, &[der], trusted, NOW).expect("what comes along takes nothing away");
}

thread_local! {
    static FOLDER: TempDir = folder();
}

pub fn files() -> Vec<Vec<u8>> {
    let pem = |der: &[u8]| file::in_pem("CERTIFICATE", der).unwrap();
    let chain: String = ISSUED.certificates.iter().map(|der| pem(der)).collect();
    let request = file::in_pem("CERTIFICATE REQUEST", &ISSUED.request).unwrap();
    vec![chain.into(), request.into(), ISSUED.certificates[0].clone()]
}

/// What is read from PEM is written to PEM and read to the same.
pub fn file(bytes: &[u8]) {
    let path = FOLDER.with(|folder| folder.path().join("a.pem"));
    fs::write(&path, bytes).unwrap();
    let _ = file::read_request(&path);
    if let Ok(read) = file::read_certificates(&path) {
        assert!(!read.is_empty());
        let pem = read
            .iter()
            .map(|der| file::in_pem("CERTIFICATE", der).unwrap());
        fs::write(&path, pem.collect::<String>()).unwrap();
        assert_eq!(file::read_certificates(&path).unwrap(), read);
    }
}

/// A signature file holds the certificate, the attributes and the value that it was made of.
pub fn signature_file(der: &[u8]) {
    let Ok(certificate) = Certificate::parse(der) else {
        return;
    };
    let attributes = signed_attributes(NOW, &Digest::of(b"manifest"), &certificate.digest());
    let attributes: [u8; SIGNED_ATTRIBUTES_LENGTH] = attributes.unwrap();
    let value = [7; 72];
    if let Ok(cms) = cades::detached_signature(&[certificate], &attributes, &value) {
        let holds = |part: &[u8]| cms.windows(part.len()).any(|window| window == part);
        assert!(holds(&attributes[3..]) && holds(&value));
        assert!(
            holds(der),
            "what a manifest names by its digest is not encoded anew"
        );
    }
}

pub fn requests() -> Vec<Vec<u8>> {
    vec![ISSUED.request.clone()]
}

/// A request whose signature holds is the one that was made, but for what is behind it.
pub fn request(der: &[u8]) {
    if let Ok(request) = CertificateRequest::parse(der) {
        let made = CertificateRequest::parse(&ISSUED.request).unwrap();
        assert_eq!(request.common_name(), made.common_name());
    }
}
