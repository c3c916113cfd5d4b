"""Comparisons of compression and of reflection."""

import grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from comparison import comparison, for_each_kind
from compiled import messages
from side import require

READ_ALL = ["read", -1]
SIZE = 200_000
BODY = b"a" * SIZE
METHODS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def _compressed_request(side, kind, name):
    requests = [messages.Message(number=1, body=BODY)]
    script = [READ_ALL, ["answer", 1, 4]]
    if kind == "ClientStream":
        # grpcio 1.85 forgets the compression of a single call of this kind, but not the channel's.
        with side.connect(side.relay, METHODS[name]) as channel:
            observation = side.complete(kind, script, requests, channel=channel)
    else:
        observation = side.complete(kind, script, requests, compression=METHODS[name])
    sent = observation["provider: request on the wire"]["messages (flag, length)"]
    require(sent[0][0] == 1 and sent[0][1] < SIZE / 10, f"not compressed at the provider: {sent}")
    require(observation["provider: received"][0][1] == SIZE, "not readable at the provider")
    return observation


@for_each_kind("gzip.request")
def gzip_request(side, kind):
    """a request that the client compresses with gzip reaches the provider compressed"""
    return _compressed_request(side, kind, "gzip")


@comparison("deflate.request")
def deflate_request(side):
    """a request that the client compresses with deflate reaches the provider compressed"""
    return _compressed_request(side, "Unary", "deflate")


@comparison("gzip.channel")
def gzip_channel(side):
    """compression chosen for the whole channel, also of a message too short to gain by it"""
    with side.connect(side.relay, METHODS["gzip"]) as channel:
        requests = [messages.Message(body=BODY), messages.Message(body=b"x")]
        script = [READ_ALL, ["answer", 1, 4]]
        return side.complete("ClientStream", script, requests, channel=channel)


def _compressed_reply(side, kind, name):
    before = side.relay.counted[1]
    script = [["compress", name], READ_ALL, ["answer", 1, SIZE]]
    observation = side.complete(kind, script)
    # Counted also where the connection is encrypted.
    small = side.relay.counted[1] - before < SIZE / 2
    require(small, "the reply crossed the client's connection uncompressed")
    require(observation["answers"][0][1] == SIZE, "not readable at the client")
    return observation


@for_each_kind("gzip.reply")
def gzip_reply(side, kind):
    """a reply that the provider compresses with gzip reaches the client compressed"""
    return _compressed_reply(side, kind, "gzip")


@comparison("deflate.reply")
def deflate_reply(side):
    """a reply that the provider compresses with deflate reaches the client compressed"""
    return _compressed_reply(side, "Unary", "deflate")


@comparison("gzip.mixed")
def gzip_mixed(side):
    """a stream of compressed, uncompressed and again compressed answers stays so"""
    script = [
        ["compress", "gzip"],
        READ_ALL,
        ["answer", 1, SIZE],
        ["answer", 1, SIZE, "b", False],
        ["answer", 1, SIZE, "c"],
    ]
    observation = side.complete("ServerStream", script)
    if (wire := observation["reply on the wire"]) is not None:
        flags = [flag for flag, _ in wire["messages (flag, length)"]]
        require(flags == [1, 0, 1], f"the flags of the messages are {flags}")
    return observation


@comparison("gzip.both-ways")
def gzip_both_ways(side):
    """twenty compressed messages each way"""
    requests = [messages.Message(number=n, body=b"%d" % n * 4000) for n in range(20)]
    script = [["compress", "gzip"], ["echo"]]
    return side.complete("Bidirectional", script, requests, compression=METHODS["gzip"])


def _reflect(side, **question):
    stub = reflection_pb2_grpc.ServerReflectionStub(side.channel)
    request = reflection_pb2.ServerReflectionRequest(**question)
    answers = stub.ServerReflectionInfo(iter([request]), metadata=side.metadata, timeout=side.patience)
    return [answer.SerializeToString(deterministic=True).hex() for answer in answers]


@comparison("reflection.list")
def reflection_list(side):
    """reflection lists the provider's services"""
    listed = _reflect(side, list_services="")
    require(b"foreign.probe.v1.Probe".hex() in listed[0], "the service is not listed")
    return {"answers": listed}


@comparison("reflection.symbol")
def reflection_symbol(side):
    """reflection gives the file that declares a service, and a file by its name"""
    return {
        "by symbol": _reflect(side, file_containing_symbol="foreign.probe.v1.Probe"),
        "by name": _reflect(side, file_by_filename="probe.proto"),
        "unknown": _reflect(side, file_containing_symbol="foreign.Nothing"),
    }
