//! OpenSSL, as the outside party, sees the documented profiles and accepts what we make.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use certs::{
    CertificateRequest, LogKey, PrivateKey, Role, SigningKey, Subject, Validity, file, vouch,
};
use support::{NOW, Workplace, authority, ended, issued, member, server, succeeded};

#[test]
fn every_role_shows_its_profile_and_verifies_against_the_authority() {
    let place = Workplace::new();
    let authority = authority();
    place.write_certificate("ca.pem", authority.certificate().der());
    let listener = Subject::Listener {
        name: "bus".into(),
        names: vec!["bus.example.vn".into(), "10.0.0.7".into()],
    };
    let client = Subject::Client {
        name: "commune office".into(),
    };
    let expected: [(Subject, &[&str], &[&str]); 4] = [
        (
            member("VN/GOV/G01"),
            &[
                "organizationIdentifier = VN/GOV/G01, CN = VN/GOV/G01",
                "Key Usage: critical\n                Non Repudiation\n",
            ],
            &["Extended Key Usage"],
        ),
        (
            server("VN/GOV/G01/server-1"),
            &[
                "organizationIdentifier = VN/GOV/G01, CN = VN/GOV/G01/server-1",
                "Key Usage: critical\n                Digital Signature\n",
                "TLS Web Client Authentication, TLS Web Server Authentication\n",
            ],
            &[],
        ),
        (
            client,
            &[
                "Subject: CN = commune office\n",
                "Key Usage: critical\n                Digital Signature\n",
                "TLS Web Client Authentication\n",
            ],
            &["organizationIdentifier"],
        ),
        (
            listener,
            &[
                "TLS Web Server Authentication\n",
                "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, \
                 DNS:bus.example.vn, IP Address:10.0.0.7\n",
            ],
            &[],
        ),
    ];
    for (subject, present, absent) in expected {
        let role = subject.role();
        let name = format!("{role}.pem");
        place.write_certificate(&name, &issued(&authority, &subject).1);
        let text = succeeded(&place.openssl(&format!("x509 -in {name} -noout -text")));
        let always = [
            "Version: 3",
            "ecdsa-with-SHA256",
            "NIST CURVE: P-256",
            "Basic Constraints: critical\n                CA:FALSE\n",
            "Subject Key Identifier:",
            "Authority Key Identifier:",
        ];
        for part in always.iter().chain(present) {
            assert!(text.contains(part), "{role} lacks {part}: {text}");
        }
        for part in absent {
            assert!(!text.contains(part), "{role} has {part}: {text}");
        }
        succeeded(&place.openssl(&format!(
            "verify -x509_strict -attime {NOW} -CAfile ca.pem {name}"
        )));
    }

    let text = succeeded(&place.openssl("x509 -in ca.pem -noout -text"));
    assert!(text.contains("Key Usage: critical\n                Certificate Sign, CRL Sign\n"));
    assert!(text.contains("Basic Constraints: critical\n                CA:TRUE, pathlen:0\n"));
}

#[test]
fn an_issued_certificate_makes_cades_signatures() {
    let place = Workplace::new();
    let authority = authority();
    place.write_certificate("ca.pem", authority.certificate().der());
    let (key, der) = issued(&authority, &member("VN/GOV/G01"));
    place.write_certificate("signer.pem", &der);
    key.write(&place.path("key.pem")).unwrap();
    place.write("message", "lookup 001");
    succeeded(&place.openssl(
        "cms -sign -cades -binary -md sha256 -in message -signer signer.pem -inkey key.pem \
         -outform DER -out message.p7s",
    ));

    let verify = |at: i64| {
        place.openssl(&format!(
            "cms -verify -cades -binary -inform DER -in message.p7s -content message \
             -CAfile ca.pem -attime {at} -out verified"
        ))
    };
    let text = succeeded(&verify(NOW));
    assert!(text.contains("CAdES Verification successful"), "{text}");
    assert!(!verify(NOW + 800 * support::DAY).status.success());
    place.write("message", "lookup 002");
    assert!(!verify(NOW).status.success());
}

#[test]
fn openssl_verifies_what_our_keys_sign() {
    let place = Workplace::new();
    let message = place.write("message", "a checkpoint");
    let log_key = LogKey::generate().unwrap();
    log_key.write(&place.path("log.pem")).unwrap();
    let same = LogKey::load(&place.path("log.pem")).unwrap();
    assert_eq!(same.public_key(), log_key.public_key());
    place.write("log.sig", same.sign(&std::fs::read(&message).unwrap()));
    succeeded(&place.openssl("pkey -in log.pem -pubout -out log.pub"));
    succeeded(
        &place.openssl("pkeyutl -verify -rawin -pubin -inkey log.pub -in message -sigfile log.sig"),
    );

    let key = PrivateKey::generate().unwrap();
    key.write(&place.path("key.pem")).unwrap();
    let signing = SigningKey::load(&place.path("key.pem")).unwrap();
    place.write("key.sig", signing.sign(b"a checkpoint").unwrap());
    succeeded(&place.openssl("pkey -in key.pem -pubout -out key.pub"));
    succeeded(&place.openssl("dgst -sha256 -verify key.pub -signature key.sig message"));
}

#[test]
fn openssl_accepts_our_request_and_nothing_is_copied_from_its_own() {
    let place = Workplace::new();
    let key = PrivateKey::generate().unwrap();
    let request = key.request(&member("VN/GOV/G01")).unwrap();
    file::write_pem(
        &place.path("ours.pem"),
        "CERTIFICATE REQUEST",
        &request,
        0o644,
    )
    .unwrap();
    let text = succeeded(&place.openssl("req -in ours.pem -noout -verify -subject"));
    assert!(text.contains("verify OK"), "{text}");
    assert!(text.contains("CN = VN/GOV/G01"), "{text}");

    // A request that asks for far too much.
    place.write(
        "greedy.conf",
        "[req]\ndistinguished_name=dn\nreq_extensions=ext\nprompt=no\n[dn]\nCN=VN/GOV/G09\n\
         [ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n\
         extendedKeyUsage=serverAuth\nsubjectAltName=DNS:evil.example\n",
    );
    succeeded(&place.openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout greedy.key \
         -config greedy.conf -out greedy.pem",
    ));
    let der = file::read_request(&place.path("greedy.pem")).unwrap();
    let request = CertificateRequest::parse(&der).unwrap();
    assert_eq!(request.common_name(), Some("VN/GOV/G09"));
    let subject = member("VN/GOV/G01");
    let issued = authority()
        .issue(&request, &subject, Validity::of(Role::Signing, NOW))
        .unwrap();
    place.write_certificate("greedy.crt", &issued);
    let text = succeeded(&place.openssl("x509 -in greedy.crt -noout -text"));
    assert!(text.contains("CN = VN/GOV/G01\n"), "{text}");
    for part in ["CA:TRUE", "evil.example", "Server Authentication", "G09"] {
        assert!(!text.contains(part), "{part}: {text}");
    }

    // A request whose signature was made with another key, or touched.
    let mut touched = der;
    let last = touched.len() - 1;
    touched[last] ^= 1;
    let error = CertificateRequest::parse(&touched).unwrap_err().to_string();
    assert!(error.contains("not signed by the key it holds"), "{error}");
    touched.push(0);
    assert!(CertificateRequest::parse(&touched).is_err());
}

#[test]
fn keys_of_other_kinds_are_refused_in_requests_and_large_rsa_is_taken() {
    let place = Workplace::new();
    let request = |options: &str| {
        succeeded(&place.openssl(&format!(
            "req -new {options} -nodes -keyout k.pem -subj /CN=module -outform DER -out r.der"
        )));
        CertificateRequest::parse(&std::fs::read(place.path("r.der")).unwrap())
    };
    for (options, word) in [
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:P-384",
            "ECDSA on curve",
        ),
        ("-newkey rsa:1024", "RSA of 1024 bits"),
        ("-newkey ed25519", "Ed25519"),
        ("-newkey rsa:2048 -sha1", "signed with algorithm"),
    ] {
        let error = request(options).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }

    let authority = authority();
    let taken = request("-newkey rsa:2048").unwrap();
    let validity = Validity::of(Role::Signing, NOW);
    let der = authority
        .issue(&taken, &member("VN/GOV/G01"), validity)
        .unwrap();
    let trusted = [authority.trusted().unwrap()];
    let vouched = vouch::<&[u8]>(&der, &[], &trusted, NOW).unwrap();

    // And the key in it is the one that OpenSSL signs with.
    place.write("message", "signed in hardware");
    succeeded(&place.openssl("dgst -sha256 -sign k.pem -out m.sig message"));
    let signature = std::fs::read(place.path("m.sig")).unwrap();
    let key = vouched.certificate().public_key();
    key.verify(b"signed in hardware", &signature).unwrap();
    assert!(key.verify(b"signed in software", &signature).is_err());
}

#[test]
fn a_signing_certificate_of_another_authority_serves_as_well() {
    let place = Workplace::new();
    place.write(
        "ext",
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,nonRepudiation\n",
    );
    place.write(
        "subject.conf",
        "[req]\ndistinguished_name=dn\nprompt=no\nutf8=yes\n\
         [dn]\nO=Other\norganizationIdentifier=VN/GOV/G01\nCN=VN/GOV/G01\n",
    );
    for step in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=Other -days 30 -out ca.pem \
         -addext keyUsage=critical,keyCertSign",
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem \
         -config subject.conf -out r.pem",
        "x509 -req -in r.pem -CA ca.pem -CAkey ca.key -days 10 -extfile ext -out c.pem",
    ] {
        succeeded(&place.openssl(step));
    }
    let der = file::read_certificates(&place.path("c.pem"))
        .unwrap()
        .remove(0);
    let trusted = certs::tls::read_authorities(&place.path("ca.pem")).unwrap();
    let at = certs::Certificate::parse(&der).unwrap().not_before();
    let vouched = vouch::<&[u8]>(&der, &[], &trusted, at).unwrap();
    assert_eq!(vouched.certificate().member().as_str(), "VN/GOV/G01");
    assert_eq!(vouched.authority(), trusted[0].digest());

    let text = ended(&place.certs("show c.pem"), 0);
    assert!(text.contains("profile       met"), "{text}");
}
