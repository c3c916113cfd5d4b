"""Comparisons of metadata, status and trailers, content type and user agent."""

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
import grpc

import notation
from comparison import comparison, for_each_kind
from side import Requests, require

READ_ALL = ["read", -1]
EVERY_BYTE = bytes(range(256))
PRINTABLE = "!" + "".join(map(chr, range(0x20, 0x7F))) + "!"
TEXT = "Không tìm thấy hồ sơ số 42 — 100 % \t\n\x01 ✓ 🇻🇳"
PAIRS = (
    ("color", "red"),
    ("color", "green, blue"),
    ("color", "red"),
    ("color.printable_-9", PRINTABLE),
    ("color-empty", ""),
    ("color-long", "x" * 3000),
    ("color-bin", EVERY_BYTE),
    ("color-bin", b""),
    ("color-bin", b"\x00"),
    ("color-bin", bytes(reversed(EVERY_BYTE))),
)


def _listed(pairs):
    return [[k, "0x" + v.hex() if isinstance(v, bytes) else v] for k, v in pairs]


def _is_whole(metadata):
    wanted = notation.metadata(PAIRS)
    return all(metadata.get(key) == values for key, values in wanted.items())


@for_each_kind("metadata.request")
def request_metadata(side, kind):
    """repeated, empty, long and binary metadata of the client, every byte value"""
    observation = side.complete(kind, [READ_ALL, ["answer", 1, 4]], metadata=PAIRS)
    require(_is_whole(observation["provider: metadata"]), "the provider saw other metadata")
    return observation


@for_each_kind("metadata.reply")
def reply_metadata(side, kind):
    """initial and trailing metadata of the provider, every byte value"""
    script = [
        ["initial", _listed(PAIRS)],
        ["trailing_metadata", _listed(PAIRS)],
        READ_ALL,
        ["answer", 1, 4],
    ]
    observation = side.complete(kind, script)
    for which in ("initial metadata", "trailing metadata"):
        require(_is_whole(observation[which]), f"other {which}")
    return observation


@for_each_kind("metadata.initial-first")
def initial_metadata_first(side, kind):
    """initial metadata arrives while the provider still waits to answer"""
    return _initial_metadata_first(side, kind, None)


@comparison("metadata.initial-before-requests")
def initial_metadata_before_requests(side):
    """a bidirectional client gets initial metadata before it sends anything"""
    return _initial_metadata_first(side, "Bidirectional", Requests())


def _initial_metadata_first(side, kind, requests):
    script = [["initial", [["color", "early"]]], ["gate"], READ_ALL, ["answer", 1, 4]]
    call = side.begin(kind, script, requests)
    if kind == "Unary":
        # grpcio keeps it back until the answer of such a call; on a readable wire it is seen.
        early = not side.readable or side.relay.reply_begins(call.key, side.patience)
    else:
        # Blocks until it is here, or until our patience ends and with it the call.
        early = call.initial_metadata().get("color") == ["early"]
    require(early, "no initial metadata before the first message")
    call.open_gate()
    if requests is not None:
        requests.half_close()
    return call.observe()


@comparison("metadata.trace-context")
def trace_context(side):
    """W3C trace context reaches the provider"""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = (("traceparent", parent), ("tracestate", "probe=1"))
    return side.complete("Unary", [READ_ALL, ["answer", 1, 4]], metadata=metadata)


@comparison("user-agent")
def user_agent(side):
    """the provider sees the client's own user agent"""
    observation = side.complete("Unary", [READ_ALL, ["answer", 1, 4]])
    agent = observation["provider: metadata"].get("user-agent", [""])[0]
    require(agent.startswith("foreign-probe/1.0 grpc-python/"), f"the user agent is {agent!r}")
    return {"user agent": agent}


@comparison("content-type")
def content_type(side):
    """the provider sees the client's own content type"""
    observation = side.complete("Unary", [READ_ALL, ["answer", 1, 4]])
    block = observation["provider: request on the wire"]["header blocks"][0]
    return {"content type": [value for name, value in block if name == "content-type"]}


def _register_code(code):
    @comparison(f"status.{code.name}")
    def observe(side):
        """an error before anything else was sent"""
        observation = side.complete("Unary", [["abort", code.name, f"This is {code.name}."]])
        require(observation["code"] == code.name, f"it became {observation['code']}")
        return observation


for code in grpc.StatusCode:
    if code is not grpc.StatusCode.OK:
        _register_code(code)


@for_each_kind("status.trailers-only")
def trailers_only(side, kind):
    """an error with trailers and without anything before it"""
    script = [["trailing_metadata", _listed(PAIRS)], READ_ALL, ["abort", "NOT_FOUND", "nobody"]]
    return side.complete(kind, script)


@for_each_kind("status.text")
def status_text(side, kind):
    """a status message with Vietnamese letters, a percent sign and control characters"""
    observation = side.complete(kind, [READ_ALL, ["abort", "NOT_FOUND", TEXT]])
    require(observation["message"] == TEXT, f"the message is {observation['message']!r}")
    return observation


@for_each_kind("status.details")
def status_details(side, kind):
    """grpc-status-details-bin with ErrorInfo and field violations"""
    script = [READ_ALL, ["abort", "INVALID_ARGUMENT", TEXT, _rich_status().hex()]]
    observation = side.complete(kind, script)
    require(observation["rich status"] == _rich_status().hex(), "the details are not the same")
    return observation


@comparison("status.details-after-messages")
def details_after_messages(side):
    """three answers, then an error with details and trailers"""
    script = [
        READ_ALL,
        ["trailing_metadata", _listed(PAIRS)],
        ["initial", [["color", "blue"]]],
        ["answer", 3, 100],
        ["abort", "INVALID_ARGUMENT", TEXT, _rich_status().hex()],
    ]
    observation = side.complete("ServerStream", script)
    require(len(observation["answers"]) == 3, "not the three answers before the error")
    return observation


@comparison("status.bidirectional-abort")
def bidirectional_abort(side):
    """the provider aborts between two messages of a client that goes on sending"""
    script = [["read", 1], ["answer", 1, 3], ["abort", "ABORTED", "stop"]]
    observation = side.complete("Bidirectional", script, Requests(_hello()))
    require(observation["code"] == "ABORTED", "the abort did not come")
    return observation


@comparison("status.unknown-method")
def unknown_method(side):
    """a method that the service does not have"""
    call = side.channel.unary_unary("/foreign.probe.v1.Probe/Nothing")
    try:
        call(b"", timeout=side.patience, metadata=side.metadata)
    except grpc.RpcError as error:
        return {
            "code": error.code().name,
            "message": error.details(),
            "initial metadata": notation.metadata(error.initial_metadata()),
            "trailing metadata": notation.metadata(error.trailing_metadata()),
        }
    require(False, "it was answered")


def _hello():
    from compiled import messages

    return messages.Message(number=1, body=b"hello")


def _rich_status():
    violations = error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="số", description=TEXT)]
    )
    reason = error_details_pb2.ErrorInfo(reason="WRONG", domain="example", metadata={"a": "b"})
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=TEXT)
    for detail in (reason, violations):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status.SerializeToString(deterministic=True)
