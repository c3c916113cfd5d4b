//! `security-server call`: an ordinary client of this server, for one call.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use certs::{
    Role,
    tls::{ReplaceableIdentity, adapter_connector, read_authorities},
};
use clap::Args;
use http::{HeaderMap, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use proto::refusal::{FAULT_TRAILER, REFUSAL_TRAILER, SERVER_TRAILER};
use rustls::pki_types::ServerName;
use serde_json::{Deserializer, Value, json};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use trust::{MethodPath, SubsystemId};

use super::{
    Answer,
    answers::{Outcome, in_json},
};
use crate::{
    Settings,
    crowd::Crowd,
    grpc::{
        budget::Budget,
        metadata,
        reader::{MessageReader, ReadError},
        status::Status,
        writer::Chunk,
    },
    http2::{
        client::{Connection, open},
        line::Listening,
    },
};

/// The largest reply.
const REPLY_LIMIT: usize = 64 * 1024 * 1024;

/// See [`super::Command::Call`].
#[derive(Debug, Args)]
pub struct Call {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// The calling subsystem; it needs a plaintext listener, or a certificate below.
    #[arg(long)]
    client: SubsystemId,
    /// The subsystem called.
    #[arg(long)]
    service: SubsystemId,
    /// The method, /package.Service/Method.
    #[arg(long)]
    method: String,
    /// The schema of the service: a .proto file or an encoded FileDescriptorSet.
    #[arg(long, value_name = "FILE")]
    proto: PathBuf,
    /// The requests as JSON, one after the other; "-" reads them from standard input.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// x-road-purpose.
    #[arg(long)]
    purpose: Option<String>,
    /// x-road-legal-basis.
    #[arg(long)]
    legal_basis: Option<String>,
    /// x-road-issue.
    #[arg(long)]
    case_number: Option<String>,
    /// x-road-userid.
    #[arg(long)]
    user: Option<String>,
    /// x-road-id.
    #[arg(long)]
    id: Option<String>,
    /// Seconds that the call may take.
    #[arg(long, default_value_t = 30)]
    deadline: u32,
    /// Call over TLS with this client certificate (PEM), its key and the authority of the listener.
    #[arg(long, value_name = "FILE", requires_all = ["key", "authority"])]
    certificate: Option<PathBuf>,
    /// See --certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// See --certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    authority: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came back.
struct Reply {
    exchange: String,
    messages: Vec<Value>,
    status: Status,
    trailers: HeaderMap,
}

impl Call {
    pub(super) async fn execute(&self) -> Answer {
        let method = self.described()?;
        let requests = self.requests(&method)?;
        let settings = Settings::load(&self.settings)?;
        let connection = self.connect(&settings).await?;
        let calling = self.call(connection, &method, requests);
        let patience = Duration::from_secs(u64::from(self.deadline) + 5);
        let reply = timeout(patience, calling).await;
        let reply = reply.map_err(|_| "the security server did not answer in time")??;
        Ok(Outcome {
            holds: reply.status.code == 0,
            text: if self.json {
                in_json(&reply.as_json())
            } else {
                reply.as_text()
            },
        })
    }

    /// The method as the schema describes it.
    fn described(&self) -> Result<MethodDescriptor, Box<dyn Error>> {
        let pool = read_schema(&self.proto)
            .map_err(|problem| format!("{}: {problem}", self.proto.display()))?;
        let path = MethodPath::parse(&self.method).map_err(|refusal| refusal.to_string())?;
        let service = pool.get_service_by_name(path.service());
        let found = service.and_then(|service| {
            let mut methods = service.methods();
            methods.find(|method| method.name() == path.method())
        });
        found.ok_or_else(|| {
            let schema = self.proto.display();
            format!("{schema} describes no method {}", self.method).into()
        })
    }

    fn requests(&self, method: &MethodDescriptor) -> Result<Vec<Bytes>, Box<dyn Error>> {
        use prost::Message;
        let text = match self.data.as_str() {
            "-" => io::read_to_string(io::stdin())?,
            given => given.to_owned(),
        };
        let mut requests = Vec::new();
        for document in Deserializer::from_str(&text).into_iter::<Value>() {
            let document = document.map_err(|error| format!("--data is no JSON: {error}"))?;
            let message = DynamicMessage::deserialize(method.input(), document)
                .map_err(|error| format!("a request is not as the schema says: {error}"))?;
            requests.push(message.encode_to_vec().into());
        }
        if requests.len() != 1 && !method.is_client_streaming() {
            let found = requests.len();
            return Err(format!("the method takes one request, and there are {found}").into());
        }
        Ok(requests)
    }

    /// Connects where the clients of this server do.
    async fn connect(&self, settings: &Settings) -> Result<Connection, Box<dyn Error>> {
        let addresses: Value = serde_json::from_slice(&read_addresses(&settings.directory)?)?;
        if let (Some(certificate), Some(key), Some(authority)) =
            (&self.certificate, &self.key, &self.authority)
        {
            let address = addresses["client_tls"].as_str();
            let address = address.ok_or("the server has no listener [clients.tls]")?;
            let identity = ReplaceableIdentity::load(Role::Client, certificate, key)?;
            let tls = adapter_connector(&read_authorities(authority)?, Some(identity))?;
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from(host_of(address).to_owned())?;
            let stream = TlsConnector::from(tls).connect(name, stream).await?;
            return Ok(open(stream, Listening::Never, Crowd::nobody()).await?);
        }
        let listeners = addresses["client_plaintext"].as_array();
        let client = self.client.as_str();
        let listener = listeners
            .into_iter()
            .flatten()
            .find(|listener| listener["subsystem"] == client)
            .and_then(|listener| listener["address"].as_str())
            .ok_or_else(|| {
                format!(
                    "the server has no plaintext listener of {client}; add [[clients.plaintext]] \
                     to server.toml, or give --certificate, --key and --authority"
                )
            })?;
        Ok(match listener.strip_prefix("unix:") {
            Some(path) => {
                open(
                    UnixStream::connect(path).await?,
                    Listening::Never,
                    Crowd::nobody(),
                )
                .await?
            }
            None => {
                open(
                    TcpStream::connect(listener).await?,
                    Listening::Never,
                    Crowd::nobody(),
                )
                .await?
            }
        })
    }

    async fn call(
        &self,
        connection: Connection,
        method: &MethodDescriptor,
        requests: Vec<Bytes>,
    ) -> Result<Reply, Box<dyn Error>> {
        let mut call = Request::post(format!("http://localhost{}", self.method))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header("grpc-timeout", format!("{}S", self.deadline))
            .header("x-road-client", self.client.as_str())
            .header("x-road-service", self.service.as_str());
        for (name, value) in [
            ("x-road-purpose", &self.purpose),
            ("x-road-legal-basis", &self.legal_basis),
            ("x-road-issue", &self.case_number),
            ("x-road-userid", &self.user),
            ("x-road-id", &self.id),
        ] {
            if let Some(value) = value {
                let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
                call = call.header(name, encoded);
            }
        }
        let (mut writer, mut answering) = connection.call(call.body(())?).await?;
        let sending = async {
            for request in requests {
                // Whoever stops reading says why in the answer.
                let Ok(chunk) = Chunk::of(false, request) else {
                    return;
                };
                if writer.write(chunk).await.is_err() {
                    return;
                }
            }
            let _ = writer.write_request(Chunk::default(), true).await;
        };
        let answering = async {
            let response = answering.response().await?;
            let (mut head, body) = response.into_parts();
            let mut reply = Reply {
                exchange: metadata::text(&head.headers, "x-road-exchange-id"),
                messages: Vec::new(),
                status: Status::take(&mut head.headers).unwrap_or_default(),
                trailers: head.headers,
            };
            let mut messages = MessageReader::new(body, Budget::new(REPLY_LIMIT, REPLY_LIMIT));
            while let Some(message) = messages.next().await.map_err(in_words)? {
                let decoded = DynamicMessage::decode(method.output(), message.bytes)?;
                reply.messages.push(serde_json::to_value(&decoded)?);
            }
            if let Some(mut trailers) = messages.take_trailers() {
                if let Some(status) = Status::take(&mut trailers) {
                    reply.status = status;
                }
                reply.trailers = trailers;
            }
            Ok(reply)
        };
        let (reply, ()) = tokio::join!(answering, sending);
        reply
    }
}

impl Reply {
    fn as_json(&self) -> Value {
        let trailer = |name| metadata::text(&self.trailers, name);
        json!({
            "exchange": self.exchange,
            "replies": self.messages,
            "status": self.status.code,
            "message": self.status.message,
            "refusal": trailer(REFUSAL_TRAILER),
            "fault": trailer(FAULT_TRAILER),
            "server": trailer(SERVER_TRAILER),
        })
    }

    fn as_text(&self) -> String {
        let mut text: String = self.messages.iter().map(in_json).collect();
        if self.status.code != 0 {
            let refusal = metadata::text(&self.trailers, REFUSAL_TRAILER);
            let (code, message) = (self.status.code, &self.status.message);
            let name = tonic::Code::from_i32(i32::try_from(code).unwrap_or(-1));
            let refusal = if refusal.is_empty() {
                refusal
            } else {
                format!(", {refusal}")
            };
            text += &format!("gRPC status {code} ({name:?}{refusal}): {message}\n");
        }
        text + &format!("exchange {}\n", self.exchange)
    }
}

/// A `.proto` file is compiled, and what it imports is looked for beside it.
fn read_schema(path: &Path) -> Result<DescriptorPool, Box<dyn Error>> {
    fs::metadata(path)?;
    if path
        .extension()
        .is_none_or(|extension| extension != "proto")
    {
        return Ok(DescriptorPool::decode(fs::read(path)?.as_slice())?);
    }
    let beside = path.parent().unwrap_or_else(|| Path::new("."));
    let compiled = protox::compile([path], [beside])?;
    Ok(DescriptorPool::from_file_descriptor_set(compiled)?)
}

fn read_addresses(directory: &Path) -> Result<Vec<u8>, String> {
    let path = directory.join("addresses.json");
    fs::read(&path)
        .map_err(|error| format!("{}: {error}; was the server ever started?", path.display()))
}

/// The host of `HOST:PORT`.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn in_words(error: ReadError) -> String {
    match error {
        ReadError::Refused(refusal) => refusal.explanation,
        ReadError::Lost(why) => why,
    }
}
