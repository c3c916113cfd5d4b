"""Makes every kind of call direct and through the bus, and compares all that either end can see."""

import argparse
import fnmatch
import json
import pathlib
import sys

import grpc

import comparisons_of_calls  # noqa: F401
import comparisons_of_encoding  # noqa: F401
import comparisons_of_endings  # noqa: F401
import comparisons_of_metadata  # noqa: F401
from comparison import COMPARISONS, count_facts, differences
from side import Failed, Side


def main():
    options = read_options()
    chosen = [c for c in COMPARISONS if any(fnmatch.fnmatch(c.name, p) for p in options.only)]
    if options.list:
        for comparison in chosen:
            print(f"{comparison.name:36} {comparison.words}")
        return 0
    if not chosen:
        print(f"no comparison is named {' or '.join(options.only)}", file=sys.stderr)
        return 2
    direct = Side("direct", options.direct, options.direct, patience=options.patience)
    bus = Side(
        "bus",
        options.bus,
        options.bus_witness or options.direct,
        options.bus_metadata,
        tls(options),
        options.patience,
    )
    results = [compare(comparison, direct, bus) for comparison in chosen]
    differing = [result["name"] for result in results if result["differences"]]
    if options.json:
        print(json.dumps({"compared": len(results), "differing": differing, "results": results}))
    else:
        print(f"{len(results)} comparisons, {len(differing)} differ")
    return 1 if differing else 0


def compare(comparison, direct, bus):
    """Observes one comparison on both sides, prints its line, and gives its result."""
    observed, found = {}, []
    for side in (direct, bus):
        try:
            observed[side.name] = comparison.observe(side)
        except (Failed, grpc.RpcError) as error:
            found.append({"at": f"on the {side.name} side", side.name: f"{error}"})
    if not found:
        found = differences(observed["direct"], observed["bus"])
    facts = count_facts(observed.get("direct", {}))
    print(f"{'DIFFERS' if found else 'same   '} {comparison.name:36} {comparison.words}", flush=True)
    for difference in found:
        print(f"        at {difference['at']}")
        for name in ("direct", "bus"):
            if name in difference:
                print(f"          {name + ':':8}{shortened(difference[name])}")
    return {"name": comparison.name, "facts": facts, "differences": found}


def shortened(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:300]} ... {text[-90:]}"


def tls(options):
    if options.bus_ca is None:
        return None
    read = lambda path: path and path.read_bytes()  # noqa: E731
    return grpc.ssl_channel_credentials(
        read(options.bus_ca), read(options.bus_key), read(options.bus_cert)
    )


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    endpoint = {"metavar": "HOST:PORT"}
    parser.add_argument("--direct", required=True, **endpoint, help="the provider itself")
    parser.add_argument("--bus", required=True, **endpoint, help="where the bus takes calls")
    parser.add_argument(
        "--bus-witness", **endpoint, help="where the bus's provider tells what it saw (--direct)"
    )
    parser.add_argument(
        "--bus-metadata", action="append", default=[], type=pair, metavar="KEY=VALUE",
        help="added to each call through the bus; the key begins with x-road-",
    )
    for name, words in (("ca", "whom to trust"), ("cert", "own certificate"), ("key", "its key")):
        parser.add_argument(f"--bus-{name}", type=pathlib.Path, metavar="FILE", help=words)
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="comparisons with such names"
    )
    parser.add_argument(
        "--patience", type=float, default=60, metavar="SECONDS", help="how long a call may hang (60)"
    )
    parser.add_argument("--list", action="store_true", help="print the comparisons and stop")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    options.only = options.only or ["*"]
    if (options.bus_cert is None) != (options.bus_key is None):
        parser.error("--bus-cert and --bus-key belong together")
    if options.bus_cert is not None and options.bus_ca is None:
        parser.error("--bus-cert needs --bus-ca")
    return options


def pair(text):
    key, equals, value = text.partition("=")
    if not equals or not key.startswith("x-road-"):
        raise argparse.ArgumentTypeError(f"{text!r} is not x-road-SOMETHING=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
