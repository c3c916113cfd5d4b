"""A service of one's own in Python: vaccinations of children, behind a security server.

    python provider.py DATABASE unix:/run/vaccination.sock
    python provider.py DATABASE 0.0.0.0:7443 --certificate C.pem --key K.pem --callers SECURITY-SERVER.pem

It needs grpcio and grpcio-tools, which compile vaccination.proto when it starts.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import os
import pathlib
import signal
import socket
import sqlite3
import sys
import threading
import urllib.parse

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
messages, services = grpc.protos_and_services("vaccination.proto")

# Seconds that calls in progress have to end.
LAST_CALLS = 10

# What this service may be asked for, letter for letter.
PURPOSES = {"vaccination", "school enrolment"}

TABLES = """
CREATE TABLE IF NOT EXISTS child (number TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS vaccination (
    number TEXT NOT NULL REFERENCES child, vaccine TEXT NOT NULL, given_on TEXT NOT NULL,
    consumer TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (consumer, record));
"""


def caller(context):
    """Who calls and what for, as the security server has verified it; a call without that is none of the bus."""
    sent = {key: value for key, value in context.invocation_metadata() if key.startswith("x-road-")}
    stated = {key: urllib.parse.unquote(value) for key, value in sent.items()}
    if "x-road-client" not in stated or "x-road-exchange-id" not in stated:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "calls come through a security server")
    if stated.get("x-road-purpose") not in PURPOSES:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "this register does not answer for that purpose")
    # With the identifier of the exchange an auditor finds the signed request. Never log what was asked for; and as it was sent
    # nothing breaks the line.
    print(sent["x-road-client"], sent["x-road-exchange-id"], file=sys.stderr, flush=True)
    return stated


def day(context, text):
    with contextlib.suppress(ValueError):
        # It takes other forms as well, which are not written like this again.
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "given_on is no day, YYYY-MM-DD")


class Vaccination(services.VaccinationServicer):
    def __init__(self, database):
        self.database = database

    @contextlib.contextmanager
    def open(self, context):
        with contextlib.closing(sqlite3.connect(self.database, timeout=5, isolation_level=None)) as database:
            try:
                yield database
            except sqlite3.OperationalError as error:
                # What the database says is for the operator; the same call may succeed later.
                print(error, file=sys.stderr, flush=True)
                context.abort(grpc.StatusCode.UNAVAILABLE, "the register cannot be reached; try again")

    def ListVaccinations(self, request, context):
        caller(context)
        with self.open(context) as database:
            if not database.execute("SELECT 1 FROM child WHERE number = ?", (request.number,)).fetchone():
                context.abort(grpc.StatusCode.NOT_FOUND, "the station does not know the child")
            # A child has few: read at once, so that a slow caller keeps nobody from writing.
            find = "SELECT vaccine, given_on FROM vaccination WHERE number = ? ORDER BY given_on, vaccine"
            found = database.execute(find, (request.number,)).fetchall()
        for vaccine, given_on in found:
            yield messages.VaccinationRecord(vaccine=vaccine, given_on=given_on)

    def RecordVaccination(self, request, context):
        consumer = caller(context)["x-road-client"]
        given_on = day(context, request.given_on)
        if not request.record or not request.vaccine:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "record and vaccine are required")
        wanted = (request.number, request.vaccine, given_on)
        with self.open(context) as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA synchronous = EXTRA")
            try:
                # The key and what it stands for are written together, so that a repeated call finds both or none.
                done = database.execute(
                    "INSERT INTO vaccination VALUES (?, ?, ?, ?, ?) ON CONFLICT (consumer, record) DO NOTHING",
                    (*wanted, consumer, request.record))
            except sqlite3.IntegrityError:
                context.abort(grpc.StatusCode.NOT_FOUND, "the station does not know the child")
            kept = database.execute(
                "SELECT number, vaccine, given_on FROM vaccination WHERE consumer = ? AND record = ?",
                (consumer, request.record)).fetchone()
        if kept != wanted:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "record has named another vaccination before")
        return messages.RecordVaccinationReply(is_new=done.rowcount == 1)


def credentials(arguments):
    """Of a provider on another machine: only who has the key of one of these certificates is answered."""
    key, chain, callers = (pathlib.Path(path).read_bytes() for path in (arguments.key, arguments.certificate, arguments.callers))
    return grpc.ssl_server_credentials([(key, chain)], root_certificates=callers, require_client_auth=True)


def answers(address):
    """Whether somebody listens there: gRPC itself would take a socket over."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address.removeprefix("unix:")) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("address")
    for file in ("certificate", "key", "callers"):
        parser.add_argument("--" + file)
    arguments = parser.parse_args()
    # Records of health, and a socket: for this user only.
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with sqlite3.connect(arguments.database) as database:
        database.executescript(TABLES)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), maximum_concurrent_rpcs=64)
    services.add_VaccinationServicer_to_server(Vaccination(arguments.database), server)
    if arguments.callers and arguments.certificate and arguments.key:
        port = server.add_secure_port(arguments.address, credentials(arguments))
        print(f"https port {port}", flush=True)
    elif arguments.address.startswith("unix:/") and not arguments.callers:
        if answers(arguments.address):
            parser.error(f"another provider answers at {arguments.address} already; it would lose its callers without a word")
        # Whoever can open the socket can say to be anybody.
        server.add_insecure_port(arguments.address)
        print(arguments.address, flush=True)
    else:
        parser.error("give unix:/PATH, or ADDRESS:PORT with --certificate, --key and --callers")
    server.start()
    stop.wait()
    server.stop(LAST_CALLS).wait()


if __name__ == "__main__":
    main()
