//! The consumer's route: carries a call of a local client to the provider, and the answer back.

use http::Request;
use tokio_util::sync::CancellationToken;
use trust::{ExchangeId, Refusal, SubsystemId, refusal::Side};

use crate::{
    client_call::{ClientCall, ClientParts, ConnectionIdentity},
    exchange::{Consumption, OpenExchange},
    http2::{received::ReceivedBody, server::Responder},
    interruption::{Interrupt, Interruption},
    server::Server,
    stage::{
        deliver::ReplyWriter,
        forward::{Inward, Outward},
    },
};

/// Answers one request of a client system: one call from its arrival to its recorded end, to which it is
/// brought even when the client goes away.
pub(crate) async fn answer(
    server: &Server,
    request: Request<ReceivedBody>,
    responder: Responder,
    identity: ConnectionIdentity,
    static_service: Option<SubsystemId>,
) {
    let id = server.new_exchange_id();
    let placed = CancellationToken::new();
    let budget = server.budgets().from_clients.of_exchange(&placed);
    let (call, parts) = ClientCall::new(request, identity, static_service, &budget);
    let mut reply = ReplyWriter::new(responder, id, call.request_id().to_owned());
    let (exchange, open) = match server.open_consumption(id, &call).await {
        Ok(opened) => opened,
        Err(refusal) => {
            let stated = server.stated(Side::Consumer, &refusal.into());
            let source = server.source_of(&call);
            Box::pin(server.note_refusal(&source, Some(id), &stated)).await;
            return Box::pin(reply.refuse(&stated.status)).await;
        }
    };
    match consume(server, &exchange, parts, placed, &mut reply).await {
        Ok(()) => {
            server.log_consumption(&exchange);
            drop(open);
            Box::pin(reply.finish()).await;
        }
        Err(interruption) => {
            let stated = server.stated(Side::Consumer, &interruption);
            Box::pin(server.close_consumption(&exchange, &stated)).await;
            drop(open);
            Box::pin(reply.refuse(&stated.status)).await;
        }
    }
}

/// Carries one call of an identified client to the resolved provider, and the answer back.
async fn consume(
    server: &Server,
    exchange: &Consumption,
    mut parts: ClientParts,
    placed: CancellationToken,
    reply: &mut ReplyWriter,
) -> Result<(), Interruption> {
    let interrupt = Interrupt::new(exchange.deadline, server);
    let part = interrupt.unless(parts.next()).await?;
    let request = server.sign_request(exchange, part).await?; //    the member answers for it
    let request = server.record(exchange, request).await?; //       durable before it leaves
    reply.name_request(exchange.lock().first_request());
    let opening = interrupt.unless(server.call_provider(exchange, request, placed));
    let (outward, inward) = reply.unless_gone_already(opening).await?;
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
    interrupt.unless(outward.forward_opening()).await?;
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
    async fn open_consumption(
        &self,
        id: ExchangeId,
        call: &ClientCall,
    ) -> Result<(Consumption, OpenExchange), Refusal> {
        let open = self.exchanges().enter(Side::Consumer)?;
        self.reference_time()?; //                                  a clock behind its log refuses
        let client = self.identify_client(call)?; //                which subsystem is calling?
        let exchange = self.resolve(&client, id, call).await?; //   which server provides it?
        Ok((exchange, open))
    }
}
