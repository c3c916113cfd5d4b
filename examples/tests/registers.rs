//! The registers of the demonstration, asked as agencies ask them: what is stored in old ways is answered in today's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::{Command, Stdio},
};

use examples::{
    caller::{Caller, Method},
    process::program,
    registers::{
        Adapter, civil_status, insurance,
        people::{Person, people},
        population, provinces,
        servers::Servers,
        units,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A register that is served.
struct Register {
    adapter: Adapter,
    caller: Caller,
    service: &'static str,
    directory: TempDir,
}

impl Register {
    async fn serve(directory: TempDir, configuration: &Path, service: &'static str) -> Self {
        let adapter = Adapter::start(configuration, directory.path())
            .await
            .unwrap();
        check(configuration);
        let address = adapter.address.trim_start_matches("http://");
        let caller = Caller::plaintext(address).await.unwrap();
        let caller = caller.with("x-road-client", "VN/GOV/H37.02/desk").unwrap();
        Self {
            caller: caller
                .with("x-road-exchange-id", "01a2063c-0000-7000-8000-000000000000")
                .unwrap(),
            adapter,
            service,
            directory,
        }
    }

    fn method(&self, name: &str) -> Method {
        Method::load(&self.adapter.proto, self.service, name).unwrap()
    }

    /// The answer of a method, in JSON as the standard maps it.
    async fn ask(&self, method: &str, request: Value) -> Result<Value, Status> {
        let answer = self.caller.unary(&self.method(method), request).await?;
        Ok(serde_json::to_value(answer.get_ref()).unwrap())
    }

    async fn list(&self, method: &str, request: Value) -> Vec<Value> {
        let answer = self
            .caller
            .server_streaming(&self.method(method), request)
            .await;
        let mut answer = answer.unwrap().into_inner();
        let mut found = Vec::new();
        while let Some(message) = answer.message().await.unwrap() {
            found.push(serde_json::to_value(&message).unwrap());
        }
        found
    }

    /// All records of a feed.
    async fn changes(&self, method: &str) -> Vec<Value> {
        let messages = self.list(method, json!({})).await;
        let records = messages
            .iter()
            .filter_map(|message| message["records"].as_array());
        records.flatten().cloned().collect()
    }
}

/// What `adapter check` says of a configuration and its database must be good.
fn check(configuration: &Path) {
    let mut check = Command::new(program("adapter").unwrap());
    let output = check.arg("check").arg(configuration).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[track_caller]
fn refused(answer: Result<Value, Status>, code: Code, reason: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, reason, "{status:?}");
}

async fn population(people: &[Person]) -> Register {
    let directory = tempfile::tempdir().unwrap();
    let servers = Servers::from_environment().unwrap();
    let made = population::create(directory.path(), &servers, people)
        .await
        .unwrap();
    Register::serve(directory, &made.configuration, population::SERVICE).await
}

fn newborn(declaration: &str, province: &str, sex: &str, mother: &Person) -> Value {
    json!({
        "declaration": declaration, "province": province, "full_name": "Nguyễn Thị Ánh", "sex": sex, "born_on": "2026-11-20",
        "ethnicity": "Kinh", "nationality": "VN", "native_place": "Xã Ea M'Droh", "mother": mother.number,
    })
}

/// What the outside library vn-ident makes of numbers: valid, province code, sex and year of each.
fn by_others(numbers: &[String]) -> Vec<Value> {
    let program = "import sys, json, vn_ident\n\
        for number in json.load(sys.stdin):\n\
        \x20   card = vn_ident.parse_cccd(number)\n\
        \x20   print(json.dumps(card and [card.province_code, card.gender, card.birth_year]))\n";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut python = Command::new(root.join(".private/venv/bin/python"));
    let mut python = python
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(python.stdin.take().unwrap(), numbers).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_population_register_knows_people_by_number_and_by_name() {
    let people = people(3_000, 7);
    let register = population(&people).await;
    let mut namesakes = HashMap::<_, usize>::new();
    for person in &people {
        *namesakes
            .entry((person.full_name(), person.born()))
            .or_default() += 1;
    }
    for person in people.iter().step_by(37) {
        let found = register
            .ask("FindPerson", json!({ "number": person.number }))
            .await
            .unwrap();
        assert_eq!(found["fullName"], person.full_name());
        assert_eq!(
            found["sex"],
            if person.is_female { "female" } else { "male" }
        );
        let (year, day) = (&found["born"]["year"], person.day);
        assert_eq!(year.to_string(), person.year.to_string());
        assert_eq!(
            found["born"]["day"].as_u64(),
            day.map(|(_, day)| day as u64)
        );
        assert_eq!(found["ethnicity"], person.ethnicity);
        let mother = person.mother.map(|mother| people[mother].number.as_str());
        assert_eq!(found["mother"].as_str(), mother);

        if let Some((month, day)) = person.day {
            let request = json!({
                "full_name": person.full_name().to_uppercase(),
                "born_on": format!("{}-{month:02}-{day:02}", person.year),
            });
            let matched = register.ask("MatchPerson", request).await;
            match namesakes[&(person.full_name(), person.born())] {
                1 => assert_eq!(matched.unwrap()["number"], person.number),
                _ => refused(matched, Code::FailedPrecondition, "SEVERAL_RECORDS"),
            }
        }
        let papers = register
            .list("ListPapers", json!({ "number": person.number }))
            .await;
        let expected = usize::from(person.year < 2000) + usize::from(person.age() >= 14);
        assert_eq!(papers.len(), expected, "{papers:?}");
        let residence = register
            .list("ListResidence", json!({ "number": person.number }))
            .await;
        assert_eq!(residence.last().unwrap()["commune"], person.commune);
        assert_eq!(residence.last().unwrap()["address"], person.address);
    }
    let all: Vec<_> = people.iter().map(|person| person.number.clone()).collect();
    for (person, known) in people.iter().zip(by_others(&all)) {
        assert_eq!(known[0], person.number[..3]);
        assert_eq!(known[2], person.year);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_allocated_once_and_only_with_a_code_of_today() {
    let people = people(500, 8);
    let register = population(&people).await;
    let mother = people.iter().find(|person| person.is_female).unwrap();
    let mut given = Vec::new();
    let today = provinces::all().filter(|province| province.until.is_empty());
    for (position, province) in today.enumerate() {
        let sex = ["male", "female"][position % 2];
        let request = newborn(province.code, province.code, sex, mother);
        let first = register
            .ask("AllocateNumber", request.clone())
            .await
            .unwrap();
        let again = register.ask("AllocateNumber", request).await.unwrap();
        assert_eq!(first, again);
        let number = first["number"].as_str().unwrap().to_owned();
        assert_eq!(number[..3], *province.code);
        given.push((number, sex));
    }
    let numbers: Vec<_> = given.iter().map(|(number, _)| number.clone()).collect();
    for ((number, sex), known) in given.iter().zip(by_others(&numbers)) {
        assert_eq!(known, json!([number[..3], sex, 2026]), "{number}");
    }
    // Many at once get a number each.
    let asked = (0..20).map(|child| newborn(&format!("twin {child}"), "001", "female", mother));
    let asked = asked.map(|request| register.ask("AllocateNumber", request));
    let mut distinct = HashSet::new();
    for answer in futures_util::future::join_all(asked).await {
        distinct.insert(answer.unwrap()["number"].as_str().unwrap().to_owned());
    }
    assert_eq!(distinct.len(), 20);
    // What a number was allocated for is a person from now on, and the feed tells of it.
    let child = register
        .ask("FindPerson", json!({ "number": numbers[0] }))
        .await
        .unwrap();
    assert_eq!(child["fullName"], "Nguyễn Thị Ánh");
    assert_eq!(child["mother"], mother.number);
    let changes = register.changes("PersonChanges").await;
    assert_eq!(changes.len(), 34 + 20);
    assert!(changes.iter().all(|change| change["operation"] == "new"));

    // Hà Giang has had no numbers since July 2025, and nowhere is 003.
    for province in ["002", "003"] {
        let request = newborn("elsewhere", province, "female", mother);
        let answer = register.ask("AllocateNumber", request).await;
        refused(answer, Code::FailedPrecondition, "STEP_ROWS");
    }
    // The same declaration with another child is no repetition.
    let answer = register
        .ask("AllocateNumber", newborn("001", "001", "female", mother))
        .await;
    refused(answer, Code::FailedPrecondition, "KEY_REUSED");
    drop(register.directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn residence_has_a_history() {
    let people = people(200, 9);
    let register = population(&people).await;
    let person = people.iter().find(|person| person.age() < 25).unwrap();
    let request = json!({
        "declaration": "move", "number": person.number, "commune": "00070", "address": "Số 5, phường Hoàn Kiếm", "since": "2026-11-27",
    });
    let first = register
        .ask("RegisterResidence", request.clone())
        .await
        .unwrap();
    assert_eq!(
        register.ask("RegisterResidence", request).await.unwrap(),
        first
    );
    let residence = register
        .list("ListResidence", json!({ "number": person.number }))
        .await;
    assert_eq!(residence.len(), 2);
    assert_eq!(residence[0]["until"], "2026-11-27");
    assert_eq!(residence[1]["address"], "Số 5, phường Hoàn Kiếm");
    assert_eq!(residence[1].get("until"), None);
    let nobody = json!({
        "declaration": "nobody", "number": "001087999999", "commune": "00070", "address": "Số 5", "since": "2026-11-27",
    });
    let answer = register.ask("RegisterResidence", nobody).await;
    refused(answer, Code::FailedPrecondition, "STEP_ROWS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_has_a_hundred_thousand_people() {
    let people = people(100_000, 13);
    let register = population(&people).await;
    for person in people.iter().step_by(4_999) {
        let found = register
            .ask("FindPerson", json!({ "number": person.number }))
            .await
            .unwrap();
        assert_eq!(found["fullName"], person.full_name());
    }
    let births = civil_status(&people).await;
    let child = people.iter().rfind(|person| person.age() < 6).unwrap();
    let found = births
        .ask("FindBirth", json!({ "number": child.number }))
        .await
        .unwrap();
    assert_eq!(found["fullName"], child.full_name());
}

async fn civil_status(people: &[Person]) -> Register {
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
    let register = civil_status(&people).await;
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
        assert_eq!(extract.unwrap(), issued);
    }
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
    let register = civil_status(&people).await;
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
    let unknown = register
        .ask("FindDeath", json!({ "number": husband.number }))
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_code_stands_for_depends_on_the_day() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = units::create(directory.path()).await.unwrap();
    let register = Register::serve(directory, &configuration, units::SERVICE).await;
    let name = async |code: &str, on: &str| {
        let found = register
            .ask("FindProvinceOfNumber", json!({ "code": code, "on": on }))
            .await;
        found.map(|found| found["name"].as_str().unwrap().to_owned())
    };
    assert_eq!(name("024", "2025-06-30").await.unwrap(), "Bắc Giang");
    assert_eq!(name("024", "2025-07-01").await.unwrap(), "Bắc Ninh");
    assert_eq!(name("027", "2025-06-30").await.unwrap(), "Bắc Ninh");
    for (code, on) in [("027", "2025-07-01"), ("003", "2025-06-30")] {
        assert_eq!(name(code, on).await.unwrap_err().code(), Code::NotFound);
    }
    let agency = async |code: &str| {
        let found = register.ask("FindAgency", json!({ "code": code })).await;
        found.map(|found| found["code"].as_str().unwrap().to_owned())
    };
    for code in ["H37.02", "000.02.37.H37", "00.02.H37"] {
        assert_eq!(agency(code).await.unwrap(), "H37.02");
    }
    assert_eq!(agency("02.H37").await.unwrap_err().code(), Code::NotFound);
    let codes = register
        .list("ListAgencyCodes", json!({ "code": "H37.02" }))
        .await;
    assert_eq!(
        codes,
        [
            json!({ "code": "00.02.H37" }),
            json!({ "code": "000.02.37.H37" })
        ]
    );
}
