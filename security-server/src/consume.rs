//! The consumer's route: carries a call of a local client to the provider, and the answer back.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use trust::{ExchangeId, Refusal, SubsystemId, refusal::Side};

use crate::{
    client_call::{ClientCall, ClientParts, ConnectionIdentity},
    exchange::{Consumption, OpenExchange},
    grpc::body::WrittenBody,
    interruption::{Interrupt, Interruption},
    server::Server,
    stage::{
        deliver::ReplyWriter,
        forward::{Inward, Outward},
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
    let (call, parts) = ClientCall::new(request, identity, static_service, server.budget());
    let reply = ReplyWriter::new(head, exchange, call.request_id().to_owned());
    // Boxed, since a task is moved several times before it runs.
    tokio::spawn(Box::pin(async move {
        route(&server, exchange, &call, parts, reply).await;
    }));
    // The task always answers; should it not, the client is told that something broke.
    answered
        .await
        .unwrap_or_else(|_| Response::new(WrittenBody::given_up()))
}

/// One call from its arrival to its recorded end.
async fn route(
    server: &Server,
    id: ExchangeId,
    call: &ClientCall,
    parts: ClientParts,
    mut reply: ReplyWriter,
) {
    let (exchange, _open) = match server.open_consumption(id, call) {
        Ok(opened) => opened,
        Err(refusal) => {
            let stated = server.stated(Side::Consumer, &refusal.into());
            let source = server.source_of(call);
            Box::pin(server.note_refusal(&source, Some(id), &stated)).await;
            return Box::pin(reply.refuse(&stated.status)).await;
        }
    };
    match consume(server, &exchange, parts, &mut reply).await {
        Ok(()) => server.log_consumption(&exchange),
        Err(interruption) => {
            let stated = server.stated(Side::Consumer, &interruption);
            Box::pin(server.close_consumption(&exchange, &stated)).await;
            Box::pin(reply.refuse(&stated.status)).await;
        }
    }
}

/// Carries one call of an identified client to the resolved provider, and the answer back.
async fn consume(
    server: &Server,
    exchange: &Consumption,
    mut parts: ClientParts,
    reply: &mut ReplyWriter,
) -> Result<(), Interruption> {
    let interrupt = Interrupt::new(exchange.deadline, server);
    let part = interrupt.unless(parts.next()).await?;
    let request = server.sign_request(exchange, part).await?; //    the member answers for it
    let request = server.record(exchange, request).await?; //       durable before it leaves
    reply.name_request(exchange.lock().first_request());
    let opening = interrupt.unless(server.forward_opening(exchange, request));
    let (outward, inward) = reply.unless_gone(opening).await?;
    interrupt
        .both(
            Box::pin(carry_requests(server, exchange, &interrupt, parts, outward)),
            Box::pin(carry_replies(server, exchange, &interrupt, inward, reply)),
        )
        .await
}

async fn carry_requests(
    server: &Server,
    exchange: &Consumption,
    interrupt: &Interrupt,
    mut parts: ClientParts,
    mut outward: Outward,
) -> Result<(), Interruption> {
    while !exchange.lock().requests().is_finished() {
        let part = interrupt.unless(parts.next()).await?;
        let request = server.sign_request(exchange, part).await?; // the member answers for it
        let request = server.record(exchange, request).await?; //   durable before it leaves
        interrupt.unless(outward.forward(request)).await?;
    }
    Ok(())
}

async fn carry_replies(
    server: &Server,
    exchange: &Consumption,
    interrupt: &Interrupt,
    mut inward: Inward,
    reply: &mut ReplyWriter,
) -> Result<(), Interruption> {
    while !exchange.lock().replies().is_finished() {
        let envelope = interrupt.unless(inward.next(server));
        let envelope = reply.unless_gone(envelope).await?;
        let answer = server.verify_reply(exchange, envelope).await?; // bound to our requests
        let answer = server.record(exchange, answer).await?; //     durable before it is delivered
        interrupt.unless(reply.deliver(answer)).await?;
    }
    inward.finish().await;
    Ok(())
}

impl Server {
    /// Identifies the client, resolves the provider, and opens the exchange.
    fn open_consumption(
        &self,
        id: ExchangeId,
        call: &ClientCall,
    ) -> Result<(Consumption, OpenExchange), Refusal> {
        let open = self.exchanges().enter(Side::Consumer)?;
        self.reference_time()?; //                                  a clock behind its log refuses
        let client = self.identify_client(call)?; //                which subsystem is calling?
        let exchange = self.resolve(&client, id, call)?; //         which server provides it?
        Ok((exchange, open))
    }
}
