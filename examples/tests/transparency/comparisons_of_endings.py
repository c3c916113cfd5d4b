"""Comparisons of deadlines and cancellation: who ends a call, and that the other end learns of it."""

from comparison import comparison, for_each_kind
from compiled import messages
from side import KINDS, Requests, require

# The first is far off, so that a slow machine does not reach it; the second is to be reached.
FAR_SECONDS = 40
NEAR_SECONDS = 1.5


@for_each_kind("deadline.seen")
def deadline_seen(side, kind):
    """the provider sees the time that the client has left, and not more"""
    call = side.begin(kind, [["read", -1], ["answer", 1, 4]], timeout=FAR_SECONDS)
    observation = call.observe()
    remaining = side.ask(call.key, "ended")[1]["remaining"]
    require(remaining is not None, "the provider saw no deadline")
    # Clients write grpc-timeout with three digits and round up.
    in_range = FAR_SECONDS / 2 < remaining <= FAR_SECONDS * 1.01
    require(in_range, f"the provider saw {remaining:.1f} s of {FAR_SECONDS} s")
    return observation


@comparison("deadline.none")
def no_deadline(side):
    """a call without a deadline has none at the provider"""
    observation = side.complete("Unary", [["read", -1], ["answer", 1, 4]])
    require(not observation["provider: has a deadline"], "a deadline appeared")
    return {"provider: has a deadline": observation["provider: has a deadline"]}


@comparison("deadline.passed")
def deadline_passed(side):
    """all kinds: the client sees DEADLINE_EXCEEDED, and the provider's call is over too"""
    return _passed(side, KINDS, [["wait"]], answers=0)


@comparison("deadline.passed-in-stream")
def deadline_passed_in_stream(side):
    """the deadline counts for the whole stream, not to its first answer"""
    script = [["read", 1], ["answer", 3, 10], ["wait"]]
    return _passed(side, ("ServerStream", "Bidirectional"), script, answers=3)


def _passed(side, kinds, script, answers):
    calls = {}
    for kind in kinds:
        # The client's side stays open where it can.
        requests = Requests(messages.Message(number=1, body=b"hello"))
        calls[kind] = side.begin(kind, script, requests, timeout=NEAR_SECONDS)
    for call in calls.values():
        for _ in range(answers):
            call.next()
    seen = {}
    for kind, call in calls.items():
        outcome = call.outcome()
        # The words may come from either end, whose clock strikes first.
        require(outcome.pop("message") is not None, "no message")
        require(outcome["code"] == "DEADLINE_EXCEEDED", f"{kind}: the client saw {outcome['code']}")
        seen[kind] = {**outcome, **_at_the_provider(call)}
    return seen


@for_each_kind("cancel.before-answer")
def cancelled_before_answer(side, kind):
    """the client cancels while the provider is at work, and the provider learns of it"""
    requests = [messages.Message()] if kind in ("Unary", "ServerStream") else Requests()
    call = side.begin(kind, [["wait"]], requests)
    require(call.reached("begun"), "the provider never saw the call")
    call.cancel()
    return {"code": call.rpc.code().name, **_at_the_provider(call)}


@comparison("cancel.between-answers")
def cancelled_between_answers(side):
    """the client cancels a stream after its third answer"""
    call = side.begin("ServerStream", [["read", -1], ["answer", 3, 10], ["wait"]])
    for _ in range(3):
        require(call.next() is not None, "an answer is missing")
    call.cancel()
    return {"code": call.rpc.code().name, "answers": call.received, **_at_the_provider(call)}


@comparison("cancel.between-requests")
def cancelled_between_requests(side):
    """the client cancels a stream after its second request"""
    requests = Requests(messages.Message(number=1), messages.Message(number=2))
    call = side.begin("ClientStream", [["read", -1], ["wait"]], requests)
    require(call.reached("received", 2), "the requests did not arrive")
    call.cancel()
    ending = _at_the_provider(call)
    requests.half_close()
    return {"code": call.rpc.code().name, **ending}


@comparison("cancel.ping-pong")
def cancelled_ping_pong(side):
    """the client cancels a bidirectional call after two rounds"""
    requests = Requests()
    call = side.begin("Bidirectional", [["echo"], ["wait"]], requests)
    for number in range(2):
        requests.send(messages.Message(number=number))
        require(call.next() is not None, "an answer is missing")
    call.cancel()
    ending = _at_the_provider(call)
    requests.half_close()
    return {"code": call.rpc.code().name, "answers": call.received, **ending}


@comparison("cancel.slow-reader")
def cancelled_slow_reader(side):
    """the client cancels a stream that flow control holds back"""
    call = side.begin("ServerStream", [["read", -1], ["answer", 1000, 48 << 10]])
    require(call.next() is not None, "no first answer")
    call.cancel()
    return {"code": call.rpc.code().name, **_at_the_provider(call)}


def _at_the_provider(call):
    """Whether the provider was told that nobody waits any more, and what it had received."""
    ended, provider = call.side.ask(call.key, "ended")
    return {
        "provider: told of the end": ended,
        "provider: cancelled": provider["cancelled"],
        "provider: received": provider["received"],
    }
