"""A gRPC provider that does what each call's script says and remembers all it saw of the call."""

import argparse
import concurrent.futures
import functools
import json
import os
import sys
import threading
import time

import grpc
from grpc_reflection.v1alpha import reflection

import conduct
import notation
from compiled import messages, stubs
from wire import Relay

STEPS = ("initial", "trailing_metadata", "compress", "read", "answer", "answer_bodies", "echo")
STEPS += ("gate", "wait", "abort")
# Nothing waits longer than this, which is more than any client does.
PATIENCE_SECONDS = 120
COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


class Call:
    """What has been seen of one call so far."""

    def __init__(self):
        self.changed = threading.Condition()
        self.begun = self.finished = self.ended = self.cancelled = self.half_closed = False
        self.script, self.metadata, self.remaining = None, {}, None
        self.received, self.sent, self.opened = [], 0, 0

    def change(self, **fields):
        with self.changed:
            for name, value in fields.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def terminated(self, heard):
        self.change(ended=True, cancelled=heard and not self.finished)

    def wait_until_ended(self):
        with self.changed:
            self.changed.wait_for(lambda: self.ended, PATIENCE_SECONDS)

    def pass_gate(self):
        with self.changed:
            if self.changed.wait_for(lambda: self.opened or self.ended, PATIENCE_SECONDS):
                self.opened -= 1


class Calls:
    """The calls by the key that their client gave them; asking and calling may come in any order."""

    def __init__(self):
        self._lock = threading.Lock()
        self._calls = {}

    def __getitem__(self, key):
        with self._lock:
            return self._calls.setdefault(key, Call())


class Probe(stubs.ProbeServicer):
    """The four kinds of call; one performance serves them all."""

    def __init__(self, calls, relay, faults):
        self._calls = calls
        self._relay = relay
        self._faults = faults

    def Unary(self, request, context):
        return self._single(iter([request]), context)

    def ClientStream(self, requests, context):
        return self._single(requests, context)

    def ServerStream(self, request, context):
        return self._performance(iter([request]), context)

    def Bidirectional(self, requests, context):
        return self._performance(requests, context)

    def _single(self, requests, context):
        answers = list(self._performance(requests, context))
        return answers[0] if answers else messages.Message()

    def _performance(self, requests, context):
        seen = self._faults.metadata_seen([(k, v) for k, v in context.invocation_metadata()])
        key = dict(context.invocation_metadata())[notation.CALL]
        call = self._calls[key]
        call.change(
            begun=True,
            metadata=notation.metadata(seen),
            remaining=self._faults.remaining_seen(remaining(context)),
        )
        context.add_callback(lambda: call.terminated(self._faults.hears_cancellation))
        reply_begins = functools.partial(self._relay.reply_begins, key, PATIENCE_SECONDS)
        performance = Performance(call, requests, context, reply_begins, self._faults)
        yield from self._faults.answers(performance.play(call.script))


def remaining(context):
    """Seconds to the deadline; grpcio says "none" by a deadline that nobody lives to see."""
    seconds = context.time_remaining()
    return None if seconds is None or seconds > 1e8 else seconds


class Performance:
    """Plays one script: a list of steps, each a list of a name and its arguments."""

    def __init__(self, call, requests, context, reply_begins, faults):
        self._call = call
        self._requests = requests
        self._context = context
        self._reply_begins = reply_begins
        self._faults = faults
        self._trailing = ()
        self._held_initial = None

    def play(self, script):
        for name, *arguments in script:
            if name not in STEPS:
                raise ValueError(f"a script asks for {name!r}")
            yield from getattr(self, "_" + name)(*arguments) or ()
        if not self._faults.stops_when_done:
            self._read(-1)
        self._send_held_initial()
        self._call.change(finished=True)

    def _initial(self, listed):
        pairs = self._faults.initial(notation.pairs(listed))
        if self._faults.sends_initial_metadata_at_once:
            self._context.send_initial_metadata(pairs)
        else:
            self._held_initial = pairs

    def _trailing_metadata(self, listed):
        self._trailing = notation.pairs(listed)
        self._context.set_trailing_metadata(self._faults.trailing(self._trailing))

    def _compress(self, name):
        if self._faults.compresses:
            self._context.set_compression(COMPRESSIONS[name])

    def _read(self, count):
        """Reads as many requests as asked; -1 reads to their end."""
        if not self._faults.reads_as_messages_come:
            self._requests = iter(list(self._requests))
        while count != 0:
            request = self._next_request()
            if request is None:
                return
            count -= 1

    def _next_request(self):
        try:
            request = next(self._requests)
            while self._faults.loses_requests and request.number % 2:
                request = next(self._requests)
        except StopIteration:
            self._call.change(half_closed=True)
            return None
        except Exception:  # grpcio says by a bare Exception that the call is over
            return None
        self._call.change(received=[*self._call.received, notation.message(request)])
        return request

    def _answer(self, count, size, letter="a", packed=True):
        """Answers so many times, numbered, with a body of one repeated letter."""
        if not self._faults.waits_for_room:
            self._call.change(sent=count)
        for number in range(count):
            if not packed:
                self._context.disable_next_message_compression()
            yield self._message(number, letter.encode() * size)
            self._call.change(sent=max(self._call.sent, number + 1))

    def _answer_bodies(self, bodies):
        for number, body in bodies:
            yield self._message(number, body.encode())

    def _echo(self):
        """Answers each request with itself, at once."""
        if not self._faults.reads_as_messages_come:
            self._requests = iter(list(self._requests))
        while (request := self._next_request()) is not None:
            yield self._message(request.number, request.body)

    def _message(self, number, body):
        self._send_held_initial()
        return messages.Message(number=number, body=self._faults.body(body))

    def _send_held_initial(self):
        if self._held_initial is not None:
            self._context.send_initial_metadata(self._held_initial)
            self._held_initial = None

    def _gate(self):
        self._call.pass_gate()

    def _wait(self):
        """Waits for the end of the call, which only its client or its deadline can bring."""
        self._call.wait_until_ended()

    def _abort(self, code, message, details=None):
        code, message = self._faults.status(code, message)
        trailing = self._trailing
        if details is not None:
            trailing = (*trailing, ("grpc-status-details-bin", bytes.fromhex(details)))
        self._context.set_trailing_metadata(self._faults.trailing(trailing))
        if not self._faults.aborts_without_headers and not self._call.sent:
            self._context.send_initial_metadata(())
            # Empty headers that still wait when the status comes are sent as one block with it.
            self._reply_begins()
        self._call.change(finished=True)
        self._context.abort(grpc.StatusCode[code], message)


class Witness(stubs.WitnessServicer):
    """Takes scripts, and tells what was seen of a call, on the wire and by the provider."""

    def __init__(self, calls, relay, faults):
        self._calls = calls
        self._relay = relay
        self._faults = faults

    def Prepare(self, preparation, context):
        self._calls[preparation.call].change(script=json.loads(preparation.script))
        return messages.Message()

    def Tell(self, question, context):
        call = self._calls[question.call]
        reached = {
            "begun": lambda: call.begun,
            "received": lambda: len(call.received) >= question.count,
            "sent": lambda: call.sent >= question.count,
            "ended": lambda: call.ended and self._relay.over(question.call),
        }[question.until]
        until = time.monotonic() + min(question.milliseconds / 1000, PATIENCE_SECONDS)
        with call.changed:
            # The relay does not tell this call what it notes, so look at it in turns.
            while not (came := reached()) and time.monotonic() < until:
                call.changed.wait(0.02)
        wire = self._relay.call(question.call)
        seen = {
            "metadata": call.metadata,
            "remaining": call.remaining,
            "received": call.received,
            "half_closed": call.half_closed,
            "sent": call.sent,
            "cancelled": call.cancelled,
            "wire": wire and self._faults.request_wire_seen(wire["request"]),
        }
        return messages.Testimony(came_to_that=came, seen=json.dumps(seen))

    def Open(self, gate, context):
        call = self._calls[gate.call]
        call.change(opened=call.opened + 1)
        return messages.Message()


class UnknownMethods(grpc.GenericRpcHandler):
    """Answers for methods that do not exist, with other words than gRPC's own."""

    def __init__(self, message):
        self._message = message

    def service(self, handler_call_details):
        def refuse(request, context):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, self._message)

        return grpc.unary_unary_rpc_method_handler(refuse)


def serve(faults):
    """Starts a provider on a free port; the server and the relay in front of it."""
    calls = Calls()
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=160),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    relay = Relay("127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"))
    stubs.add_ProbeServicer_to_server(Probe(calls, relay, faults), server)
    stubs.add_WitnessServicer_to_server(Witness(calls, relay, faults), server)
    names = ["foreign.probe.v1.Probe", reflection.SERVICE_NAME]
    reflection.enable_server_reflection(faults.reflected(names), server, faults.pool())
    if faults.unknown_method_message is not None:
        server.add_generic_rpc_handlers((UnknownMethods(faults.unknown_method_message),))
    server.start()
    return server, relay


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address-file", required=True, help="where HOST:PORT is written")
    parser.add_argument("--break", dest="fault", choices=sorted(conduct.FAULTS), help="misbehave so")
    options = parser.parse_args()
    server, relay = serve(conduct.FAULTS.get(options.fault, conduct.Faithful)())
    with open(options.address_file + ".new", "w") as file:
        file.write(relay.address)
    os.rename(options.address_file + ".new", options.address_file)
    print(relay.address, flush=True)
    # Whoever started this holds the other end of standard input: nothing is left running.
    sys.stdin.read()
    server.stop(0)
    os._exit(0)


if __name__ == "__main__":
    main()
