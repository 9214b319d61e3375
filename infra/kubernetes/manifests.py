"""What the check and the kubelet read out of built manifests: objects, and the containers' arguments and variables as a
kubelet would give them to the process."""

import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def fail(what):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {what}")


def built(folder):
    """The objects of an overlay, or of a file that was built from one."""
    return json.loads(subprocess.run([os.path.join(HERE, "apiserver"), "json", folder], check=True, capture_output=True, text=True).stdout)


def copied(to):
    """A copy of all that the overlays are built from, with secrets of its own: none is ever made beside what is checked in."""
    infra = os.path.dirname(HERE)
    for name in ("kubernetes", "prometheus", "grafana"):
        shutil.copytree(os.path.join(infra, name), os.path.join(to, "infra", name), ignore=shutil.ignore_patterns("secrets"))
    for overlay in ("embedded-single", "kafka-three"):
        subprocess.run([os.path.join(HERE, "keys"), os.path.join(to, "infra/kubernetes", overlay)], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(to, "infra/kubernetes")


def of(objects, kind, name=None):
    found = [one for one in objects if one["kind"] == kind and (name is None or one["metadata"]["name"].startswith(name))]
    if not found:
        fail(f"there is no {kind} {name or ''}")
    return found


def mebibytes(quantity):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) * (1024 if unit == "Gi" else 1)


def expanded(text, known):
    """$(NAME) as a kubelet expands it: what is not known stays."""
    return re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", lambda found: known.get(found[1], found[0]), text)


def variables(container, objects, pod, namespace, secrets):
    """The container's variables; `secrets` has what other operators write: {(secret, key): value}."""
    known = {}
    for source in container.get("envFrom", []):
        kind, name = ("ConfigMap", source["configMapRef"]["name"]) if "configMapRef" in source else ("Secret", source["secretRef"]["name"])
        data = of(objects, kind, name)[0]["data"]
        known.update({key: plain(value) if kind == "Secret" else value for key, value in data.items()})
    for variable in container.get("env", []):
        known[variable["name"]] = expanded(variable["value"], known) if "value" in variable else told(variable, container, pod, namespace, secrets)
    return known


def plain(value):
    import base64

    return base64.b64decode(value).decode()


def told(variable, container, pod, namespace, secrets):
    source = variable["valueFrom"]
    if "fieldRef" in source:
        return {"metadata.name": pod, "metadata.namespace": namespace}[source["fieldRef"]["fieldPath"]]
    if "resourceFieldRef" in source:
        kind, resource = source["resourceFieldRef"]["resource"].split(".")
        assert source["resourceFieldRef"]["divisor"] == "1Mi", "another divisor than 1Mi"
        return str(mebibytes(container["resources"][kind][resource]))
    reference = source["secretKeyRef"]
    return secrets[reference["name"], reference["key"]]


def arguments(container, known):
    return [expanded(text, known) for text in container["args"]]
