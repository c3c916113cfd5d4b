//! The newborn: one declaration at the desk, and four registers are right, whoever is away meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{ffi::OsStr, fs, path::Path, process::Command, time::Duration};

use examples::{
    dice::{seed, times},
    newborn::{
        agencies::{Agencies, COMMUNE, PURPOSE, declaration},
        births::{self, Order},
        declaration::{Child, Declaration, Parent},
        evidence::by_chance,
        step::Agency,
    },
    process::program,
    registers::{people::Person, servers::Servers},
    waiting::wait_for,
};
use serde_json::{Value, json};
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

fn child(given_name: &str, father: &Person) -> Child {
    Child {
        family_name: father.family_name.to_owned(),
        middle_name: "Thị".to_owned(),
        given_name: given_name.to_owned(),
        sex: "female".to_owned(),
        born_on: "2026-11-20".to_owned(),
        place_of_birth: "Bệnh viện Phụ sản".to_owned(),
        native_place: "Ea M'Droh".to_owned(),
        ethnicity: father.ethnicity.to_owned(),
    }
}

/// Waits until a step of a dossier is in this state; gives the step.
async fn reached(agencies: &Agencies, dossier: &str, step: &str, state: &str) -> Value {
    let what = format!("{step} of {dossier} to be {state}");
    let found = wait_for(&what, || async {
        let steps = agencies.steps(dossier).await.unwrap();
        (steps[step]["state"] == state).then(|| steps[step].clone())
    });
    match found.await {
        Ok(found) => found,
        Err(error) => panic!(
            "{error}\n{}{}",
            agencies.desk("show", &[dossier]).await.unwrap(),
            fs::read_to_string(agencies.settings.with_file_name("logs/newborn.log")).unwrap()
        ),
    }
}

/// Waits until all steps of a dossier are done; gives the number and the card.
async fn completed(agencies: &Agencies, dossier: &str) -> (String, String) {
    for step in ["residence", "card"] {
        reached(agencies, dossier, step, "done").await;
    }
    let steps = agencies.steps(dossier).await.unwrap();
    let text = |step: &str, field: &str| steps[step]["brought"][field].as_str().unwrap().to_owned();
    (text("number", "number"), text("card", "card"))
}

/// How many cards the insurance has for a number, as its own database says.
async fn cards(agencies: &Agencies, number: &str) -> i64 {
    let options = SqliteConnectOptions::new().filename(&agencies.insurance);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let counted = sqlx::query("SELECT count(*) FROM THE_BHYT WHERE SO_DINH_DANH = ?").bind(number);
    counted.fetch_one(&mut connection).await.unwrap().get(0)
}

async fn start(directory: &Path, seed: u64) -> Agencies {
    Agencies::start(directory, 300, seed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_declaration_and_four_registers_are_right() {
    let directory = tempfile::tempdir().unwrap();
    let agencies = start(directory.path(), 1).await;
    let desk = agencies.start_desk().unwrap();
    let (mother, father) = agencies.couples().next().unwrap();
    let declared = declaration(
        "H37.02-2026-000123",
        mother,
        Some(father),
        child("Ánh", father),
    );
    let dossiers = agencies.declare(&declared).await.unwrap();
    assert_eq!(dossiers, ["H37.02-2026-000123.1"]);
    // Declared again by somebody who did not see the answer: the same.
    assert_eq!(agencies.declare(&declared).await.unwrap(), dossiers);
    let (number, card) = completed(&agencies, &dossiers[0]).await;
    assert!(number.starts_with(&mother.province()), "{number}");
    assert!(card.starts_with("TE1"), "{card}");
    assert_eq!(cards(&agencies, &number).await, 1);
    let steps = agencies.steps(&dossiers[0]).await.unwrap();
    let certificate = &steps["certificate"]["brought"];
    assert_eq!(certificate["motherFullName"], mother.full_name());
    assert_eq!(certificate["fatherFullName"], father.full_name());
    assert_eq!(certificate["number"], number);
    assert_eq!(
        agencies.desk("list", &[]).await.unwrap(),
        "0 listed; 1 dossiers in all, 1 complete, 0 refused.\n"
    );

    // Who looked up this mother, and why? The ministry's log says, and names no number.
    let server = agencies
        .federation
        .server(Agency::Population.server())
        .unwrap();
    let output = Command::new(program("auditor").unwrap())
        .args([
            OsStr::new("list"),
            server.endpoint().log.as_os_str(),
            OsStr::new("--json"),
        ])
        .args([
            OsStr::new("--subject-key"),
            server.path("state/subject-key").as_os_str(),
        ])
        .args(["--subject", &mother.number])
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let exchanges = found["exchanges"].as_array().unwrap();
    let asked: Vec<_> = exchanges
        .iter()
        .map(|one| one["method"].as_str().unwrap())
        .collect();
    let service = "vn.population.v1.Population";
    // The father's look-up brought his own number only; the child's allocation names both parents.
    assert_eq!(
        asked,
        [
            format!("{service}/FindPerson"),
            format!("{service}/AllocateNumber")
        ]
    );
    assert_eq!(found["unread"], 0);
    assert_eq!(exchanges[0]["user"], "officer-7");
    assert_eq!(exchanges[0]["purpose"], PURPOSE);
    assert_eq!(exchanges[0]["case_number"], "H37.02-2026-000123");
    assert_eq!(exchanges[0]["exchange"], steps["mother"]["exchange"]);

    desk.stop().await.unwrap();
    agencies.federation.audit().await.unwrap();
    agencies.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_is_away_holds_up_its_own_step_only_and_is_asked_again_with_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut agencies = start(directory.path(), 2).await;
    agencies.kill_adapter(Agency::Insurance).await.unwrap();
    let desk = agencies.start_desk().unwrap();
    let couples: Vec<_> = agencies
        .couples()
        .map(|(one, other)| (one.clone(), other.clone()))
        .collect();
    let (mother, father) = &couples[0];
    let declared = declaration("case", mother, Some(father), child("Hoa", father));
    agencies.declare(&declared).await.unwrap();
    // Two of three are done, and everybody can see what it waits for.
    reached(&agencies, "case.1", "residence", "done").await;
    let card = wait_for("the card to be tried in vain", || async {
        let step = agencies.steps("case.1").await.unwrap()["card"].clone();
        (step["attempts"].as_i64() >= Some(2)).then_some(step)
    });
    let card = card.await.unwrap();
    assert_eq!(card["state"], "waiting");
    assert!(
        card["said"]
            .as_str()
            .unwrap()
            .starts_with("provider.adapter_"),
        "{card}"
    );
    let listed = agencies
        .desk("list", &["--waits-on", "insurance"])
        .await
        .unwrap();
    assert!(listed.contains("case.1"), "{listed}");
    assert!(
        agencies
            .desk("list", &["--waits-on", "population"])
            .await
            .unwrap()
            .starts_with("0 listed")
    );

    // The desk is killed, and the insurance's whole security server as well; both come back.
    desk.kill().await.unwrap();
    let insurance = agencies
        .federation
        .server_mut(Agency::Insurance.server())
        .unwrap();
    insurance.kill().await.unwrap();
    let desk = agencies.start_desk().unwrap();
    let insurance = agencies
        .federation
        .server_mut(Agency::Insurance.server())
        .unwrap();
    insurance.start().await.unwrap();
    agencies.start_adapter(Agency::Insurance).await.unwrap();
    let (number, _) = completed(&agencies, "case.1").await;
    assert_eq!(cards(&agencies, &number).await, 1);
    desk.stop().await.unwrap();
    agencies.federation.audit().await.unwrap();
    agencies.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_of_substance_comes_back_to_the_desk() {
    let directory = tempfile::tempdir().unwrap();
    let agencies = start(directory.path(), 3).await;
    let desk = agencies.start_desk().unwrap();
    let (mother, father) = agencies.couples().next().unwrap();
    let mut declared = declaration("case", mother, Some(father), child("Lan", father));
    declared.mother = Some(Parent {
        number: Some("001190999999".to_owned()),
        ..Parent::default()
    });
    agencies.declare(&declared).await.unwrap();
    let swapped = declaration("swapped", father, Some(mother), child("Lan", father));
    agencies.declare(&swapped).await.unwrap();
    for (step, says) in [("mother", "of a male"), ("father", "of a female")] {
        let refused = reached(&agencies, "swapped.1", step, "refused").await;
        assert!(
            refused["said"].as_str().unwrap().contains(says),
            "{refused}"
        );
    }
    let refused = reached(&agencies, "case.1", "mother", "refused").await;
    assert!(
        refused["said"].as_str().unwrap().starts_with("NO_RECORD"),
        "{refused}"
    );
    let steps = agencies.steps("case.1").await.unwrap();
    assert_eq!(steps["birth"]["state"], "blocked", "nothing is registered");
    let listed = agencies.desk("list", &["--refused"]).await.unwrap();
    assert!(listed.contains("mother: REFUSED by population"), "{listed}");
    // Tried again it is refused again: nobody has that number.
    let before = steps["mother"]["attempts"].as_i64();
    agencies.desk("retry", &["case.1"]).await.unwrap();
    wait_for("another attempt", || async {
        let step = agencies.steps("case.1").await.unwrap()["mother"].clone();
        (step["state"] == "refused" && step["attempts"].as_i64() > before).then_some(())
    })
    .await
    .unwrap();
    desk.stop().await.unwrap();
    agencies.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_a_mother_alone_a_parent_without_a_number_and_a_foundling() {
    let directory = tempfile::tempdir().unwrap();
    let agencies = start(directory.path(), 4).await;
    let desk = agencies.start_desk().unwrap();
    let (mother, father) = agencies.couples().next().unwrap();
    let mut twins = declaration("twins", mother, Some(father), child("An", father));
    twins.children.push(child("Bình", father));
    let alone = declaration("alone", mother, None, child("Chi", mother));
    let mut foreign = declaration("foreign", mother, None, child("Dung", mother));
    foreign.father = Some(Parent {
        number: None,
        full_name: Some("Nguyễn Văn Ổn".to_owned()),
        born: Some("1988".to_owned()),
        ..Parent::default()
    });
    let found = Declaration {
        mother: None,
        foundling: true,
        ..declaration("found", mother, None, child("Ý", mother))
    };
    for declared in [&twins, &alone, &foreign, &found] {
        agencies.declare(declared).await.unwrap();
    }
    let mut numbers = Vec::new();
    for dossier in ["twins.1", "twins.2", "alone.1", "foreign.1", "found.1"] {
        let (number, _) = completed(&agencies, dossier).await;
        assert_eq!(cards(&agencies, &number).await, 1);
        numbers.push(number);
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 5);
    let certificate = async |dossier: &str| {
        agencies.steps(dossier).await.unwrap()["certificate"]["brought"].clone()
    };
    assert_eq!(certificate("alone.1").await.get("fatherFullName"), None);
    assert_eq!(
        certificate("foreign.1").await["fatherFullName"],
        "Nguyễn Văn Ổn"
    );
    assert_eq!(
        certificate("foreign.1").await["fatherBorn"],
        json!({ "year": 1988 })
    );
    let found = certificate("found.1").await;
    assert_eq!(
        (&found["foundling"], found.get("motherFullName")),
        (&json!(true), None)
    );
    desk.stop().await.unwrap();
    agencies.federation.audit().await.unwrap();
    agencies.stop().await.unwrap();
}

/// The same for many births, while everybody is killed now and then: none is lost, and nothing is done twice.
#[tokio::test(flavor = "multi_thread")]
async fn many_births_while_everybody_is_killed_now_and_then() {
    let order = Order {
        births: times("LIENTHONG_BIRTHS", 60).unwrap(),
        kills: times("LIENTHONG_KILLS", 12).unwrap(),
        seed: seed().unwrap(),
        patience: Duration::from_secs(60),
    };
    let directory = tempfile::tempdir().unwrap();
    // Other tests use the servers of the environment, which are not to be killed.
    let servers = Servers::start(directory.path()).await.unwrap();
    let agencies = Agencies::start_with(directory.path(), servers, 600, order.seed, |_| ());
    let mut agencies = agencies.await.unwrap();
    let desk = agencies.start_desk().unwrap();
    let performed = births::perform(&mut agencies, desk, order, &mut |_, _| ()).await;
    let (desk, tally) = performed.unwrap();
    assert!(tally.holds(), "{tally:#?}");
    desk.stop().await.unwrap();
    agencies.federation.audit().await.unwrap();
    // At least seven each: some fathers are not there. Some dossier may be chosen twice.
    assert!(by_chance(&agencies, order, 3).await.unwrap() >= 7);
    for agency in [Agency::Population, Agency::CivilStatus, Agency::Insurance] {
        agencies
            .federation
            .reconcile(COMMUNE, agency.server())
            .await
            .unwrap();
    }
    agencies.stop().await.unwrap();
}
