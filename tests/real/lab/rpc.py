"""A thin client of the Milvus API: one gRPC stub whose calls fail loudly.

Only the generated stubs of pymilvus are used. Importing the package itself would load pandas
and more for nothing, so its `__init__` is stepped over.
"""

import base64
import importlib.util
import sys
import types

import grpc

_spec = importlib.util.find_spec("pymilvus")
_package = types.ModuleType("pymilvus")
_package.__path__ = list(_spec.submodule_search_locations)
sys.modules.setdefault("pymilvus", _package)

from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2  # noqa: E402,F401

from processes import LabError  # noqa: E402

ROOT_USER, ROOT_PASSWORD = "root", "Milvus"
MESSAGE_LIMIT = 512 * 1024 * 1024


class RpcError(LabError):
    """Milvus answered, and the answer says no."""

    def __init__(self, method, status):
        self.status = status
        super().__init__(f"{method}: {status.code or status.error_code} {status.reason}")


class Client:
    """Calls RPCs by name: `client.call("ShowCollections", type=1)`."""

    def __init__(self, proxy, certificates=None, user=None, password=None):
        options = [
            ("grpc.max_send_message_length", MESSAGE_LIMIT),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            # Look for a restarted server at once, not after a growing pause.
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        if certificates is None:
            self._channel = grpc.insecure_channel(proxy, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                certificates.ca.read_bytes(),
                certificates.client_key.read_bytes(),
                certificates.client_cert.read_bytes(),
            )
            self._channel = grpc.secure_channel(proxy, credentials, options)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)
        self._token = None
        if user is not None:
            self._token = base64.b64encode(f"{user}:{password}".encode()).decode()

    def close(self):
        self._channel.close()

    def ask(self, method, request, database=None, timeout=60):
        """The answer as it came, whatever its status says."""
        metadata = []
        if self._token is not None:
            metadata.append(("authorization", self._token))
        if database:
            metadata.append(("dbname", database))
        return getattr(self._stub, method)(request, timeout=timeout, metadata=metadata)

    def call(self, method, database=None, timeout=60, **fields):
        """Builds the request from its fields, and raises when the answer's status is bad."""
        answer = self.ask(method, make_request(method, database, **fields), database, timeout)
        is_status = isinstance(answer, common_pb2.Status)
        status = answer if is_status else getattr(answer, "status", None)
        if status is not None and (status.code or status.error_code):
            raise RpcError(method, status)
        return answer


def make_request(method, database=None, **fields):
    service = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"]
    descriptor = service.methods_by_name[method].input_type
    module = {"schema": schema_pb2, "common": common_pb2}.get(
        descriptor.full_name.split(".")[-2], milvus_pb2
    )
    if database and "db_name" in descriptor.fields_by_name:
        fields["db_name"] = database
    return getattr(module, descriptor.name)(**fields)


def key_values(**pairs):
    return [common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in pairs.items()]


def to_plain(message):
    """A protobuf message as plain JSON data: field names as in the .proto, integers as integers,
    enums as numbers, and every scalar field present even when it has its default."""
    plain = {}
    for descriptor in message.DESCRIPTOR.fields:
        value = getattr(message, descriptor.name)
        if descriptor.message_type is None:
            plain[descriptor.name] = list(value) if _is_repeated(value) else value
        elif descriptor.message_type.GetOptions().map_entry:
            inner = descriptor.message_type.fields_by_name["value"].message_type
            plain[descriptor.name] = {
                str(key): to_plain(value[key]) if inner else value[key] for key in value
            }
        elif _is_repeated(value):
            plain[descriptor.name] = [to_plain(item) for item in value]
        elif message.HasField(descriptor.name):
            plain[descriptor.name] = to_plain(value)
    return plain


def _is_repeated(value):
    return hasattr(value, "append") and not isinstance(value, (str, bytes))
