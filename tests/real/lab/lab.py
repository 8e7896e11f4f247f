"""A real Milvus cluster for the tests, for captures, and for a person who wants to see one.

    lab.py install --cache DIR               only fetch what is needed
    lab.py serve   --cache DIR               the agent that the Rust tests drive over a pipe
    lab.py up      [--nodes 3] [--uneven]    a cluster to look at; Ctrl-C ends it
    lab.py capture --out DIR                 record real answers as test fixtures

Needs only python3 with the venv module; everything else is installed into the cache folder.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from provision import Cache, ProvisionError, log, provision  # noqa: E402

DEFAULT_CACHE = Path(__file__).resolve().parents[3] / "target" / "lab"


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cache", default=DEFAULT_CACHE, help="where downloads are kept")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", parents=[common], help="only fetch what is needed")
    commands.add_parser("serve", parents=[common], help="obey JSON commands on stdin")
    up = commands.add_parser("up", parents=[common], help="start a cluster and wait for Ctrl-C")
    up.add_argument("--nodes", type=int, default=3)
    up.add_argument("--auth", action="store_true", help="root / Milvus")
    up.add_argument("--tls", choices=["server", "mutual"])
    up.add_argument("--auto-balance", action="store_true", help="Milvus's own balancer on")
    up.add_argument("--uneven", action="store_true", help="12 equal segments, all on one node")
    up.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="a setting of Milvus"
    )
    capture = commands.add_parser("capture", parents=[common], help="record fixtures")
    capture.add_argument("--out", required=True, type=Path)
    return parser.parse_args()


def enter_venv(cache):
    """Goes on inside the venv's Python, as the same process with the same pipes."""
    if Path(sys.prefix).resolve() == cache.venv.resolve():
        return
    os.execv(cache.python, [str(cache.python), os.path.abspath(__file__), *sys.argv[1:]])


def run_interactively(cache, arguments):
    from agent import Lab

    lab = Lab(cache)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = dict(setting.split("=", 1) for setting in arguments.set)
        cluster = lab.up(
            nodes=arguments.nodes,
            auth=arguments.auth,
            tls={None: False, "server": True, "mutual": "mutual"}[arguments.tls],
            auto_balance=arguments.auto_balance,
            settings={key: json.loads(value) for key, value in settings.items()},
        )
        print(f"Milvus proxy  {cluster['proxy']}")
        print(f"etcd          {cluster['etcd']}")
        for node in cluster["nodes"]:
            print(
                f"query node {node['id']:<3}{node['address']}   "
                f"metrics http://{node['metrics']}/metrics"
            )
        for name, path in cluster.get("tls", {}).items():
            print(f"{name:<14}{path}")
        if arguments.uneven:
            make_uneven(lab, cluster["nodes"][-1]["id"])
        print("Ctrl-C ends it.", flush=True)
        while True:
            signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        lab.down()


def make_uneven(lab, crowded):
    name = "sample"
    lab.create_collection(name=name, segments=12, rows_per_segment=2000, dim=32)
    lab.push_all_to(name, crowded)
    print(f"collection `{name}`: 12 equal segments, all on query node {crowded}")


def main():
    arguments = parse_arguments()
    cache = Cache(arguments.cache)
    try:
        provision(cache)
    except ProvisionError as error:
        if arguments.command == "serve":
            print(json.dumps({"ok": False, "error": str(error)}), flush=True)
        sys.exit(f"lab: {error}")
    if arguments.command == "install":
        log(f"ready in {cache.root}")
        return
    enter_venv(cache)
    if arguments.command == "serve":
        from agent import serve

        serve(cache)
    elif arguments.command == "capture":
        from capture import capture

        capture(cache, arguments.out)
    else:
        run_interactively(cache, arguments)


if __name__ == "__main__":
    main()
