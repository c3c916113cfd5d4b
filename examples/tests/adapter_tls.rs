//! An adapter on another machine: only the security servers that it knows may call it, and only an adapter that they know is called.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{fs, path::Path, process::Command, time::Duration};

use certs::Subject;
use examples::{
    bare_caller::{Answer, BareCaller},
    echo::{self, CLIENT, PROVIDER},
    federation::{Authority, Federation},
    process,
    registers::Adapter,
    waiting::wait_for,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{io::AsyncReadExt, net::TcpSocket, time::timeout};
use tonic::Code;

/// The grant is for the consumer that only a security server can prove.
const CONFIGURATION: &str = r#"
[service]
name = "test.echo.v1.Echo"

[listen]
address = "127.0.0.1:0"
tls = { name = "127.0.0.1", certificate = "adapter.pem", key = "adapter-key.pem", callers = "callers.pem" }

[database]
sqlite = "register.db"

[[grants]]
name = "client"
consumers = ["VN/GOV/A/client"]
access_rights = ["echo"]

[[methods]]
name = "Count"
kind = "unary"
sql = "SELECT count(*) AS persons FROM person"
reply = [{ name = "persons", type = "integer" }]
"#;

/// An adapter at this address, whose certificate is for 127.0.0.1, and which `caller` may call.
async fn adapter(folder: &Path, authority: &Authority, address: &str, caller: &Path) -> Adapter {
    fs::create_dir_all(folder).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.join("register.db"))
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let made = "CREATE TABLE person (number TEXT); INSERT INTO person VALUES ('1'), ('2')";
    sqlx::raw_sql(made).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let subject = Subject::Listener {
        name: "adapter".to_owned(),
        names: vec!["127.0.0.1".to_owned()],
    };
    let (certificate, key) = (folder.join("adapter.pem"), folder.join("adapter-key.pem"));
    authority.issue(&subject, &certificate, &key).unwrap();
    fs::copy(caller, folder.join("callers.pem")).unwrap();
    let configuration = folder.join("register.toml");
    fs::write(&configuration, CONFIGURATION.replace("127.0.0.1", address)).unwrap();
    Adapter::start(&configuration, folder).await.unwrap()
}

async fn count(federation: &Federation) -> Answer {
    let consumer = federation.server("consumer").unwrap();
    let address = consumer.plaintext(CLIENT).unwrap();
    let caller = BareCaller::plaintext(address).await.unwrap();
    let path = format!("/{}/Count", echo::SERVICE);
    let metadata = [("x-road-service", PROVIDER)];
    caller.call(&path, &metadata, b"").await.unwrap()
}

/// What an ordinary client of gRPC in Python is answered: the code, or the bytes of the reply.
fn python(address: &str, authority: &Path, identity: Option<(&Path, &Path)>) -> String {
    let program = "import sys, grpc\n\
        read = lambda path: open(path, 'rb').read() if path != '-' else None\n\
        address, authority, certificate, key = sys.argv[1:]\n\
        credentials = grpc.ssl_channel_credentials(read(authority), read(key), read(certificate))\n\
        with grpc.secure_channel(address, credentials) as channel:\n\
        \x20   call = channel.unary_unary('/test.echo.v1.Echo/Count')\n\
        \x20   try: print(call(b'', timeout=10, metadata=[('x-road-client', 'VN/GOV/A/client'), ('x-road-access-right', 'echo')]).hex())\n\
        \x20   except grpc.RpcError as error: print(error.code().name)\n";
    let (certificate, key) = identity.unwrap_or_else(|| (Path::new("-"), Path::new("-")));
    let ran = process::python()
        .unwrap()
        .args(["-c", program, address.trim_start_matches("https://")])
        .args([authority, certificate, key])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_elsewhere_is_called_over_tls_by_those_whom_it_knows() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let federation = Federation::start(base, &echo::plan("http://127.0.0.1:1"))
        .await
        .unwrap();
    let authority = &federation.authority;
    let provider = federation.server("provider").unwrap();
    let known = provider.path("adapters.pem");
    let folder = base.join("adapter");
    let good = adapter(&folder, authority, "127.0.0.1", &known).await;
    assert!(
        good.address.starts_with("https://127.0.0.1:"),
        "{}",
        good.address
    );
    provider.host(&good.address).await.unwrap();
    let answer = count(&federation).await;
    assert_eq!(answer.status.code(), Code::Ok, "{answer:?}");
    assert_eq!(answer.messages, [b"\x08\x02".to_vec()]);

    // Whoever has the certificate that is known is a security server for the adapter; nobody else is answered at all.
    let ca = authority.certificate();
    let own = (&*known, &*provider.path("adapters-key.pem"));
    assert_eq!(python(&good.address, &ca, Some(own)), "0802");
    let other = federation.server("consumer").unwrap();
    let other = (
        &*other.path("adapters.pem"),
        &*other.path("adapters-key.pem"),
    );
    assert_eq!(python(&good.address, &ca, Some(other)), "UNAVAILABLE");
    assert_eq!(python(&good.address, &ca, None), "UNAVAILABLE");

    // Another one may call from now on, and the first no more; without a restart.
    fs::copy(other.0, folder.join("callers.pem")).unwrap();
    let process = good.process_id().unwrap().to_string();
    let sent = Command::new("kill").args(["-HUP", &process]).status();
    assert!(sent.unwrap().success());
    wait_for("the new callers to be known", || {
        let answer = python(&good.address, &ca, Some(other));
        std::future::ready((answer == "0802").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(python(&good.address, &ca, Some(own)), "UNAVAILABLE");
    good.stop().await.unwrap();

    // An adapter that is called by a name that is not its own, or that another authority vouches for, is none.
    let stranger = Authority::create(&base.join("stranger")).unwrap();
    let named = adapter(&base.join("named"), authority, "127.0.0.1", &known).await;
    let forged = adapter(&base.join("forged"), &stranger, "127.0.0.1", &known).await;
    let renamed = named.address.replace("127.0.0.1", "127.0.0.2");
    // Where it can be reached, so that only the name is wrong.
    let port = named.address.rsplit(':').next().unwrap();
    let relay = tokio::net::TcpListener::bind(format!("127.0.0.2:{port}"))
        .await
        .unwrap();
    let to = format!("127.0.0.1:{port}");
    tokio::spawn(async move {
        while let Ok((mut from, _)) = relay.accept().await {
            let mut to = tokio::net::TcpStream::connect(&to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        }
    });
    for wrong in [&renamed, &forged.address] {
        let before = provider.times_said("the adapter cannot be reached");
        provider.host(wrong).await.unwrap();
        let answer = count(&federation).await;
        assert_eq!(
            answer.field("x-road-refusal"),
            Some("provider.adapter_unreachable"),
            "{answer:?}"
        );
        assert!(!answer.status.message().contains("127.0.0"), "{answer:?}");
        assert_eq!(
            provider.times_said("the adapter cannot be reached"),
            before + 1
        );
    }
    for adapter in [named, forged] {
        adapter.stop().await.unwrap();
    }
    federation.audit().await.unwrap();
    federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_and_does_not_go_on_shuts_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let federation = Federation::start(base, &echo::plan("http://127.0.0.1:1"))
        .await
        .unwrap();
    let provider = federation.server("provider").unwrap();
    let known = provider.path("adapters.pem");
    let adapter = adapter(
        &base.join("adapter"),
        &federation.authority,
        "127.0.0.1",
        &known,
    )
    .await;
    provider.host(&adapter.address).await.unwrap();
    let to = adapter
        .address
        .trim_start_matches("https://")
        .parse()
        .unwrap();
    let mut idle = Vec::new();
    for _ in 0..100 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
        idle.push(socket.connect(to).await.unwrap());
    }
    // A quarter of the places is for one address; the others are closed at once.
    let closed = async {
        for stream in idle.iter_mut().rev().take(100 - 16) {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        }
    };
    timeout(Duration::from_secs(9), closed).await.unwrap();
    let answer = count(&federation).await;
    assert_eq!(answer.status.code(), Code::Ok, "{answer:?}");
    adapter.stop().await.unwrap();
    federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_would_be_plain_or_lead_nowhere_are_not_applied() {
    let directory = tempfile::tempdir().unwrap();
    let federation = Federation::start(directory.path(), &echo::plan("http://127.0.0.1:1"))
        .await
        .unwrap();
    let provider = federation.server("provider").unwrap();
    for (adapter, said) in [
        (
            "http://192.0.2.1:7443",
            "use https:// with [adapters] in server.toml",
        ),
        ("https://adapter.example.vn", "is not https://HOST:PORT"),
        ("https://adapter.example.vn:0", "is not https://HOST:PORT"),
        ("https://no name:7443", "is not https://HOST:PORT"),
        ("https://::1:7443", "is not https://HOST:PORT"),
        ("ftp://adapter:21", "is none of unix:/PATH"),
    ] {
        let refused = provider.host(adapter).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{adapter}: {refused}");
    }
    federation.stop().await.unwrap();
}
