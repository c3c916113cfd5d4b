"""Proves the suite itself: equal providers compare as equal, and each fault is found where it must be."""

import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile

from comparison import COMPARISONS
from conduct import FAULTS
import client  # noqa: F401  registers all comparisons

HERE = pathlib.Path(__file__).parent
# A fault, and all comparisons that must find it. The others are not run with it.
MUST_FIND = {
    "loses-status-code": ["status.[A-Z]*", "status.bidirectional-abort", "early.error"],
    "loses-status-message": ["status.[A-Z]*", "early.error"],
    "mangles-unicode": ["status.text.*", "status.details-after-messages"],
    "loses-status-details": ["status.details*"],
    "loses-trailers": ["metadata.reply.*", "status.trailers-only.*", "concurrent"],
    "loses-initial-metadata": ["metadata.reply.*", "status.details-after-messages"],
    "delays-initial-metadata": ["metadata.initial-*"],
    "loses-client-metadata": ["metadata.request.*", "concurrent"],
    "adds-metadata": ["plain.*", "none.*", "metadata.reply.*", "metadata.trace-context"],
    "cuts-binary-values": ["metadata.request.*", "metadata.reply.*", "status.trailers-only.*"],
    "keeps-one-value-per-key": ["metadata.request.*", "metadata.reply.*"],
    "reverses-values": ["metadata.request.*", "metadata.reply.*"],
    "loses-trace-context": ["metadata.trace-context"],
    "swaps-answers": ["plain.ServerStream", "plain.Bidirectional", "order.ServerStream", "gzip.mixed"],
    "drops-empty-messages": ["empty.ServerStream", "empty.Bidirectional"],
    "cuts-long-messages": ["size.64-KiB", "size.3-MiB", "size.15-MiB", "size.stream"],
    "loses-requests": ["order.ClientStream", "half-close.seen", "gzip.both-ways"],
    "changes-bodies": ["empty.*", "size.*", "ping-pong", "early.answer", "early.half-close"]
    + ["none.ClientStream", "wait-for-ready", "at-once.*", "flow-control", "cancel.*-answers"]
    + ["deadline.passed-in-stream", "cancel.ping-pong"],
    "mixes-calls-up": ["concurrent"],
    "forgets-deadlines": ["deadline.seen.*"],
    "lengthens-deadlines": ["deadline.seen.*"],
    "invents-deadlines": ["deadline.none"],
    "ignores-cancellation": ["cancel.*", "deadline.passed*"],
    "unpacks-replies": ["gzip.reply.*", "gzip.mixed", "gzip.both-ways", "deflate.reply"],
    "unpacks-requests": ["gzip.request.*", "deflate.request", "gzip.channel"],
    "replaces-user-agent": ["user-agent"],
    "replaces-content-type": ["content-type"],
    "sends-headers-before-errors": ["status.trailers-only.*", "status.text.*"],
    "renames-unknown-methods": ["status.unknown-method"],
    "hides-reflection": ["reflection.list"],
    "hides-descriptors": ["reflection.symbol"],
    "keeps-talking": ["early.answer", "early.half-close"],
    "buffers-replies": ["flow-control"],
    "collects-requests": ["ping-pong", "at-once.ClientStream"],
    "collects-answers": ["at-once.ServerStream"],
}


def main():
    unknown = MUST_FIND.keys() ^ FAULTS.keys()
    if unknown:
        raise SystemExit(f"faults and expectations differ: {sorted(unknown)}")
    with tempfile.TemporaryDirectory() as folder, Provider(folder, None) as faithful:
        failures = check_equality(folder, faithful)
        found = set()

        def one(fault):
            return check_fault(folder, faithful, fault)

        with concurrent.futures.ThreadPoolExecutor(max_workers=6) as pool:
            for fault, (missed, differing) in zip(MUST_FIND, pool.map(one, MUST_FIND)):
                found |= differing
                words = f"NOT FOUND by {', '.join(missed)}" if missed else "found"
                print(f"fault {fault:28} {words}", flush=True)
                failures += bool(missed)
        never = {comparison.name for comparison in COMPARISONS} - found
        if never:
            print(f"no fault was ever found by {', '.join(sorted(never))}")
        return 1 if failures or never else 0


def check_equality(folder, faithful):
    with Provider(folder, "equal") as other:
        result = compare(faithful, other, ["*"])
    for name in result["differing"]:
        print(f"differs without a fault: {name}")
    print(f"{result['compared']} comparisons of equal providers", flush=True)
    return len(result["differing"])


def check_fault(folder, faithful, fault):
    """The comparisons that should have found the fault but did not, and those that did."""
    with Provider(folder, fault, "--break", fault) as broken:
        result = compare(faithful, broken, MUST_FIND[fault], "--patience", "4")
    differing = set(result["differing"])
    missed = [each["name"] for each in result["results"] if each["name"] not in differing]
    return missed, differing


def compare(direct, bus, patterns, *arguments):
    arguments = [*arguments, "--direct", direct.address]
    arguments += ["--bus", bus.address, "--bus-witness", bus.address]
    for pattern in patterns:
        arguments += ["--only", pattern]
    run = subprocess.run(
        [sys.executable, "-B", HERE / "client.py", "--json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    if run.returncode not in (0, 1):
        raise SystemExit(f"the client ended with status {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])


class Provider:
    """A provider process that lives as long as its `with` block."""

    def __init__(self, folder, name, *arguments):
        self._file = pathlib.Path(folder) / f"{name}.address"
        command = [sys.executable, "-B", HERE / "provider.py", "--address-file", self._file]
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        # The provider prints one line when its address file is there.
        if not self._process.stdout.readline():
            raise SystemExit("the provider did not start")
        self.address = self._file.read_text()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    sys.exit(main())
