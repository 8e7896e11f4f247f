#!/usr/bin/env python3
"""Checks deploy/kubernetes against the published schemas of Kubernetes, and against what we promise of it.

Usage: manifests.py PATH-OF-THE-BINARY. Needs the packages kubernetes-validate and PyYAML.
"""

import copy
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import kubernetes_validate
import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
# The oldest and the newest line that the manifests are written for.
VERSIONS = ["1.28", "1.34"]
NAME = "milvus-rebalancer"
OUR_PORT, MILVUS_PORT = 9095, 9091

# A pod of Milvus, as far as a patch of it matters.
MILVUS = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "milvus-proxy"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"component": "proxy"}},
        "template": {
            "metadata": {"labels": {"component": "proxy"}},
            "spec": {
                "containers": [{
                    "name": "proxy",
                    "image": "milvus",
                    "ports": [{"containerPort": 19530}, {"containerPort": MILVUS_PORT, "name": "metrics"}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "metrics"}},
                }],
                "volumes": [{"name": "data", "emptyDir": {}}],
            },
        },
    },
}


def documents(name):
    return [document for document in yaml.safe_load_all((FOLDER / name).read_text()) if document]


def merged(base, patch):
    """A strategic merge, as kubectl does it for what is patched here: lists of things with a name are merged by it."""
    if isinstance(base, dict) and isinstance(patch, dict):
        result = copy.deepcopy(base)
        for key, value in patch.items():
            result[key] = merged(base[key], value) if key in base else copy.deepcopy(value)
        return result
    if isinstance(base, list) and isinstance(patch, list):
        names = [entry["name"] for entry in base]
        assert not [entry for entry in patch if entry["name"] in names], "the patch changes what is there"
        return base + patch
    return copy.deepcopy(patch)


def check_schema(document):
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


def ours(pod):
    (container,) = [container for container in pod["containers"] if container["name"] == NAME]
    return container


def check_container(pod):
    container = ours(pod)
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    assert requests == limits and set(limits) == {"cpu", "memory"}, container["resources"]
    assert [port["containerPort"] for port in container["ports"]] == [OUR_PORT]
    others = [port["containerPort"] for other in pod["containers"] if other is not container
              for port in other.get("ports", [])]
    assert OUR_PORT not in others, others
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": container["ports"][0]["name"]}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {**pod.get("securityContext", {}), **security}["runAsNonRoot"]
    (journal,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/var/lib/" + NAME]
    assert journal["name"] in [volume["name"] for volume in pod["volumes"]] and not journal.get("readOnly")
    # Calls that are running are answered within 30 s, open connections are given 5 more.
    assert pod["terminationGracePeriodSeconds"] > 35


def check_configuration(binary, environment, text):
    """The daemon itself understands what the manifest tells it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.toml"
        path.write_text(text)
        answer = subprocess.run([binary, "check-config", "--config", str(path)], env=environment,
                                capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr


def check_rights(by_kind, pod, configuration):
    """The pods may do what the election does, to the objects that it uses, and nothing else."""
    assert configuration["lease"] == {"engine": "kubernetes"}, "each pod must stand for election"
    defaults = tomllib.loads((FOLDER.parents[1] / "config" / "default.toml").read_text())
    name = defaults["lease"]["kubernetes"]["name"]
    granted = {(rule["apiGroups"][0], resource, verb, tuple(rule.get("resourceNames", [])))
               for rule in by_kind["Role"]["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    objects = [("coordination.k8s.io", "leases"), ("", "configmaps")]
    assert granted == {(group, resource, verb, () if verb == "create" else (name,))
                       for group, resource in objects for verb in ("get", "update", "create")}, granted
    account = by_kind["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == account and pod["automountServiceAccountToken"]
    assert by_kind["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
    (instance,) = [one for one in ours(pod)["env"] if one["name"] == "MILVUS_REBALANCER__LEASE__INSTANCE"]
    assert instance["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name", "no two pods may have one name"


def main(binary):
    binary = os.path.abspath(binary)
    (patch,) = documents("sidecar-patch.yaml")
    with_sidecar = merged(MILVUS, patch)
    check_schema(with_sidecar)
    pod = with_sidecar["spec"]["template"]["spec"]
    check_container(pod)
    sidecar = ours(pod)
    assert "readinessProbe" not in sidecar and "startupProbe" not in sidecar, "our turn is nobody's readiness"
    environment = {variable["name"]: variable["value"] for variable in sidecar["env"]}
    check_configuration(binary, environment, "")
    assert environment["MILVUS_REBALANCER__HTTP__LISTEN"].endswith(f":{OUR_PORT}")

    alone = documents("stateful-set.yaml")
    for document in alone:
        check_schema(document)
    by_kind = {document["kind"]: document for document in alone}
    assert set(by_kind) == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Service", "StatefulSet"}
    stateful_set = by_kind["StatefulSet"]["spec"]
    assert stateful_set["replicas"] == 2
    pod = stateful_set["template"]["spec"]
    labels = stateful_set["template"]["metadata"]["labels"]
    assert stateful_set["selector"]["matchLabels"].items() <= labels.items()
    assert by_kind["Service"]["spec"]["selector"].items() <= labels.items()
    assert stateful_set["serviceName"] == by_kind["Service"]["metadata"]["name"]
    (claim,) = stateful_set["volumeClaimTemplates"]
    pod["volumes"].append({"name": claim["metadata"]["name"]})
    check_container(pod)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["configuration"]["configMap"]["name"] == by_kind["ConfigMap"]["metadata"]["name"]
    text = by_kind["ConfigMap"]["data"]["config.toml"]
    check_configuration(binary, {}, text)
    check_rights(by_kind, pod, tomllib.loads(text))

    (policy,) = documents("network-policy.yaml")
    check_schema(policy)
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] == [OUR_PORT]

    # The schema of the Prometheus operator is not published with those of Kubernetes: our own look at it.
    (monitor,) = documents("pod-monitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(monitor["spec"]) <= {"selector", "podMetricsEndpoints", "namespaceSelector", "jobLabel", "podTargetLabels"}
    for chosen in (labels, with_sidecar["spec"]["template"]["metadata"]["labels"]):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= chosen.items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert set(endpoint) <= {"port", "path", "interval", "scheme", "relabelings", "scrapeTimeout"}
    for container in (ours(pod), sidecar):
        assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert endpoint["path"] == "/metrics"
    assert {"targetLabel": "job", "replacement": NAME} in endpoint["relabelings"], "the alerts go by this job"
    print("the manifests are as they should be")


if __name__ == "__main__":
    main(sys.argv[1])
