"""Puts a real Milvus server and the Python packages that drive it into a cache folder.

The integration tests need a real multi-node Milvus without Docker. Everything comes from PyPI:
the `milvus` wheel carries the server binary, and a private venv carries the gRPC client and a
mock Kafka broker. Several test processes may ask for this at once, and any of them may be
killed half way, so the work is done under a file lock and published by an atomic rename.
"""

import contextlib
import fcntl
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

MILVUS_VERSION = "2.3.5"

# pymilvus is used only for its generated gRPC stubs (see rpc.py), hence `--no-deps` below:
# its own dependencies are large, and some of them exist only for old Python versions.
PACKAGES = (
    "grpcio==1.85.1",
    "protobuf==7.36.2",
    "confluent-kafka==2.16.1",
    "PyYAML==6.0.3",
    "cryptography==50.0.2",
)
STUBS_PACKAGE = "pymilvus==2.3.7"
SERVER_PACKAGE = f"milvus=={MILVUS_VERSION}"


class ProvisionError(Exception):
    """The cache folder could not be filled."""


def log(message):
    """Progress goes to stderr: stdout belongs to the agent's protocol."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


class Cache:
    """The cache folder and the places inside it."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.venv = self.root / "venv"
        self.server = self.root / f"milvus-{MILVUS_VERSION}"
        self.runs = self.root / "run"

    @property
    def python(self):
        return self.venv / "bin" / "python"

    def is_complete(self):
        return _is_done(self.venv, _venv_mark()) and _is_done(self.server, SERVER_PACKAGE)


def provision(cache):
    """Fills the cache if something is missing. Safe to call from many processes at once."""
    if cache.is_complete():
        return
    cache.root.mkdir(parents=True, exist_ok=True)
    with _locked(cache.root / "provision.lock"):
        try:
            if not _is_done(cache.venv, _venv_mark()):
                _build_venv(cache)
            if not _is_done(cache.server, SERVER_PACKAGE):
                _unpack_server(cache)
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
            raise ProvisionError(f"cannot provision {cache.root}: {error}") from error


def _build_venv(cache):
    # A venv cannot be renamed after it is made (its scripts hold absolute paths), so a mark
    # written last says that it is whole; without the mark it is thrown away and made again.
    log(f"making a Python environment in {cache.venv}")
    shutil.rmtree(cache.venv, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(cache.venv)])
    except subprocess.CalledProcessError as error:
        raise ProvisionError(
            "`python3 -m venv` failed; install the venv module (Debian: python3-venv)"
        ) from error
    log("installing " + ", ".join((*PACKAGES, STUBS_PACKAGE)))
    _pip(cache, "install", *PACKAGES)
    _pip(cache, "install", "--no-deps", STUBS_PACKAGE)
    _mark_done(cache.venv, _venv_mark())


def _unpack_server(cache):
    log(f"downloading {SERVER_PACKAGE}")
    scratch = cache.root / f"milvus-{MILVUS_VERSION}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(cache.server, ignore_errors=True)
    downloads = scratch / "wheel"
    downloads.mkdir(parents=True)
    _pip(cache, "download", "--no-deps", "--dest", str(downloads), SERVER_PACKAGE)
    (wheel,) = downloads.glob("milvus-*.whl")
    log("unpacking the Milvus server")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if "/data/bin/" in member and member.endswith(".lzma"):
                target = scratch / Path(member).name.removesuffix(".lzma")
                target.write_bytes(lzma.decompress(archive.read(member)))
                target.chmod(0o755)
            elif member.endswith("config.yaml.template"):
                (scratch / "config.yaml.template").write_bytes(archive.read(member))
    shutil.rmtree(downloads)
    _mark_done(scratch, SERVER_PACKAGE)
    scratch.rename(cache.server)
    log("provisioned")


def _pip(cache, *arguments):
    _run([str(cache.python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command):
    # A child's stdout would end up in the agent's protocol; send it to stderr.
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())


def _venv_mark():
    """Changes with the pins and with the Python, so that an outdated venv is made again."""
    text = " ".join((*PACKAGES, STUBS_PACKAGE, "python%d.%d" % sys.version_info[:2]))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_done(folder, mark):
    try:
        return (folder / ".done").read_text() == mark
    except OSError:
        return False


def _mark_done(folder, mark):
    temporary = folder / ".done.tmp"
    temporary.write_text(mark)
    os.replace(temporary, folder / ".done")


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
