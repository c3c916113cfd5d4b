//! What the store takes it has, and a step waits for those before it.

use serde_json::json;

use super::*;
use crate::newborn::declaration::Parent;

fn declaration(case_number: &str, children: usize) -> Declaration {
    let child = Child {
        family_name: "Nguyễn".to_owned(),
        middle_name: "Thị".to_owned(),
        given_name: "Ánh".to_owned(),
        sex: "female".to_owned(),
        born_on: "2026-11-20".to_owned(),
        place_of_birth: String::new(),
        native_place: String::new(),
        ethnicity: "Kinh".to_owned(),
    };
    Declaration {
        case_number: case_number.to_owned(),
        officer: "officer-7".to_owned(),
        declared_on: "2026-11-27".to_owned(),
        commune: "00070".to_owned(),
        province: "001".to_owned(),
        address: "5, thôn 1".to_owned(),
        mother: Some(Parent {
            number: Some("001190000001".to_owned()),
            ..Parent::default()
        }),
        father: None,
        foundling: false,
        children: vec![child; children],
    }
}

fn attempt(outcome: Outcome) -> Attempt {
    Attempt {
        exchange: "01a2063c-0000-7000-8000-000000000000".to_owned(),
        outcome,
    }
}

async fn due(store: &Store, now: i64) -> Vec<Step> {
    let mut found = Vec::new();
    for agency in Agency::ALL {
        let due = store.due(agency, now, 100).await.unwrap();
        found.extend(due.into_iter().map(|(_, step)| step));
    }
    found
}

#[tokio::test]
async fn a_dossier_goes_its_way_step_by_step_also_after_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("desk.db");
    let store = Store::open(&file).await.unwrap();
    let ids = store.declare(&declaration("case", 1), 1_000).await.unwrap();
    assert_eq!(ids, ["case.1"]);
    let id = "case.1";
    // No father: nobody looks for one.
    let order = [
        vec![Step::Mother],
        vec![Step::Birth],
        vec![Step::Number],
        vec![Step::WriteBack],
        vec![Step::Certificate],
        vec![Step::Residence, Step::Card],
    ];
    for (round, expected) in order.into_iter().enumerate() {
        // Opened anew each time: nothing is only in memory.
        let store = Store::open(&file).await.unwrap();
        let now = 2_000 + round as i64;
        assert_eq!(due(&store, now).await, expected);
        for step in expected {
            let waits = attempt(Outcome::Waits("away".to_owned()));
            store
                .note((id, step, 0), &waits, now, now + 500)
                .await
                .unwrap();
            assert!(!due(&store, now + 499).await.contains(&step));
            let done = attempt(Outcome::Done(json!({ "entry": "7" })));
            store.note((id, step, 0), &done, now, now).await.unwrap();
        }
    }
    let dossier = store.dossier(id).await.unwrap().unwrap();
    assert!(dossier.is_complete());
    assert_eq!(dossier.brought(Step::Birth, "entry"), Some(json!("7")));
    assert!(dossier.steps.iter().all(|step| step.attempts == 2));
    assert_eq!(
        store.count().await.unwrap(),
        Count {
            dossiers: 1,
            complete: 1,
            refused: 0
        }
    );
    assert!(store.open_dossiers(None, false).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_refused_stops_what_comes_after_it_until_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("desk.db")).await.unwrap();
    store.declare(&declaration("case", 2), 0).await.unwrap();
    let refused = attempt(Outcome::Refused("NotFound: nobody".to_owned()));
    store
        .note(("case.2", Step::Mother, 0), &refused, 1, 1)
        .await
        .unwrap();
    assert_eq!(due(&store, 10).await, [Step::Mother], "the twin's");
    let held = store.open_dossiers(None, true).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].id, "case.2");
    let waiting = store
        .open_dossiers(Some(Agency::Population), false)
        .await
        .unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].id, "case.1");
    assert_eq!(store.retry("case.2", 20).await.unwrap(), 1);
    assert_eq!(due(&store, 20).await, [Step::Mother, Step::Mother]);
    assert_eq!(store.of_case("case").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_case_number_is_of_one_declaration() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("desk.db")).await.unwrap();
    let first = declaration("case", 1);
    let ids = store.declare(&first, 0).await.unwrap();
    assert_eq!(store.declare(&first, 5).await.unwrap(), ids);
    let other = store.declare(&declaration("case", 2), 5).await.unwrap_err();
    assert!(other.to_string().contains("another declaration"), "{other}");
    let mut wrong = declaration("elsewhere", 1);
    wrong.children[0].born_on = "2026-11-28".to_owned();
    assert!(store.declare(&wrong, 0).await.is_err());
}

#[tokio::test]
async fn a_correction_asks_anew_what_is_not_done_and_leaves_a_registered_birth_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("desk.db")).await.unwrap();
    let mut declared = declaration("case", 1);
    store.declare(&declared, 0).await.unwrap();
    // Before the birth is asked for, everything: also who the mother is, and a look-up of the other one is not hers.
    let found = |name: &str| attempt(Outcome::Done(json!({ "fullName": name })));
    declared.mother.as_mut().unwrap().number = Some("001190000002".to_owned());
    assert_eq!(store.correct(&declared, 1).await.unwrap(), 1);
    let late = found("another woman");
    store
        .note(("case.1", Step::Mother, 0), &late, 2, 2)
        .await
        .unwrap();
    assert_eq!(due(&store, 2).await, [Step::Mother]);
    let hers = found("Lê Thị Hoa");
    store
        .note(("case.1", Step::Mother, 1), &hers, 3, 3)
        .await
        .unwrap();
    let brought = store.dossier("case.1").await.unwrap().unwrap();
    assert_eq!(
        brought.brought(Step::Mother, "fullName"),
        Some(json!("Lê Thị Hoa"))
    );

    // The birth may be on its way, tried or not: nothing that it says.
    let mut other = declared.clone();
    other.children[0].given_name = "Lan".to_owned();
    declared.children[0].native_place = "Ấp 3".to_owned();
    let refused = |error: Error| error.to_string();
    assert!(refused(store.correct(&other, 4).await.unwrap_err()).contains("amendment"));
    assert!(refused(store.correct(&declared, 4).await.unwrap_err()).contains("wait until"));
    let done = attempt(Outcome::Done(json!({})));
    store
        .note(("case.1", Step::Birth, 1), &done, 5, 5)
        .await
        .unwrap();
    // So the number; once it is refused, it can be asked for otherwise.
    assert!(refused(store.correct(&declared, 6).await.unwrap_err()).contains("wait until"));
    let invalid = attempt(Outcome::Refused("INVALID".to_owned()));
    store
        .note(("case.1", Step::Number, 1), &invalid, 6, 6)
        .await
        .unwrap();
    assert!(store.correct(&other, 7).await.is_err());
    assert_eq!(store.correct(&declared, 7).await.unwrap(), 1);
    assert_eq!(due(&store, 7).await, [Step::Number]);
    let dossier = store.dossier("case.1").await.unwrap().unwrap();
    assert_eq!(dossier.child.native_place, "Ấp 3");
}

#[tokio::test]
async fn what_is_done_stays_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("desk.db")).await.unwrap();
    store.declare(&declaration("case", 1), 0).await.unwrap();
    let done = attempt(Outcome::Done(json!({ "fullName": "Lê Thị Hoa" })));
    store
        .note(("case.1", Step::Mother, 0), &done, 1, 1)
        .await
        .unwrap();
    // A slow second look-up, of a desk that was taken for dead.
    let late = attempt(Outcome::Waits("away".to_owned()));
    store
        .note(("case.1", Step::Mother, 0), &late, 2, 2)
        .await
        .unwrap();
    let dossier = store.dossier("case.1").await.unwrap().unwrap();
    assert_eq!(dossier.steps[0].state, State::Done);
    assert_eq!(
        dossier.brought(Step::Mother, "fullName"),
        Some(json!("Lê Thị Hoa"))
    );
}
