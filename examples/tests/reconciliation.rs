//! A provider that owns its keys writes its log anew: verified, it holds; the consumer's log names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use bytes::Bytes;
use certs::{LogKey, SigningIdentity};
use examples::{
    caller::{Caller, Method},
    echo::{self, CLIENT, Echo, PROVIDER, REPEAT, SAY},
    federation::Federation,
    folders::copy,
    process::program,
};
use prost::Message;
use serde_json::{Value, json};
use trust::{
    Content, Digest,
    checkpoint::Origin,
    header::Header,
    leaf::LeafPreimage,
    message::SignedMessage,
    wire::evidence::{Annex, RecordKind, Stage},
};
use verifiable_log::{InvalidRecord, KeptPart, Log, Options, RawRecord, Reader, Record};

/// Two servers after some calls, and the log of the provider before the last two of them.
struct Stopped {
    directory: tempfile::TempDir,
    federation: Federation,
    yesterday: PathBuf,
    /// The exchanges, in order: three unary ones with a stream between.
    exchanges: Vec<String>,
}

impl Stopped {
    async fn after_some_calls() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let echo = Echo::start().await.unwrap();
        let mut federation = Federation::start(base, &echo::plan(&echo.address))
            .await
            .unwrap();
        let (say, repeat) = (
            echo::method(base, SAY).unwrap(),
            echo::method(base, REPEAT).unwrap(),
        );
        let address = federation.server("consumer").unwrap().plaintext(CLIENT);
        let caller = Caller::plaintext(address.unwrap()).await.unwrap();
        let caller = caller.with("x-road-service", PROVIDER).unwrap();

        let mut exchanges = vec![unary(&caller, &say, "first").await];
        let mut stream = caller
            .server_streaming(&repeat, json!({ "text": "thrice" }))
            .await
            .unwrap();
        exchanges.push(exchange_of(stream.metadata()));
        while stream.get_mut().message().await.unwrap().is_some() {}

        let provider = federation.server_mut("provider").unwrap();
        provider.stop().await.unwrap();
        let yesterday = base.join("yesterday");
        copy(&provider.endpoint().log, &yesterday).unwrap();
        provider.start().await.unwrap();

        exchanges.push(unary(&caller, &say, "third").await);
        exchanges.push(unary(&caller, &say, "fourth").await);
        for server in ["consumer", "provider"] {
            federation.server_mut(server).unwrap().stop().await.unwrap();
        }
        Self {
            directory,
            federation,
            yesterday,
            exchanges,
        }
    }

    fn log(&self, server: &str) -> &Path {
        &self.federation.server(server).unwrap().endpoint().log
    }

    fn auditor(&self, arguments: &[&str], paths: &[&Path]) -> Output {
        Command::new(program("auditor").unwrap())
            .args(arguments)
            .args(paths)
            .output()
            .unwrap()
    }

    /// Verifies a log of the provider's, by the anchor.
    fn verifies(&self, log: &Path) -> bool {
        let anchor = self.directory.path().join("anchor.json");
        let output = self.auditor(&["verify", "--anchor"], &[&anchor, log]);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_ne!(output.status.code(), Some(2), "{output:?}");
        eprintln!("{}", printed.lines().last().unwrap_or_default());
        output.status.success()
    }

    /// Holds a log of the provider's against the consumer's, in both orders.
    fn reconciled(&self, log: &Path) -> Value {
        let consumer = self.log("consumer");
        let [one, other] = [[consumer, log], [log, consumer]].map(|paths| {
            let output = self.auditor(&["reconcile", "--json"], &paths);
            let whole: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
            assert_eq!(
                output.status.code(),
                Some(i32::from(whole["holds"] == json!(false)))
            );
            let mut found = whole["reconciliation"].clone();
            found["logs"] = Value::Null;
            sort(&mut found["differences"]);
            found
        });
        assert_eq!(one, other, "the order of the logs does not matter");
        one
    }

    /// Writes the provider's log anew, with its own keys, as `change` leaves the records.
    fn forged(&self, name: &str, change: impl FnOnce(&Self, &mut Vec<RawRecord>)) -> PathBuf {
        let original = Reader::open(self.log("provider"), leaf_of).unwrap();
        let origin = original.origin().clone();
        let mut records: Vec<_> = original.map(|read| read.unwrap().record).collect();
        change(self, &mut records);
        let folder = self.directory.path().join(name);
        let key = self
            .federation
            .server("provider")
            .unwrap()
            .path("log-key.pem");
        write(&folder, &origin, &records, &LogKey::load(&key).unwrap());
        folder
    }
}

fn sort(differences: &mut Value) {
    let list = differences.as_array_mut().unwrap();
    list.sort_by_key(ToString::to_string);
}

async fn unary(caller: &Caller, method: &Method, said: &str) -> String {
    let reply = caller.unary(method, json!({ "text": said })).await.unwrap();
    exchange_of(reply.metadata())
}

fn exchange_of(metadata: &tonic::metadata::MetadataMap) -> String {
    let exchange = metadata.get("x-road-exchange-id").unwrap();
    exchange.to_str().unwrap().to_owned()
}

fn leaf_of(kept: &KeptPart) -> Result<LeafPreimage, InvalidRecord> {
    trust::record::leaf_preimage(kept.kind, &kept.header, &kept.signature, &kept.annex)
        .map_err(|refusal| InvalidRecord(refusal.to_string()))
}

fn write(folder: &Path, origin: &Origin, records: &[RawRecord], key: &LogKey) {
    let annex_of = |kind: u8| -> Bytes {
        let annex = Annex {
            kind: kind.into(),
            stage: Stage::Local.into(),
            ..Annex::default()
        };
        annex.encode_to_vec().into()
    };
    let options = Options::new(leaf_of, Arc::new(annex_of));
    Log::create(folder, origin, &options).unwrap();
    let log = Log::open(folder, options, &mut |_| ()).unwrap();
    let records = records.iter().map(|record| {
        let leaf = leaf_of(&record.kept).unwrap();
        Record {
            kept: record.kept.clone(),
            message_digest: leaf.message_digest,
            signature_digest: leaf.signature_digest,
            content: vec![record.content.clone()],
        }
    });
    let records = records.collect();
    std::thread::scope(|scope| {
        let appended = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(log.append_all(records)).unwrap();
        });
        appended.join().unwrap();
    });
    log.checkpoint(key.key_pair()).unwrap();
}

fn header(record: &RawRecord) -> Option<Header> {
    let is_message = i32::from(record.kept.kind) == RecordKind::Message as i32;
    is_message.then(|| Header::parse(&record.kept.header).unwrap())
}

fn of_exchange<'a>(exchange: &'a str) -> impl Fn(&RawRecord) -> bool + 'a {
    move |record| {
        header(record).is_some_and(|header| header.parties.exchange.to_string() == exchange)
    }
}

/// The problems found with an exchange.
fn problems(found: &Value, exchange: &str) -> Vec<String> {
    let all = found["differences"].as_array().unwrap();
    let of = all.iter().filter(|it| it["exchange"] == exchange);
    of.map(|it| it["problem"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_falsifies_with_its_own_keys_is_named_by_the_consumers_log() {
    let stopped = Stopped::after_some_calls().await;
    let exchanges = &stopped.exchanges;

    // As it is, and written anew without a change.
    let untouched = stopped.forged("untouched", |_, _| {});
    for log in [stopped.log("provider"), &untouched] {
        assert!(stopped.verifies(log));
        let found = stopped.reconciled(log);
        assert_eq!(found["alike"], 4, "{found}");
        // Each reply promises; the stream may send its end in a message of its own.
        assert!(found["promises_kept"].as_u64().unwrap() >= 6, "{found}");
        assert_eq!(found["failures"], 0, "{found}");
    }

    // Yesterday's copy of the whole log.
    assert!(stopped.verifies(&stopped.yesterday));
    let found = stopped.reconciled(&stopped.yesterday);
    assert_eq!(found["alike"], 2, "{found}");
    for exchange in &exchanges[2..] {
        let problems = problems(&found, exchange);
        assert!(
            problems
                .iter()
                .any(|it| it.starts_with("the whole exchange")),
            "{found}"
        );
        assert!(
            problems.iter().any(|it| it.starts_with("BROKEN PROMISE")),
            "{found}"
        );
    }

    // The last exchange never was.
    let last = &exchanges[3];
    let removed = stopped.forged("removed", |_, records| {
        let of_last = of_exchange(last);
        records.retain(|record| !of_last(record));
    });
    assert!(stopped.verifies(&removed));
    let found = stopped.reconciled(&removed);
    assert!(!problems(&found, last).is_empty(), "{found}");

    // The request came an instant later.
    let delayed = stopped.forged("delayed", |_, records| {
        let of_last = of_exchange(last);
        let request = records.iter_mut().find(|record| of_last(record)).unwrap();
        let mut annex = Annex::decode(request.kept.annex.clone()).unwrap();
        annex.received_at += 1;
        request.kept.annex = annex.encode_to_vec().into();
    });
    // Its reply promised the request as it was, so now the log contradicts itself.
    assert!(!stopped.verifies(&delayed));
    let found = stopped.reconciled(&delayed);
    assert_eq!(found["alike"], 4);
    let broken = problems(&found, last);
    assert!(
        broken[0].starts_with("BROKEN PROMISE: another record stands at"),
        "{found}"
    );

    // The provider answered something else.
    let other_answer = stopped.forged("other-answer", |stopped, records| {
        let of_last = of_exchange(last);
        let reply = records.iter_mut().rfind(|record| of_last(record)).unwrap();
        resign(stopped, reply);
    });
    assert!(stopped.verifies(&other_answer));
    let found = stopped.reconciled(&other_answer);
    assert_eq!(
        problems(&found, last),
        ["the reply messages as the other side keeps them"]
    );

    // The stream ended one message earlier.
    let stream = &exchanges[1];
    let shortened = stopped.forged("shortened", |_, records| {
        let of_stream = of_exchange(stream);
        let end = records.iter().rposition(of_stream).unwrap();
        records.remove(end);
    });
    let found = stopped.reconciled(&shortened);
    let lacking = problems(&found, stream);
    assert!(
        lacking[0].contains("messages of direction reply"),
        "{found}"
    );
}

/// Signs another content of the same length with the provider's own key.
fn resign(stopped: &Stopped, record: &mut RawRecord) {
    let server = stopped.federation.server("provider").unwrap();
    let identity =
        SigningIdentity::load(&server.path("signing.pem"), &server.path("signing-key.pem"))
            .unwrap();
    let mut content = Content::received(record.content.clone()).parse().unwrap();
    content.message = Some(Bytes::from_static(b"\x0a\x05other"));
    let content = Content::encode(&content);
    let mut header = header(record).unwrap();
    header.content_digest = Digest::of(content.bytes());
    let message = SignedMessage::sign(header, content, &identity).unwrap();
    record.kept.header = message.header_bytes().clone();
    record.kept.signature = message.signature().encode_to_vec().into();
    record.content = message.content().bytes().clone();
}
