//! The consumer's route: carries a call of a local client to the provider, and the answer back.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use trust::{SubsystemId, refusal::Side};

use crate::{
    client_call::{ClientCall, ClientParts},
    exchange::{Consumption, passed},
    grpc::body::WrittenBody,
    interruption::Interruption,
    server::Server,
    stage::{
        deliver::ReplyWriter,
        forward::{Inward, Outward},
        identify_client::ConnectionIdentity,
    },
};

/// Answers one request of a client system. The exchange runs in a task of its own, so that it is
/// brought to a recorded end even when the client goes away.
pub(crate) async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
    identity: ConnectionIdentity,
    static_service: Option<SubsystemId>,
) -> Response<WrittenBody> {
    let (head, answered) = oneshot::channel();
    let exchange = server.new_exchange_id();
    let call = ClientCall::new(request, identity, static_service, server.budget());
    let (call, parts) = match call {
        Ok(call) => call,
        Err(refusal) => {
            let reply = ReplyWriter::new(head, exchange, String::new());
            server.refuse_client(reply, None, refusal.into()).await;
            return answered
                .await
                .unwrap_or_else(|_| Response::new(WrittenBody::empty()));
        }
    };
    tokio::spawn(async move {
        let mut reply = ReplyWriter::new(head, exchange, call.request_id().to_owned());
        let mut open = None;
        let route = async {
            let _open = server.exchanges().enter()?;
            let client = server.identify_client(&call)?;
            let exchange = open.insert(server.resolve(&client, exchange, &call)?);
            consume(&server, exchange, parts, &mut reply).await
        };
        match route.await {
            Ok(()) => open
                .iter()
                .for_each(|exchange| server.finish_consumption(exchange)),
            Err(interruption) => {
                server
                    .refuse_client(reply, open.as_ref(), interruption)
                    .await;
            }
        }
    });
    answered
        .await
        .unwrap_or_else(|_| Response::new(WrittenBody::empty()))
}

/// Carries one call of an identified client to the resolved provider, and the answer back.
async fn consume(
    server: &Server,
    exchange: &Consumption,
    mut parts: ClientParts,
    reply: &mut ReplyWriter,
) -> Result<(), Interruption> {
    let opening = parts.next().await.map_err(Interruption::from_client)?;
    let opening = server.sign_request(exchange, opening)?; //          the member answers for it
    reply.name_request(exchange.lock().first_request());
    let opening = server.record(opening).await?; //                    durable before it leaves
    tokio::select! {
        biased;
        () = passed(exchange.deadline) => Err(Interruption::deadline()),
        () = reply.reader_gone() => Err(Interruption::cancelled()),
        opened = server.forward_opening(exchange, opening) => opened,
    }
    .map(|ways| converse(server, exchange, parts, ways, reply))?
    .await
}

/// Carries the rest of both directions until the final reply is delivered.
async fn converse(
    server: &Server,
    exchange: &Consumption,
    parts: ClientParts,
    (outward, inward): (Outward, Inward),
    reply: &mut ReplyWriter,
) -> Result<(), Interruption> {
    tokio::select! {
        biased;
        answered = carry_replies(server, exchange, inward, reply) => answered,
        Err(interruption) = carry_requests(server, exchange, parts, outward) => Err(interruption),
        () = passed(exchange.deadline) => Err(Interruption::deadline()),
    }
}

async fn carry_requests(
    server: &Server,
    exchange: &Consumption,
    mut parts: ClientParts,
    mut outward: Outward,
) -> Result<(), Interruption> {
    while !exchange.lock().requests().is_finished() {
        let part = parts.next().await.map_err(Interruption::from_client)?;
        let request = server.sign_request(exchange, part)?; //         the member answers for it
        let request = server.record(request).await?; //                durable before it leaves
        outward.forward(request).await;
    }
    Ok(())
}

async fn carry_replies(
    server: &Server,
    exchange: &Consumption,
    mut inward: Inward,
    reply: &mut ReplyWriter,
) -> Result<(), Interruption> {
    while !exchange.lock().replies().is_finished() {
        let frame = tokio::select! {
            frame = inward.next() => frame?,
            () = reply.reader_gone() => return Err(Interruption::cancelled()),
        };
        let Some((envelope, share)) = server.envelope_of(frame)? else {
            continue;
        };
        let peer = inward.peer_certificate;
        let answer = server.verify_reply(exchange, peer, envelope, share)?; // bound to our request
        let answer = server.record(answer).await?; //                  durable before it is seen
        reply.deliver(answer).await?;
    }
    Ok(())
}

impl Server {
    /// Ends a call that was not answered: the client is told, and the log is told of an exchange
    /// that was open.
    async fn refuse_client(
        &self,
        reply: ReplyWriter,
        exchange: Option<&Consumption>,
        interruption: Interruption,
    ) {
        let stated = self.stated(Side::Consumer, interruption);
        match exchange {
            Some(exchange) => self.close_consumption(exchange, &stated).await,
            None => {
                self.note_refusal("a client", &stated.code, &stated.explanation)
                    .await
            }
        }
        reply.refuse(&stated.status).await;
    }

    fn finish_consumption(&self, exchange: &Consumption) {
        let state = exchange.lock();
        let (requests, replies) = (
            state.requests().next_sequence(),
            state.replies().next_sequence(),
        );
        drop(state);
        self.log_answered(Side::Consumer, &exchange.parties, requests, replies);
    }
}
