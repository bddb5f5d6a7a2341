"""Reads every key through each kine, after the torture, and prints one JSON line for each answer.

`{"at": "10.77.0.1:2379", "revision": 812, "keys": {"/torture/w0/0000001": ["w0-1", 17]}}`
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import grpc

from .etcd import Endpoint
from .kine_writer import PREFIX

PATIENCE_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", action="append", required=True)
    for target in parser.parse_args().endpoint:
        endpoint = Endpoint(target)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                revision, kvs = endpoint.read_prefix(PREFIX, 10.0)
                break
            except (grpc.RpcError, ValueError) as failure:
                if time.monotonic() > deadline:
                    sys.exit(f"kine at {target} does not answer: {failure}")
                time.sleep(0.5)
        keys = {kv.key.decode(): [kv.value.decode(), kv.mod_revision] for kv in kvs}
        sys.stdout.write(json.dumps({"at": target, "revision": revision, "keys": keys}) + "\n")
        endpoint.close()


if __name__ == "__main__":
    main()
