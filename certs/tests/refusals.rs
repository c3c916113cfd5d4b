//! Certificates that are refused, each with its reason and never with a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/every_byte.rs"]
mod every_byte;
mod support;

use certs::{
    AuthenticationCertificate, Certificate, CertificateError, Fault, PrivateKey, Role,
    SigningCertificate, SigningKey, Subject, TestAuthority, TrustedAuthority, Validity,
    VouchedCertificate, vouch, vouch_authentication,
};
use every_byte::{Format, Irrelevant};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use support::{DAY, NOW, authority, issued, member, server};

const NONE: &[&[u8]] = &[];

fn vouched(
    der: &[u8],
    authorities: &[&TestAuthority],
    at: i64,
) -> Result<VouchedCertificate, CertificateError> {
    let trusted: Vec<_> = authorities
        .iter()
        .map(|authority| authority.trusted().unwrap())
        .collect();
    vouch(der, NONE, &trusted, at)
}

#[test]
fn a_certificate_of_one_role_is_refused_in_every_other_by_name() {
    let authority = authority();
    let (_, signing) = issued(&authority, &member("VN/GOV/G01"));
    let (_, authentication) = issued(&authority, &server("VN/GOV/G01/server-1"));
    let client = Subject::Client {
        name: "VN/GOV/G01/server-1".into(),
    };
    let (_, client) = issued(&authority, &client);
    let trusted = [authority.trusted().unwrap()];

    let found = |error: CertificateError| match error.fault {
        Fault::WrongRole { wanted, found } => (wanted, found),
        other => panic!("{other}"),
    };
    assert_eq!(
        found(SigningCertificate::parse(&authentication).unwrap_err()),
        (Role::Signing, Role::Authentication)
    );
    assert_eq!(
        found(AuthenticationCertificate::parse(&signing).unwrap_err()),
        (Role::Authentication, Role::Signing)
    );
    assert_eq!(
        found(AuthenticationCertificate::parse(&client).unwrap_err()),
        (Role::Authentication, Role::Client)
    );
    assert_eq!(
        found(vouch(authority.certificate().der(), NONE, &trusted, NOW).unwrap_err()),
        (Role::Signing, Role::Authority)
    );
    assert_eq!(
        found(vouch_authentication(&signing, NONE, &trusted, NOW).unwrap_err()),
        (Role::Authentication, Role::Signing)
    );
    assert_eq!(
        found(TrustedAuthority::parse(&signing).unwrap_err()),
        (Role::Authority, Role::Signing)
    );

    let text = SigningCertificate::parse(&authentication)
        .unwrap_err()
        .to_string();
    assert!(text.contains("CN=VN/GOV/G01/server-1"), "{text}");
    assert!(
        text.contains("it is an authentication certificate, but a signing certificate is needed"),
        "{text}"
    );
}

#[test]
fn a_vouched_certificate_says_who_signs_and_who_vouches() {
    let authority = authority();
    let (key, der) = issued(&authority, &member("VN/GOV/G01"));
    let vouched = vouched(&der, &[&self::authority(), &authority], NOW).unwrap();
    assert_eq!(vouched.authority(), authority.digest());
    assert_eq!(vouched.certificate().digest(), trust::Digest::of(&der));
    assert_eq!(vouched.certificate().member().as_str(), "VN/GOV/G01");

    let signature = SigningKey::try_from(&key).unwrap().sign(b"attributes");
    let trusted = trust::message::SigningCertificate::from(&vouched);
    trusted
        .public_key
        .verify(b"attributes", &signature.unwrap())
        .unwrap();
    assert_eq!(
        (trusted.not_before, trusted.not_after),
        (NOW - 300, NOW + 730 * DAY)
    );
}

#[test]
fn outside_its_validity_a_certificate_is_refused() {
    let authority = authority();
    let (_, der) = issued(&authority, &member("VN/GOV/G01"));
    let at = |at| vouched(&der, &[&authority], at).map_err(|error| error.fault);
    let end = NOW + 730 * DAY;
    assert!(at(end).is_ok());
    assert_eq!(at(end + 1).unwrap_err(), Fault::Expired(end));
    assert!(at(NOW - 300).is_ok());
    assert_eq!(at(NOW - 301).unwrap_err(), Fault::NotValidYet(NOW - 300));
    assert!(at(i64::MIN).is_err() && at(i64::MAX).is_err());

    let vouched = at(NOW).unwrap();
    assert!(vouched.valid_at(end).is_ok());
    assert!(vouched.valid_at(end + 1).is_err());
}

#[test]
fn an_authority_vouches_only_while_it_is_valid_itself() {
    // The test authority refuses to outlive itself, so the certificate is made by hand.
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut root = root_parameters(BasicConstraints::Constrained(0));
    root.not_after = date_time_ymd(2027, 6, 1);
    let root_der = root.self_signed(&key).unwrap().der().to_vec();
    let der = signed_leaf(&Issuer::from_params(&root, &key));
    let trusted = [TrustedAuthority::parse(&root_der).unwrap()];
    let end = trusted[0].certificate().not_after();

    let vouched = vouch(&der, NONE, &trusted, NOW).unwrap();
    assert_eq!(vouched.not_after(), end);
    assert!(vouched.valid_at(end).is_ok());
    assert!(
        vouched
            .certificate()
            .certificate()
            .valid_at(end + 1)
            .is_ok()
    );
    assert!(vouched.valid_at(end + 1).is_err());
    let fault = vouch(&der, NONE, &trusted, end + 1).unwrap_err().fault;
    assert!(matches!(fault, Fault::UnknownIssuer(_)), "{fault}");
}

#[test]
fn only_a_listed_authority_with_the_right_key_vouches() {
    let authority = authority();
    let stranger = TestAuthority::create("Stranger", Validity::days(NOW, 30)).unwrap();
    let namesake = self::authority();
    let (_, der) = issued(&authority, &member("VN/GOV/G01"));
    let fault = |authorities: &[&TestAuthority]| vouched(&der, authorities, NOW).unwrap_err().fault;
    assert_eq!(fault(&[]), Fault::UnknownIssuer("CN=Test authority".into()));
    assert!(matches!(fault(&[&stranger]), Fault::UnknownIssuer(_)));
    assert!(matches!(fault(&[&namesake]), Fault::BadPath(_)));
}

#[test]
fn every_byte_of_a_certificate_counts() {
    let authority = authority();
    let trusted = [authority.trusted().unwrap()];
    for subject in [member("VN/GOV/G01"), server("VN/GOV/G01/server-1")] {
        let (_, der) = issued(&authority, &subject);
        let check = |der: &[u8]| match subject.role() {
            Role::Signing => vouch(der, NONE, &trusted, NOW).map(|_| ()),
            _ => vouch_authentication(der, NONE, &trusted, NOW).map(|_| ()),
        };
        Format {
            name: "certificate",
            valid: &der,
            verify: &|bytes| check(bytes).map_err(|error| error.to_string()),
            irrelevant: Irrelevant::default(),
        }
        .check();
    }
}

#[test]
fn every_byte_of_a_certificate_in_between_counts() {
    let keys = [(); 2].map(|()| KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
    let [root_key, middle_key] = &keys;
    let root = root_parameters(BasicConstraints::Constrained(1));
    let trusted = [TrustedAuthority::parse(root.self_signed(root_key).unwrap().der()).unwrap()];
    let mut middle = root_parameters(BasicConstraints::Constrained(0));
    middle.distinguished_name.push(DnType::CommonName, "Middle");
    let issued = middle.signed_by(middle_key, &Issuer::from_params(&root, root_key));
    let leaf = signed_leaf(&Issuer::from_params(&middle, middle_key));
    Format {
        name: "certificate in between",
        valid: issued.unwrap().der(),
        verify: &|bytes| {
            let vouched = vouch(&leaf, &[bytes], &trusted, NOW);
            vouched.map(|_| ()).map_err(|error| error.to_string())
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
}

#[test]
fn trailing_bytes_and_too_many_bytes_are_refused() {
    let (_, mut der) = issued(&authority(), &member("VN/GOV/G01"));
    der.push(0);
    let fault = Certificate::parse(&der).unwrap_err().fault;
    assert_eq!(fault, Fault::TrailingBytes);
    let fault = Certificate::parse(&vec![0x30; 65_537]).unwrap_err().fault;
    assert_eq!(fault, Fault::TooLarge(65_537));
    let fault = Certificate::parse(b"").unwrap_err().fault;
    assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
}

#[test]
fn each_departure_from_the_signing_profile_is_named() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let root = root_parameters(BasicConstraints::Constrained(0));
    let issuer = Issuer::from_params(&root, &key);
    let refused = |change: &dyn Fn(&mut CertificateParams)| {
        let mut parameters = leaf_parameters();
        change(&mut parameters);
        let der = parameters.signed_by(&key, &issuer).unwrap();
        let error = SigningCertificate::parse(der.der())
            .unwrap_err()
            .to_string();
        assert!(!error.contains("is needed"), "{error}");
        error
    };

    let both = refused(&|parameters| {
        parameters
            .key_usages
            .push(KeyUsagePurpose::DigitalSignature);
    });
    assert!(
        both.contains(
            "needs keyUsage critical, exactly nonRepudiation, has digitalSignature, nonRepudiation"
        ),
        "{both}"
    );
    let extended = refused(&|parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    });
    assert!(
        extended.contains("needs no extendedKeyUsage, has 1.3.6.1.5.5.7.3.4"),
        "{extended}"
    );
    let other_name = refused(&|parameters| {
        parameters
            .distinguished_name
            .push(DnType::CommonName, "VN/GOV/G02");
    });
    assert!(
        other_name.contains("commonName equal to the organizationIdentifier, has \"VN/GOV/G02\""),
        "{other_name}"
    );
    let no_member = refused(&|parameters| {
        parameters
            .distinguished_name
            .push(organization_identifier(), "VN/GOV");
    });
    assert!(
        no_member.contains("organizationIdentifier INSTANCE/CLASS/MEMBER, has \"VN/GOV\""),
        "{no_member}"
    );
}

#[test]
fn an_extension_that_must_be_understood_and_is_not_is_refused() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let root = root_parameters(BasicConstraints::Constrained(0));
    let trusted = [TrustedAuthority::parse(root.self_signed(&key).unwrap().der()).unwrap()];
    let with = |critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(critical);
        let mut parameters = leaf_parameters();
        parameters.custom_extensions = vec![extension];
        let der = parameters.signed_by(&key, &Issuer::from_params(&root, &key));
        vouch(der.unwrap().der(), NONE, &trusted, NOW)
    };
    with(false).unwrap();
    let fault = with(true).unwrap_err().fault;
    assert_eq!(fault, Fault::BadPath("UnsupportedCriticalExtension".into()));
}

#[test]
fn names_of_strangers_are_shown_without_control_characters() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut parameters = leaf_parameters();
    let name = &mut parameters.distinguished_name;
    name.push(
        DnType::CommonName,
        "a\u{1b}[2J\nINFO \u{202e}".to_owned() + &"x".repeat(500),
    );
    let issued = parameters.self_signed(&key).unwrap();
    let certificate = Certificate::parse(issued.der()).unwrap();
    let shown = certificate.subject();
    assert!(
        shown.contains("CN=a\\u{1b}[2J\\u{a}INFO \\u{202e}xxx"),
        "{shown}"
    );
    assert!(shown.ends_with("x…") && shown.len() < 300, "{shown}");
}

#[test]
fn intermediate_authorities_are_held_to_their_own_limits() {
    let root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let middle_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let path = |constraints, change: &dyn Fn(&mut CertificateParams)| {
        let root = root_parameters(constraints);
        let trusted = TrustedAuthority::parse(root.self_signed(&root_key).unwrap().der()).unwrap();
        let mut middle = root_parameters(BasicConstraints::Constrained(0));
        middle.distinguished_name.push(DnType::CommonName, "Middle");
        change(&mut middle);
        let issuer = Issuer::from_params(&root, &root_key);
        let middle_der = middle.signed_by(&middle_key, &issuer).unwrap();
        let leaf = signed_leaf(&Issuer::from_params(&middle, &middle_key));
        vouch(
            &leaf,
            &[middle_der.der()],
            std::slice::from_ref(&trusted),
            NOW,
        )
        .map(|vouched| assert_eq!(vouched.authority(), trusted.digest()))
        .map_err(|error| error.to_string())
    };

    let open = BasicConstraints::Constrained(1);
    path(open, &|_| ()).unwrap();
    let error = path(BasicConstraints::Constrained(0), &|_| ()).unwrap_err();
    assert!(error.contains("1 certificates lie between"), "{error}");
    let error = path(open, &|middle| {
        middle.key_usages = vec![KeyUsagePurpose::CrlSign];
    })
    .unwrap_err();
    assert!(error.contains("needs basicConstraints cA true"), "{error}");
    assert!(path(open, &|middle| middle.is_ca = IsCa::ExplicitNoCa).is_err());
    let error = path(open, &|middle| {
        middle.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    })
    .unwrap_err();
    assert!(error.contains("may not issue for this use"), "{error}");
    assert!(
        path(open, &|middle| middle.not_after =
            date_time_ymd(2026, 12, 1))
        .is_err()
    );
}

#[test]
fn of_the_certificates_that_come_along_only_those_of_the_path_are_kept() {
    let keys = [(); 2].map(|()| KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
    let [root_key, middle_key] = &keys;
    let root = root_parameters(BasicConstraints::Constrained(1));
    let trusted = [TrustedAuthority::parse(root.self_signed(root_key).unwrap().der()).unwrap()];
    let issuer = Issuer::from_params(&root, root_key);
    let mut middle = root_parameters(BasicConstraints::Constrained(0));
    middle.distinguished_name.push(DnType::CommonName, "Middle");
    let middle_der = middle
        .signed_by(middle_key, &issuer)
        .unwrap()
        .der()
        .to_vec();
    // Of the same name as the one that is needed, and no certificate at all.
    let namesake = middle.self_signed(root_key).unwrap().der().to_vec();
    let sent = [namesake, b"no certificate".to_vec(), middle_der.clone()];
    let kept = |leaf: &[u8]| -> Vec<Vec<u8>> {
        let vouched = vouch(leaf, &sent, &trusted, NOW).unwrap();
        vouched.between().map(<[u8]>::to_vec).collect()
    };
    assert!(kept(&signed_leaf(&issuer)).is_empty());
    let below = signed_leaf(&Issuer::from_params(&middle, middle_key));
    assert_eq!(kept(&below), [middle_der]);
}

#[test]
fn the_test_authority_issues_nothing_it_should_not() {
    let authority = authority();
    let key = PrivateKey::generate().unwrap();
    let subject = member("VN/GOV/G01");
    let issue = |validity| authority.issue_for(&key, &subject, validity);
    let error = issue(Validity::days(NOW, 3651)).unwrap_err().to_string();
    assert!(error.contains("outlive"), "{error}");
    let backwards = Validity {
        not_before: NOW,
        not_after: NOW,
    };
    assert!(issue(backwards).is_err());
    let name = |name: &str| {
        let subject = Subject::Client { name: name.into() };
        authority.issue_for(&key, &subject, Validity::of(Role::Client, NOW))
    };
    assert!(name("").is_err() && name("a\nb").is_err() && name(&"a".repeat(257)).is_err());
    let listener = Subject::Listener {
        name: "bus".into(),
        names: vec!["no host".into()],
    };
    let error = authority
        .issue_for(&key, &listener, Validity::of(Role::Listener, NOW))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"no host\" is neither a DNS name"),
        "{error}"
    );
}

fn organization_identifier() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 97])
}

fn root_parameters(constraints: BasicConstraints) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Root");
    parameters.is_ca = IsCa::Ca(constraints);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.not_before = date_time_ymd(2026, 1, 1);
    parameters.not_after = date_time_ymd(2030, 1, 1);
    parameters
}

fn leaf_parameters() -> CertificateParams {
    let mut parameters = root_parameters(BasicConstraints::Unconstrained);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::ContentCommitment];
    let name = &mut parameters.distinguished_name;
    name.push(organization_identifier(), "VN/GOV/G01");
    name.push(DnType::CommonName, "VN/GOV/G01");
    parameters
}

fn signed_leaf(issuer: &Issuer<'_, &KeyPair>) -> Vec<u8> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let issued = leaf_parameters().signed_by(&key, issuer).unwrap();
    issued.der().to_vec()
}
