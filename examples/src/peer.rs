//! A security server played by hand: for tests that say what ours never says.
//!
//! ```no_run
//! # async fn story(federation: &examples::federation::Federation) -> Result<(), examples::Error> {
//! use examples::peer::{self, HandmadePeer, Member};
//!
//! let (consumer, provider) = (federation.server("consumer")?, federation.server("provider")?);
//! let member = Member::of(consumer)?;
//! let header = peer::first_request(
//!     ("VN/GOV/A/client", consumer),
//!     ("VN/GOV/B/probe", provider),
//!     "/foreign.probe.v1.Probe/Echo",
//! )?; // change what should be wrong
//! let request = member.sign(header, peer::content(Some(b"".to_vec())))?;
//! let server = HandmadePeer::connect(federation, "consumer", "provider").await?;
//! let frames = vec![member.trust_material(), peer::envelope(&request)];
//! let status = server.open(frames).await?.refusal().await?;
//! assert_eq!(peer::refusal_code(&status), "provider.replayed");
//! # Ok(())
//! # }
//! ```

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use certs::{
    Role, SigningIdentity, TrustedAuthority,
    tls::{PeerTls, RegisteredServers, ReplaceableIdentity, peer_name, provider, read_authorities},
};
use hyper_util::rt::TokioIo;
use proto::exchange::{
    Frame, TrustMaterial, frame::Body, security_server_client::SecurityServerClient,
};
use security_server::{Clock, SystemClock};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        sign::{CertifiedKey, SingleCertAndKey},
    },
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use trust::{
    Content, Digest, ExchangeId, ServerId,
    content::SALT_LENGTH,
    header::{Direction, Header, Parties, Statements},
    message::SignedMessage,
    wire::evidence::{MessageContent, Metadata},
};

use crate::{
    Error,
    federation::{Federation, Server},
};

/// The most one frame may measure that we read.
const FRAME_LIMIT: usize = 32 * 1024 * 1024;

/// A connection to a provider's exchange port.
pub struct HandmadePeer {
    channel: Channel,
}

impl HandmadePeer {
    /// Connects as the server `consumer`, with its own authentication certificate.
    ///
    /// # Errors
    /// When there are no such servers, or the provider does not answer.
    pub async fn connect(
        federation: &Federation,
        consumer: &str,
        provider: &str,
    ) -> Result<Self, Error> {
        let tls = tls(federation, consumer, provider)?;
        Self::over(tls, federation.server(provider)?).await
    }

    /// The same showing another certificate, good for this or not.
    ///
    /// # Errors
    /// As [`Self::connect`], or when files cannot be read. In TLS 1.3 a refused certificate is
    /// often noticed only by the first call.
    pub async fn connect_showing(
        (certificate, key): (&Path, &Path),
        federation: &Federation,
        consumer: &str,
        provider: &str,
    ) -> Result<Self, Error> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let key = certs::tls::provider().key_provider.load_private_key(key)?;
        let mut tls = tls(federation, consumer, provider)?;
        tls.client_auth_cert_resolver =
            Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        Self::over(tls, federation.server(provider)?).await
    }

    async fn over(tls: ClientConfig, provider: &Server) -> Result<Self, Error> {
        let connector = TlsConnector::from(Arc::new(tls));
        let target = provider.endpoint().exchange.clone();
        let endpoint = Endpoint::from_shared(format!("http://{target}"))?;
        let connect = tower::service_fn(move |_: http::Uri| {
            let (connector, target) = (connector.clone(), target.clone());
            async move {
                let stream = TcpStream::connect(target).await?;
                stream.set_nodelay(true)?;
                connector
                    .connect(peer_name(), stream)
                    .await
                    .map(TokioIo::new)
            }
        });
        Ok(Self {
            channel: endpoint.connect_with_connector(connect).await?,
        })
    }

    /// Starts a call with these frames. The requests' direction stays open: see
    /// [`Conversation::send`] and [`Conversation::end_requests`].
    ///
    /// # Errors
    /// When the connection is refused or lost.
    pub async fn open(&self, frames: Vec<Frame>) -> Result<Conversation, Status> {
        let (requests, outward) = mpsc::channel(frames.len().max(16));
        for frame in frames {
            // There is room for all of them.
            let _ = requests.try_send(frame);
        }
        let mut client =
            SecurityServerClient::new(self.channel.clone()).max_decoding_message_size(FRAME_LIMIT);
        let replies = client.exchange(ReceiverStream::new(outward)).await?;
        Ok(Conversation {
            requests: Some(requests),
            replies: replies.into_inner(),
        })
    }

    /// The HTTP/2 connection, for bodies that are no frames.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

/// One call under way.
pub struct Conversation {
    requests: Option<mpsc::Sender<Frame>>,
    replies: Streaming<Frame>,
}

impl Conversation {
    /// Sends another frame.
    ///
    /// # Errors
    /// When the requests' direction has ended.
    pub async fn send(&self, frame: Frame) -> Result<(), Error> {
        let requests = self.requests.as_ref().ok_or("the requests have ended")?;
        Ok(requests.send(frame).await?)
    }

    /// Ends the requests' direction.
    pub fn end_requests(&mut self) {
        self.requests = None;
    }

    /// The next frame of the provider; none after its last one, when the call ended well.
    ///
    /// # Errors
    /// The status that ended the call, with its trailers.
    pub async fn next(&mut self) -> Result<Option<Frame>, Status> {
        self.replies.message().await
    }

    /// The next message of the provider, taken as it is said; none after the last one.
    ///
    /// # Errors
    /// The status that ended the call, or `DataLoss` when the header does not parse.
    pub async fn reply(&mut self) -> Result<Option<(Header, MessageContent)>, Status> {
        while let Some(frame) = self.next().await? {
            if let Some(Body::Envelope(envelope)) = frame.body {
                let read = |refusal: trust::Refusal| Status::data_loss(refusal.to_string());
                let header = Header::parse(&envelope.header).map_err(read)?;
                let content = Content::received(envelope.content).parse().map_err(read)?;
                return Ok(Some((header, content)));
            }
        }
        Ok(None)
    }

    /// Reads to the end of a call that must be refused without a signed reply.
    ///
    /// # Errors
    /// When the provider answers, or ends well.
    pub async fn refusal(mut self) -> Result<Status, Error> {
        match self.reply().await {
            Ok(Some((header, _))) => {
                Err(format!("answered with a signed reply: {header:?}").into())
            }
            Ok(None) => Err("the call ended without a word".into()),
            Err(status) if refusal_code(&status).is_empty() => Err(status.into()),
            Err(status) => Ok(status),
        }
    }
}

/// A member's signing key.
pub struct Member {
    identity: SigningIdentity,
}

impl Member {
    /// The member that owns a server.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn of(server: &Server) -> Result<Self, Error> {
        Self::load(&server.path("signing.pem"), &server.path("signing-key.pem"))
    }

    /// Any member.
    ///
    /// # Errors
    /// When files cannot be read, or are not those of a signing certificate.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let identity = SigningIdentity::load(certificate, key)?;
        Ok(Self { identity })
    }

    /// The certificate, as it goes ahead of the first envelope.
    #[must_use]
    pub fn trust_material(&self) -> Frame {
        let certificate = self.identity.certificate.certificate().der();
        let intermediates = self.identity.intermediates.iter().cloned();
        Frame {
            body: Some(Body::TrustMaterial(TrustMaterial {
                certificate: Bytes::copy_from_slice(certificate),
                intermediates: intermediates.map(Bytes::from).collect(),
                ocsp_response: Bytes::new(),
            })),
        }
    }

    /// Signs whatever it is given.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn sign(&self, header: Header, content: Content) -> Result<SignedMessage, Error> {
        Ok(SignedMessage::sign(header, content, &self.identity)?)
    }
}

/// A correct header for the first and only request of a new exchange: the client's subsystem and
/// its server, the service's subsystem and its server, and `/package.Service/Method`.
///
/// # Errors
/// When an identifier is none.
pub fn first_request(
    (client, consumer): (&str, &Server),
    (service, provider): (&str, &Server),
    method: &str,
) -> Result<Header, Error> {
    let consumer: ServerId = consumer.endpoint().id.parse()?;
    let now = u64::try_from(SystemClock.milliseconds())?;
    Ok(Header {
        parties: Parties {
            instance: consumer.instance().parse()?,
            exchange: ExchangeId::from_parts(now, &random()?),
            client: client.parse()?,
            service: service.parse()?,
            method: trust::MethodPath::parse(method)?,
            consumer,
            provider: provider.endpoint().id.parse()?,
        },
        direction: Direction::Request,
        sequence: 0,
        is_final: true,
        refusal_code: None,
        configuration_serial: 1,
        created_at: SystemClock.seconds(),
        deadline_milliseconds: Some(20_000),
        statements: Statements::default(),
        previous: None,
        answers: None,
        status_code: None,
        promise: None,
        content_digest: Digest::of(b""), // signing sets it
    })
}

/// The content of a first request with this gRPC message, or with none.
#[must_use]
pub fn content(message: Option<Vec<u8>>) -> Content {
    let salt: [u8; SALT_LENGTH] = random().unwrap_or_default();
    Content::encode(&MessageContent {
        salt: Bytes::copy_from_slice(&salt),
        metadata: Some(Metadata::default()),
        content_type: "application/grpc".to_owned(),
        message: message.map(Bytes::from),
        ..MessageContent::default()
    })
}

/// A message as it travels.
#[must_use]
pub fn envelope(message: &SignedMessage) -> Frame {
    Frame {
        body: Some(Body::Envelope(message.envelope())),
    }
}

/// The stable code in the trailers of a refusal; empty when there is none.
#[must_use]
pub fn refusal_code(status: &Status) -> &str {
    let trailer = status.metadata().get(proto::refusal::REFUSAL_TRAILER);
    trailer
        .and_then(|code| code.to_str().ok())
        .unwrap_or_default()
}

fn tls(federation: &Federation, consumer: &str, provider: &str) -> Result<ClientConfig, Error> {
    let (consumer, provider) = (federation.server(consumer)?, federation.server(provider)?);
    let identity = ReplaceableIdentity::load(
        Role::Authentication,
        &consumer.path("authentication.pem"),
        &consumer.path("authentication-key.pem"),
    )?;
    let server: ServerId = provider.endpoint().id.parse()?;
    let known = KnownServer::of(federation, provider)?;
    let tls = PeerTls::new(identity, Arc::new(known)).connector(&server)?;
    Ok(Arc::unwrap_or_clone(tls))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| "no random bytes")?;
    Ok(bytes)
}

/// The one server that a handmade peer expects at the other end.
pub(crate) struct KnownServer {
    certificate: Digest,
    server: ServerId,
    authorities: Arc<[TrustedAuthority]>,
}

impl KnownServer {
    pub(crate) fn of(federation: &Federation, server: &Server) -> Result<Self, Error> {
        let shown = CertificateDer::from_pem_file(server.path("authentication.pem"))?;
        Ok(Self {
            certificate: Digest::of(&shown),
            server: server.endpoint().id.parse()?,
            authorities: read_authorities(&federation.authority.certificate())?.into(),
        })
    }
}

impl RegisteredServers for KnownServer {
    fn server_of(&self, certificate: &Digest) -> Option<ServerId> {
        (*certificate == self.certificate).then(|| self.server.clone())
    }

    fn authorities(&self) -> Arc<[TrustedAuthority]> {
        Arc::clone(&self.authorities)
    }
}
