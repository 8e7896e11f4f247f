"""Background searches in a process of their own, so that they really run beside the agent.

Reads one JSON line with what to search, and searches from several threads. A line `window` on its
stdin prints one JSON line with what happened since the last one; any other line, or the end of
its stdin, does the same and ends it.
"""

import json
import random
import sys
import threading
import time
from pathlib import Path

import grpc

from certificates import Certificates
from datasets import Collection, make_search, random_vectors
from rpc import Client

BOUNDED = 2  # common.ConsistencyLevel.Bounded
QUERY_VECTORS = 64
ERRORS_KEPT = 5


class Tally:
    """What one thread saw in this window. Another thread may take it away at any time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begin()

    def begin(self):
        self.milliseconds = []
        self.failures = 0
        self.errors = []

    def take(self):
        with self.lock:
            taken = (self.milliseconds, self.failures, self.errors)
            self.begin()
            return taken

    def record(self, started, error):
        with self.lock:
            self.milliseconds.append((time.monotonic() - started) * 1000)
            if error:
                self.failures += 1
                if len(self.errors) < ERRORS_KEPT:
                    self.errors.append(error)


def search_until(stopped, order, collections, offset, tally):
    certificates = order["certificates"]
    if certificates:
        certificates = Certificates(**{key: Path(path) for key, path in certificates.items()})
    client = Client(order["proxy"], certificates, order["user"], order["password"])
    requests = [
        (collection, make_search(collection, [vector], order["topk"], BOUNDED))
        for collection in collections
        for vector in random_vectors(offset, QUERY_VECTORS, collection.dim)
    ]
    random.Random(offset).shuffle(requests)
    turn = offset
    while not stopped.is_set():
        collection, request = requests[turn % len(requests)]
        turn += 1
        started = time.monotonic()
        try:
            status = client.ask("Search", request, collection.database, timeout=20).status
            error = status.reason or "failed" if status.code or status.error_code else None
        except Exception as problem:  # noqa: BLE001 - a broken connection is a failed search
            error = str(problem)
            if isinstance(problem, grpc.RpcError):
                error = problem.details()
        tally.record(started, error)
        if error:
            # A refused connection fails at once; do not count it thousands of times a second.
            stopped.wait(0.05)


def summarize(tallies, seconds):
    windows = [tally.take() for tally in tallies]
    times = sorted(time for milliseconds, _, _ in windows for time in milliseconds)
    return {
        "searches": len(times),
        "failures": sum(failures for _, failures, _ in windows),
        "errors": [error for _, _, errors in windows for error in errors][:ERRORS_KEPT],
        "mean_ms": round(sum(times) / len(times), 2) if times else 0.0,
        "p99_ms": round(times[min(len(times) - 1, len(times) * 99 // 100)], 2) if times else 0.0,
        "per_second": round(len(times) / seconds, 2),
        "seconds": round(seconds, 2),
    }


def main():
    order = json.loads(sys.stdin.readline())
    collections = [Collection(**collection) for collection in order["collections"]]
    stopped = threading.Event()
    tallies = [Tally() for _ in range(order["threads"])]
    started = time.monotonic()
    threads = [
        threading.Thread(target=search_until, args=(stopped, order, collections, n, tally))
        for n, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    while sys.stdin.readline().strip() == "window":
        now = time.monotonic()
        print(json.dumps(summarize(tallies, now - started)), flush=True)
        started = now
    stopped.set()
    seconds = time.monotonic() - started
    for thread in threads:
        thread.join()
    print(json.dumps(summarize(tallies, seconds)), flush=True)


main()
