"""How metadata and messages are written down, so that two observations can be compared as JSON."""

import hashlib

# What tells one call from another, and what a bus may add in either direction.
CALL = "probe-call"
ADDED_BY_A_BUS = "x-road-"


def metadata(pairs):
    """Values by key in the order of arrival; between different keys gRPC promises no order."""
    written = {}
    for key, value in pairs or ():
        if key != CALL and not key.startswith(ADDED_BY_A_BUS):
            value = "0x" + value.hex() if isinstance(value, bytes) else value
            written.setdefault(key, []).append(value)
    return dict(sorted(written.items()))


def message(it):
    """Number, length and the beginning of the digest of a message's body."""
    return [it.number, len(it.body), hashlib.sha256(it.body).hexdigest()[:16]]


def pairs(listed):
    """Metadata of a script, where JSON needs `0x` and hexadecimal digits for binary values."""
    return tuple(
        (key, bytes.fromhex(value[2:]) if key.endswith("-bin") else value) for key, value in listed
    )
