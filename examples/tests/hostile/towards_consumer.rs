//! Replies that an honest consumer must not deliver.

use bytes::Bytes;
use examples::{
    bare_caller::{Answer, BareCaller},
    handmade_provider::{PROMISED_PLACE, ReceivedCall},
    message_log::MessageLog,
    mirror,
    waiting::wait_for,
};
use proto::exchange::GetCheckpointReply;
use tonic::Code;
use trust::{
    Content, Digest, ExchangeId,
    checkpoint::{Checkpoint, Origin},
    header::Direction,
    merkle::{Tree, joint_proof, leaf_hash},
    refusal::{Side, fault_of as fault_by_table},
};

use crate::{
    fault_of,
    not_an_answer::NOT_AN_ANSWER,
    replies::{
        Case, FORGED, NOT_THE_SECOND, Scene, Step, TRUE, UNSIGNED_REFUSALS, no_right,
        right_and_more, signed,
    },
    stage::{CLIENT, CONSUMER, GUEST, GUEST_MEMBER, HANDMADE, HOSTILE, SERVICE, Signatory, Stage},
    status_of,
};

/// Who plays, and what was played before.
struct Play {
    caller: BareCaller,
    guest: Signatory,
    owner: Signatory,
    /// The exchange before this one, with the digest of its first request.
    former: (ExchangeId, Digest),
    /// What must stand in the log at the end.
    played: Vec<Played>,
}

/// How an exchange must have ended in the log.
struct Played {
    what: String,
    exchange: (ExchangeId, Digest),
    /// The outcome of its closing record; none when it was answered.
    closed: Option<&'static str>,
    /// How many replies were delivered.
    delivered: usize,
}

pub async fn act(stage: &mut Stage) {
    let consumer = stage.federation.server("consumer").unwrap();
    let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
    let mut play = Play {
        caller: caller.await.unwrap(),
        guest: stage.member(GUEST_MEMBER),
        owner: stage.member(HOSTILE),
        former: (ExchangeId::from_parts(0, &[0; 10]), Digest::of(b"")),
        played: Vec::new(),
    };
    for case in NOT_AN_ANSWER {
        play.refused(stage, case, CONSUMER, &[]).await;
    }
    for case in NOT_THE_SECOND {
        play.refused(stage, case, CONSUMER, &[TRUE]).await;
    }
    for case in UNSIGNED_REFUSALS {
        play.refused(stage, case, HANDMADE, &[]).await;
    }
    play.signed_refusals_are_passed_on(stage).await;
    play.the_final_reply_is_the_last(stage).await;
    play.honest_exchanges_still_work(stage).await;
    a_broken_promise_is_proven(stage).await;
    let log = stage.log("consumer");
    play.played.iter().for_each(|played| played.check(&log));
}

impl Play {
    /// Calls the hostile provider and answers as `steps` say.
    async fn perform(
        &mut self,
        stage: &mut Stage,
        steps: impl FnOnce(&Scene<'_>) -> Vec<Step>,
    ) -> Answer {
        let metadata = [("x-road-service", GUEST)];
        let calling = self.caller.call(mirror::LOOK, &metadata, b"hello");
        let answering = async {
            let call = stage.handmade.next_call().await.unwrap();
            let scene = Scene {
                stage,
                call: &call,
                guest: &self.guest,
                owner: &self.owner,
                former: self.former,
            };
            let steps = steps(&scene);
            let played = (call.request.parties.exchange, call.digest);
            send(call, steps).await;
            played
        };
        let (answer, played) = tokio::join!(calling, answering);
        self.former = played;
        let answer = answer.unwrap();
        let exchange = played.0.to_string();
        assert_eq!(answer.field("x-road-exchange-id"), Some(&*exchange));
        let digest = played.1.to_string();
        assert_eq!(answer.field("x-road-request-hash"), Some(&*digest));
        assert!(!answer.messages.iter().any(|message| message == FORGED));
        answer
    }

    /// The call ends with the refusal, and the log says so.
    async fn refused(
        &mut self,
        stage: &mut Stage,
        case: &'static Case,
        server: &str,
        delivered: &[&[u8]],
    ) {
        let answer = self.perform(stage, case.steps).await;
        let what = format!("{}: {}", case.what, answer.status.message());
        assert_eq!(answer.field("x-road-refusal"), Some(case.refusal), "{what}");
        assert_eq!(answer.status.code(), status_of(case.refusal), "{what}");
        assert_eq!(answer.field("x-road-server"), Some(server), "{what}");
        let fault = fault_of(case.refusal).name();
        assert_eq!(answer.field("x-road-fault"), Some(fault), "{what}");
        assert!(
            what.contains(case.names),
            "{what} does not name {}",
            case.names
        );
        assert_eq!(answer.messages, delivered, "{what}");
        let outcome = match case.refusal.split_once('.').unwrap() {
            ("consumer", reason) => reason,
            _ => "refused",
        };
        self.note(what, Some(outcome), delivered.len());
    }

    fn note(&mut self, what: impl Into<String>, closed: Option<&'static str>, delivered: usize) {
        self.played.push(Played {
            what: what.into(),
            exchange: self.former,
            closed,
            delivered,
        });
    }

    /// Only a refusal may be signed by the server's owner; then it is the answer.
    async fn signed_refusals_are_passed_on(&mut self, stage: &mut Stage) {
        let by_owner = |scene: &Scene<'_>| {
            let refusal = scene
                .owner
                .sign(scene.refusal(), Content::encode(&no_right()));
            signed(&[scene.owner], &refusal)
        };
        let by_member = |scene: &Scene<'_>| {
            let refusal = scene
                .guest
                .sign(scene.refusal(), Content::encode(&no_right()));
            signed(&[scene.guest], &refusal)
        };
        let ways: [fn(&Scene<'_>) -> Vec<Step>; 2] = [by_owner, by_member];
        for way in ways {
            let answer = self.perform(stage, way).await;
            let refusal = "provider.access_denied";
            assert_eq!(
                answer.field("x-road-refusal"),
                Some(refusal),
                "{:?}",
                answer.status
            );
            assert_eq!(answer.status.code(), Code::PermissionDenied);
            assert_eq!(answer.status.message(), "no right");
            assert_eq!(answer.field("x-road-server"), Some(HANDMADE));
            let fault = fault_by_table(refusal, Side::Provider).unwrap().name();
            assert_eq!(answer.field("x-road-fault"), Some(fault));
            self.note("a signed refusal", None, 1);
        }
    }

    async fn the_final_reply_is_the_last(&mut self, stage: &mut Stage) {
        let answer = self.perform(stage, right_and_more).await;
        assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
        assert_eq!(answer.messages, [TRUE]);
        let own = ["x-road-exchange-id", "x-road-id", "x-road-request-hash"];
        assert_eq!(answer.bus_fields(), own);
        assert!(
            answer.field("own").is_some(),
            "the rest of the metadata passes"
        );
        self.note("two final replies", None, 1);
    }

    async fn honest_exchanges_still_work(&self, stage: &Stage) {
        let before = stage.mirror.calls();
        let metadata = [("x-road-service", SERVICE)];
        let answer = self.caller.call(mirror::LOOK, &metadata, b"hello").await;
        assert_eq!(answer.unwrap().status.code(), Code::Ok);
        assert_eq!(stage.mirror.calls(), before + 1);
        let health = "/grpc.health.v1.Health/Check";
        let answer = self.caller.call(health, &[], b"").await.unwrap();
        assert_eq!(answer.messages, [&b"\x08\x01"[..]], "serving");
    }
}

/// The provider promised a place for each request that it answered, and now proves that another
/// record stands there: with its own signature, so that it cannot deny it.
async fn a_broken_promise_is_proven(stage: &Stage) {
    let leaves = (0..PROMISED_PLACE + 9).map(|at| leaf_hash(&at.to_be_bytes()));
    let tree = Tree::new(leaves.collect());
    let origin: Origin = format!("{HANDMADE}/1").parse().unwrap();
    let (size, root) = (tree.size(), tree.root());
    let checkpoint = Checkpoint {
        origin: origin.clone(),
        size,
        root,
    };
    let proof = joint_proof(&tree, &[PROMISED_PLACE], size).unwrap();
    stage.handmade.prove(Some(GetCheckpointReply {
        checkpoint: checkpoint
            .sign(stage.handmade_log_key().key_pair())
            .as_bytes()
            .clone(),
        consistency: Vec::new(),
        leaves: vec![leaf_hash(&PROMISED_PLACE.to_be_bytes()).to_bytes()],
        inclusion: proof.into_iter().map(Digest::to_bytes).collect(),
    }));
    let recorded = wait_for("a broken promise to be recorded", || async {
        let recorded = stage.log("consumer").peer_checkpoints;
        let mut of_handmade = recorded
            .into_iter()
            .filter(|of| of.origin == origin.as_str());
        of_handmade.find(|of| of.verdict == "promise_broken")
    });
    assert_eq!(recorded.await.unwrap().promised, [PROMISED_PLACE]);
    let said = stage.federation.audit().await.unwrap_err().to_string();
    assert!(said.contains("broken by VN/GOV/E/handmade"), "{said}");
}

impl Played {
    /// Of the replies only those that were delivered, and a closing record unless one was final.
    fn check(&self, log: &MessageLog) {
        let (what, (exchange, digest)) = (&self.what, self.exchange);
        let of = |direction| {
            let messages = log.messages_of(exchange);
            messages.filter(move |entry| entry.header.direction == direction)
        };
        let first = of(Direction::Request).next();
        assert_eq!(first.map(|entry| entry.digest), Some(digest), "{what}");
        assert_eq!(of(Direction::Reply).count(), self.delivered, "{what}");
        let newest = of(Direction::Reply).last().map(|entry| &entry.header);
        let closings = log.closings_of(exchange);
        let Some(outcome) = self.closed else {
            assert!(newest.is_some_and(|header| header.is_final) && closings.is_empty());
            return;
        };
        let [closing] = closings[..] else {
            panic!("{what}: {} closing records", closings.len());
        };
        assert_eq!(
            (&*closing.side, &*closing.outcome),
            ("consumer", outcome),
            "{what}"
        );
        assert_eq!(
            closing.reply_sequence,
            newest.map(|header| header.sequence),
            "{what}"
        );
    }
}

async fn send(call: ReceivedCall, steps: Vec<Step>) {
    for step in steps {
        // A consumer that has refused what came before no longer listens.
        let _ = match step {
            Step::Frame(frame) => call.send(&frame).await,
            Step::Bytes(bytes) => call.send_bytes(Bytes::from_static(bytes)).await,
            Step::Trailers(trailers) => return drop(call.end(trailers).await),
            Step::Reset => return drop(call.reset().await),
        };
    }
    call.wait_until_given_up().await;
}
