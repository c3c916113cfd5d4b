//! A provider by hand: ten lines for a method, the verified caller in each call, nothing for whoever is no security server.

use adapters::provider::Provider;
use prost_reflect::{DescriptorPool, Value};
use tonic::{Code, Request, Status, metadata::MetadataValue};

use crate::harness::{Client, string};

const PROTO: &str = r#"syntax = "proto3";
package vn.test.v1;

service Register {
  rpc Find(FindRequest) returns (FindReply);
}

message FindRequest {
  // Identifies the person whose record is read.
  // @data-subject
  optional string number = 1;
}

message FindReply {
  optional string full_name = 1;
  optional string asked_by = 2;
}
"#;

fn provider() -> Provider {
    let provider = Provider::new(PROTO).unwrap();
    let answered = provider.unary("Find", |mut call| async move {
        if call.text("number") != "001185123456" {
            return Err(Status::not_found("no such person"));
        }
        call.reply
            .set_field_by_name("full_name", string("Đặng Thị Ước"));
        let asked_by = format!("{} for {}", call.caller.client, call.caller.purpose);
        call.reply
            .set_field_by_name("asked_by", Value::String(asked_by));
        Ok(call.reply)
    });
    answered.unwrap()
}

async fn find(
    client: &mut Client,
    number: &str,
    fields: &[(&'static str, &str)],
) -> Result<Vec<(String, Value)>, Status> {
    let mut request = Request::new(client.request("Find", &[("number", string(number))]));
    for (key, value) in fields {
        request
            .metadata_mut()
            .insert(*key, MetadataValue::try_from(*value).unwrap());
    }
    client.send("Find", request).await
}

#[tokio::test]
async fn a_method_in_rust_has_the_verified_caller() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("provider.sock");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let path = socket.clone();
    let serving = tokio::spawn(async move {
        let until = async move {
            let _ = stopped.await;
        };
        provider().serve(&path, until).await
    });
    let compiled = protox::file::File::from_source("provider.proto", PROTO).unwrap();
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(compiled.into()).unwrap();
    let address = format!("unix:{}", socket.display());
    let mut client = Client::when_there(&address, pool).await;

    let called = [
        ("x-road-client", "VN/GOV/H37.02/desk"),
        ("x-road-exchange-id", "01"),
        ("x-road-purpose", "khai%20sinh"),
    ];
    let reply = find(&mut client, "001185123456", &called).await.unwrap();
    let expected = [
        ("full_name".to_owned(), string("Đặng Thị Ước")),
        (
            "asked_by".to_owned(),
            string("VN/GOV/H37.02/desk for khai sinh"),
        ),
    ];
    assert_eq!(reply, expected);
    assert_eq!(
        find(&mut client, "1", &called).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        find(&mut client, "1", &[]).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn what_is_no_service_is_refused() {
    let said = |proto: &str| Provider::new(proto).unwrap_err().to_string();
    assert!(said("syntax = \"proto3\";").contains("not exactly one service"));
    assert!(said("message").contains("valid .proto"));
    let unknown = Provider::new(PROTO)
        .unwrap()
        .unary("Found", |call| async move { Ok(call.reply) });
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("no unary method Found")
    );
    let folder = tempfile::tempdir().unwrap();
    let unanswered = Provider::new(PROTO).unwrap();
    let refused = unanswered
        .serve(&folder.path().join("x.sock"), std::future::pending())
        .await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("the method Find has no answer")
    );
}
