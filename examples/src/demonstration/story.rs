//! What everybody may ask, and what not: administrative units, and the population register without a right.

use std::time::Instant;

use serde_json::json;
use tonic::Status;

use super::{Account, POPULATION, Stage, TAX_ASSESSMENT, UNITS};
use crate::{
    Error,
    caller::{Caller, Method, text},
    newborn::agencies::DESK,
    registers::{population, units},
};

/// Tells the whole of it.
pub(super) async fn tell(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    administrative_units(stage, account).await?;
    who_has_no_right(stage, account).await
}

/// The desk of the commune, with its certificate, through the TLS listener.
async fn commune_desk(stage: &Stage, service: &str) -> Result<Caller, Error> {
    let server = stage.agencies.federation.server("commune")?;
    let address = server
        .endpoint()
        .client_tls
        .as_deref()
        .ok_or("the commune has no TLS")?;
    let client = stage
        .agencies
        .federation
        .directory
        .join("clients/commune-desk");
    let authority = stage.agencies.federation.authority.certificate();
    let (certificate, key) = (client.join("client.pem"), client.join("client.key"));
    Caller::tls(address, &authority, &certificate, &key)
        .await?
        .with("x-road-client", DESK)?
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
    let desk = commune_desk(stage, UNITS).await?;
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

/// The tax office, and a look-up for another purpose.
async fn who_has_no_right(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    account.chapter(
        "The tax office has no right and asks all the same; and somebody at the commune is curious",
    );
    let mother = stage.agencies.couples().next();
    let (mother, _) = mother.ok_or("the register has no couple")?;
    let find = method(stage, population::SERVICE, "FindPerson")?;
    let request = json!({ "number": mother.number });
    let address = stage
        .agencies
        .federation
        .server("tax")?
        .plaintext(TAX_ASSESSMENT)?;
    let tax = Caller::plaintext(address)
        .await?
        .with("x-road-service", POPULATION)?;
    let refused = tax.unary(&find, request.clone()).await.err();
    if let Some(status) = &refused {
        account.tell(&format!("\"{}\"", status.message()));
    }
    expect_refusal(account, refused, "provider.access_denied", "the tax office");
    let curious = commune_desk(stage, POPULATION)
        .await?
        .with("x-road-purpose", "curiosity")?;
    let refused = curious.unary(&find, request).await.err();
    expect_refusal(
        account,
        refused,
        "provider.purpose_not_allowed",
        "the curious one",
    );
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
        found == code && server == "VN/GOV/G01/ministry",
        &format!(
            "{who} is refused: {found}, said by {server}, fault of the {}",
            field("x-road-fault")
        ),
    );
}
