//! One method path as a gRPC service: the grant of the call, its answer, and a line about it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use prost_reflect::DynamicMessage;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, StdError},
    server::{Grpc, ServerStreamingService, UnaryService},
};

use crate::{
    beside::no_such_method,
    call_record::CallRecord,
    codec::DynamicCodec,
    configuration::MethodKind,
    granting::GrantedMethod,
    reloading::Current,
    streaming::{Messages, remaining},
};

/// The gRPC service of one method path.
#[derive(Debug, Clone)]
pub(crate) struct MethodService {
    pub(crate) current: Arc<ArcSwap<Current>>,
    pub(crate) method: String,
}

/// The method as it is when a call begins.
#[derive(Debug, Clone)]
struct Begun(Arc<GrantedMethod>);

impl UnaryService<Bytes> for Begun {
    type Response = DynamicMessage;
    type Future = BoxFuture<Response<DynamicMessage>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let granted = Arc::clone(&self.0);
        Box::pin(async move {
            let mut record = CallRecord::begin(&granted.name, request.metadata());
            let served = match granted.choose(request.metadata()) {
                Ok(served) => served,
                Err(refusal) => return Err(record.refused(&refusal)),
            };
            let answered = match served.write {
                Some(_) => served.write_one(&request).await,
                None => served.answer_one(&request).await,
            };
            match answered {
                Ok(reply) => {
                    record.add_rows(1);
                    record.answered();
                    Ok(Response::new(reply))
                }
                Err(refusal) => Err(record.refused(&refusal)),
            }
        })
    }
}

impl ServerStreamingService<Bytes> for Begun {
    type Response = DynamicMessage;
    type ResponseStream = Messages;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let granted = Arc::clone(&self.0);
        Box::pin(async move {
            let mut record = CallRecord::begin(&granted.name, request.metadata());
            let served = match granted.choose(request.metadata()) {
                Ok(served) => served,
                Err(refusal) => return Err(record.refused(&refusal)),
            };
            if served.changes.is_some() {
                return match served.begin_changes(&request) {
                    Ok(feed) => Ok(Response::new(feed.into_messages(record))),
                    Err(refusal) => Err(record.refused(&refusal)),
                };
            }
            match served.begin_stream(&request).await {
                Ok(answer) => Ok(Response::new(remaining(served, answer, record))),
                Err(refusal) => Err(record.refused(&refusal)),
            }
        })
    }
}

impl<B> Service<http::Request<B>> for MethodService
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
        let granted = self.current.load().methods.get(&self.method).cloned();
        Box::pin(async move {
            // All that is answered of a method has one kind and the same limits.
            let first = granted.as_ref().and_then(|granted| granted.answers.first());
            let (Some((_, first)), Some(granted)) = (first.cloned(), granted) else {
                return Ok(no_such_method(request.uri().path()).into_http());
            };
            let service = Begun(granted);
            let limits = first.limits;
            let mut grpc = Grpc::new(DynamicCodec)
                .max_decoding_message_size(limits.request_bytes)
                .max_encoding_message_size(limits.reply_bytes);
            Ok(match first.method.kind {
                MethodKind::Unary => grpc.unary(service, request).await,
                MethodKind::ServerStreaming | MethodKind::Batches | MethodKind::Changes => {
                    grpc.server_streaming(service, request).await
                }
            })
        })
    }
}
