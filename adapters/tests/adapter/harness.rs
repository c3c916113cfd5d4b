//! A running adapter over a database of its own, and a client without generated code.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    sync::mpsc,
};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

pub const CONFIGURATION: &str = include_str!("register.toml");
pub const DATABASE: &str = include_str!("register.sql");
pub const SERVICE: &str = "vn.test.v1.Register";

/// Far longer than anything takes; reached only when something hangs.
pub const HANGS: Duration = Duration::from_secs(60);

/// A folder with a configuration and its database.
pub struct Place {
    pub folder: tempfile::TempDir,
}

pub struct RunningAdapter {
    pub place: Place,
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    pub address: String,
    monitoring: String,
    pool: DescriptorPool,
}

pub struct Client {
    grpc: Grpc<Channel>,
    pool: DescriptorPool,
}

impl Place {
    pub async fn new(configuration: &str) -> Self {
        Self::over(configuration, DATABASE).await
    }

    /// With a database elsewhere, or none.
    pub fn without_database(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        std::fs::write(place.config(), configuration).unwrap();
        place
    }

    /// With a database that this SQL makes.
    pub async fn over(configuration: &str, sql: &'static str) -> Self {
        let place = Self::without_database(configuration);
        let mut connection = place.connection().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("register.toml")
    }

    /// A connection that may write: the legacy program beside the adapter.
    pub async fn connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.path("register.db"))
            .create_if_missing(true);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_adapter"))
            .arg(command)
            .arg(self.config())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Publishes and serves; returns once calls are taken.
    pub async fn serve(self) -> RunningAdapter {
        self.run_server(&["serve"]).await
    }

    /// The same with a command of its own and its arguments.
    pub async fn run_server(self, command: &[&str]) -> RunningAdapter {
        let descriptor = self.path("register.binpb");
        let published = self.run("proto", &["--descriptor", descriptor.to_str().unwrap()]);
        assert!(published.status.success(), "{}", text(&published.stderr));
        let pool = DescriptorPool::decode(std::fs::read(descriptor).unwrap().as_slice()).unwrap();
        let address_file = self.path("address");
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_adapter"))
            .arg(command[0])
            .arg(self.config())
            .args(&command[1..])
            .arg("--address-file")
            .arg(&address_file)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (written, log) = mpsc::unbounded_channel();
        // All the time: a program whose log nobody reads stands still at last.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = written.send(line);
            }
        });
        let mut adapter = RunningAdapter {
            place: self,
            child,
            log,
            address: String::new(),
            monitoring: String::new(),
            pool,
        };
        if std::fs::read_to_string(adapter.place.config())
            .unwrap()
            .contains("\nmonitoring")
        {
            let line = adapter.log_line(&["monitoring"]).await;
            adapter.monitoring = line.rsplit_once("address=").unwrap().1.to_owned();
        }
        adapter.log_line(&["serving"]).await;
        adapter.address = std::fs::read_to_string(address_file)
            .unwrap()
            .trim()
            .to_owned();
        adapter
    }
}

impl RunningAdapter {
    pub async fn start() -> Self {
        Place::new(CONFIGURATION).await.serve().await
    }

    /// The next log line that holds all these words.
    pub async fn log_line(&mut self, words: &[&str]) -> String {
        let mut seen = Vec::new();
        loop {
            match tokio::time::timeout(HANGS, self.log.recv()).await {
                Ok(Some(line)) if words.iter().all(|word| line.contains(word)) => return line,
                Ok(Some(line)) => seen.push(line),
                _ => panic!("no line with {words:?} in\n{}", seen.join("\n")),
            }
        }
    }

    /// Where the pages are, if the configuration has an address for them.
    pub fn monitoring(&self) -> &str {
        &self.monitoring
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Client {
            grpc: Grpc::new(channel),
            pool: self.pool.clone(),
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").arg(signal).arg(pid).status();
        assert!(sent.unwrap().success());
    }

    pub async fn stop(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        tokio::time::timeout(HANGS, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }
}

impl Client {
    /// Of whoever will listen there.
    pub async fn when_there(address: &str, pool: DescriptorPool) -> Self {
        let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
        let connecting = async {
            loop {
                match endpoint.connect().await {
                    Ok(channel) => return channel,
                    Err(_not_yet) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let channel = tokio::time::timeout(HANGS, connecting).await.unwrap();
        Self {
            grpc: Grpc::new(channel),
            pool,
        }
    }

    pub fn request(&self, method: &str, fields: &[(&str, Value)]) -> Bytes {
        let name = format!("vn.test.v1.{method}Request");
        let mut message = DynamicMessage::new(self.pool.get_message_by_name(&name).unwrap());
        for (name, value) in fields {
            message.set_field_by_name(name, value.clone());
        }
        message.encode_to_vec().into()
    }

    /// Unary, with named fields; the reply's fields that are present, in order of their numbers.
    pub async fn ask(
        &mut self,
        method: &str,
        fields: &[(&str, Value)],
    ) -> Result<Vec<(String, Value)>, Status> {
        let request = self.request(method, fields);
        self.send(method, Request::new(request)).await
    }

    pub async fn send(
        &mut self,
        method: &str,
        request: Request<Bytes>,
    ) -> Result<Vec<(String, Value)>, Status> {
        self.ready().await;
        let path = format!("/{SERVICE}/{method}").parse().unwrap();
        let reply = self.grpc.unary(request, path, RawCodec).await?.into_inner();
        Ok(self.fields(method, reply))
    }

    pub async fn stream(
        &mut self,
        method: &str,
        request: Request<Bytes>,
    ) -> Result<Streaming<Bytes>, Status> {
        self.ready().await;
        let path = format!("/{SERVICE}/{method}").parse().unwrap();
        Ok(self
            .grpc
            .server_streaming(request, path, RawCodec)
            .await?
            .into_inner())
    }

    /// One message each way of a method whose types are generated.
    pub async fn exchange<Q: Message, R: Message + Default>(
        &mut self,
        path: &str,
        request: Q,
    ) -> R {
        self.ready().await;
        let messages = tokio_stream::once(Bytes::from(request.encode_to_vec()));
        let path = path.parse().unwrap();
        let replies = self
            .grpc
            .streaming(Request::new(messages), path, RawCodec)
            .await
            .unwrap();
        R::decode(replies.into_inner().message().await.unwrap().unwrap()).unwrap()
    }

    pub fn fields(&self, method: &str, reply: Bytes) -> Vec<(String, Value)> {
        let name = format!("vn.test.v1.{method}Reply");
        let descriptor = self.pool.get_message_by_name(&name).unwrap();
        let message = DynamicMessage::decode(descriptor, reply).unwrap();
        message
            .fields()
            .map(|(field, value)| (field.name().to_owned(), value.clone()))
            .collect()
    }

    async fn ready(&mut self) {
        self.grpc.ready().await.unwrap();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The stable reason and one entry of the details' metadata.
pub fn reason(status: &Status, key: &str) -> (String, Option<String>) {
    let details = status.get_details_error_info().unwrap();
    assert_eq!(details.domain, "lienthong.adapter");
    (details.reason, details.metadata.get(key).cloned())
}

pub fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Messages as bytes, so that wrong ones can be sent.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
