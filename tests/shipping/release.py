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


def first_look(binary):
    """Seconds from the start of the process to its first connection to Milvus."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as milvus:
        milvus.settimeout(30)
        environment = {
            "STATE_DIRECTORY": folder,
            "MILVUS_REBALANCER__HTTP__LISTEN": "127.0.0.1:0",
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


def main(binary):
    binary = os.path.abspath(binary)
    size = pathlib.Path(binary).stat().st_size
    print(f"size {size / 1e6:.1f} MB (at most {LARGEST / 1e6:.0f})")
    took = sorted(first_look(binary) for _ in range(RUNS))
    median = statistics.median(took)
    print(f"start to first poll: median {median * 1e3:.1f} ms of {RUNS}, longest {took[-1] * 1e3:.1f} ms "
          f"(median at most {LONGEST_SECONDS * 1e3:.0f})")
    sys.exit(size > LARGEST or median > LONGEST_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
