"""Comparisons of whole calls: messages, their order and size, half closing, flow control, many at once."""

import threading

from comparison import comparison, for_each_kind
from compiled import messages
from side import KINDS, Requests, numbered, require

READ_ALL = ["read", -1]


@for_each_kind("plain")
def plain(side, kind):
    """three short messages each way, as far as the kind allows"""
    requests = numbered([b"one", b"two", b"three"])
    observation = side.complete(kind, [READ_ALL, ["answer", 3, 10]], requests)
    require(observation["code"] == "OK", "the call did not succeed")
    return observation


@for_each_kind("empty")
def empty(side, kind):
    """messages of length zero are messages"""
    script = [READ_ALL, ["answer_bodies", [[0, ""], [2, "full"], [0, ""]]]]
    if kind in ("Unary", "ClientStream"):
        script = [READ_ALL, ["answer_bodies", [[0, ""]]]]
    observation = side.complete(kind, script, [messages.Message(), messages.Message()])
    require(observation["answers"][0][1] == 0, "no empty answer")
    return observation


@comparison("none.ServerStream")
def no_answers(side):
    """a stream of no answers that succeeds"""
    return side.complete("ServerStream", [READ_ALL])


@comparison("none.ClientStream")
def no_requests(side):
    """a stream of no requests that is answered"""
    return side.complete("ClientStream", [READ_ALL, ["answer", 1, 5]], [])


@comparison("none.Bidirectional")
def nothing_at_all(side):
    """no message in either direction"""
    return side.complete("Bidirectional", [READ_ALL], [])


def _register_size(size, words):
    def observe(side):
        body = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
        script = [READ_ALL, ["answer", 1, size]]
        observation = side.complete("Unary", script, [messages.Message(number=7, body=body)])
        require(observation["code"] == "OK", f"{observation['code']}: {observation['message']}")
        require(observation["answers"][0][1] == size, "the answer has another length")
        return observation

    observe.__doc__ = f"a message of {words} each way"
    comparison(f"size.{words.replace(' ', '-')}")(observe)


for size, words in ((1, "1 byte"), (1 << 16, "64 KiB"), (3 << 20, "3 MiB"), (15 << 20, "15 MiB")):
    _register_size(size, words)


@comparison("size.stream")
def large_messages_in_a_stream(side):
    """four messages of 1 MiB in each direction of a bidirectional call"""
    return side.complete("Bidirectional", [["echo"]], numbered([b"m" * (1 << 20)] * 4))


@comparison("order.ServerStream")
def order_of_answers(side):
    """1,000 numbered answers arrive complete and in order"""
    observation = side.complete("ServerStream", [READ_ALL, ["answer", 1000, 20]])
    numbers = [number for number, *_ in observation["answers"]]
    require(len(numbers) == 1000, "not 1,000 answers")
    return observation


@comparison("order.ClientStream")
def order_of_requests(side):
    """300 numbered requests arrive complete and in order"""
    requests = numbered(str(n).encode() for n in range(300))
    observation = side.complete("ClientStream", [READ_ALL, ["answer", 1, 3]], requests)
    require(len(observation["provider: received"]) == 300, "not 300 requests")
    return observation


@comparison("ping-pong")
def ping_pong(side):
    """200 rounds, each request sent only after the answer to the one before it"""
    requests = Requests()
    call = side.begin("Bidirectional", [["echo"]], requests)
    for number in range(200):
        requests.send(messages.Message(number=number, body=b"ping %d" % number))
        answer = call.next()
        require(answer is not None, f"no answer in round {number}")
    requests.half_close()
    return call.observe()


@comparison("at-once.ClientStream")
def requests_travel_at_once(side):
    """each request reaches the provider before the next is sent"""
    requests = Requests()
    call = side.begin("ClientStream", [READ_ALL, ["answer", 1, 3]], requests)
    arrivals = []
    for number in range(3):
        requests.send(messages.Message(number=number))
        arrivals.append(call.reached("received", number + 1))
    requests.half_close()
    return {"arrived before the next": arrivals, **call.observe()}


@comparison("at-once.ServerStream")
def answers_travel_at_once(side):
    """each answer reaches the client before the provider makes the next"""
    script = [READ_ALL, ["answer", 1, 4], ["gate"], ["answer", 1, 5], ["gate"]]
    call = side.begin("ServerStream", script)
    first = call.next()
    call.open_gate()
    second = call.next()
    call.open_gate()
    require(first is not None and second is not None, "an answer was held back")
    return call.observe()


@comparison("early.answer")
def provider_answers_early(side):
    """the provider answers a client stream that has not ended"""
    call = side.begin("ClientStream", [["read", 1], ["answer", 1, 9]], Requests(messages.Message()))
    observation = call.observe()
    require(observation["code"] == "OK", "the early answer did not come")
    return observation


@comparison("early.error")
def provider_fails_early(side):
    """the provider refuses a client stream that has not ended"""
    script = [["read", 1], ["abort", "FAILED_PRECONDITION", "enough"]]
    return side.complete("ClientStream", script, Requests(messages.Message()))


@comparison("early.half-close")
def provider_ends_first(side):
    """the provider ends a bidirectional call while the client could still send"""
    script = [["read", 2], ["answer", 2, 6]]
    observation = side.complete("Bidirectional", script, Requests(*numbered([b"a", b"b"])))
    require(observation["code"] == "OK", "the provider's end did not reach the client")
    return observation


@comparison("half-close.seen")
def client_half_close_is_seen(side):
    """the provider sees the end of the requests and only then answers"""
    observation = side.complete("Bidirectional", [READ_ALL, ["answer", 3, 6]], numbered([b"x"] * 5))
    require(len(observation["answers"]) == 3, "no answers after the end of the requests")
    return observation


@comparison("flow-control")
def slow_reader(side):
    """a reader that does not read holds the provider back; later everything arrives in order"""
    count, size = 1000, 48 << 10
    call = side.begin("ServerStream", [READ_ALL, ["answer", count, size]])
    require(call.next() is not None, "no first answer")
    held_back = not side.ask(call.key, "sent", count, seconds=1.5)[0]
    # What gRPC itself buffers on a direct call is not ours, and now and then it is all of it.
    bus_held_back = held_back or side.name == "direct"
    require(bus_held_back, "the provider could send all while nobody read")
    return call.observe()


@comparison("concurrent")
def fifty_at_once(side):
    """50 calls of all kinds at once, each with its own messages and metadata"""
    found = [None] * 50

    def one(number):
        body = b"call %d " % number * 50
        metadata = (("color", f"shade-{number}"),)
        script = [["trailing_metadata", [["number", str(number)]]], ["echo"]]
        kind = KINDS[number % 4]
        requests = [messages.Message(number=number, body=body)]
        found[number] = side.complete(kind, script, requests, metadata)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(None not in found, "a call ended without an observation")
    for observation in found:
        # Which header of a connection comes first is nobody's promise when calls run side by side.
        require(observation["code"] == "OK", f"{observation['code']}: {observation['message']}")
    return {f"call {number}": observation for number, observation in enumerate(found)}


@comparison("wait-for-ready")
def wait_for_ready(side):
    """a call that waits for its server to come up succeeds, one that does not wait is refused"""
    relay = side.unconnected()
    with side.connect(relay) as channel:
        hurried = side.begin("Unary", [READ_ALL], channel=channel).outcome()["code"]
        patient = side.begin(
            "Unary", [READ_ALL, ["answer", 1, 8]], channel=channel, wait_for_ready=True
        )
        relay.listen()
        return {"without waiting": hurried, **patient.outcome()}
