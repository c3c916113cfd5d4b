//! The order, the chain and the answers of one exchange, as each side enforces them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use prost::bytes::Bytes;
use trust::{
    Digest, ExchangeId, MethodPath, Reason,
    exchange::{ConsumerExchange, ProviderExchange},
    header::{Answers, Direction, HEADER_LIMIT, Header, Parties, Statements},
};

fn parties() -> Parties {
    Parties {
        instance: "VN".parse().unwrap(),
        exchange: ExchangeId::from_parts(1_800_000_000_000, &[7; 10]),
        client: "VN/GOV/G01/desk".parse().unwrap(),
        service: "VN/GOV/G02/population".parse().unwrap(),
        method: MethodPath::parse("/vn.population.v1.Population/LookUp").unwrap(),
        consumer: "VN/GOV/G01/server-1".parse().unwrap(),
        provider: "VN/GOV/G02/server-1".parse().unwrap(),
    }
}

/// What stands for the digest of a message.
fn digest(direction: Direction, sequence: u64) -> Digest {
    Digest::of(format!("{}{sequence}", direction.name()).as_bytes())
}

fn request(sequence: u64) -> Header {
    let direction = Direction::Request;
    Header {
        parties: parties(),
        direction,
        sequence,
        is_final: false,
        refusal_code: None,
        configuration_serial: 1,
        created_at: 1_800_000_000,
        deadline_milliseconds: None,
        statements: Statements::default(),
        previous: sequence
            .checked_sub(1)
            .map(|before| digest(direction, before)),
        answers: None,
        status_code: None,
        promise: None,
        content_digest: Digest::of(b"content"),
    }
}

fn reply(sequence: u64, newest: u64) -> Header {
    let direction = Direction::Reply;
    Header {
        direction,
        previous: sequence
            .checked_sub(1)
            .map(|before| digest(direction, before)),
        answers: Some(Answers {
            first_request: digest(Direction::Request, 0),
            newest_sequence: newest,
            newest_request: digest(Direction::Request, newest),
        }),
        ..request(sequence)
    }
}

fn name(header: &Header) -> Digest {
    digest(header.direction, header.sequence)
}

/// A consumer that has sent this many requests.
fn consumer(requests: u64) -> ConsumerExchange {
    let mut consumer = ConsumerExchange::open(parties());
    for sequence in 0..requests {
        let request = request(sequence);
        consumer
            .sign_off(&request, name(&request), Digest::of(b"signature"))
            .unwrap();
    }
    consumer
}

fn provider() -> ProviderExchange {
    ProviderExchange::open(&request(0), digest(Direction::Request, 0)).unwrap()
}

fn accepted(consumer: &mut ConsumerExchange, reply: &Header) -> Result<(), Reason> {
    consumer
        .accept_reply(reply, name(reply))
        .map(drop)
        .map_err(|refusal| refusal.reason)
}

#[test]
fn an_exchange_opens_with_request_zero_only() {
    let opened = |header: &Header| {
        ProviderExchange::open(header, name(header))
            .map(drop)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(opened(&request(0)), Ok(()));
    assert_eq!(opened(&request(1)), Err(Reason::OutOfSequence));
    assert_eq!(opened(&reply(0, 0)), Err(Reason::DifferentExchange));
}

#[test]
fn requests_are_accepted_once_in_order_and_none_after_the_final_one() {
    let mut provider = provider();
    let mut accept = |header: &Header, digest| {
        provider
            .accept_request(header, digest)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(
        accept(&request(0), name(&request(0))),
        Err(Reason::OutOfSequence)
    );
    assert_eq!(
        accept(&request(2), name(&request(2))),
        Err(Reason::OutOfSequence)
    );
    let mut unchained = request(1);
    unchained.previous = Some(Digest::of(b"another message"));
    assert_eq!(
        accept(&unchained, name(&unchained)),
        Err(Reason::BrokenChain)
    );
    // What was refused has left no trace.
    let mut last = request(1);
    last.is_final = true;
    assert_eq!(accept(&last, name(&last)), Ok(()));
    assert_eq!(
        accept(&request(2), name(&request(2))),
        Err(Reason::OutOfSequence)
    );
    assert!(provider.requests().is_finished());
    assert_eq!(provider.requests().newest(), Some((1, name(&last))));
}

#[test]
fn a_message_of_other_parties_is_of_another_exchange() {
    type Change = fn(&mut Parties);
    let changes: [Change; 6] = [
        |parties| parties.exchange = ExchangeId::from_parts(1, &[8; 10]),
        |parties| parties.client = "VN/GOV/G01/archive".parse().unwrap(),
        |parties| parties.service = "VN/GOV/G02/tax".parse().unwrap(),
        |parties| parties.method = MethodPath::parse("/p.Other/LookUp").unwrap(),
        |parties| parties.consumer = "VN/GOV/G01/server-2".parse().unwrap(),
        |parties| parties.provider = "VN/GOV/G02/server-2".parse().unwrap(),
    ];
    for change in changes {
        let mut next = request(1);
        change(&mut next.parties);
        let refusal = provider().accept_request(&next, name(&next)).unwrap_err();
        assert_eq!(refusal.reason, Reason::DifferentExchange);

        let mut answer = reply(0, 0);
        change(&mut answer.parties);
        assert_eq!(
            accepted(&mut consumer(1), &answer),
            Err(Reason::DifferentExchange)
        );
    }
}

#[test]
fn a_request_is_no_reply_and_a_reply_no_request() {
    assert_eq!(
        accepted(&mut consumer(1), &request(1)),
        Err(Reason::DifferentExchange)
    );
    let refusal = provider()
        .accept_request(&reply(1, 0), name(&reply(1, 0)))
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::DifferentExchange);
}

#[test]
fn a_reply_names_our_first_request_and_one_that_we_sent() {
    let mut consumer = consumer(3);
    let mut other_first = reply(0, 0);
    other_first.answers.as_mut().unwrap().first_request = Digest::of(b"another request");
    assert_eq!(
        accepted(&mut consumer, &other_first),
        Err(Reason::DifferentExchange)
    );
    assert_eq!(
        accepted(&mut consumer, &reply(0, 3)),
        Err(Reason::DifferentExchange)
    );
    let mut wrong_pair = reply(0, 1);
    wrong_pair.answers.as_mut().unwrap().newest_request = digest(Direction::Request, 2);
    assert_eq!(
        accepted(&mut consumer, &wrong_pair),
        Err(Reason::DifferentExchange)
    );
    let mut nothing = reply(0, 0);
    nothing.answers = None;
    assert_eq!(
        accepted(&mut consumer, &nothing),
        Err(Reason::DifferentExchange)
    );
    assert_eq!(accepted(&mut consumer, &reply(0, 1)), Ok(()));
}

#[test]
fn a_reply_before_any_request_is_refused() {
    let mut nothing_sent = ConsumerExchange::open(parties());
    assert_eq!(
        accepted(&mut nothing_sent, &reply(0, 0)),
        Err(Reason::DifferentExchange)
    );
}

#[test]
fn replies_name_newer_requests_or_the_same_and_never_go_back() {
    let mut consumer = consumer(3);
    assert_eq!(accepted(&mut consumer, &reply(0, 1)), Ok(()));
    assert_eq!(accepted(&mut consumer, &reply(1, 1)), Ok(()));
    assert_eq!(
        accepted(&mut consumer, &reply(2, 0)),
        Err(Reason::DifferentExchange)
    );
    assert_eq!(accepted(&mut consumer, &reply(2, 2)), Ok(()));
}

#[test]
fn a_refused_reply_leaves_the_window_of_sent_requests_as_it_was() {
    let mut consumer = consumer(3);
    assert_eq!(
        accepted(&mut consumer, &reply(5, 2)),
        Err(Reason::OutOfSequence)
    );
    assert_eq!(accepted(&mut consumer, &reply(0, 0)), Ok(()));
}

#[test]
fn the_final_reply_ends_the_exchange() {
    let mut consumer = consumer(1);
    let mut last = reply(0, 0);
    last.is_final = true;
    last.status_code = Some(0);
    assert_eq!(accepted(&mut consumer, &last), Ok(()));
    assert!(consumer.replies().is_finished());
    assert_eq!(
        accepted(&mut consumer, &reply(1, 0)),
        Err(Reason::OutOfSequence)
    );
}

#[test]
fn the_window_of_sent_requests_is_bounded_and_forgets_the_oldest() {
    let mut consumer = consumer(16 * 1024 + 1);
    assert_eq!(
        accepted(&mut consumer, &reply(0, 0)),
        Err(Reason::DifferentExchange)
    );
    assert_eq!(accepted(&mut consumer, &reply(0, 1)), Ok(()));
    assert_eq!(
        consumer.first_request(),
        Some(digest(Direction::Request, 0))
    );
}

#[test]
fn the_provider_says_what_its_next_reply_has_to_name() {
    let mut provider = provider();
    assert_eq!(Some(provider.answers()), reply(0, 0).answers);
    provider.sign_off(&reply(0, 0), name(&reply(0, 0))).unwrap();
    provider
        .accept_request(&request(1), name(&request(1)))
        .unwrap();
    // Accepted is not recorded: a reply names only what is on disk.
    assert_eq!(Some(provider.answers()), reply(1, 0).answers);
    provider.note_recorded(Direction::Request);
    assert_eq!(Some(provider.answers()), reply(1, 1).answers);
    assert_eq!(provider.replies().next_sequence(), 1);
}

#[test]
fn a_header_knows_who_speaks_and_where_it_goes() {
    let (request, reply) = (request(0), reply(0, 0));
    let ends = |header: &Header| {
        let servers = (header.sending_server(), header.receiving_server());
        (
            header.speaker().to_string(),
            servers.0.to_string(),
            servers.1.to_string(),
        )
    };
    let text = |text: &str| text.to_owned();
    let (consumer, provider) = (text("VN/GOV/G01/server-1"), text("VN/GOV/G02/server-1"));
    let from_client = (text("VN/GOV/G01/desk"), consumer.clone(), provider.clone());
    assert_eq!(ends(&request), from_client);
    assert_eq!(
        ends(&reply),
        (text("VN/GOV/G02/population"), provider, consumer)
    );
}

#[test]
fn a_header_larger_than_the_limit_is_refused_before_it_is_parsed() {
    let refusal = Header::parse(&Bytes::from(vec![0xff; HEADER_LIMIT + 1])).unwrap_err();
    assert_eq!(refusal.reason, Reason::MalformedEnvelope);
    assert!(refusal.explanation.contains("bytes"), "{refusal}");
}
