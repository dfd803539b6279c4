"""The manifests render, fit the schemas of Ray Serve and KubeRay, and their references resolve."""

from __future__ import annotations

import copy
import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hhray.geometry import DURATIONS, ClipGeometry, Ratio, Resolution
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import load_settings

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "crds"
FOLDERS = {"base": "k8s/base", "dev": "k8s/overlays/dev"}


def missing_kubectl() -> str:
    """Why kubectl cannot render here; empty when it can."""
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    done = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, check=False)
    version = re.search(rb'"gitVersion": "v(\d+)\.(\d+)', done.stdout)
    if version is None or tuple(map(int, version.groups())) < (1, 27):
        return "kubectl is older than 1.27"
    return ""


KUBECTL_MISSING = missing_kubectl()
pytestmark = pytest.mark.skipif(bool(KUBECTL_MISSING), reason=KUBECTL_MISSING or "-")


@functools.cache
def rendered(name: str) -> tuple[dict[str, Any], ...]:
    command = ["kubectl", "kustomize", str(ROOT / FOLDERS[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=FOLDERS)
def objects(request) -> list[dict[str, Any]]:
    return copy.deepcopy(list(rendered(request.param)))


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [item for item in objects if item["kind"] == kind]
    return found


def pods(service: dict[str, Any]) -> list[dict[str, Any]]:
    """Pod specs of the head and of all worker groups."""
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
    return [group["template"]["spec"] for group in groups]


def containers(service: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for pod in pods(service):
        yield from pod["containers"]


# --- native kinds


def test_each_object_is_named_labelled_and_there_once(objects):
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))
    for item in objects:
        assert item["apiVersion"]
        if item["kind"] != "Namespace":
            assert item["metadata"]["labels"]["app.kubernetes.io/name"] == "hhray"


def test_the_dev_overlay_puts_everything_into_its_namespace():
    objects = list(rendered("dev"))
    namespace = one(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = {item["metadata"].get("namespace") for item in objects if item["kind"] != "Namespace"}
    assert inside == {namespace["metadata"]["name"]}


def test_settings_are_text_and_fit_the_settings_object(objects, monkeypatch):
    data = one(objects, "ConfigMap")["data"]
    assert all(isinstance(value, str) for value in data.values())
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    taken = {name for name in data if name.startswith("HHRAY_")}
    known = {
        f"HHRAY_{path}".upper() for path in dotted(settings.model_dump(mode="json"))
    }  # top-level variables that name no field are ignored without a word, so they are compared here
    assert taken <= known
    assert (settings.http.host, settings.keys.file) == ("0.0.0.0", "/etc/hhray/keys/keys.json")


def dotted(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}__")
        else:
            yield prefix + name


def test_the_data_claim_fits_the_number_of_ray_nodes():
    assert one(list(rendered("base")), "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert one(list(rendered("dev")), "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]


# --- references


def test_every_reference_resolves(objects):
    """ConfigMap and claim are rendered; the one Secret is the operator's to bring."""
    config, claim = one(objects, "ConfigMap"), one(objects, "PersistentVolumeClaim")
    assert "Secret" not in [item["kind"] for item in objects]
    for pod in pods(one(objects, "RayService")):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert volumes["keys"]["secret"]["secretName"] == "hhray-keys"
        for container in pod["containers"]:
            assert [source["configMapRef"]["name"] for source in container["envFrom"]] == [config["metadata"]["name"]]
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
            [secret] = container["env"]
            assert secret["name"] == "HHRAY_KEYS__SECRET"
            assert secret["valueFrom"]["secretKeyRef"] == {"name": "hhray-keys", "key": "secret"}


def test_paths_in_the_settings_are_mounted(objects):
    data = one(objects, "ConfigMap")["data"]
    for pod in pods(one(objects, "RayService")):
        [mounts] = [{m["name"]: m for m in container["volumeMounts"]} for container in pod["containers"]]
        assert mounts["data"]["mountPath"] == data["HHRAY_DATA_DIR"]
        assert mounts["keys"]["readOnly"] is True
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "keys"]
        files = [f"{mounts['keys']['mountPath']}/{item['path']}" for item in volume["secret"]["items"]]
        assert files == [data["HHRAY_KEYS__FILE"]]


def test_the_serve_port_is_one_number_everywhere(objects):
    service = one(objects, "RayService")
    serve = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert serve["http_options"] == {"host": "0.0.0.0", "port": 8000}
    assert one(objects, "ConfigMap")["data"]["HHRAY_HTTP__PORT"] == "8000"
    for container in containers(service):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["serve"] == 8000
        assert len(set(ports.values())) == len(ports)


def test_labels_are_on_the_pods(objects):
    cluster = one(objects, "RayService")["spec"]["rayClusterConfig"]
    for group in [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]:
        assert group["template"]["metadata"]["labels"]["app.kubernetes.io/component"] in ("head", "worker")


# --- the Ray service


def test_the_base_keeps_work_off_the_head_and_the_dev_overlay_is_one_ray_node():
    base = one(list(rendered("base")), "RayService")["spec"]
    assert base["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert base["excludeHeadPodFromServeSvc"] is True
    assert len(base["rayClusterConfig"]["workerGroupSpecs"]) == 1
    dev = one(list(rendered("dev")), "RayService")["spec"]
    assert int(dev["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"]) > 0
    assert dev["excludeHeadPodFromServeSvc"] is False, "the head is the only pod that serves"
    assert "workerGroupSpecs" not in dev["rayClusterConfig"], "SQLite is one node's"
    assert dev["upgradeStrategy"]["type"] == "None", "a second cluster would open the same SQLite file"


def test_no_pod_has_rights_it_does_not_need(objects):
    service = one(objects, "RayService")
    assert service["spec"]["rayClusterConfig"]["authOptions"]["mode"] == "token"
    for pod in pods(service):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    for container in containers(service):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_every_container_has_image_pull_policy_and_bounded_resources(objects):
    for container in containers(one(objects, "RayService")):
        assert container["image"] == "hhray:0.1.0"
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_another_image_is_one_kustomize_line(tmp_path):
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "other"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../../base]\nimages: [{name: hhray, newName: registry.example/hhray, newTag: 9.9.9}]\n"
    )
    done = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=True)
    service = one(list(yaml.safe_load_all(done.stdout)), "RayService")
    assert {container["image"] for container in containers(service)} == {"registry.example/hhray:9.9.9"}


def chain_of_durations(objects: list[dict[str, Any]]) -> list[float]:
    """Longest clip, Serve's grace, Ray's drain, the pods' grace (shortest), the old cluster's life; seconds."""
    data, service = one(objects, "ConfigMap")["data"], one(objects, "RayService")
    serve_grace = float(data["HHRAY_GRACEFUL_SHUTDOWN_SECONDS"])
    cost = load_settings().cost_model(ServedModel(preset(data["HHRAY_ENGINE__PRESET"])))
    longest_clip = max(
        cost.gpu_seconds(ClipGeometry(tier, ratio, duration))  # on one rank; more ranks are quicker
        for tier in Resolution
        for ratio in Ratio
        for duration in DURATIONS
    )
    return [
        longest_clip,
        serve_grace,
        float(data["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]),
        float(min(pod["terminationGracePeriodSeconds"] for pod in pods(service))),
        float(service["spec"]["rayClusterDeletionDelaySeconds"]),
    ]


def test_no_layer_cuts_a_clip_that_the_one_below_would_let_finish(objects):
    chain = chain_of_durations(objects)
    assert chain == sorted(chain)
    assert len(set(chain)) == len(chain), "each is longer than the one before, not as long"


# --- schemas


def serve_config_errors(config: dict[str, Any]) -> list[str]:
    """Serve's own schema ignores unknown keys, so these are compared by name."""
    from pydantic import ValidationError
    from ray.serve.schema import HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

    unknown = set(config) - set(ServeDeploySchema.model_fields)
    unknown |= set(config.get("http_options", {})) - set(HTTPOptionsSchema.model_fields)
    for application in config["applications"]:
        unknown |= set(application) - set(ServeApplicationSchema.model_fields)
    try:
        ServeDeploySchema.model_validate(config)
    except ValidationError as error:
        return [*sorted(unknown), str(error)]
    return sorted(unknown)


def test_the_serve_config_fits_serves_own_schema_and_its_arguments_the_settings(objects):
    config = yaml.safe_load(one(objects, "RayService")["spec"]["serveConfigV2"])
    assert serve_config_errors(config) == []
    [application] = config["applications"]
    assert (application["import_path"], application["route_prefix"]) == ("deployment.app:build", "/")
    load_settings(overrides=application["args"])


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ((), "http_options", "http_option"),
        (("http_options",), "port", "prt"),
        (("applications", 0), "route_prefix", "route_prefx"),
        (("applications", 0), "import_path", "import_pth"),
    ],
)
def test_a_misspelt_field_does_not_fit_serves_schema(path, old, new):
    config = yaml.safe_load(one(list(rendered("base")), "RayService")["spec"]["serveConfigV2"])
    place = functools.reduce(lambda at, key: at[key], path, config)
    place[new] = place.pop(old)
    assert new in serve_config_errors(config)


@functools.cache
def ray_service_schema() -> dict[str, Any]:
    crd = yaml.load((CRDS / "ray.io_rayservices.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    [version] = [version for version in crd["spec"]["versions"] if version["name"] == "v1"]
    return closed(version["schema"]["openAPIV3Schema"], at_root=True)


def closed(schema: Any, at_root: bool = False) -> Any:
    """The schema as an API server reads it: unknown fields are errors; Go's patterns that Python cannot read go."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if at_root:
        made["properties"]["metadata"] = {"type": "object"}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if isinstance(made.get("pattern"), str):
        try:
            re.compile(made["pattern"])
        except re.error:
            del made["pattern"]
    return made


def schema_errors(service: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft7Validator(ray_service_schema())
    return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(service)]


needs_crds = pytest.mark.skipif(not CRDS.is_dir(), reason="KubeRay's schemas are not beside this checkout")


@needs_crds
def test_the_ray_service_fits_kuberays_schema(objects):
    assert schema_errors(one(objects, "RayService")) == []


@needs_crds
@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ((), "serveConfigV2", "serveConfigV3"),
        (("rayClusterConfig", "headGroupSpec"), "rayStartParams", "rayStartParam"),
        (("rayClusterConfig", "headGroupSpec", "template", "spec", "containers", 0), "envFrom", "envFroms"),
        (("rayClusterConfig", "workerGroupSpecs", 0), "maxReplicas", "maxReplica"),
    ],
)
def test_a_misspelt_field_does_not_fit_kuberays_schema(path, old, new):
    service = copy.deepcopy(one(list(rendered("base")), "RayService"))
    place = functools.reduce(lambda at, key: at[key], path, service["spec"])
    place[new] = place.pop(old)
    assert any(new in error for error in schema_errors(service)), json.dumps(path)
