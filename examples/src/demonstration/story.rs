//! The work: administrative units for everybody, the population register for who has the right.

use std::time::Instant;

use serde_json::json;
use tonic::{Code, Status};

use super::{Account, CASE_NUMBER, COMMUNE_DESK, MINISTRY, Stage, TAX_ASSESSMENT};
use crate::{
    Error,
    caller::{Caller, Method, text},
    registers::{population, units},
};

/// Tells the whole of it.
pub(super) async fn tell(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    administrative_units(stage, account).await?;
    population_register(stage, account).await
}

/// The desk of the commune, with its certificate, through the TLS listener.
async fn commune_desk(stage: &Stage, service: &str) -> Result<Caller, Error> {
    let server = stage.federation.server("commune")?;
    let address = server
        .endpoint()
        .client_tls
        .as_deref()
        .ok_or("the commune has no TLS")?;
    let client = stage.federation.directory.join("clients/commune-desk");
    let authority = stage.federation.authority.certificate();
    let (certificate, key) = (client.join("client.pem"), client.join("client.key"));
    Caller::tls(address, &authority, &certificate, &key)
        .await?
        .with("x-road-client", COMMUNE_DESK)?
        .with("x-road-service", service)
}

fn method(stage: &Stage, service: &str, name: &str) -> Result<Method, Error> {
    let found = stage
        .endpoints
        .services
        .iter()
        .find(|one| one.grpc_service == service);
    Method::load(&found.ok_or("a service is missing")?.proto, service, name)
}

async fn administrative_units(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    account.chapter("The commune asks the ministry's register of administrative units");
    let desk = commune_desk(stage, &format!("{MINISTRY}/units")).await?;
    let find = method(stage, units::SERVICE, "FindUnit")?;
    let found = desk.unary(&find, json!({ "code": "00070" })).await;
    let name = found
        .as_ref()
        .map(|reply| text(reply.get_ref(), "name"))
        .unwrap_or_default();
    account.expect(
        name == "Phường Hoàn Kiếm",
        &format!("unit 00070 is {name:?}"),
    );
    if let Ok(reply) = &found {
        let exchange = reply.metadata().get("x-road-exchange-id");
        let exchange = exchange.and_then(|id| id.to_str().ok()).unwrap_or_default();
        account.expect(
            !exchange.is_empty(),
            &format!("an auditor finds it as {exchange}"),
        );
    }
    let list = method(stage, units::SERVICE, "ListUnits")?;
    let begun = Instant::now();
    let mut rows = desk
        .server_streaming(&list, json!({ "from_level": "T" }))
        .await?
        .into_inner();
    let mut same = 0;
    let mut count = 0;
    let mut expected: Vec<_> = units::all().collect();
    expected.sort_by_key(|unit| (unit.level == "commune", unit.code));
    while let Some(row) = rows.message().await? {
        let unit = expected.get(count);
        let equal = unit
            .is_some_and(|unit| unit.code == text(&row, "code") && unit.name == text(&row, "name"));
        same += usize::from(equal);
        count += 1;
    }
    account.expect(
        count == 34 + 3321 && same == count,
        &format!(
            "the whole register streamed: {count} units, each signed and recorded by both sides, \
             {same} equal to the official list ({:.1} s)",
            begun.elapsed().as_secs_f32()
        ),
    );
    Ok(())
}

async fn population_register(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    let mothers = stage.people.iter().filter_map(|person| person.mother);
    let mother = mothers.filter_map(|mother| stage.people.get(mother)).next();
    let person = mother.ok_or("the register has no mother")?;
    let find = method(stage, population::SERVICE, "FindPerson")?;
    let request = json!({ "number": person.number });
    let service = format!("{MINISTRY}/population");

    account.chapter("The commune looks up a mother in the population register");
    let desk = commune_desk(stage, &service)
        .await?
        .with("x-road-purpose", "birth registration")?
        .with("x-road-issue", CASE_NUMBER)?;
    let found = desk.unary(&find, request.clone()).await;
    let name = found
        .as_ref()
        .map(|reply| text(reply.get_ref(), "full_name"))
        .unwrap_or_default();
    account.expect(
        name == person.full_name(),
        &format!(
            "{} is {name} (nobody real), in a database that has it in TCVN3",
            person.number
        ),
    );
    let nobody = desk.unary(&find, json!({ "number": "001087999999" })).await;
    account.expect(
        nobody
            .as_ref()
            .is_err_and(|status| status.code() == Code::NotFound),
        "a number that nobody has is answered with NOT_FOUND by the register itself",
    );
    let other = commune_desk(stage, &service)
        .await?
        .with("x-road-purpose", "curiosity")?;
    let refused = other.unary(&find, request.clone()).await.err();
    expect_refusal(
        account,
        refused,
        "provider.purpose_not_allowed",
        "with another purpose",
    );

    account.chapter("The tax office has no right and asks all the same");
    let address = stage.federation.server("tax")?.plaintext(TAX_ASSESSMENT)?;
    let tax = Caller::plaintext(address)
        .await?
        .with("x-road-service", &service)?;
    let refused = tax.unary(&find, request).await.err();
    if let Some(status) = &refused {
        account.tell(&format!("\"{}\"", status.message()));
    }
    expect_refusal(account, refused, "provider.access_denied", "the tax office");
    Ok(())
}

fn expect_refusal(account: &mut Account, refused: Option<Status>, code: &str, who: &str) {
    let field = |name: &str| {
        let value = refused
            .as_ref()
            .and_then(|status| status.metadata().get(name));
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or("nothing")
            .to_owned()
    };
    let (found, server) = (field("x-road-refusal"), field("x-road-server"));
    account.expect(
        found == code && server == format!("{MINISTRY}/ministry"),
        &format!(
            "{who} is refused: {found}, said by {server}, fault of the {}",
            field("x-road-fault")
        ),
    );
}
