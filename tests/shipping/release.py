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


def first_look(binary, folder):
    """Seconds from the start of the process to its first connection to Milvus."""
    with socket.create_server(("127.0.0.1", 0)) as milvus:
        milvus.settimeout(30)
        environment = {
            "STATE_DIRECTORY": folder,
            "MILVUS_REBALANCER__HTTP__LISTEN": "127.0.0.1:0",
            "MILVUS_REBALANCER__ADMIN__LISTEN": "127.0.0.1:0",
            "MILVUS_REBALANCER__CONNECTIONS__DEFAULT__ENDPOINT": f"http://127.0.0.1:{milvus.getsockname()[1]}",
        }
        began = time.perf_counter()
        process = subprocess.Popen([binary, "run"], env=environment, stderr=subprocess.DEVNULL)
        try:
            connection, _ = milvus.accept()
            took = time.perf_counter() - began
            connection.close()
        finally:
            process.kill()
            process.wait()
        return took


def starts(binary):
    """Of a service that has run before, and of one that makes its journal, which is written through to the disk."""
    with tempfile.TemporaryDirectory() as folder:
        first_look(binary, folder)
        again = sorted(first_look(binary, folder) for _ in range(RUNS))
    new = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            new.append(first_look(binary, folder))
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
