//! The civil status register: a birth and its certificate, and the other events of a life.

use examples::registers::{
    civil_status,
    people::{Person, people},
    servers::Servers,
};
use serde_json::{Value, json};
use tonic::Code;

use super::{Register, refused};

pub async fn register(people: &[Person]) -> Register {
    let directory = tempfile::tempdir().unwrap();
    let servers = Servers::from_environment().unwrap();
    let made = civil_status::create(directory.path(), &servers, people)
        .await
        .unwrap();
    Register::serve(directory, &made.configuration, civil_status::SERVICE).await
}

/// A birth as it is declared; without what is not known.
fn birth(declaration: &str, more: Value) -> Value {
    let mut birth = json!({
        "declaration": declaration, "commune": "24022", "registered_on": "2026-11-27", "family_name": "Đặng", "middle_name": "Thị Mỹ",
        "given_name": "Ước", "sex": "female", "born_on": "2026-11-20", "place_of_birth": "Bệnh viện Phụ sản", "ethnicity": "Kinh",
        "nationality": "VN", "foundling": false,
    });
    birth
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    birth
}

#[tokio::test(flavor = "multi_thread")]
async fn a_birth_gets_its_certificate_when_it_has_its_number() {
    let people = people(600, 10);
    let register = register(&people).await;
    // Births of before are found in Unicode.
    let children = people.iter().filter(|person| person.age() <= 15);
    for child in children.clone() {
        let found = register
            .ask("FindBirth", json!({ "number": child.number }))
            .await
            .unwrap();
        assert_eq!(found["fullName"], child.full_name());
        let mother = child.mother.map(|mother| people[mother].full_name());
        assert_eq!(found["motherFullName"].as_str(), mother.as_deref());
        assert_eq!(found["ethnicity"], child.ethnicity);
    }
    assert!(children.count() > 50);
    let mother = people
        .iter()
        .find(|person| person.is_female && person.spouse.is_some())
        .unwrap();
    let father = &people[mother.spouse.unwrap()];
    let whole = json!({
        "mother_full_name": mother.full_name(), "mother_born": mother.year.to_string(), "mother_ethnicity": mother.ethnicity,
        "mother_nationality": "VN", "mother_residence": mother.address, "mother": mother.number,
        "father_full_name": father.full_name(), "father_born": father.year.to_string(), "father": father.number,
    });
    let alone = json!({ "mother_full_name": mother.full_name(), "mother_born": "1990", "mother": mother.number });
    for (declaration, parents, number) in [
        ("both parents", whole, "024326000001"),
        ("a mother alone", alone, "024326000002"),
        ("a foundling", json!({ "foundling": true }), "024326000003"),
    ] {
        let request = birth(declaration, parents.clone());
        let registered = register
            .ask("RegisterBirth", request.clone())
            .await
            .unwrap();
        assert_eq!(
            register.ask("RegisterBirth", request).await.unwrap(),
            registered
        );
        let entry = registered["entry"].clone();
        let certificate =
            json!({ "declaration": declaration, "entry": entry, "issued_on": "2026-11-27" });
        let early = register.ask("IssueCertificate", certificate.clone()).await;
        refused(early, Code::FailedPrecondition, "STEP_ROWS");

        let number = json!({ "declaration": declaration, "entry": entry, "number": number });
        let written = register
            .ask("WriteBackNumber", number.clone())
            .await
            .unwrap();
        assert_eq!(written["number"], number["number"]);
        assert_eq!(
            register
                .ask("WriteBackNumber", number.clone())
                .await
                .unwrap(),
            written
        );
        let other = json!({ "declaration": "other", "entry": entry, "number": "024326000009" });
        let other = register.ask("WriteBackNumber", other).await;
        refused(other, Code::FailedPrecondition, "STEP_ROWS");

        let issued = register
            .ask("IssueCertificate", certificate.clone())
            .await
            .unwrap();
        assert_eq!(
            register.ask("IssueCertificate", certificate).await.unwrap(),
            issued
        );
        assert_eq!(issued["fullName"], "Đặng Thị Mỹ Ước");
        assert_eq!(issued["number"], number["number"]);
        assert_eq!(issued.get("mother"), parents.get("mother"));
        assert_eq!(issued["foundling"], declaration == "a foundling");
        let extract = register
            .ask("FindBirth", json!({ "number": number["number"] }))
            .await;
        let mut extract = extract.unwrap();
        let amendments = extract.as_object_mut().unwrap().remove("amendments");
        assert_eq!(amendments, Some(json!("0")));
        assert_eq!(extract, issued);
    }
    let amended = json!({
        "declaration": "amended", "kind": "change", "registered_on": "2026-11-27", "number": "024326000001", "field": "given name",
        "old": "Ước", "new": "Ánh",
    });
    register.ask("RegisterAmendment", amended).await.unwrap();
    let extract = register
        .ask("FindBirth", json!({ "number": "024326000001" }))
        .await
        .unwrap();
    assert_eq!(extract["amendments"], "1");

    // Of each birth its registration, its number and its certificate.
    let changes = register.changes("BirthChanges").await;
    let told: Vec<_> = changes
        .iter()
        .map(|change| change["operation"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["new", "changed", "changed"].repeat(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_events_of_a_life_are_registered() {
    let people = people(400, 11);
    let register = register(&people).await;
    let wife = people
        .iter()
        .find(|person| person.is_female && person.spouse.is_some())
        .unwrap();
    let husband = &people[wife.spouse.unwrap()];
    let marriages = register
        .list("ListMarriages", json!({ "number": wife.number }))
        .await;
    assert_eq!(marriages[0]["husbandFullName"], husband.full_name());
    let number = &wife.number;
    let once = async |method: &str, request: Value| {
        let first = register.ask(method, request.clone()).await.unwrap();
        assert_eq!(
            register.ask(method, request).await.unwrap(),
            first,
            "{method}"
        );
    };

    let amend = |kind: &str, field: &str, old: &str, new: &str| json!({ "declaration": kind, "kind": kind, "registered_on": "2026-11-27", "number": number, "field": field, "old": old, "new": new });
    once(
        "RegisterAmendment",
        amend("change", "middle name", "Thị", "Ngọc"),
    )
    .await;
    once(
        "RegisterAmendment",
        amend("correction", "place of birth", "Hà Nọi", "Hà Nội"),
    )
    .await;
    once(
        "RegisterAmendment",
        amend("supplement", "ethnicity", "", "Tày"),
    )
    .await;
    let amended = register
        .list("ListAmendments", json!({ "number": number }))
        .await;
    let kinds: Vec<_> = amended
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["change", "correction", "supplement"]);
    assert_eq!(amended[1]["new"], "Hà Nội");

    let note = |kind: &str, by: &str| json!({ "declaration": kind, "kind": kind, "noted_on": "2026-11-27", "number": number, "decided_by": by, "decision": "17/2026/QĐST-HNGĐ", "content": "theo quyết định" });
    once("RegisterNote", note("divorce", "Tòa án nhân dân")).await;
    once("RegisterNote", note("adoption", "Ủy ban nhân dân")).await;
    let notes = register
        .list("ListNotes", json!({ "number": number }))
        .await;
    assert_eq!(notes[0]["decidedBy"], "Tòa án nhân dân");
    assert_eq!(notes[1]["kind"], "adoption");

    let relate = |kind: &str, role: &str| json!({ "declaration": kind, "kind": kind, "registered_on": "2026-11-27", "child": number, "relative": husband.number, "role": role });
    once(
        "RegisterRelation",
        relate("recognition of parent", "father"),
    )
    .await;
    once("RegisterRelation", relate("guardianship", "guardian")).await;
    let relations = register
        .list("ListRelations", json!({ "child": number }))
        .await;
    assert_eq!(relations[1]["role"], "guardian");
    assert_eq!(relations[1]["relative"], husband.number);

    let marriage = json!({
        "declaration": "marriage", "commune": "24022", "registered_on": "2026-11-27",
        "husband_full_name": "Lê Văn Ổn", "husband_born_on": "1990-01-31", "husband_ethnicity": "Kinh", "husband_nationality": "VN",
        "husband_residence": "5, thôn 1", "husband": "001090000001",
        "wife_full_name": wife.full_name(), "wife_born_on": "1992-02-28", "wife_ethnicity": "Kinh", "wife_nationality": "VN",
        "wife_residence": "5, thôn 1", "wife": number,
    });
    once("RegisterMarriage", marriage).await;
    let marriages = register
        .list("ListMarriages", json!({ "number": number }))
        .await;
    assert_eq!(marriages[1]["husbandFullName"], "Lê Văn Ổn");

    let death = json!({
        "declaration": "death", "commune": "24022", "registered_on": "2026-11-27", "number": number, "full_name": wife.full_name(),
        "died_on": "2026-11-26", "place_of_death": "tại nhà",
    });
    once("RegisterDeath", death.clone()).await;
    let found = register
        .ask("FindDeath", json!({ "number": number }))
        .await
        .unwrap();
    assert_eq!(found["fullName"], wife.full_name());
    let mut twice = death;
    twice["declaration"] = json!("again");
    let answer = register.ask("RegisterDeath", twice).await;
    assert!(answer.is_err(), "nobody dies twice: {answer:?}");
    let deaths = register.changes("DeathChanges").await;
    assert_eq!(deaths.len(), 1);
    assert_eq!(
        (&deaths[0]["operation"], &deaths[0]["number"]),
        (&json!("new"), &json!(number))
    );
    let unknown = register
        .ask("FindDeath", json!({ "number": husband.number }))
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}
