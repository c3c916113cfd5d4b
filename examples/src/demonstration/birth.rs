//! A child is born: one declaration at the desk, and every agency does its part, one of them late.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;
use tokio::process::Command;

use super::{Account, Stage};
use crate::{
    Error,
    newborn::{
        agencies::{PURPOSE, declaration},
        declaration::Child,
        step::Agency,
    },
    process::{finish, program},
    registers::people::Person,
    waiting::wait_for,
};

/// The case.
const CASE_NUMBER: &str = "H37.02-2026-000123";

/// Tells the whole of it; gives the dossier.
pub(super) async fn tell(stage: &mut Stage, account: &mut Account) -> Result<String, Error> {
    account.chapter("A girl is born. Her parents declare it once, at the commune's desk");
    let couple = stage.agencies.couples().next();
    let couple = couple.map(|(mother, father)| (mother.clone(), father.clone()));
    let (mother, father) = couple.ok_or("the register has no couple")?;
    let child = Child {
        family_name: father.family_name.to_owned(),
        middle_name: "Thị".to_owned(),
        given_name: "Ánh".to_owned(),
        sex: "female".to_owned(),
        born_on: "2026-11-20".to_owned(),
        place_of_birth: "Bệnh viện Phụ sản".to_owned(),
        native_place: "Ea M'Droh".to_owned(),
        ethnicity: father.ethnicity.to_owned(),
    };
    account.tell(&format!(
        "{} is born to {} ({}) and {} ({}); nobody of them is real",
        child.full_name(),
        mother.full_name(),
        mother.number,
        father.full_name(),
        father.number
    ));
    stored(stage, account, &mother).await?;
    stage.agencies.kill_adapter(Agency::Insurance).await?;
    account.tell("the health insurance is away today: its adapter is killed");
    let desk = stage.agencies.start_desk()?;
    let declared = declaration(CASE_NUMBER, &mother, Some(&father), child);
    let dossiers = stage.agencies.declare(&declared).await?;
    let dossier = dossiers.first().ok_or("the desk gave no dossier")?.clone();

    let shown = until(stage, &dossier, "residence", "done").await?;
    tell_steps(
        account,
        &shown,
        &[
            "mother",
            "father",
            "birth",
            "number",
            "write_back",
            "certificate",
            "residence",
        ],
    );
    written(stage, account, &shown).await?;
    let card = wait_for("the card to be tried in vain", || async {
        let steps = stage.agencies.steps(&dossier).await.ok()?;
        let tried = steps.get("card")?["attempts"].as_i64()? >= 2;
        tried.then(|| steps.get("card").cloned()).flatten()
    });
    let card = card.await?;
    account.expect(
        card["state"] == "waiting",
        &format!(
            "the card waits, tried {} times: {}",
            card["attempts"],
            card["said"]
                .as_str()
                .unwrap_or_default()
                .split(" (fault")
                .next()
                .unwrap_or_default()
        ),
    );
    let listed = stage
        .agencies
        .desk("list", &["--waits-on", "insurance"])
        .await?;
    account.expect(
        listed.contains(&dossier),
        "the desk lists the dossier among those that wait on the insurance",
    );

    stage.agencies.start_adapter(Agency::Insurance).await?;
    account.tell("the health insurance is back");
    let shown = until(stage, &dossier, "card", "done").await?;
    tell_steps(account, &shown, &["card"]);
    desk.stop().await?;
    who_looked_her_up(stage, account, &mother).await?;
    Ok(dossier)
}

/// What stands in the ministry's database, which is as old as the ministry.
async fn stored(stage: &Stage, account: &mut Account, mother: &Person) -> Result<(), Error> {
    let mut connection = stage.agencies.population.postgresql().await?;
    let stored: (String,) = sqlx::query_as(
        "SELECT encode(CAST(ho_ten AS bytea), 'hex') FROM cong_dan WHERE so_dinh_danh = $1",
    )
    .bind(&mother.number)
    .fetch_one(&mut connection)
    .await?;
    account.tell(&format!(
        "the ministry's database has the mother's name as {}: TCVN3, a code page of the nineties",
        spaced(&stored.0)
    ));
    Ok(())
}

/// What was written into the register of civil status, in the code page that it has.
async fn written(
    stage: &Stage,
    account: &mut Account,
    steps: &BTreeMap<String, Value>,
) -> Result<(), Error> {
    let certificate = steps
        .get("certificate")
        .map(|step| step["brought"].clone())
        .unwrap_or_default();
    let number = certificate["number"].as_str().unwrap_or_default();
    let mut connection = stage.agencies.civil_status.mariadb().await?;
    let stored: (String,) = sqlx::query_as(
        "SELECT LOWER(HEX(CONCAT_WS(' ', ho, dem, ten))) FROM khai_sinh WHERE so_dinh_danh = ?",
    )
    .bind(number)
    .fetch_one(&mut connection)
    .await?;
    account.expect(
        certificate["fullName"].as_str().is_some_and(|name| name.ends_with("Thị Ánh")),
        &format!(
            "certificate {} is of {}, number {number}; the ministry of justice has the name as {}: VNI",
            certificate["certificate"].as_str().unwrap_or_default(),
            certificate["fullName"].as_str().unwrap_or_default(),
            spaced(&stored.0)
        ),
    );
    Ok(())
}

async fn until(
    stage: &Stage,
    dossier: &str,
    step: &str,
    state: &str,
) -> Result<BTreeMap<String, Value>, Error> {
    let what = format!("{step} to be {state}");
    wait_for(&what, || async {
        let steps = stage.agencies.steps(dossier).await.ok()?;
        (steps.get(step)?["state"] == state).then_some(steps)
    })
    .await
}

fn tell_steps(account: &mut Account, steps: &BTreeMap<String, Value>, names: &[&str]) {
    for name in names {
        let step = steps.get(*name).cloned().unwrap_or_default();
        let brought = &step["brought"];
        let what = match *name {
            "mother" | "father" => format!(
                "the population register knows the {name}: {}",
                said(&brought["fullName"])
            ),
            "birth" => format!(
                "civil status registers the birth as number {}",
                said(&brought["entry"])
            ),
            "number" => format!(
                "the population register allocates {}",
                said(&brought["number"])
            ),
            "write_back" => "civil status writes the number into the birth".to_owned(),
            "certificate" => "civil status issues the certificate".to_owned(),
            "residence" => "the population register has where she lives".to_owned(),
            _ => format!(
                "the insurance issues the card {}, once",
                said(&brought["card"])
            ),
        };
        account.expect(step["state"] == "done", &what);
    }
}

fn said(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// An official's question, answered from the ministry's log alone.
async fn who_looked_her_up(
    stage: &Stage,
    account: &mut Account,
    mother: &Person,
) -> Result<(), Error> {
    let server = stage
        .agencies
        .federation
        .server(Agency::Population.server())?;
    let mut list = Command::new(program("auditor")?);
    list.arg("list").arg(&server.endpoint().log).arg("--json");
    list.arg("--subject-key")
        .arg(server.path("state/subject-key"));
    list.args(["--subject", &mother.number, "--outcome", "OK"]);
    let found: Value = serde_json::from_slice(&finish(list).await?.stdout)?;
    let exchanges = found["exchanges"].as_array().cloned().unwrap_or_default();
    account.chapter("Who looked up this mother today, and why? The ministry's log says, and holds no number of hers");
    for exchange in &exchanges {
        account.tell(&format!(
            "{} by {} of {}: {}, case {}",
            said(&exchange["method"]),
            said(&exchange["user"]),
            said(&exchange["client"]),
            said(&exchange["purpose"]),
            said(&exchange["case_number"])
        ));
    }
    account.expect(
        exchanges.len() == 2 && exchanges.iter().all(|exchange| exchange["purpose"] == PURPOSE),
        "her look-up and the allocation of her child's number; who was refused is listed by --outcome refused",
    );
    Ok(())
}

/// Bytes with blanks between them.
fn spaced(hexadecimal: &str) -> String {
    let mut text = String::new();
    for (position, digit) in hexadecimal.chars().enumerate() {
        if position > 0 && position % 2 == 0 {
            text.push(' ');
        }
        // A String takes every write.
        let _ = text.write_char(digit);
    }
    text
}
