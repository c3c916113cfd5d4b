"""How the provider conducts itself: faithfully, or with one named fault that a comparison must find."""

import threading

from google.protobuf import descriptor_pool


class Faithful:
    """Does and tells exactly what is asked; each fault overrides one of these."""

    hears_cancellation = True
    compresses = True
    sends_initial_metadata_at_once = True
    aborts_without_headers = True
    stops_when_done = True
    waits_for_room = True
    reads_as_messages_come = True
    loses_requests = False
    unknown_method_message = None

    def metadata_seen(self, pairs):
        return pairs

    def remaining_seen(self, seconds):
        return seconds

    def request_wire_seen(self, wire):
        return wire

    def initial(self, pairs):
        return pairs

    def trailing(self, pairs):
        return pairs

    def status(self, code, message):
        return code, message

    def body(self, body):
        return body

    def answers(self, answers):
        return answers

    def reflected(self, names):
        return names

    def pool(self):
        return descriptor_pool.Default()


class LosesStatusCode(Faithful):
    def status(self, code, message):
        return "INTERNAL" if code == "UNKNOWN" else "UNKNOWN", message


class LosesStatusMessage(Faithful):
    def status(self, code, message):
        return code, ""


class ManglesUnicode(Faithful):
    def status(self, code, message):
        return code, message.encode("ascii", "replace").decode()


class LosesStatusDetails(Faithful):
    def trailing(self, pairs):
        return tuple(pair for pair in pairs if pair[0] != "grpc-status-details-bin")


class LosesTrailers(Faithful):
    def trailing(self, pairs):
        return ()


class LosesInitialMetadata(Faithful):
    def initial(self, pairs):
        return ()


class DelaysInitialMetadata(Faithful):
    sends_initial_metadata_at_once = False


class LosesClientMetadata(Faithful):
    def metadata_seen(self, pairs):
        return [pair for pair in pairs if not pair[0].startswith("color")]


class LosesTraceContext(Faithful):
    def metadata_seen(self, pairs):
        return [pair for pair in pairs if not pair[0].startswith("trace")]


class AddsMetadata(Faithful):
    def metadata_seen(self, pairs):
        return [*pairs, ("via", "1.1 somewhere")]

    def initial(self, pairs):
        return (*pairs, ("via", "1.1 somewhere"))


class CutsBinaryValues(Faithful):
    """Takes a zero byte for the end, both ways."""

    def metadata_seen(self, pairs):
        return [(k, v.split(b"\0")[0] if isinstance(v, bytes) else v) for k, v in pairs]

    def trailing(self, pairs):
        return tuple(self.metadata_seen(pairs))


class KeepsOneValuePerKey(Faithful):
    def metadata_seen(self, pairs):
        return list(dict(pairs).items())

    def trailing(self, pairs):
        return tuple(dict(pairs).items())


class ReversesValues(Faithful):
    def metadata_seen(self, pairs):
        return list(reversed(pairs))

    def trailing(self, pairs):
        return tuple(reversed(pairs))


class SwapsAnswers(Faithful):
    def answers(self, answers):
        held = next(answers, None)
        for answer in answers:
            yield answer
        if held is not None:
            yield held


class DropsEmptyMessages(Faithful):
    def answers(self, answers):
        return (answer for answer in answers if answer.body or answer.number)


class LosesRequests(Faithful):
    """Every second one."""

    loses_requests = True


class CutsLongMessages(Faithful):
    def body(self, body):
        return body[:-1] if len(body) >= 65536 else body


class ChangesBodies(Faithful):
    def body(self, body):
        return b"?" + body[1:]


class MixesCallsUp(Faithful):
    """Answers with what the call before asked for."""

    def __init__(self):
        self._lock = threading.Lock()
        self._before = b""

    def body(self, body):
        with self._lock:
            self._before, body = body, self._before
        return body


class ForgetsDeadlines(Faithful):
    def remaining_seen(self, seconds):
        return None


class LengthensDeadlines(Faithful):
    def remaining_seen(self, seconds):
        return seconds and seconds + 5


class InventsDeadlines(Faithful):
    def remaining_seen(self, seconds):
        return 30.0 if seconds is None else seconds


class IgnoresCancellation(Faithful):
    hears_cancellation = False


class UnpacksReplies(Faithful):
    compresses = False


class UnpacksRequests(Faithful):
    def request_wire_seen(self, wire):
        return {**wire, "messages": [[0, length * 100] for _, length in wire["messages"]]}


class ReplacesUserAgent(Faithful):
    def metadata_seen(self, pairs):
        return [(k, "bus/1.0" if k == "user-agent" else v) for k, v in pairs]


class ReplacesContentType(Faithful):
    def request_wire_seen(self, wire):
        changed = {"content-type": "application/grpc+proto"}
        return {**wire, "headers": [[[k, changed.get(k, v)] for k, v in b] for b in wire["headers"]]}


class SendsHeadersBeforeErrors(Faithful):
    aborts_without_headers = False


class RenamesUnknownMethods(Faithful):
    unknown_method_message = "no such thing"


class HidesReflection(Faithful):
    def reflected(self, names):
        return names[1:]


class HidesDescriptors(Faithful):
    def pool(self):
        return descriptor_pool.DescriptorPool()


class KeepsTalking(Faithful):
    """Ends its side only when the client has ended its own."""

    stops_when_done = False


class BuffersReplies(Faithful):
    waits_for_room = False


class CollectsRequests(Faithful):
    """Passes requests on only when the client has sent them all."""

    reads_as_messages_come = False


class CollectsAnswers(Faithful):
    def answers(self, answers):
        return iter(list(answers))


def _words(name):
    return "".join("-" + letter.lower() if letter.isupper() else letter for letter in name)[1:]


FAULTS = {_words(fault.__name__): fault for fault in Faithful.__subclasses__()}
