//! A client that knows only the .proto of a service: dynamic messages over ordinary gRPC.

use std::{path::Path, sync::Arc};

use bytes::{Buf, BufMut};
use hyper_util::rt::TokioIo;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::TLS13,
    },
};
use tonic::{
    Request, Response, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataKey, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::Error;

/// A connection to a security server and the fields of the bus that go with every call.
#[derive(Clone)]
pub struct Caller {
    channel: Channel,
    fields: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
}

impl Caller {
    /// Connects without TLS.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn plaintext(address: &str) -> Result<Self, Error> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect()
            .await?;
        Ok(Self {
            channel,
            fields: Vec::new(),
        })
    }

    /// Connects with TLS 1.3 and a client certificate.
    ///
    /// # Errors
    /// When files cannot be read or nobody answers.
    pub async fn tls(
        address: &str,
        authority: &Path,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, Error> {
        Ok(Self {
            channel: tls_channel(address, authority, Some((certificate, key))).await?,
            fields: Vec::new(),
        })
    }

    /// The same with one more field on every call.
    ///
    /// # Errors
    /// When name or value is none.
    pub fn with(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        self.fields
            .push((MetadataKey::from_static(name), value.parse()?));
        Ok(self)
    }

    /// Calls a unary method with a request written as JSON.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn unary(
        &self,
        method: &Method,
        request: serde_json::Value,
    ) -> Result<Response<DynamicMessage>, Status> {
        let request = self.request(method, request)?;
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        client
            .unary(request, method.path.clone(), DynamicCodec(method.output()))
            .await
    }

    /// Calls a server-streaming method with a request written as JSON.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn server_streaming(
        &self,
        method: &Method,
        request: serde_json::Value,
    ) -> Result<Response<Streaming<DynamicMessage>>, Status> {
        let request = self.request(method, request)?;
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        client
            .server_streaming(request, method.path.clone(), DynamicCodec(method.output()))
            .await
    }

    fn request(
        &self,
        method: &Method,
        json: serde_json::Value,
    ) -> Result<Request<DynamicMessage>, Status> {
        let message = DynamicMessage::deserialize(method.descriptor.input(), json)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut request = Request::new(message);
        for (name, value) in &self.fields {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

/// Connects with TLS 1.3, with a client certificate and its key or without.
///
/// # Errors
/// When files cannot be read or nobody answers.
pub async fn tls_channel(
    address: &str,
    authority: &Path,
    identity: Option<(&Path, &Path)>,
) -> Result<Channel, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder_with_provider(certs::tls::provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![certs::tls::HTTP2.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let target = address.to_owned();
    let connect = tower::service_fn(move |_: http::Uri| {
        let (connector, target) = (connector.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect_with_connector(connect).await?)
}

/// A method of a service, from its .proto file.
#[derive(Clone)]
pub struct Method {
    descriptor: MethodDescriptor,
    path: http::uri::PathAndQuery,
}

impl Method {
    /// Finds `package.Service/Method` in a .proto file.
    ///
    /// # Errors
    /// When the file does not compile or has no such method.
    pub fn load(proto: &Path, service: &str, method: &str) -> Result<Self, Error> {
        let directory = proto.parent().unwrap_or_else(|| Path::new("."));
        let pool =
            DescriptorPool::from_file_descriptor_set(protox::compile([proto], [directory])?)?;
        let descriptor = pool
            .get_service_by_name(service)
            .and_then(|found| found.methods().find(|one| one.name() == method))
            .ok_or_else(|| format!("{} has no {service}/{method}", proto.display()))?;
        Ok(Self {
            descriptor,
            path: format!("/{service}/{method}").parse()?,
        })
    }

    fn output(&self) -> MessageDescriptor {
        self.descriptor.output()
    }
}

/// Encodes and decodes messages of a type known only at run time.
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(
        &mut self,
        message: DynamicMessage,
        buffer: &mut EncodeBuf<'_>,
    ) -> Result<(), Status> {
        buffer.put_slice(&message.encode_to_vec());
        Ok(())
    }
}

struct DynamicDecoder(MessageDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// The text of a field of a message; empty when it is not set.
#[must_use]
pub fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}
