//! The population register: people by number and by name, numbers, residence.

use std::{
    collections::{HashMap, HashSet},
    process::Stdio,
};

use examples::{
    process::python,
    registers::{
        people::{Person, people},
        population, provinces,
        servers::Servers,
    },
};
use serde_json::{Value, json};
use tonic::Code;

use super::{Register, refused};

pub async fn register(people: &[Person]) -> Register {
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
    let mut python = python().unwrap();
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
    let register = register(&people).await;
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
    let register = register(&people).await;
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
    let register = register(&people).await;
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
