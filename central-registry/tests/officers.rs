//! Who decides, on what, and what the rules refuse: through the administration socket itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use central_registry::officer::{OfficerKey, Plan};
use certs::LogKey;
use hyper_util::rt::TokioIo;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};
use proto::administration::{
    SubmitRequest, central_registry_administration_client::CentralRegistryAdministrationClient,
};
use support::{Place, member, verifier::Verifier};
use tokio::net::UnixStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;
use trust::{
    Digest,
    configuration::{OFFICER_SIGNATURE_CONTEXT, StateKey},
    wire::configuration::{
        Change, ChangeSet, Changes, Member, OfficerDecision, Service, Subsystem,
    },
};

struct Door {
    client: CentralRegistryAdministrationClient<Channel>,
    key: LogKey,
}

impl Door {
    async fn open(place: &Place) -> Self {
        let socket = place.socket();
        let connector = service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://registry")
            .connect_with_connector(connector)
            .await
            .unwrap();
        let client = CentralRegistryAdministrationClient::new(channel);
        Self {
            client,
            key: place.officer_key(),
        }
    }

    async fn submit(&mut self, set: &ChangeSet) -> Result<u64, Status> {
        let changes = signed(set, "first", &self.key);
        self.give(Some(changes), vec![]).await
    }

    async fn give(&mut self, changes: Option<Changes>, blobs: Vec<Bytes>) -> Result<u64, Status> {
        let request = SubmitRequest { changes, blobs };
        Ok(self.client.submit(request).await?.into_inner().index)
    }
}

fn signed(set: &ChangeSet, officer: &str, key: &LogKey) -> Changes {
    let change_set = Bytes::from(set.encode_to_vec());
    let signature = key.sign(&[OFFICER_SIGNATURE_CONTEXT, &change_set].concat());
    let signature = Bytes::copy_from_slice(&signature);
    let decision = Some(OfficerDecision {
        officer: officer.into(),
        signature,
    });
    Changes {
        change_set,
        decision,
        ..Changes::default()
    }
}

fn set(based_on: u64, changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        instance: "VN".into(),
        changes,
        reason: "a test".into(),
        based_on,
    }
}

fn put(key: &str, value: &impl Message) -> Change {
    Change {
        key: key.into(),
        value: Some(value.encode_to_vec().into()),
    }
}

fn adding(code: &str) -> Vec<Change> {
    vec![put(
        &format!("member/GOV/{code}"),
        &Member { name: code.into() },
    )]
}

#[track_caller]
fn refused(outcome: Result<u64, Status>, named: &str) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(
        status.message().contains(named),
        "\"{named}\" is missing: {status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_officer_with_a_valid_signature_decides() {
    let place = Place::new().await;
    let registry = place.serve().await;
    let mut door = Door::open(&place).await;
    let stranger = LogKey::generate().unwrap();
    let wanted = set(2, adding("G01"));

    refused(
        door.give(Some(signed(&wanted, "second", &stranger)), vec![])
            .await,
        "not known",
    );
    refused(
        door.give(Some(signed(&wanted, "first", &stranger)), vec![])
            .await,
        "signature",
    );
    let mut changed = signed(&wanted, "first", &door.key);
    changed.change_set = set(2, adding("G02")).encode_to_vec().into();
    refused(door.give(Some(changed), vec![]).await, "signature");
    let mut undecided = signed(&wanted, "first", &door.key);
    undecided.decision = None;
    refused(
        door.give(Some(undecided), vec![]).await,
        "no officer decided",
    );
    let mut requested = signed(&wanted, "first", &door.key);
    requested.request_signature = Bytes::from_static(b"a member's");
    refused(
        door.give(Some(requested), vec![]).await,
        "cannot be verified",
    );
    let missing = door.give(None, vec![]).await.unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
    let foreign = ChangeSet {
        instance: "LA".into(),
        ..wanted.clone()
    };
    refused(door.submit(&foreign).await, "another instance");
    refused(door.submit(&set(2, vec![])).await, "no change");

    assert_eq!(
        door.submit(&wanted).await.unwrap(),
        2,
        "nothing refused was recorded"
    );
    registry.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_for_an_older_state_are_refused() {
    let place = Place::new().await;
    let _registry = place.serve().await;
    let mut door = Door::open(&place).await;
    // Two officers look at the same time; the second to decide has to look again.
    assert_eq!(door.submit(&set(2, adding("G01"))).await.unwrap(), 2);
    refused(
        door.submit(&set(2, adding("G02"))).await,
        "someone else changed",
    );
    refused(
        door.submit(&set(2, adding("G01"))).await,
        "someone else changed",
    );
    refused(
        door.submit(&set(1000, adding("G02"))).await,
        "made for a log of 1000",
    );
    // Publications in between change nothing that an officer saw.
    let mut verifier = Verifier::new(&place.anchor());
    verifier
        .refresh_until(&_registry, |state| state.value(&member("G01")).is_some())
        .await;
    assert_eq!(door.submit(&set(3, adding("G02"))).await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_must_be_there_and_what_is_needed_stays() {
    let place = Place::new().await;
    let _registry = place.serve().await;
    let mut door = Door::open(&place).await;
    let subsystem = || put("subsystem/GOV/G01/population", &Subsystem::default());
    let removal = |key: &str| Change {
        key: key.into(),
        value: None,
    };

    refused(
        door.submit(&set(2, vec![subsystem()])).await,
        "member/GOV/G01 must be registered",
    );
    let both = [adding("G01"), vec![subsystem()]].concat();
    door.submit(&set(2, both)).await.unwrap();
    refused(
        door.submit(&set(3, vec![removal("member/GOV/G01")])).await,
        "subsystem/GOV/G01/population depends on member/GOV/G01",
    );
    refused(
        door.submit(&set(3, vec![removal("member/GOV/G09")])).await,
        "nothing to remove",
    );
    refused(
        door.submit(&set(3, vec![removal("officer/first")])).await,
        "last officer",
    );
    refused(
        door.submit(&set(3, vec![put("colour/red", &Member::default())]))
            .await,
        "key",
    );
    let unparsed = Change {
        key: "member/GOV/G02".into(),
        value: Some("\u{1}x".into()),
    };
    refused(door.submit(&set(3, vec![unparsed])).await, "does not parse");
    // All or nothing.
    let half = [adding("G03"), vec![removal("member/GOV/G01")]].concat();
    refused(door.submit(&set(3, half)).await, "depends on");
    let state = place.session().await;
    assert!(state.state().value(&member("G03")).is_none());
    let order = vec![
        removal("subsystem/GOV/G01/population"),
        removal("member/GOV/G01"),
    ];
    door.submit(&set(3, order)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_are_given_with_the_service_and_published_as_blobs() {
    let place = Place::new().await;
    let registry = place.serve().await;
    let mut door = Door::open(&place).await;
    let describing = |name: &str, padding: usize| {
        let service = ServiceDescriptorProto {
            name: Some(name.into()),
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("x".repeat(padding)),
            package: Some("vn.population.v1".into()),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        Bytes::from(FileDescriptorSet { file: vec![file] }.encode_to_vec())
    };
    let naming = |blob: &Bytes| {
        let value = Service {
            descriptor_digest: Digest::of(blob).to_bytes(),
        };
        put(
            "service/GOV/G01/population/vn.population.v1.Population",
            &value,
        )
    };
    let base = [
        adding("G01"),
        vec![put("subsystem/GOV/G01/population", &Subsystem::default())],
    ];
    door.submit(&set(2, base.concat())).await.unwrap();

    let good = describing("Population", 3_000_000);
    let wrong = describing("Other", 1);
    let large = describing("Population", 4 * 1024 * 1024);
    let mut give = async |change: Change, blobs: Vec<Bytes>| {
        let changes = signed(&set(3, vec![change]), "first", &door.key);
        door.give(Some(changes), blobs).await
    };
    refused(
        give(naming(&good), vec![]).await,
        "was given or is recorded",
    );
    refused(
        give(naming(&wrong), vec![wrong.clone()]).await,
        "does not describe it",
    );
    refused(
        give(naming(&large), vec![large.clone()]).await,
        "at most 4 MiB",
    );
    refused(
        give(naming(&good), vec![good.clone(), wrong.clone()]).await,
        "no change names",
    );
    let nonsense = Bytes::from_static(b"\xff\xff\xff");
    refused(
        give(naming(&nonsense), vec![nonsense.clone()]).await,
        "FileDescriptorSet",
    );
    give(naming(&good), vec![good.clone()]).await.unwrap();

    let mut verifier = Verifier::new(&place.anchor());
    let published = verifier
        .refresh_until(&registry, |state| {
            state.pairs().any(|(key, _)| key.starts_with("service/"))
        })
        .await;
    let path = format!("/blob/{}", Digest::of(&good));
    assert_eq!(registry.get(&path).await.unwrap(), good);
    assert_eq!(published.len(), 4);
    registry.kill().await;

    // The log alone has it all.
    std::fs::remove_dir_all(place.directory().join("public")).unwrap();
    let registry = place.serve().await;
    assert_eq!(registry.get(&path).await.unwrap(), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_has_a_limit_and_a_large_plan_is_several() {
    let place = Place::new().await;
    let registry = place.serve().await;
    let mut door = Door::open(&place).await;
    let many: Vec<Change> = (0..3000)
        .flat_map(|number| adding(&format!("G{number}")))
        .collect();
    refused(
        door.submit(&set(2, many)).await,
        "an entry measures at most 61440 bytes",
    );

    let session = place.session().await;
    let name = "x".repeat(57_000);
    let large = |code: &str| {
        let value = Member { name: name.clone() }.encode_to_vec();
        (member(code), Some(Bytes::from(value)))
    };
    let officer = || OfficerKey::of(place.officer_key(), session.state()).unwrap();
    let plan = Plan::of_changes(session.state(), [large("A"), large("B")], BTreeMap::new());
    assert_eq!(
        place
            .session()
            .await
            .submit(&plan, &officer(), "")
            .await
            .unwrap()
            .len(),
        2
    );
    let value = Member {
        name: "x".repeat(58_000),
    }
    .encode_to_vec();
    let plan = Plan::of_changes(
        session.state(),
        [(member("C"), Some(value.into()))],
        BTreeMap::new(),
    );
    let refused = place
        .session()
        .await
        .submit(&plan, &officer(), "")
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("member/GOV/C: the value is too large"),
        "{refused}"
    );
    registry.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_officer_decides_and_a_removed_one_does_not() {
    let place = Place::new().await;
    let _registry = place.serve().await;
    let key = LogKey::generate().unwrap();
    key.write(&place.beside("second.pem")).unwrap();
    let second = place.beside("second.pem");
    let second = second.to_str().unwrap();
    place
        .decide(&["officer", "add", "second", "--key", second])
        .await
        .succeeds();
    let arguments = ["officer", "remove", "first", "--officer", second];
    place.run(&arguments).await.succeeds();
    place
        .decide(&["member", "add", "VN/GOV/G01", "--name", "x"])
        .await
        .fails(1, "the key of no officer");
    place
        .run(&[
            "member",
            "add",
            "VN/GOV/G01",
            "--name",
            "x",
            "--officer",
            second,
        ])
        .await
        .succeeds();
    let key = StateKey::Officer("first".into());
    assert!(place.session().await.state().value(&key).is_none());
}
