//! What callers are answered, and how their mistakes are told to them.

use bytes::Bytes;
use prost_reflect::Value;
use tonic::{Code, Request};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request,
    server_reflection_response::MessageResponse,
};

use crate::harness::{
    CONFIGURATION, HANGS, Place, RunningAdapter, SERVICE, reason, replace, string,
};

#[tokio::test]
async fn one_record_is_answered_with_its_types_and_null_as_absent() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let found = client
        .ask("Find", &[("id", string("001087123456"))])
        .await
        .unwrap();
    let expected = [
        ("id", string("001087123456")),
        ("full_name", string("Nguyễn Thị Ánh")),
        ("born_on", string("1987-02-28")),
        ("alive", Value::Bool(true)),
        ("weight", Value::F64(51.5)),
        ("photo", Value::Bytes(Bytes::from_static(&[0, 255]))),
    ];
    assert_eq!(
        found,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    let found = client
        .ask("Find", &[("id", string("001185123456"))])
        .await
        .unwrap();
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "full_name", "alive", "weight"]);
    assert_eq!(found[2].1, Value::Bool(false));
    assert_eq!(found[3].1, Value::F64(60.0));
}

#[tokio::test]
async fn none_one_and_several_are_three_different_answers() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let none = client
        .ask("Find", &[("id", string("000000000000"))])
        .await
        .unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
    assert_eq!(
        reason(&none, "retry"),
        ("NO_RECORD".to_owned(), Some("false".to_owned()))
    );
    let several = client
        .ask("Find", &[("id", string("079306000001"))])
        .await
        .unwrap_err();
    assert_eq!(several.code(), Code::FailedPrecondition);
    assert_eq!(
        reason(&several, "count"),
        ("SEVERAL_RECORDS".to_owned(), Some("3".to_owned()))
    );
    assert_eq!(reason(&several, "count_is").1.unwrap(), "exact");
    assert!(
        several.message().starts_with("3 records match"),
        "{}",
        several.message()
    );
    let many = client.ask("Count", &[]).await.unwrap_err();
    assert_eq!(
        reason(&many, "count_is"),
        ("SEVERAL_RECORDS".to_owned(), Some("at_least".into()))
    );
}

#[tokio::test]
async fn an_optional_parameter_narrows_only_when_it_is_given() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let id = ("id", string("001087123456"));
    let alive = |truth| ("alive", Value::Bool(truth));
    assert!(client.ask("Find", &[id.clone(), alive(true)]).await.is_ok());
    let error = client
        .ask("Find", &[id.clone(), alive(false)])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn wrong_requests_are_refused_by_field() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let id = ("id", string("001087123456"));
    let wrong_date = ("born", string("28/02/1987"));
    let cases = [
        (vec![], "FIELD_MISSING", "id"),
        (vec![("id", string(""))], "FIELD_MISSING", "id"),
        (vec![id, wrong_date], "FIELD_INVALID", "born"),
    ];
    for (fields, expected, field) in cases {
        let error = client.ask("Find", &fields).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(
            reason(&error, "field"),
            (expected.to_owned(), Some(field.to_owned()))
        );
        assert!(!error.message().contains("1987"), "{}", error.message());
    }
    // Field 1 as a varint; a text that is not UTF-8; a length beyond the end; a field 9.
    let raw: [(&[u8], &str); 4] = [
        (&[0x08, 1], "REQUEST_UNREADABLE"),
        (&[0x0a, 1, 0xff], "REQUEST_UNREADABLE"),
        (&[0x0a, 9, b'a'], "REQUEST_UNREADABLE"),
        (&[0x0a, 1, b'a', 0x48, 1], "FIELD_UNKNOWN"),
    ];
    for (bytes, expected) in raw {
        let error = client
            .send("Find", Request::new(Bytes::from_static(bytes)))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), reason(&error, "").0.as_str()),
            (Code::InvalidArgument, expected)
        );
    }
    let error = client
        .send("Find", Request::new(vec![0; 5000].into()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    assert!(error.message().contains("4096"), "{}", error.message());
    let error = client
        .send("Steal", Request::new(Bytes::new()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.message().contains("Steal"), "{}", error.message());
}

#[tokio::test]
async fn parameters_are_values_whatever_they_hold() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    for hostile in [
        "' OR 1=1 --",
        "001087123456'; DROP TABLE person; --",
        "%",
        ":id",
        "a\0b",
        "?1",
    ] {
        let error = client
            .ask("Find", &[("id", string(hostile))])
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{hostile:?}");
    }
    assert!(
        client
            .ask("Find", &[("id", string("001087123456"))])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_stream_brings_every_row_in_order() {
    let mut adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let request = client.request("List", &[("first", Value::I64(1))]);
    let mut rows = client.stream("List", Request::new(request)).await.unwrap();
    let mut count = 0;
    while let Some(row) = rows.message().await.unwrap() {
        count += 1;
        let fields = client.fields("List", row);
        assert_eq!(fields[0].1, Value::I64(count));
        assert_eq!(fields[1].1, string(&format!("Unit {count}")));
    }
    assert_eq!(count, 5000);
    adapter
        .log_line(&["answered", "method=\"List\"", "rows=5000"])
        .await;
    let request = client.request("List", &[("first", Value::I64(9999))]);
    let mut rows = client.stream("List", Request::new(request)).await.unwrap();
    assert!(rows.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_that_is_too_long_says_that_it_is_incomplete() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let request = client.request("Few", &[("first", Value::I64(1))]);
    let mut rows = client.stream("Few", Request::new(request)).await.unwrap();
    for _ in 0..3 {
        assert!(rows.message().await.unwrap().is_some());
    }
    let error = rows.message().await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(
        reason(&error, "limit"),
        ("ROW_LIMIT".to_owned(), Some("3".to_owned()))
    );
    let request = client.request("Few", &[("first", Value::I64(4998))]);
    let mut rows = client.stream("Few", Request::new(request)).await.unwrap();
    while rows.message().await.unwrap().is_some() {}
    let request = client.request("Few", &[("first", Value::I64(9999))]);
    let error = client
        .stream("Few", Request::new(request))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn a_deadline_ends_a_call_as_what_it_is() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let error = client.ask("Slow", &[]).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&error, "").0, "DEADLINE");
    // The caller's own deadline, while rows still come.
    let mut request = Request::new(Bytes::new());
    request
        .metadata_mut()
        .insert("grpc-timeout", "500m".parse().unwrap());
    let mut rows = client.stream("Endless", request).await.unwrap();
    let error = loop {
        match rows.message().await {
            Ok(row) => assert!(row.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.code(), reason(&error, "").0.as_str()),
        (Code::DeadlineExceeded, "DEADLINE")
    );
}

#[tokio::test]
async fn callers_that_go_away_mid_stream_leave_the_adapter_as_it_was() {
    let mut adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    // More than there are connections to the database.
    for _ in 0..5 {
        let mut rows = client
            .stream("Endless", Request::new(Bytes::new()))
            .await
            .unwrap();
        for _ in 0..10 {
            assert!(rows.message().await.unwrap().is_some());
        }
        drop(rows);
        adapter.log_line(&["cancelled", "method=\"Endless\""]).await;
    }
    assert!(
        client
            .ask("Find", &[("id", string("001087123456"))])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_call_leaves_one_line_with_its_exchange_and_no_personal_value() {
    let mut adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let mut request = Request::new(client.request("Find", &[("id", string("001087123456"))]));
    let metadata = request.metadata_mut();
    metadata.insert("x-road-exchange-id", "0193-the-exchange".parse().unwrap());
    metadata.insert("x-road-client", "VN/GOV/G01/commune".parse().unwrap());
    metadata.insert("x-road-userid", "official-7".parse().unwrap());
    client.send("Find", request).await.unwrap();
    let line = adapter.log_line(&["0193-the-exchange"]).await;
    assert!(
        line.contains("answered") && line.contains("VN/GOV/G01/commune"),
        "{line}"
    );
    for personal in ["001087123456", "Nguyễn", "official-7", "SELECT"] {
        assert!(!line.contains(personal), "{line}");
    }
}

#[tokio::test]
async fn more_calls_than_admitted_are_refused_and_may_be_tried_again() {
    let one = replace(CONFIGURATION, "[limits]", "[limits]\nconcurrent_calls = 1");
    let adapter = Place::new(&one).await.serve().await;
    let mut streaming = adapter.client().await;
    let mut rows = streaming
        .stream("Endless", Request::new(Bytes::new()))
        .await
        .unwrap();
    assert!(rows.message().await.unwrap().is_some());
    let mut client = adapter.client().await;
    let id = [("id", string("001087123456"))];
    let error = client.ask("Find", &id).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(
        reason(&error, "retry"),
        ("TOO_MANY_CALLS".to_owned(), Some("true".to_owned()))
    );
    drop(rows);
    let answered = async { while client.ask("Find", &id).await.is_err() {} };
    tokio::time::timeout(HANGS, answered).await.unwrap();
}

#[tokio::test]
async fn reflection_and_health_know_the_service() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let list = server_reflection_request::MessageRequest::ListServices(String::new());
        let listed: ServerReflectionResponse = client.exchange(&path, ask(list)).await;
        let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else {
            panic!("{listed:?}");
        };
        assert!(
            listed.service.iter().any(|service| service.name == SERVICE),
            "{listed:?}"
        );
        let symbol =
            server_reflection_request::MessageRequest::FileContainingSymbol(SERVICE.into());
        let file: ServerReflectionResponse = client.exchange(&path, ask(symbol)).await;
        let Some(MessageResponse::FileDescriptorResponse(file)) = file.message_response else {
            panic!("{file:?}");
        };
        let descriptor: prost_types::FileDescriptorProto =
            prost::Message::decode(file.file_descriptor_proto[0].as_slice()).unwrap();
        assert_eq!(descriptor.name(), "vn/test/v1/register.proto");
    }
    let request = tonic_health::pb::HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let health: tonic_health::pb::HealthCheckResponse = client
        .exchange("/grpc.health.v1.Health/Watch", request)
        .await;
    assert_eq!(health.status, 1);
}
