//! The register of health insurance cards.

use std::collections::HashSet;

use examples::registers::{insurance, people::people};
use serde_json::json;
use tonic::Code;

use super::{Register, refused};

#[tokio::test(flavor = "multi_thread")]
async fn children_under_six_have_their_cards() {
    let people = people(600, 12);
    let directory = tempfile::tempdir().unwrap();
    let (_, configuration) = insurance::create(directory.path(), &people).await.unwrap();
    let register = Register::serve(directory, &configuration, insurance::SERVICE).await;
    let children = people.iter().filter(|person| person.age() < 6);
    let mut cards = HashSet::new();
    for child in children {
        let found = register
            .ask("FindCard", json!({ "number": child.number }))
            .await
            .unwrap();
        assert_eq!(found["fullName"], child.full_name());
        assert_eq!(found["kind"], "full");
        assert!(cards.insert(found["card"].as_str().unwrap().to_owned()));
    }
    let mother = people.iter().find(|person| person.is_female).unwrap();
    let temporary = json!({
        "declaration": "temporary", "province": "001", "mother_full_name": mother.full_name(),
        "born_on": "2026-11-20", "sex": "female", "since": "2026-11-20", "until": "2026-12-20",
    });
    let full = json!({
        "declaration": "full", "province": "024", "full_name": "Nguyễn Thị Ánh", "number": "024326000001", "born_on": "2026-11-20",
        "sex": "female", "since": "2026-11-20", "until": "2032-09-30",
    });
    for (method, request, beginning) in [
        ("IssueTemporaryCard", temporary, "TE101"),
        ("IssueCard", full.clone(), "TE124"),
    ] {
        let first = register.ask(method, request.clone()).await.unwrap();
        assert_eq!(register.ask(method, request).await.unwrap(), first);
        let card = first["card"].as_str().unwrap().to_owned();
        assert!(card.starts_with(beginning) && card.len() == 15, "{card}");
        assert!(card[5..].bytes().all(|digit| digit.is_ascii_digit()));
        let shown = register
            .ask("CheckCard", json!({ "card": card }))
            .await
            .unwrap();
        assert_eq!(
            (&shown["card"], &shown["kind"]),
            (&first["card"], &first["kind"])
        );
        let falsified = json!({ "card": card.replacen("TE1", "TE2", 1) });
        let answer = register.ask("CheckCard", falsified).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
        assert!(cards.insert(card));
    }
    let mut nowhere = full.clone();
    nowhere["province"] = json!("999");
    nowhere["declaration"] = json!("nowhere");
    nowhere["number"] = json!("024326000002");
    let answer = register.ask("IssueCard", nowhere).await;
    refused(answer, Code::FailedPrecondition, "STEP_ROWS");
    // One child has one card, whoever asks for it.
    let mut another = full;
    another["declaration"] = json!("another");
    let answer = register.ask("IssueCard", another).await;
    refused(answer, Code::AlreadyExists, "CONFLICT");
}
