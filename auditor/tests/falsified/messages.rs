//! Each message alone.

use super::*;

#[test]
fn a_header_that_is_none() {
    let mut story = Story::truthful();
    let index = story.consumed[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.header = entry.header.slice(..40);
    only(&story.audit(), Check::Forms, index, "malformed");
}

#[test]
fn an_altered_header() {
    let mut story = Story::truthful();
    let index = story.unary[1];
    alter_header(&mut story.ledger, index, |header| {
        header.status_code = Some(5)
    });
    only(&story.audit(), Check::Signatures, index, "does not verify");
}

#[test]
fn an_altered_signature() {
    let mut story = Story::truthful();
    let index = story.stream[2];
    alter_signature(&mut story.ledger, index);
    only(&story.audit(), Check::Signatures, index, "does not verify");
}

#[test]
fn an_altered_signature_far_behind_the_first_of_its_signer() {
    let mut story = Story::truthful();
    let after: Vec<_> = (100..120)
        .flat_map(|number| story.answer_unary(number))
        .collect();
    // By now the certificate is known, and signatures are verified ahead of all other checks.
    let index = after[30];
    alter_signature(&mut story.ledger, index);
    only(&story.audit(), Check::Signatures, index, "does not verify");
}

fn alter_signature(ledger: &mut Ledger, index: u64) {
    let entry = &mut ledger.entries[index as usize];
    let mut signature = Signature::decode(entry.signature.clone()).unwrap();
    if let Some(Form::CadesV1(cades)) = &mut signature.form {
        let mut value = cades.value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        cades.value = value.into();
    }
    entry.signature = signature.encode_to_vec().into();
}

#[test]
fn an_annex_with_another_certificate() {
    let mut story = Story::truthful();
    let index = story.unary[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.certificate_digest = Digest::of(b"another").to_bytes();
    let report = story.audit();
    only(&report, Check::Annexes, index, "names another certificate");
    assert_eq!(
        report.tally(Check::Signatures).held,
        13,
        "the rest is checked: {report}"
    );
}

#[test]
fn an_annex_that_does_not_say_whose_message_it_is() {
    let mut story = Story::truthful();
    let index = story.consumed[1];
    story.ledger.entries[index as usize].annex.stage = 0;
    let report = story.audit();
    only(
        &report,
        Check::Annexes,
        index,
        "whether it was sent or received",
    );
    assert_eq!(report.tally(Check::Signatures).unchecked, 1, "{report}");
}

#[test]
fn an_annex_that_names_persons_otherwise_than_by_hashes() {
    let hash = |text: &[u8]| Digest::of(text).to_bytes();
    let (one, two) = (hash(b"one"), hash(b"two"));
    let (first, second) = (one.clone().min(two.clone()), one.max(two));
    let named = Bytes::from_static(b"001087123456");
    for hashes in [
        vec![named],
        vec![second.clone(), first.clone()],
        vec![first.clone(), first.clone()],
    ] {
        let mut story = Story::truthful();
        let index = story.unary[1];
        story.ledger.entries[index as usize].annex.subject_hash = hashes;
        let report = story.audit();
        only(&report, Check::Annexes, index, "does not name the persons");
    }
    let mut story = Story::truthful();
    let index = story.unary[1];
    let annex = &mut story.ledger.entries[index as usize].annex;
    annex.subject_hash = vec![first, second];
    annex.subjects_unread = "forgotten".to_owned();
    let report = story.audit();
    only(&report, Check::Annexes, index, "does not say why");
    story.ledger.entries[index as usize].annex.subjects_unread = "compressed".to_owned();
    assert!(story.audit().holds());
}

#[test]
fn an_annex_of_another_kind() {
    let mut story = Story::truthful();
    let entry = story.ledger.entries.last_mut().unwrap();
    entry.annex.kind = RecordKind::Change.into();
    let index = story.ledger.next_index() - 1;
    only(
        &story.audit(),
        Check::Annexes,
        index,
        "the annex says kind 4",
    );
}

#[test]
fn an_altered_content() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    let entry = &mut story.ledger.entries[index as usize];
    let mut content = entry.content.to_vec();
    content[20] ^= 1;
    entry.content = content.into();
    only(
        &story.audit(),
        Check::Contents,
        index,
        "not the one that the header names",
    );
}

#[test]
fn a_content_that_is_gone_without_a_record() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    story.ledger.entries[index as usize].content = Bytes::new();
    only(&story.audit(), Check::Contents, index, "no record says");

    let erased = Erased {
        first_index: 0,
        last_index: index,
        reason: "its term".to_owned(),
    };
    story
        .ledger
        .local(RecordKind::Erased, erased.encode_to_vec());
    let report = story.audit();
    assert!(report.holds(), "{report}");
    assert_eq!(report.facts.contents_erased, 1);
}

#[test]
fn a_configuration_that_is_not_recorded() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.head_digest = Digest::of(b"no head").to_bytes();
    let report = story.audit();
    only_and_promises(&report, Check::InForce, index, "is not recorded", 1);
}

#[test]
fn a_configuration_that_was_replaced_before() {
    let mut story = Story::truthful();
    let newer = story
        .federation
        .publish(12, &story.federation.registrations());
    story.ledger.configuration(&newer);
    story.ledger.clock += 60;
    let [request, _] = story.consume(20);
    let report = story.audit();
    let findings = report.findings();
    assert_eq!(findings.len(), 2, "{report}");
    assert!(
        findings
            .iter()
            .all(|finding| finding.check == Check::InForce),
        "{report}"
    );
    assert_eq!(findings[0].record, Some(request));
    assert!(
        findings[0]
            .problem
            .contains("replaced by a newer one 60 seconds before"),
        "{report}"
    );
}

#[test]
fn a_configuration_that_had_expired() {
    let mut story = Story::truthful();
    story.ledger.clock += 8 * 86_400;
    let [request, _] = story.consume(20);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    story
        .ledger
        .write(&log, &story.federation, &story.federation.log_key);
    let later = NOW + 30 * 86_400;
    let report = auditor::audit(&log, &story.federation.anchor, later, &mut |_| {}).unwrap();
    assert_eq!(report.findings().len(), 2, "{report}");
    assert_eq!(report.findings()[0].record, Some(request));
    assert!(
        report.findings()[0]
            .problem
            .contains("configuration 9 had expired"),
        "{report}"
    );
}

#[test]
fn a_signing_certificate_that_is_missing() {
    let mut story = Story::truthful();
    let digest = story.federation.commune.certificate_digest();
    let position = story.ledger.entries.iter().position(|entry| {
        entry.kind == RecordKind::Certificate
            && entry
                .header
                .ends_with(story.federation.commune.certificate.certificate().der())
    });
    blank(&mut story.ledger, position.unwrap() as u64);
    let report = story.audit();
    assert!(!report.holds());
    for finding in report.findings() {
        assert_eq!(finding.check, Check::Certificates, "{report}");
        assert!(finding.problem.contains(&digest.to_string()), "{report}");
    }
    assert_eq!(
        report.findings().len(),
        5,
        "one for each message of the commune: {report}"
    );
    assert_eq!(report.tally(Check::Signatures).unchecked, 5);
}

/// A peer decides what it sends as a certificate, and a server records it.
#[test]
fn a_certificate_that_cannot_be_used_is_said_and_no_failure() {
    let mut story = Story::truthful();
    let index = story.ledger.certificate(b"no certificate");
    for _ in 0..20 {
        story.ledger.certificate(b"neither");
    }
    story.consume(20);
    let report = story.audit();
    assert!(report.holds(), "{report}");
    let said = format!("Record {index} holds a certificate that cannot be used: ");
    assert!(report.to_string().contains(&said), "{report}");
    assert_eq!(report.facts.unusable_certificates, 21);
    assert_eq!(report.notes.len(), 10, "{report}");
}

#[test]
fn an_authority_that_is_not_approved_for_signing() {
    let mut story = Story::begun(Federation::new());
    let mut registrations = story.federation.registrations();
    let authority = registrations.last_mut().unwrap();
    authority.value = Some(unapproved(authority.value.clone().unwrap()));
    story.published = story.federation.publish(12, &registrations);
    story.ledger.configuration(&story.published.clone());
    story.consume(1);
    let report = story.audit();
    assert_eq!(report.findings().len(), 2, "{report}");
    assert!(report.findings().iter().all(|finding| {
        finding.check == Check::Certificates && finding.problem.contains("no approved authority")
    }));
}

fn unapproved(value: Bytes) -> Bytes {
    let authority = Authority {
        signing: false,
        ..Authority::decode(value).unwrap()
    };
    authority.encode_to_vec().into()
}

#[test]
fn a_reply_signed_by_another_member() {
    let mut story = Story::begun(Federation::new());
    story
        .ledger
        .certificate(story.federation.stranger.certificate.certificate().der());
    let parties = parties(DESK, OFFICE, 1);
    let request = story.first_request(&parties);
    story.record(&request);
    let reply = story
        .reply(&parties, None, &request)
        .last()
        .signed(&story.federation.stranger);
    let index = story.record(&reply);
    only(
        &story.audit(),
        Check::Speakers,
        index,
        "VN/GOV/STRANGER signed for",
    );
}

#[test]
fn a_message_over_the_connection_of_an_unregistered_server() {
    let mut story = Story::truthful();
    let index = story.consumed[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.peer_certificate_digest = Digest::of(b"unknown").to_bytes();
    only(
        &story.audit(),
        Check::Speakers,
        index,
        "not proven to be registered",
    );
}

#[test]
fn a_subsystem_that_is_not_registered_at_its_server() {
    let mut story = Story::truthful();
    let index = membership_of(
        &story.ledger,
        "registration/GOV/MINISTRY/server-1/GOV/MINISTRY/desk",
    );
    blank(&mut story.ledger, index);
    let report = story.audit();
    assert_eq!(report.findings().len(), 2, "{report}");
    assert!(
        report
            .findings()
            .iter()
            .all(|finding| finding.check == Check::Speakers)
    );
    assert_eq!(report.findings()[0].record, Some(story.consumed[0]));
}
