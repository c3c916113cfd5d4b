//! The provider's route: answers the exchange of a peer security server.

use tokio_util::sync::CancellationToken;
use trust::{Digest, Refusal, refusal::Side};

use crate::{
    exchange::Provision,
    grpc::status::refusal_trailers,
    http2::{received::ReceivedBody, server::Responder},
    interruption::{Interrupt, Interruption},
    peer_frames::PeerFrames,
    refusals::is_signed,
    server::Server,
    stage::{
        answer::Answers,
        authorise::{AuthorisedOpening, RefusedOpening, RefusedRequest},
        call_adapter::{Answering, ToAdapter},
        record::Recorded,
    },
};

/// Answers one call of a peer: brought to a recorded end even when the peer goes away.
pub(crate) async fn answer(
    server: &Server,
    peer_certificate: Digest,
    requests: ReceivedBody,
    responder: Responder,
) {
    let placed = CancellationToken::new();
    let budget = server.budgets().from_consumers.of_exchange(&placed);
    let frames = PeerFrames::new(requests, peer_certificate, &budget);
    let mut answers = Answers::new(responder, placed);
    match provide(server, frames, &mut answers).await {
        Ok(()) => Box::pin(answers.end()).await,
        Err(refusal) => Box::pin(server.refuse_peer(&peer_certificate, refusal, answers)).await,
    }
}

/// Answers one exchange. An error is a refusal that is not signed: of what was not verified, or
/// when it cannot be recorded.
async fn provide(
    server: &Server,
    mut frames: PeerFrames,
    answers: &mut Answers,
) -> Result<(), Refusal> {
    let _open = server.exchanges().enter(Side::Provider)?;
    let opening = Interrupt::opening(server);
    let envelope = opening.unless_late(frames.next(server));
    let envelope = answers.unless_gone(envelope).await?;
    let request = server.verify_opening(envelope).await?; //        signature, speaker, fresh, new
    let request = match server.authorise_opening(request).await {
        //      after the signature, not before
        Ok(request) => request,
        Err(refused) => return Box::pin(server.answer_refused(*refused, answers)).await,
    };
    let exchange = request.exchange();
    let request = server.record(&*exchange, request).await?; //     durable before it is acted on
    let outcome = converse(server, &exchange, request, frames, answers).await;
    match outcome {
        Ok(()) => {
            server.log_answered(Side::Provider, &exchange.parties, &exchange.counts());
            Ok(())
        }
        Err(interruption) => {
            Box::pin(server.finish_provision(&exchange, interruption, answers)).await
        }
    }
}

/// Calls the adapter and carries both directions until the final reply is sent.
async fn converse(
    server: &Server,
    exchange: &Provision,
    request: Recorded<AuthorisedOpening>,
    frames: PeerFrames,
    answers: &mut Answers,
) -> Result<(), Interruption> {
    let interrupt = Interrupt::new(exchange.deadline, server);
    let calling = interrupt.unless(server.call_adapter(exchange, request));
    let (to_adapter, answering) = answers.unless_gone_already(calling).await?;
    answers.tell_of_places(exchange.lock().requests().is_finished());
    interrupt
        .both(
            Box::pin(carry_requests(
                server, exchange, &interrupt, frames, to_adapter,
            )),
            Box::pin(carry_replies(
                server, exchange, &interrupt, answering, answers,
            )),
        )
        .await
}

async fn carry_requests(
    server: &Server,
    exchange: &Provision,
    interrupt: &Interrupt,
    mut frames: PeerFrames,
    mut to_adapter: ToAdapter,
) -> Result<(), Interruption> {
    interrupt.unless(to_adapter.send_opening()).await?;
    while !exchange.lock().requests().is_finished() {
        let envelope = interrupt.unless(frames.next(server)).await?;
        let request = server.verify_request(exchange, envelope).await?; // and follows the last
        let request = server.authorise(exchange, request)?; //         after the signature
        let request = server.record(exchange, request).await?; //      before it is acted on
        interrupt.unless(to_adapter.send(request)).await?;
    }
    Ok(())
}

async fn carry_replies(
    server: &Server,
    exchange: &Provision,
    interrupt: &Interrupt,
    answering: Answering,
    answers: &mut Answers,
) -> Result<(), Interruption> {
    let mut from_adapter = answers
        .unless_gone(interrupt.unless(answering.response()))
        .await?;
    while !exchange.lock().replies().is_finished() {
        let part = answers
            .unless_gone(interrupt.unless(from_adapter.next()))
            .await?;
        let reply = server.sign_reply(exchange, part).await?; //    the member answers for it
        answers.promise_to_send(); //                               or nothing may follow
        let reply = server.record(exchange, reply).await?; //       durable before it leaves
        interrupt.unless(answers.send(exchange, reply)).await?;
    }
    Ok(())
}

impl Server {
    /// Refuses a verified first request.
    async fn answer_refused(
        &self,
        refused: RefusedOpening,
        answers: &mut Answers,
    ) -> Result<(), Refusal> {
        match refused.exchange {
            Some(exchange) => {
                let client = &exchange.parties.client;
                self.notes().may_sign(client, self.clock().seconds())?;
                self.refuse_request(&exchange, refused.refused, answers)
                    .await
            }
            None => Err(refused.refused.refusal),
        }
    }

    /// Refuses a verified request: signed, and recorded together with what it refuses.
    async fn refuse_request(
        &self,
        exchange: &Provision,
        refused: RefusedRequest,
        answers: &mut Answers,
    ) -> Result<(), Refusal> {
        let reply = self.sign_refusal(exchange, &refused.refusal).await?;
        let reply = self.record_refusal(exchange, &refused, reply).await?;
        let stated = self.stated(Side::Provider, &refused.refusal.into());
        self.log_refused(Side::Provider, &exchange.parties, &stated);
        // Recorded; a peer that is gone is not told.
        answers.send_last(exchange, reply).await;
        Ok(())
    }

    /// Brings an interrupted exchange to a recorded end: a signed refusal in place of its final
    /// reply, or a closing record when there is nobody left to answer.
    async fn finish_provision(
        &self,
        exchange: &Provision,
        interruption: Interruption,
        answers: &mut Answers,
    ) -> Result<(), Refusal> {
        let stated = self.stated(Side::Provider, &interruption);
        let signed = answers.can_follow()
            && match interruption {
                Interruption::RefusedRequest(refused) => self
                    .refuse_request(exchange, *refused, answers)
                    .await
                    .is_ok(),
                Interruption::Refused(refusal) if is_signed(&refusal) => self
                    .refuse_exchange(exchange, &refusal, answers)
                    .await
                    .is_ok(),
                Interruption::Refused(_) | Interruption::Said(_) => false,
            };
        if !signed {
            self.close_provision(exchange, &stated).await;
            answers.end_with(refusal_trailers(&stated.status));
        }
        Ok(())
    }

    /// Refuses an open exchange: the refusal is its final reply.
    async fn refuse_exchange(
        &self,
        exchange: &Provision,
        refusal: &Refusal,
        answers: &mut Answers,
    ) -> Result<(), Refusal> {
        let reply = self.sign_refusal(exchange, refusal).await?;
        let reply = self.record(exchange, reply).await?;
        let stated = self.stated(Side::Provider, &refusal.clone().into());
        self.log_refused(Side::Provider, &exchange.parties, &stated);
        // Recorded; a peer that is gone is not told.
        answers.send_last(exchange, reply).await;
        Ok(())
    }

    /// Refuses a peer whose message could not be verified: typed, unsigned, and noted.
    async fn refuse_peer(&self, peer: &Digest, refusal: Refusal, mut answers: Answers) {
        let stated = self.stated(Side::Provider, &refusal.into());
        let source = self.name_of_peer(peer);
        self.note_refusal(&source, None, &stated).await;
        answers.end_with(refusal_trailers(&stated.status));
        answers.end().await;
    }
}
