//! Colliding, wrong, missing and foreign identifiers: each call reaches whom it names, or nobody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cases;
mod stage;

use cases::{Case, right_call, wrong_callers, wrong_paths, wrong_service_names};
use examples::{
    bare_caller::Answer,
    caller::{Caller, Method, text},
    mirror::{self, Seen},
};
use serde_json::json;
use stage::{Certificate, Door, OFFICES, Stage};
use tonic::Code;
use tonic_types::StatusExt;
use trust::{ExchangeId, header::Direction};

const CONSUMER: &str = "VN/GOV/A/consumer";

/// Whom a security record names for a call that came through a door.
fn named_source(door: Door) -> String {
    match door {
        Door::Plaintext(subsystem) | Door::Tls(Certificate::Of(subsystem)) => {
            format!("VN/GOV/A/{subsystem}")
        }
        Door::Tls(Certificate::None | Certificate::Unregistered) => {
            "a client without a registered certificate".to_owned()
        }
    }
}

/// What every refusal has: who says it, who is at fault, what to do, in words and for machines.
fn check_refusal(answer: &Answer, case: &Case, server: &str) {
    let (refusal, names) = (case.refusal, case.names);
    let status = &answer.status;
    let message = format!("{}: {}", case.what, status.message());
    assert_eq!(status.code(), case.code, "{message}");
    assert_eq!(answer.field("x-road-refusal"), Some(refusal), "{message}");
    assert_eq!(answer.field("x-road-fault"), Some(case.fault), "{message}");
    assert_eq!(answer.field("x-road-server"), Some(server), "{message}");
    assert!(message.contains(names), "{message} does not name {names}");
    let reason = refusal.split_once('.').unwrap().1;
    let reason = trust::Reason::ALL
        .iter()
        .find(|known| known.name() == reason)
        .unwrap();
    assert!(message.contains(reason.remedy()), "{message}");
    let details = status.get_error_details();
    let info = details.error_info().expect("details say it to machines");
    assert_eq!(
        (info.domain.as_str(), info.reason.as_str()),
        ("lienthong", refusal)
    );
    assert_eq!(info.metadata["server"], server);
    assert!(answer.messages.is_empty());
}

fn exchange_of(answer: &Answer) -> ExchangeId {
    let exchange = answer.field("x-road-exchange-id");
    exchange.expect("an exchange id").parse().unwrap()
}

async fn refused_before_signing(stage: &Stage) {
    let before = stage.log("consumer").messages.len();
    let cases = wrong_service_names()
        .into_iter()
        .chain(wrong_paths())
        .chain(wrong_callers());
    let cases: Vec<Case> = cases.collect();
    let mut refused = Vec::new();
    for case in &cases {
        let caller = stage.caller(case.door).await;
        let answer = caller.call(case.path, &case.metadata, b"").await.unwrap();
        check_refusal(&answer, case, CONSUMER);
        let exchange = exchange_of(&answer);
        assert_eq!(answer.field("x-road-id"), Some(&*exchange.to_string()));
        assert_eq!(
            answer.field("x-road-request-hash"),
            None,
            "nothing was signed"
        );
        refused.push((case, exchange));
    }
    let log = stage.log("consumer");
    assert_eq!(log.messages.len(), before, "nothing was signed");
    for (case, exchange) in refused {
        let mut records = log.security.iter();
        let record = records
            .find(|record| record.exchange_id == exchange.as_bytes()[..])
            .unwrap_or_else(|| panic!("{}: no security record", case.what));
        assert_eq!(record.refusal_code, case.refusal, "{}", case.what);
        assert_eq!(record.peer, named_source(case.door), "{}", case.what);
        assert!(
            record.reason.contains(case.names),
            "{}: {}",
            case.what,
            record.reason
        );
        assert_eq!(record.count, 1);
    }
    for provider in ["provider-b", "provider-c"] {
        let log = stage.log(provider);
        assert!(
            log.messages.is_empty() && log.security.is_empty(),
            "{provider} heard of it"
        );
    }
}

/// The same call at either namesake is answered with that one's own data.
async fn namesakes_are_told_apart(stage: &Stage) {
    let server = stage.federation.server("consumer").unwrap();
    let address = server.plaintext("VN/GOV/A/desk").unwrap();
    let proto = &stage.offices[0].proto;
    let find = Method::load(proto, OFFICES, "FindOffice").unwrap();
    for (service, provider, name) in [
        ("VN/GOV/B/registry", "provider-b", "Office of B"),
        ("VN/GOV/C/registry", "provider-c", "Office of C"),
        (
            "VN/GOV/B/registry/same.offices.v1.Offices",
            "provider-b",
            "Office of B",
        ),
        (
            "VN/GOV/C/registry/same.offices.v1.Offices",
            "provider-c",
            "Office of C",
        ),
    ] {
        let caller = Caller::plaintext(address).await.unwrap();
        let caller = caller.with("x-road-service", service).unwrap();
        let answer = caller.unary(&find, json!({ "code": "01" })).await.unwrap();
        assert_eq!(text(answer.get_ref(), "name"), name, "{service}");
        let field = |name: &str| answer.metadata().get(name).unwrap().to_str().unwrap();
        let exchange: ExchangeId = field("x-road-exchange-id").parse().unwrap();
        assert_eq!(field("x-road-id"), exchange.to_string());
        for keeper in ["consumer", provider] {
            check_first_request(stage, keeper, exchange, field("x-road-request-hash"));
        }
    }
}

/// The hash that the answer named is the digest of the first request in a log.
fn check_first_request(stage: &Stage, keeper: &str, exchange: ExchangeId, hash: &str) {
    let log = stage.log(keeper);
    let mut first = log
        .messages_of(exchange)
        .filter(|entry| entry.header.direction == Direction::Request && entry.header.sequence == 0);
    let entry = first
        .next()
        .unwrap_or_else(|| panic!("{keeper} has no first request"));
    assert_eq!(entry.digest.to_string(), hash, "{keeper}");
    assert_eq!(entry.is_sent(), keeper == "consumer");
    assert!(first.next().is_none());
    assert!(log.closings_of(exchange).is_empty());
}

/// A provider that refuses after the signature: the answer names the signed request.
async fn refused_after_signing(stage: &Stage) {
    let case = Case {
        metadata: vec![
            ("x-road-service", "VN/GOV/B/registry"),
            ("x-road-client", "VN/GOV/A/counter"),
            ("x-road-id", "case 7"),
        ],
        code: Code::PermissionDenied,
        refusal: "provider.access_denied",
        names: "VN/GOV/A/counter",
        ..right_call("no right", Door::Plaintext("counter"))
    };
    let caller = stage.caller(case.door).await;
    let answer = caller.call(case.path, &case.metadata, b"").await.unwrap();
    check_refusal(&answer, &case, "VN/GOV/B/provider-b");
    let exchange = exchange_of(&answer);
    assert_eq!(answer.field("x-road-id"), Some("case 7"));
    let hash = answer.field("x-road-request-hash").unwrap();
    for keeper in ["consumer", "provider-b"] {
        check_first_request(stage, keeper, exchange, hash);
        let log = stage.log(keeper);
        let reply = log.messages_of(exchange).last().unwrap();
        let code = reply.header.refusal_code.as_deref();
        assert_eq!(code, Some("provider.access_denied"), "{keeper}");
        assert!(
            reply.content.is_empty(),
            "{keeper} kept the content of a refusal"
        );
    }
}

/// What a client says in fields of the bus is not what the provider hears.
async fn the_provider_hears_verified_fields_only(stage: &Stage) {
    let caller = stage.caller(Door::Tls(Certificate::Of("desk"))).await;
    let metadata = [
        ("x-road-service", "VN/GOV/B/registry"),
        ("x-road-id", "the client's own"),
        ("x-road-userid", "Nguy%E1%BB%85n"),
        ("x-road-issue", "HS-7"),
        ("x-road-exchange-id", "0198c0de-0000-7000-8000-000000000000"),
        ("x-road-request-hash", "forged"),
        ("x-road-server", "VN/GOV/forged/server"),
        ("x-road-refusal", "provider.access_denied"),
        ("x-road-access-right", "forged"),
        ("x-road-anything", "forged"),
        ("mirror-own", "passes"),
    ];
    let answer = caller.call(mirror::LOOK, &metadata, b"").await.unwrap();
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    let exchange = exchange_of(&answer).to_string();
    let seen: Seen = serde_json::from_slice(&answer.messages[0]).unwrap();
    let heard: Vec<(&str, Vec<&str>)> = seen
        .iter()
        .filter(|(name, _)| name.starts_with("x-road-"))
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    let expected = [
        ("x-road-access-right", "foreign.mirror.v1.Mirror"),
        ("x-road-client", "VN/GOV/A/desk"),
        ("x-road-exchange-id", &exchange),
        ("x-road-id", "the client's own"),
        ("x-road-issue", "HS-7"),
        ("x-road-service", "VN/GOV/B/registry"),
        ("x-road-userid", "Nguy%E1%BB%85n"),
    ];
    assert_eq!(heard, expected.map(|(name, value)| (name, vec![value])));
    assert_eq!(seen["mirror-own"], ["passes"]);
}

/// What an adapter says in fields of the bus does not reach the client, in whatever place.
async fn the_client_hears_servers_only(stage: &Stage) {
    let caller = stage.caller(Door::Plaintext("desk")).await;
    let metadata = [("x-road-service", "VN/GOV/B/registry")];
    let own = ["x-road-exchange-id", "x-road-id", "x-road-request-hash"];
    for (path, code) in [
        (mirror::LOOK, Code::Ok),
        (mirror::PRETEND, Code::PermissionDenied),
    ] {
        let answer = caller.call(path, &metadata, b"").await.unwrap();
        assert_eq!(answer.status.code(), code);
        assert_eq!(answer.bus_fields(), own, "{path}");
        assert_eq!(answer.field("mirror-own"), Some("passes"));
        let exchange = exchange_of(&answer);
        let hash = answer.field("x-road-request-hash").unwrap();
        for keeper in ["consumer", "provider-b"] {
            check_first_request(stage, keeper, exchange, hash);
        }
        for (name, forged) in mirror::FORGED {
            assert_ne!(answer.field(name), Some(forged), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_reaches_whom_it_names_or_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(directory.path()).await;
    refused_before_signing(&stage).await;
    assert_eq!(stage.mirror.calls(), 0);
    namesakes_are_told_apart(&stage).await;
    refused_after_signing(&stage).await;
    assert_eq!(stage.mirror.calls(), 0);
    the_provider_hears_verified_fields_only(&stage).await;
    the_client_hears_servers_only(&stage).await;
    assert_eq!(stage.mirror.calls(), 3);
    let Stage {
        federation,
        offices,
        ..
    } = stage;
    federation.stop().await.unwrap();
    for adapter in offices {
        adapter.stop().await.unwrap();
    }
}
