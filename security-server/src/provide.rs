//! The provider's route: answers the exchange of a peer security server.

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;
use trust::{Digest, Reason, Refusal, refusal::Side};

use crate::{
    exchange::{Provision, passed},
    frames::{FrameReader, ReceivedFrame},
    grpc::{
        body::{self, WrittenBody},
        reader::ReadError,
        status::refusal_trailers,
    },
    interruption::Interruption,
    refusals::is_signed,
    server::Server,
    stage::{
        answer::Answers,
        authorise::RefusedOpening,
        call_adapter::{Answering, ToAdapter},
    },
};

type PeerFrames = FrameReader<Incoming>;

/// Answers one call of a peer. The exchange runs in a task of its own, so that it is brought to a
/// recorded end even when the peer goes away.
pub(crate) fn answer(
    server: Arc<Server>,
    peer_certificate: Digest,
    requests: Incoming,
) -> Response<WrittenBody> {
    let (writer, replies) = body::channel();
    tokio::spawn(async move {
        let frames = FrameReader::new(requests, server.budget());
        let answers = Answers::new(writer);
        if let Err((refusal, answers)) = provide(&server, peer_certificate, frames, answers).await {
            server
                .refuse_peer(&peer_certificate, &refusal, answers)
                .await;
        }
    });
    let mut response = Response::new(replies);
    let content_type = http::HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    response
}

/// Answers one exchange. An error is a refusal of what could not be verified: it is not signed.
async fn provide(
    server: &Server,
    peer: Digest,
    mut frames: PeerFrames,
    answers: Answers,
) -> Result<(), (Refusal, Answers)> {
    let _open = match server.exchanges().enter() {
        Ok(open) => open,
        Err(refusal) => return Err((refusal, answers)),
    };
    let verified = async {
        let (envelope, share) = loop {
            if let Some(envelope) = server.envelope_of(next(&mut frames).await?)? {
                break envelope;
            }
        };
        server.verify_opening(peer, envelope, share) //         signature, speaker, fresh, not seen
    };
    let verified = match verified.await {
        Ok(verified) => verified,
        Err(refusal) => return Err((refusal, answers)),
    };
    let authorised = match server.authorise_opening(verified) {
        // after the signature, never before
        Ok(authorised) => authorised,
        Err(refused) => return server.answer_refused(*refused, answers).await,
    };
    let exchange = authorised.exchange();
    let opening = match server.record(authorised).await {
        //    durable before it is acted on
        Ok(opening) => opening,
        Err(refusal) => return Err((refusal, answers)),
    };
    let mut answers = answers;
    let outcome = tokio::select! {
        biased;
        () = passed(exchange.deadline) => Err(Interruption::deadline()),
        () = answers.reader_gone() => Err(Interruption::cancelled()),
        called = server.call_adapter(&exchange, opening) => called.map_err(Interruption::from),
    };
    let outcome = match outcome {
        Ok(ways) => converse(server, &exchange, frames, ways, &mut answers).await,
        Err(interruption) => Err(interruption),
    };
    server.finish_provision(&exchange, outcome, answers).await;
    Ok(())
}

/// Carries both directions until the final reply is sent.
async fn converse(
    server: &Server,
    exchange: &Provision,
    frames: PeerFrames,
    (to_adapter, answering): (ToAdapter, Answering),
    answers: &mut Answers,
) -> Result<(), Interruption> {
    tokio::select! {
        biased;
        answered = carry_replies(server, exchange, answering, answers) => answered,
        Err(interruption) = carry_requests(server, exchange, frames, to_adapter) => Err(interruption),
        () = passed(exchange.deadline) => Err(Interruption::deadline()),
    }
}

async fn carry_requests(
    server: &Server,
    exchange: &Provision,
    mut frames: PeerFrames,
    mut to_adapter: ToAdapter,
) -> Result<(), Interruption> {
    to_adapter.send_opening().await;
    while !exchange.lock().requests().is_finished() {
        let frame = next(&mut frames).await?;
        let Some((envelope, share)) = server.envelope_of(frame)? else {
            continue;
        };
        let request = server.verify_request(exchange, envelope, share)?; // and follows the last one
        let request = server.authorise(exchange, request)?; //             after the signature
        let request = server.record(request).await?; //                    before it is acted on
        to_adapter.send(request).await;
    }
    Ok(())
}

async fn carry_replies(
    server: &Server,
    exchange: &Provision,
    answering: Answering,
    answers: &mut Answers,
) -> Result<(), Interruption> {
    let mut from_adapter = tokio::select! {
        from_adapter = answering => from_adapter?,
        () = answers.reader_gone() => return Err(Interruption::cancelled()),
    };
    while !exchange.lock().replies().is_finished() {
        let part = tokio::select! {
            part = from_adapter.next() => part?,
            () = answers.reader_gone() => return Err(Interruption::cancelled()),
        };
        let reply = server.sign_reply(exchange, part)?; //      the member answers for it
        let reply = server.record(reply).await?; //             durable before it leaves
        answers.send(exchange, reply).await?;
    }
    Ok(())
}

/// The next frame of the peer.
async fn next(frames: &mut PeerFrames) -> Result<ReceivedFrame, Refusal> {
    match frames.next().await {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(Refusal::new(
            Reason::PeerLost,
            "the consumer ended without a final request",
        )),
        Err(ReadError::Refused(refusal)) => Err(refusal),
        Err(ReadError::Lost(why)) => {
            tracing::debug!(why, "a peer broke off");
            Err(Refusal::new(
                Reason::Cancelled,
                "the consumer gave up the exchange",
            ))
        }
    }
}

impl Server {
    /// Refuses a verified request: signed, and recorded together with what it refuses.
    async fn answer_refused(
        &self,
        refused: RefusedOpening,
        mut answers: Answers,
    ) -> Result<(), (Refusal, Answers)> {
        let Some(exchange) = refused.exchange.clone() else {
            return Err((refused.refusal, answers));
        };
        let answered = async {
            let reply = self.sign_refusal(&exchange, &refused.refusal)?;
            let reply = self.record_refusal(&refused, reply).await?;
            let _ = answers.send(&exchange, reply).await;
            Ok(())
        };
        match answered.await {
            Ok(()) => {
                let stated = self.stated(Side::Provider, refused.refusal.into());
                self.log_refused(Side::Provider, &exchange.parties, &stated);
                answers.end().await;
                Ok(())
            }
            Err(refusal) => Err((refusal, answers)),
        }
    }

    /// Brings an open exchange to a recorded end: its final reply, a signed refusal in its place,
    /// or a closing record when there is nobody left to answer.
    async fn finish_provision(
        &self,
        exchange: &Provision,
        outcome: Result<(), Interruption>,
        mut answers: Answers,
    ) {
        let Err(interruption) = outcome else {
            let (requests, replies) = exchange.counts();
            self.log_answered(Side::Provider, &exchange.parties, requests, replies);
            return answers.end().await;
        };
        let stated = self.stated(Side::Provider, interruption);
        if let Some(refusal) = stated.refusal.as_ref().filter(|refusal| is_signed(refusal))
            && let Ok(reply) = self.sign_refusal(exchange, refusal)
            && let Ok(reply) = self.record(reply).await
        {
            self.log_refused(Side::Provider, &exchange.parties, &stated);
            let _ = answers.send(exchange, reply).await;
            answers.end().await;
        } else {
            self.close_provision(exchange, &stated).await;
            answers.refuse(refusal_trailers(&stated.status)).await;
        }
    }

    /// Refuses a peer whose message could not be verified: typed, unsigned, and noted.
    async fn refuse_peer(&self, peer: &Digest, refusal: &Refusal, answers: Answers) {
        let stated = self.stated(Side::Provider, refusal.clone().into());
        self.note_refusal(&self.name_of_peer(peer), &stated.code, &stated.explanation)
            .await;
        answers.refuse(refusal_trailers(&stated.status)).await;
    }
}
