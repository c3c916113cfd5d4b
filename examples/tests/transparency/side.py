"""One side of a comparison, direct or through the bus, and the observation of single calls on it."""

import itertools
import json
import queue
import threading
import uuid

import grpc
from grpc_status import rpc_status

import notation
from compiled import messages, stubs
from wire import Relay

KINDS = ("Unary", "ServerStream", "ClientStream", "Bidirectional")
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", "foreign-probe/1.0"),
)
# Of the headers of HTTP/2 itself only these are said by gRPC; the rest belongs to each connection.
REQUEST_HEADERS = (":method", ":path", "content-type", "te", "user-agent")
REPLY_HEADERS = (":status", "content-type", "grpc-status")
ENCODINGS = ("grpc-encoding", "grpc-accept-encoding")


class Failed(Exception):
    """What must hold on both sides did not hold on this one."""


def require(holds, words):
    if not holds:
        raise Failed(words)


class Requests:
    """Requests that are sent one by one, when the comparison says so."""

    def __init__(self, *sent):
        self._queue = queue.SimpleQueue()
        for each in sent:
            self.send(each)

    def send(self, message):
        self._queue.put(message)

    def half_close(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class Side:
    """An address, and all that is the same for every call made there."""

    def __init__(self, name, address, witness, metadata=(), tls=None, patience=60):
        self.name = name
        # A call that takes longer is cancelled, so that what hangs is seen as a difference.
        self.patience = patience
        self.metadata = tuple(metadata)
        self._address, self._tls = address, tls
        self.readable = tls is None
        self.relay = Relay(address, self.readable)
        self.channel = self.connect(self.relay)
        self._witness = stubs.WitnessStub(grpc.insecure_channel(witness, options=OPTIONS))

    def connect(self, relay, compression=None):
        if self._tls is None:
            return grpc.insecure_channel(relay.address, OPTIONS, compression)
        host = self._address.rsplit(":", 1)[0]
        options = (*OPTIONS, ("grpc.ssl_target_name_override", host))
        return grpc.secure_channel(relay.address, self._tls, options, compression)

    def unconnected(self):
        """A relay to this side that refuses connections until it is told to listen."""
        return Relay(self._address, self.readable, listening=False)

    def begin(self, kind, script, requests=None, metadata=(), channel=None, **options):
        """Begins a call; without requests, one message, and the end of the client's side."""
        return Conversation(self, kind, script, requests, metadata, channel, options)

    def complete(self, kind, script, requests=None, metadata=(), channel=None, **options):
        """Makes a whole call and observes everything."""
        return self.begin(kind, script, requests, metadata, channel, **options).observe()

    def prepare(self, call, script):
        preparation = messages.Preparation(call=call, script=json.dumps(script))
        self._witness.Prepare(preparation, wait_for_ready=True)

    def ask(self, call, until, count=0, seconds=None):
        seconds = self.patience if seconds is None else seconds
        question = messages.Question(
            call=call, until=until, count=count, milliseconds=int(seconds * 1000)
        )
        testimony = self._witness.Tell(question, wait_for_ready=True)
        return testimony.came_to_that, json.loads(testimony.seen)

    def open_gate(self, call):
        self._witness.Open(messages.Gate(call=call), wait_for_ready=True)


class Conversation:
    """One call on one side, while it goes on and after it has ended."""

    def __init__(self, side, kind, script, requests, metadata, channel, options):
        self.side = side
        self.key = uuid.uuid4().hex
        self.received = []
        stub = stubs.ProbeStub(channel or side.channel)
        side.prepare(self.key, script)
        options["metadata"] = ((notation.CALL, self.key), *metadata, *side.metadata)
        if requests is None:
            requests = [messages.Message(number=1, body=b"hello")]
        self._streams = kind in ("ServerStream", "Bidirectional")
        sends_one = kind in ("Unary", "ServerStream")
        argument = next(iter(requests)) if sends_one else iter(requests)
        method = getattr(stub, kind)
        self.rpc = (method if self._streams else method.future)(argument, **options)
        self._watchdog = threading.Timer(side.patience, self.rpc.cancel)
        self._watchdog.daemon = True
        self._watchdog.start()

    def initial_metadata(self):
        return notation.metadata(self.rpc.initial_metadata())

    def next(self):
        """The next answer, or None at the end, whatever the end was."""
        try:
            answer = next(self.rpc) if self._streams else self._only_answer()
        except StopIteration:
            return None
        except (grpc.RpcError, grpc.FutureCancelledError):
            return None
        if answer is not None:
            self.received.append(notation.message(answer))
        return answer

    def _only_answer(self):
        return None if self.received else self.rpc.result()

    def read_to_the_end(self):
        while self.next() is not None:
            pass

    def cancel(self):
        self.rpc.cancel()

    def reached(self, until, count=0):
        """Waits until the provider has come so far; False if it does not."""
        return self.side.ask(self.key, until, count)[0]

    def open_gate(self):
        self.side.open_gate(self.key)

    def outcome(self):
        """Reads what is left and says how the call ended for the client."""
        self.read_to_the_end()
        code = self.rpc.code()
        self._watchdog.cancel()
        return {"code": code.name, "message": self.rpc.details(), "answers": self.received}

    def observe(self):
        """Everything either end can see of the finished call."""
        outcome = self.outcome()
        ended, provider = self.side.ask(self.key, "ended")
        require(ended, "the provider was never told of the call's end")
        return {
            **outcome,
            "initial metadata": notation.metadata(self.rpc.initial_metadata()),
            "trailing metadata": notation.metadata(self.rpc.trailing_metadata()),
            "rich status": self._rich_status(),
            "provider: metadata": provider["metadata"],
            "provider: received": provider["received"],
            "provider: cancelled": provider["cancelled"],
            "provider: has a deadline": provider["remaining"] is not None,
            "provider: request on the wire": _protocol(provider["wire"], REQUEST_HEADERS),
            "reply on the wire": self._reply_on_the_wire(),
        }

    def _rich_status(self):
        try:
            status = rpc_status.from_call(self.rpc)
        except ValueError as mismatch:
            return str(mismatch)
        return status and status.SerializeToString(deterministic=True).hex()

    def _reply_on_the_wire(self):
        """Only where the client's connection is not encrypted."""
        seen = self.side.relay.call(self.key)
        return seen and _protocol(seen["reply"], REPLY_HEADERS)


def _protocol(wire, names):
    """What gRPC itself says in HTTP/2; metadata is compared as the programs see it."""
    if wire is None:
        return None
    blocks = [
        sorted([k, v] for k, v in block if k in (*names, *ENCODINGS)) for block in wire["headers"]
    ]
    return {"header blocks": blocks, "messages (flag, length)": wire["messages"]}


def numbered(bodies):
    """Messages with these bodies, numbered from zero."""
    return [messages.Message(number=n, body=body) for n, body in zip(itertools.count(), bodies)]
