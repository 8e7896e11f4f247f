"""Child processes that cannot outlive the lab, and the run folders they write to.

A test may panic, be interrupted or be killed outright. Whatever happens to the agent, no
Milvus process, no data folder and no cgroup may stay behind: children ask the kernel to be
killed with their parent, and the next lab sweeps the folders of labs that are no longer alive.
"""

import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_CPU = CGROUPS / "cpu"  # version 1; version 2 has one tree for all controllers
CGROUP_PERIOD_US = 100_000

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something the user of the lab should read as it is."""


class RunFolder:
    """A fresh folder of one lab, locked for as long as the lab lives."""

    def __init__(self, parent):
        parent.mkdir(parents=True, exist_ok=True)
        with open(parent / ".sweep.lock", "w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            _sweep_dead(parent)
            self.path = Path(tempfile.mkdtemp(prefix="lab-", dir=parent))
            self._lock = open(self.path / "alive.lock", "w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @property
    def name(self):
        return self.path.name

    def remove(self):
        _remove_run(self.path)
        self._lock.close()


def _sweep_dead(parent):
    for folder in parent.glob("lab-*"):
        try:
            with open(folder / "alive.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_run(folder)
        except (BlockingIOError, FileNotFoundError):
            continue


def _remove_run(folder):
    name = f"milvus-{folder.name}-*"
    for group in [*CGROUP_CPU.glob(name), *CGROUPS.glob(name)]:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


class Child:
    """One process of the lab, with its own log file."""

    def __init__(self, name, command, log_folder, env=None, cwd=None, cgroup=None, **popen):
        self.name = name
        self.log_path = log_folder / f"{name}.log"
        parent = os.getpid()

        def tie_to_parent():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        popen.setdefault("stdin", subprocess.DEVNULL)
        with open(self.log_path, "ab") as log:
            popen.setdefault("stdout", log)
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stderr=log,
                env=env,
                cwd=cwd,
                # Ctrl-C in a terminal must reach the agent alone, which then tears down in order.
                start_new_session=True,
                preexec_fn=tie_to_parent,
                **popen,
            )

    def is_running(self):
        return self.process.poll() is None

    def check_running(self):
        if not self.is_running():
            raise LabError(
                f"{self.name} ended with status {self.process.returncode}:\n{self.log_tail()}"
            )

    def log_tail(self, lines=15):
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def signal(self, number):
        if self.is_running():
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.reap()

    def reap(self, timeout=None):
        """Waits for the end, and removes the note that Milvus keeps of each process id."""
        self.process.wait(timeout)
        note = Path(tempfile.gettempdir()) / "milvus" / f"server_id_{self.process.pid}"
        note.unlink(missing_ok=True)

    def terminate(self, timeout):
        """SIGTERM, then wait for an orderly end. Returns whether it came in time."""
        self.signal(signal.SIGTERM)
        try:
            self.reap(timeout)
            return True
        except subprocess.TimeoutExpired:
            return False


def make_cpu_cgroup(run_name, label, cores):
    """A control group, version 1 or 2, with a quota of `cores` cores. Needs root."""
    name = f"milvus-{run_name}-{label}"
    quota = int(cores * CGROUP_PERIOD_US)
    try:
        if (CGROUPS / "cgroup.controllers").exists():
            (CGROUPS / "cgroup.subtree_control").write_text("+cpu")
            group = CGROUPS / name
            group.mkdir(exist_ok=True)
            (group / "cpu.max").write_text(f"{quota} {CGROUP_PERIOD_US}")
        else:
            group = CGROUP_CPU / name
            group.mkdir(exist_ok=True)
            (group / "cpu.cfs_period_us").write_text(str(CGROUP_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        raise LabError(f"cpu_limits need root and a cpu controller for groups: {error}") from error
    return group


def pick_ports(count):
    """`count` free TCP ports, below the range the kernel hands to outgoing connections.

    All stay bound until the last one is found, so that no port is given twice; staying out of
    the ephemeral range keeps the lab's own client connections from taking one in between.
    """
    low, high = 12_000, _first_ephemeral_port()
    held, ports = [], []
    try:
        while len(ports) < count:
            probe = socket.socket()
            held.append(probe)
            candidate = random.randrange(low, high) if high - low > 10 * count else 0
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            ports.append(probe.getsockname()[1])
    finally:
        for probe in held:
            probe.close()
    return ports


def _first_ephemeral_port():
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768


def wait_until(what, condition, timeout, interval=0.1):
    """Polls `condition` until it gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"gave up after {timeout} s waiting for {what}")
        time.sleep(interval)
