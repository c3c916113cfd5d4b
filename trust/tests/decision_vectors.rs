//! The pure decisions (names, rights, freshness, speakers, refusals) are what the vectors say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::{fields, registry, vectors};
use trust::{
    Digest, ExchangeId, InstanceId, InvalidIdentifier, MemberId, MethodPath, Reason, Refusal,
    ServerId, SubsystemId,
    access::{AccessRight, Question, decide},
    configuration::StateKey,
    header::Header,
    message::SigningCertificate,
    refusal::Side,
    replay::{SeenExchanges, check_exchange_time, check_freshness, reference_time},
    signature::PublicKey,
    wire::evidence,
};

fn refused(refusal: &Refusal) -> Value {
    json!({ "refused": refusal.reason.name(), "explanation": refusal.explanation })
}

fn text<'a>(input: &'a Value, field: &str) -> &'a str {
    input[field].as_str().unwrap()
}

fn number(input: &Value, field: &str) -> i64 {
    input[field].as_i64().unwrap()
}

#[test]
fn identifiers_are_read_as_in_the_vectors() {
    fn named(kind: &str, text: &str) -> Result<Value, InvalidIdentifier> {
        Ok(match kind {
            "instance" => {
                let instance: InstanceId = text.parse()?;
                json!({ "instance": instance.as_str() })
            }
            "member" => {
                let member: MemberId = text.parse()?;
                json!({ "instance": member.instance(), "in_keys": member.local() })
            }
            "subsystem" => {
                let subsystem: SubsystemId = text.parse()?;
                json!({
                    "instance": subsystem.instance(),
                    "member": subsystem.member().as_str(),
                    "in_keys": subsystem.local(),
                })
            }
            "server" => {
                let server: ServerId = text.parse()?;
                json!({
                    "instance": server.instance(),
                    "owner": server.owner().as_str(),
                    "code": server.code(),
                    "in_keys": server.local(),
                })
            }
            "method" => {
                let path = MethodPath::parse(text)?;
                assert_eq!(path.to_string(), text);
                json!({ "service": path.service(), "method": path.method() })
            }
            "exchange" => {
                let id: ExchangeId = text.parse()?;
                json!({ "bytes": hex::encode(id.as_bytes()), "text": id.to_string() })
            }
            other => panic!("no kind of identifier: {other}"),
        })
    }
    vectors::check("identifier", |_, input| {
        named(text(input, "kind"), text(input, "text"))
            .unwrap_or_else(|error| json!({ "refused": error.to_string() }))
    });
}

#[test]
fn state_keys_are_read_as_in_the_vectors() {
    let instance: InstanceId = "VN".parse().unwrap();
    vectors::check("state-key", |_, input| {
        match StateKey::parse(&instance, text(input, "key")) {
            Ok(key) => {
                assert_eq!(key.to_string(), text(input, "key"));
                json!({ "accepted": true })
            }
            Err(_) => json!({ "accepted": false }),
        }
    });
}

#[test]
fn access_is_decided_as_in_the_vectors() {
    vectors::check("access-right", |_, input| {
        let rights = input["rights"].as_array().unwrap().iter();
        let rights = rights.map(|right| {
            let wire: evidence::AccessRight = fields::decode("evidence.v1.AccessRight", right);
            AccessRight::try_from(&wire)
        });
        let rights: Vec<AccessRight> = match rights.collect() {
            Ok(rights) => rights,
            Err(error) => return json!({ "no_right": error.to_string() }),
        };
        let question = &input["question"];
        let client = text(question, "client").parse().unwrap();
        let service = text(question, "service").parse().unwrap();
        let method = MethodPath::parse(text(question, "path")).unwrap();
        let decision = decide(
            rights.iter().enumerate(),
            &Question {
                client: &client,
                service: &service,
                method: &method,
                purpose: text(question, "purpose"),
                at: number(question, "at"),
            },
        );
        match decision {
            Ok(right) => json!({ "allowed_by": right }),
            Err(refusal) => refused(&refusal),
        }
    });
}

#[test]
fn freshness_is_decided_as_in_the_vectors() {
    vectors::check("freshness", |_, input| {
        match reference_time(number(input, "clock"), number(input, "newest_record")) {
            Err(refusal) => refused(&refusal),
            Ok(reference) => {
                let exchange: ExchangeId = text(input, "exchange").parse().unwrap();
                let fresh = check_freshness(number(input, "created_at"), reference);
                match fresh.and_then(|()| check_exchange_time(&exchange, reference)) {
                    Ok(()) => json!({ "reference": reference, "fresh": true }),
                    Err(refusal) => refused(&refusal),
                }
            }
        }
    });
}

#[test]
fn replays_are_found_as_in_the_vectors() {
    vectors::check("replay", |_, input| {
        let mut seen = SeenExchanges::default();
        let arrivals = input["arrivals"].as_array().unwrap().iter();
        let decisions = arrivals.map(|arrival| {
            let client: SubsystemId = text(arrival, "client").parse().unwrap();
            let exchange: ExchangeId = text(arrival, "exchange").parse().unwrap();
            match seen.insert(&client, exchange, number(arrival, "at")) {
                Ok(()) => "new",
                Err(refusal) => refusal.reason.name(),
            }
        });
        json!(decisions.collect::<Vec<_>>())
    });
}

#[test]
fn who_may_speak_for_whom_is_decided_as_in_the_vectors() {
    let keys = vectors::read("keys");
    let point = fields::bytes(&keys["signers"]["VN/GOV/G01"]["public_key"]);
    let mut refusals = Vec::new();
    vectors::check("speaker", |shared, input| {
        let mut pairs = shared["state"].clone();
        for key in input["without"].as_array().into_iter().flatten() {
            let removed = pairs.as_object_mut().unwrap().remove(key.as_str().unwrap());
            assert!(removed.is_some(), "{key} is not in the state");
        }
        let configuration = registry::published(registry::state(&pairs));
        let header = changed(&shared["header"], &input["header"]);
        let header = fields::encode("evidence.v1.MessageHeader", &header);
        let header = Header::parse(&header).unwrap();
        let facts = changed(&shared["certificate"], &input["certificate"]);
        let certificate = SigningCertificate {
            digest: Digest::of(b"certificate"),
            member: text(&facts, "member").parse().unwrap(),
            authority: Digest::from_hex(text(&facts, "authority")).unwrap(),
            not_before: number(&facts, "not_before"),
            not_after: number(&facts, "not_after"),
            public_key: PublicKey::ecdsa_p256(&point).unwrap(),
        };
        let decision = configuration.check_speaker(
            &header,
            &certificate,
            &Digest::from_hex(text(input, "connection")).unwrap(),
            &text(input, "ours").parse().unwrap(),
            number(input, "at"),
        );
        match decision {
            Ok(()) => json!({ "allowed": true }),
            Err(refusal) => {
                refusals.push(refusal.reason);
                refused(&refusal)
            }
        }
    });
    for reason in [
        Reason::WrongInstance,
        Reason::UnknownServer,
        Reason::WrongServer,
        Reason::NotRegisteredAtServer,
        Reason::InvalidCertificate,
        Reason::ExpiredCertificate,
        Reason::WrongMember,
    ] {
        assert!(refusals.contains(&reason), "{reason:?} has no case");
    }
}

/// The fields of `base` with some replaced.
fn changed(base: &Value, changes: &Value) -> Value {
    let mut changed = base.clone();
    for (field, value) in changes.as_object().unwrap() {
        changed[field] = value.clone();
    }
    changed
}

#[test]
fn refusals_are_those_of_the_vectors() {
    let server: ServerId = "VN/GOV/G01/server-1".parse().unwrap();
    let mut named = Vec::new();
    vectors::check("refusal", |_, input| {
        let name = text(input, "reason").to_owned();
        let reason = *Reason::ALL
            .iter()
            .find(|reason| reason.name() == name)
            .unwrap_or_else(|| panic!("no reason {name}"));
        let said = |side| Refusal::new(reason, "x").said_by(side, server.clone());
        let output = json!({
            "status": reason.status(),
            "fault_said_by_consumer": said(Side::Consumer).fault().name(),
            "fault_said_by_provider": said(Side::Provider).fault().name(),
            "remedy": reason.remedy(),
        });
        named.push(name);
        output
    });
    let all: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(named, all, "every reason, in the order of the table");
}
