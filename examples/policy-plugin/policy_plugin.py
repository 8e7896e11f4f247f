#!/usr/bin/env python3
"""A policy plug-in for milvus-rebalancer: what collections cost, by their names, and nodes that take nothing.

Say that searches on the collections of one customer are ten times as dear as any others, for a reason that no metric
shows, and that a few machines are to be left as they are for now:

    python3 -m venv environment
    environment/bin/pip install -r requirements.txt
    environment/bin/python policy_plugin.py --listen unix:/run/weights.sock --weight 'gold_*=10' --closed '10.0.0.7:*'

and in the configuration of the daemon:

    [policies.plugins.weights]
    endpoint = "unix:/run/weights.sock"

The dimension is then called `weights.cost`. It knows nothing of the last turn and keeps nothing for the next, so it may be
restarted at any time; the daemon leaves it out of the turns in which it is away.

It reads the service from proto/policy.proto of the daemon, two folders above, or from where --proto says.
"""

import argparse
import fnmatch
import signal
import sys
from concurrent import futures
from pathlib import Path

import grpc

# The daemon sends what it sees of the cluster in one message; the limit of 4 MiB that gRPC has is for small clusters.
LARGEST_QUESTION = 256 << 20

# Loads are whole numbers, so that a row costs a thousand points: weights of 0.001 still count.
POINTS_OF_A_ROW = 1000


def weight(text):
    """`gold_*=10` as a pair."""
    pattern, _, factor = text.rpartition("=")
    try:
        factor = float(factor)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not PATTERN=NUMBER") from error
    if not pattern or not 0 <= factor <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not PATTERN=NUMBER with a number from 0 to 1000000")
    return pattern, factor


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", required=True, help="unix:/path/of/socket or host:port")
    parser.add_argument(
        "--weight", type=weight, action="append", default=[], metavar="PATTERN=NUMBER",
        help="what a row of collections of such names costs, the first that fits; 1 where none does",
    )
    parser.add_argument(
        "--closed", action="append", default=[], metavar="PATTERN",
        help="addresses (host:port) or hostnames of nodes that take nothing",
    )
    parser.add_argument(
        "--proto", type=Path, default=Path(__file__).resolve().parents[2] / "proto",
        help="the folder that holds policy.proto",
    )
    return parser.parse_args()


def serve(options):
    sys.path.insert(0, str(options.proto))
    messages, services = grpc.protos_and_services("policy.proto")

    class Weights(services.PolicyPluginServicer):
        def Describe(self, request, context):
            description = messages.DimensionDescription(name="cost", unit=messages.LOAD_UNIT_POINTS)
            return messages.DescribeResponse(version="weights 1", dimensions=[description])

        def Assess(self, request, context):
            loads = messages.NodeCollectionLoads()
            factors = {it.id: self.factor_of(it.name) for it in request.collections}
            for held in request.node_collections:
                loads.node_ids.append(held.node_id)
                loads.collection_ids.append(held.collection_id)
                loads.loads.append(round(held.rows * POINTS_OF_A_ROW * factors[held.collection_id]))
            return messages.AssessResponse(
                dimensions=[messages.Dimension(name="cost", collection_loads=loads)],
                directives=[
                    messages.Directive(never_destination=messages.NeverDestination(node_id=node.id))
                    for node in request.nodes
                    if self.is_closed(node)
                ],
            )

        def factor_of(self, collection):
            fitting = (factor for pattern, factor in options.weight if fnmatch.fnmatchcase(collection, pattern))
            return next(fitting, 1.0)

        def is_closed(self, node):
            names = (node.address, node.hostname)
            return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in options.closed)

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=2),
        options=[("grpc.max_receive_message_length", LARGEST_QUESTION)],
    )
    services.add_PolicyPluginServicer_to_server(Weights(), server)
    # It is a connection within this machine, or within a network that is trusted as such.
    server.add_insecure_port(options.listen)
    server.start()
    print(f"listening at {options.listen}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=1))
    server.wait_for_termination()


if __name__ == "__main__":
    serve(arguments())
