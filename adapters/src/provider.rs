//! A provider by hand: methods in Rust instead of SQL, each with the verified caller.
//!
//! ```no_run
//! # use adapters::provider::Provider;
//! # use prost_reflect::Value;
//! # async fn run(proto: &str) -> Result<(), Box<dyn std::error::Error>> {
//! Provider::new(proto)?
//!     .unary("FreeBeds", |mut call| async move {
//!         let ward = call.text("ward");
//!         println!("{} asks for {ward}, exchange {}", call.caller.client, call.caller.exchange_id);
//!         call.reply.set_field_by_name("free", Value::I64(3));
//!         Ok(call.reply)
//!     })?
//!     .serve("/run/beds.sock".as_ref(), std::future::pending())
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The `.proto` says which field identifies a person, in a line of its own in the field's comment: `@data-subject`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    future::Future,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage, ServiceDescriptor};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, StdError},
    metadata::MetadataMap,
    server::{Grpc, UnaryService},
    service::Routes,
    transport::Server,
};

use crate::{
    beside::beside,
    codec::DynamicCodec,
    configuration::Listen,
    error::Error,
    listening::Listener,
    schema::{Published, SchemaError},
};

/// The largest request and reply, as an adapter has them if nothing else is said.
const REQUEST_BYTES: usize = 1024 * 1024;
const REPLY_BYTES: usize = 16 * 1024 * 1024;

type Answer = Pin<Box<dyn Future<Output = Result<DynamicMessage, Status>> + Send>>;
type Handler = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// A service whose methods are answered by functions.
pub struct Provider {
    published: Published,
    service: ServiceDescriptor,
    methods: BTreeMap<String, Served>,
}

/// One call of a method.
pub struct Call {
    /// Who calls, and what for.
    pub caller: Caller,
    /// The request.
    pub request: DynamicMessage,
    /// A reply without fields, to be filled and given back.
    pub reply: DynamicMessage,
}

/// Without what is asked and for whom: that is for the provider, not for its log.
impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("exchange_id", &self.caller.exchange_id)
            .field("request", &self.request.descriptor().full_name())
            .finish_non_exhaustive()
    }
}

/// What the security server has verified of a call; empty where nothing was stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The subsystem that calls.
    pub client: String,
    /// The subsystem that is called.
    pub service: String,
    /// The exchange, by which auditors find the call.
    pub exchange_id: String,
    /// The caller's own name for the call; attempts at one thing have the same.
    pub id: String,
    /// The official.
    pub user_id: String,
    /// The case.
    pub issue: String,
    /// On whose behalf.
    pub represented_party: String,
    /// What for.
    pub purpose: String,
    /// Under which law.
    pub legal_basis: String,
    /// The id of the access right that allows the call.
    pub access_right: String,
}

#[derive(Clone)]
struct Served {
    method: MethodDescriptor,
    handler: Handler,
}

impl Provider {
    /// A provider of the one service of a `.proto`.
    ///
    /// # Errors
    /// When the text is none, or has not exactly one service.
    pub fn new(proto: &str) -> Result<Self, SchemaError> {
        let published = Published::of_text("provider.proto", proto)?;
        let service = published.only_service()?;
        Ok(Self {
            published,
            service,
            methods: BTreeMap::new(),
        })
    }

    /// Answers a unary method.
    ///
    /// # Errors
    /// When the service has no such method, or it streams.
    pub fn unary<F, A>(mut self, name: &str, answer: F) -> Result<Self, SchemaError>
    where
        F: Fn(Call) -> A + Send + Sync + 'static,
        A: Future<Output = Result<DynamicMessage, Status>> + Send + 'static,
    {
        let service = self.service.clone();
        let mut methods = service.methods();
        let found = methods.find(|method| {
            method.name() == name && !method.is_client_streaming() && !method.is_server_streaming()
        });
        let method =
            found.ok_or_else(|| SchemaError::of(format!("there is no unary method {name}")))?;
        let handler: Handler = Arc::new(move |call| Box::pin(answer(call)));
        self.methods
            .insert(name.to_owned(), Served { method, handler });
        Ok(self)
    }

    /// Answers calls on a Unix socket, which only the user of this program may open, until told to stop.
    ///
    /// # Errors
    /// When a method has no answer, or the socket cannot be used.
    pub async fn serve(self, socket: &Path, stop: impl Future<Output = ()>) -> Result<(), Error> {
        for method in self.service.methods() {
            if !self.methods.contains_key(method.name()) {
                let fault = format!("the method {} has no answer", method.name());
                return Err(SchemaError::of(fault).into());
            }
        }
        let (mut router, reporter) = beside(&self.published.descriptors)?;
        let name = self.service.full_name();
        reporter
            .set_service_status(name, tonic_health::ServingStatus::Serving)
            .await;
        for served in self.methods.into_values() {
            let path = format!("/{name}/{}", served.method.name());
            router = router.route_service(&path, served);
        }
        let listen = Listen::Unix {
            path: socket.to_owned(),
            group_may_connect: false,
        };
        let (listener, _address) = Listener::bind(&listen).await?;
        let server = Server::builder().add_routes(Routes::from(router).prepare());
        listener.serve(server, stop).await
    }
}

impl Call {
    /// The text of a request field; empty if it is absent or no text.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        let value = self.request.get_field_by_name(field);
        value
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

impl Caller {
    /// What a call says of its caller. Only a security server may be able to reach the provider: whoever else can, can say
    /// anything.
    ///
    /// # Errors
    /// UNAUTHENTICATED, when it does not come from a security server.
    pub fn of(metadata: &MetadataMap) -> Result<Self, Status> {
        let text = |key: &str| {
            let value = metadata
                .get(key)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            percent_decode_str(value).decode_utf8_lossy().into_owned()
        };
        let caller = Self {
            client: text("x-road-client"),
            service: text("x-road-service"),
            exchange_id: text("x-road-exchange-id"),
            id: text("x-road-id"),
            user_id: text("x-road-userid"),
            issue: text("x-road-issue"),
            represented_party: text("x-road-represented-party"),
            purpose: text("x-road-purpose"),
            legal_basis: text("x-road-legal-basis"),
            access_right: text("x-road-access-right"),
        };
        match caller.client.is_empty() || caller.exchange_id.is_empty() {
            true => Err(Status::unauthenticated(
                "this provider answers security servers only",
            )),
            false => Ok(caller),
        }
    }
}

impl UnaryService<Bytes> for Served {
    type Response = DynamicMessage;
    type Future = BoxFuture<Response<DynamicMessage>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let Self { method, handler } = self.clone();
        Box::pin(async move {
            let caller = Caller::of(request.metadata())?;
            let decoded = DynamicMessage::decode(method.input(), request.into_inner());
            let request = decoded.map_err(|_| {
                Status::invalid_argument("the request is not the message that the .proto describes")
            })?;
            let reply = DynamicMessage::new(method.output());
            let call = Call {
                caller,
                request,
                reply,
            };
            handler(call).await.map(Response::new)
        })
    }
}

impl<B> Service<http::Request<B>> for Served
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
    B::Data: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(DynamicCodec)
                .max_decoding_message_size(REQUEST_BYTES)
                .max_encoding_message_size(REPLY_BYTES);
            Ok(grpc.unary(service, request).await)
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.keys().collect();
        formatter
            .debug_struct("Provider")
            .field("methods", &methods)
            .finish_non_exhaustive()
    }
}
