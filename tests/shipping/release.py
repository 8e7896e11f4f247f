#!/usr/bin/env python3
"""Measures the release binary: its size, and how soon after its start it looks at Milvus for the first time.

Usage: release.py PATH-OF-THE-BINARY
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LARGEST = 15 * 1000 * 1000
LONGEST_SECONDS = 0.050
RUNS = 20
# Seconds after which it will not look any more.
LONGEST_WAIT = 30


def first_look(binary, folder, milvus):
    """Seconds from the start of the process to its first connection to Milvus."""
    forget_connections(milvus)
    environment = {
        "STATE_DIRECTORY": folder,
        "MILVUS_REBALANCER__HTTP__LISTEN": "127.0.0.1:0",
        "MILVUS_REBALANCER__ADMIN__LISTEN": "127.0.0.1:0",
        "MILVUS_REBALANCER__CONNECTIONS__DEFAULT__ENDPOINT": f"http://127.0.0.1:{milvus.getsockname()[1]}",
    }
    began = time.perf_counter()
    process = subprocess.Popen([binary, "run"], env=environment, stderr=subprocess.PIPE)
    try:
        connection, _ = milvus.accept()
        took = time.perf_counter() - began
        connection.close()
        return took
    except TimeoutError:
        process.kill()
        sys.exit(f"it does not look at Milvus: {process.stderr.read().decode()}")
    finally:
        process.kill()
        process.communicate()


def forget_connections(milvus):
    """Takes what the process before still had under way."""
    milvus.settimeout(0)
    try:
        while True:
            milvus.accept()[0].close()
    except BlockingIOError:
        milvus.settimeout(LONGEST_WAIT)


def starts(binary):
    """Of a service that has run before, and of one that makes its journal, which is written through to the disk."""
    # A journal knows its Milvus by the address.
    with socket.create_server(("127.0.0.1", 0)) as milvus:
        with tempfile.TemporaryDirectory() as folder:
            first_look(binary, folder, milvus)
            again = sorted(first_look(binary, folder, milvus) for _ in range(RUNS))
        new = []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as folder:
                new.append(first_look(binary, folder, milvus))
    return again, sorted(new)


def main(binary):
    binary = os.path.abspath(binary)
    size = pathlib.Path(binary).stat().st_size
    print(f"size {size / 1e6:.1f} MB (at most {LARGEST / 1e6:.0f})")
    again, new = starts(binary)
    median = statistics.median(again)
    print(f"start to first poll: median {median * 1e3:.1f} ms of {RUNS}, longest {again[-1] * 1e3:.1f} ms "
          f"(median at most {LONGEST_SECONDS * 1e3:.0f}); with a new journal: median {statistics.median(new) * 1e3:.1f} ms, "
          f"longest {new[-1] * 1e3:.1f} ms")
    sys.exit(size > LARGEST or median > LONGEST_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
