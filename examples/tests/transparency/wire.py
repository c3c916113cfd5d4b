"""A relay that passes bytes on unchanged and notes, per gRPC call, what they say in HTTP/2."""

import collections
import socket
import struct
import threading

import hpack

import notation

PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
DATA, HEADERS, RESET, CONTINUATION = 0, 1, 3, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20


class Direction:
    """One half of an HTTP/2 stream: its header blocks, and flag and length of each gRPC message."""

    def __init__(self):
        self.headers = []
        self.messages = []
        self.ended = False
        self.reset = None
        self._prefix = b""
        self._owed = 0

    def take_body(self, body):
        while body:
            if self._owed:
                taken = min(self._owed, len(body))
                self._owed -= taken
                body = body[taken:]
                continue
            missing = 5 - len(self._prefix)
            self._prefix += bytes(body[:missing])
            body = body[missing:]
            if len(self._prefix) == 5:
                flag, self._owed = struct.unpack(">BI", self._prefix)
                self.messages.append([flag, self._owed])
                self._prefix = b""

    def seen(self):
        return {"headers": self.headers, "messages": self.messages, "ended": self.ended}


class Reader:
    """Reads the frames of one direction of a connection."""

    def __init__(self, skip, streams, on_headers):
        self._buffer = bytearray()
        self._skip = skip
        self._streams = streams
        self._on_headers = on_headers
        self._block = b""
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._decoder.max_allowed_table_size = 1 << 20

    def take(self, received):
        self._buffer += received
        if self._skip:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
        position = 0
        while len(self._buffer) - position >= 9:
            length = int.from_bytes(self._buffer[position : position + 3], "big")
            if len(self._buffer) - position < 9 + length:
                break
            kind, flags = self._buffer[position + 3], self._buffer[position + 4]
            stream = int.from_bytes(self._buffer[position + 5 : position + 9], "big") & 0x7FFFFFFF
            payload = memoryview(self._buffer)[position + 9 : position + 9 + length]
            self._frame(kind, flags, stream, payload)
            payload.release()
            position += 9 + length
        del self._buffer[:position]

    def _frame(self, kind, flags, stream, payload):
        if kind not in (DATA, HEADERS, RESET, CONTINUATION):
            return
        direction = self._streams[stream]
        if kind == RESET:
            direction.reset = int.from_bytes(payload, "big")
            return
        if kind in (DATA, HEADERS) and flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == HEADERS and flags & PRIORITY:
            payload = payload[5:]
        if kind == DATA:
            direction.take_body(payload)
        else:
            self._block += bytes(payload)
            if flags & END_HEADERS:
                block = self._decoder.decode(self._block, raw=True)
                self._block = b""
                direction.headers.append(
                    [[name.decode(), value.decode("latin-1")] for name, value in block]
                )
                self._on_headers(stream, direction)
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            direction.ended = True


class Relay:
    """Listens on a free port of the loopback address and passes every connection on to `target`."""

    def __init__(self, target, readable=True, listening=True):
        self.counted = [0, 0]
        self._noted = threading.Condition()
        self._target = target
        self._readable = readable
        self._calls = {}
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        if listening:
            self.listen()

    def listen(self):
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def call(self, key):
        """What the two directions of the call said, or None if it did not pass here."""
        pair = self._calls.get(key)
        return pair and {"request": pair[0].seen(), "reply": pair[1].seen()}

    def over(self, key):
        pair = self._calls.get(key)
        return pair is not None and any(
            half.reset is not None or (half is pair[1] and half.ended) for half in pair
        )

    def reply_begins(self, key, seconds):
        """Waits for the first headers of the reply."""

        def begun():
            pair = self._calls.get(key)
            return pair is not None and bool(pair[1].headers)

        with self._noted:
            return self._noted.wait_for(begun, seconds)

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            host, port = self._target.rsplit(":", 1)
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._relay, args=(near, far), daemon=True).start()

    def _relay(self, near, far):
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests = collections.defaultdict(Direction)
        replies = collections.defaultdict(Direction)

        def note_request(stream, direction):
            for name, value in direction.headers[0]:
                if name == notation.CALL:
                    self._calls[value] = (direction, replies[stream])

        def note_reply(stream, direction):
            with self._noted:
                self._noted.notify_all()

        readers = (Reader(PREFACE, requests, note_request), Reader(0, replies, note_reply))
        ways = ((near, far, 0), (far, near, 1))
        threads = [
            threading.Thread(target=self._copy, args=(*way, readers[way[2]]), daemon=True)
            for way in ways
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        near.close()
        far.close()

    def _copy(self, source, target, way, reader):
        try:
            while received := source.recv(1 << 18):
                self.counted[way] += len(received)
                if self._readable:
                    # Noted before it is passed on: whoever has seen the bytes finds the note.
                    reader.take(received)
                target.sendall(received)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
