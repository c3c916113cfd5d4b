"""Compiles probe.proto into a temporary folder and offers its messages and stubs."""

import importlib
import pathlib
import sys
import tempfile

from grpc_tools import protoc


def _compile():
    source = pathlib.Path(__file__).parent
    with tempfile.TemporaryDirectory() as target:
        arguments = ["protoc", f"-I{source}", f"--python_out={target}", f"--grpc_python_out={target}"]
        if protoc.main([*arguments, "probe.proto"]) != 0:
            raise SystemExit("probe.proto does not compile")
        sys.path.insert(0, target)
        written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            return importlib.import_module("probe_pb2"), importlib.import_module("probe_pb2_grpc")
        finally:
            sys.dont_write_bytecode = written
            sys.path.remove(target)


messages, stubs = _compile()
