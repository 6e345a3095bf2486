"""A whole Kubernetes of one node, whose pods really run: containerd, runc, kubelet, controllers.

It runs only on a machine of its own (isolated.py): kubelet changes what it finds. Pods get
addresses on a bridge and reach what listens on `Node.address`; there is no way out, no DNS, no
kube-proxy and no registry. Images are brought as archives, and pods name them with `Never`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from . import command, isolated, kube
from .parts import Build, Missing, Part
from .process import PATIENCE, Failed, free_port, plain_environment, running, workroom

HINT = "run `make test-cluster`"
MODULE = Path(__file__).with_name("kube_node")
PAUSE = Path(__file__).with_name("pause.c")
IMAGES = Path(__file__).parents[2] / "deploy" / "image" / "build.py"
PACKAGES = ("containerd", "runc", "containernetworking-plugins")
ADDRESS, PODS = "10.88.0.1", "10.88.0.0/24"
NAME = "node"
SANDBOX = "localhost/pause:1"


def _make_kubelet(build: Build) -> None:
    programs = ("kubelet", "kube-controller-manager", "kube-scheduler")
    kube.make_programs(build, MODULE, KUBELET.version, programs)


def _make_containerd(build: Build) -> None:
    """Debian's packages as its archive signs them, unpacked; nothing is installed."""
    with build.scratch() as scratch:
        (scratch / "lists" / "partial").mkdir(parents=True)
        (scratch / "cache" / "archives" / "partial").mkdir(parents=True)
        told = {"Dir::State::lists": scratch / "lists", "Dir::Cache": scratch / "cache"}
        own = [f"-o{key}={value}" for key, value in told.items()] + ["-oAPT::Sandbox::User=root"]
        build.run(["apt-get", *own, "update"], cwd=scratch)
        build.run(["apt-get", *own, "download", *PACKAGES], cwd=scratch)
        for package in scratch.glob("*.deb"):
            build.run(["dpkg-deb", "-x", package, build.folder])
    build.run(["cc", "-static", "-Os", "-o", build.folder / "pause", PAUSE])


KUBELET = Part(
    "kube-node",
    "1.36.2",
    _make_kubelet,
    recipe=(MODULE / "go.mod", MODULE / "go.sum"),
    minutes=8,
    tools=("go",),
)
CONTAINERD = Part(
    "containerd-debian",
    "1.6",
    _make_containerd,
    recipe=(PAUSE,),
    minutes=0.5,
    tools=("apt-get", "dpkg-deb", "cc"),
    linux=True,
)
"""Debian 12's: the newest security update of containerd 1.6, runc 1.1 and the plugins 1.1."""
PARTS = [CONTAINERD, KUBELET]


@dataclass(frozen=True)
class Node:
    """A running cluster of one node."""

    kubeconfig: Path
    """Its context is the administrator's."""
    address: str
    """Where pods reach what runs beside them."""
    environment: Mapping[str, str]
    """Of the node's programs, for `ctr`."""

    def bring(self, archive: Path) -> None:
        """Import an OCI archive; pods name the image as the archive does.

        Raises:
            Failed: containerd refused it.
        """
        program = CONTAINERD.need("usr/bin/ctr")
        words = [program, "--namespace", "k8s.io", "images", "import", archive]
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode:
            raise Failed(f"ctr images import {archive}: {done.stdout}{done.stderr}")


@contextmanager
def serving(room: Path | None = None) -> Iterator[Node]:
    """A cluster whose only node is ready.

    Raises:
        Missing: a program was not built, or this machine is not isolated.
        Failed: a program did not start, or the node did not get ready.
    """
    if isolated.MARK not in os.environ:
        raise Missing(f"a node changes its machine: {HINT}")
    programs = CONTAINERD.need("usr/bin").parent
    kubernetes = KUBELET.need("kubelet").parent
    with workroom("node", room) as here, ExitStack() as stack:
        _make_bridge()
        kubeconfig = stack.enter_context(kube.serving(here))
        paths = [programs / "bin", programs / "sbin", os.environ["PATH"]]
        env = plain_environment(here, PATH=":".join(map(str, paths)))
        port = free_port()
        words = [programs / "bin" / "containerd", "--config", _containerd(here, programs, port)]
        health = f"http://127.0.0.1:{port}/v1/metrics"
        stack.enter_context(running("containerd", words, room=here, env=env, health=health))
        node = Node(kubeconfig, ADDRESS, env)
        node.bring(_pause_image(here))
        for name, told in _controllers(kubeconfig).items():
            port = free_port()
            told |= {"secure-port": str(port), "cert-dir": str(here / name)}
            flags = [f"--{key}={value}" for key, value in told.items()]
            health = f"https://127.0.0.1:{port}/healthz"
            stack.enter_context(
                running(name, [kubernetes / name, *flags], room=here, env=env, health=health)
            )
        port = free_port()
        flags = _kubelet(here, kubeconfig, port)
        health = f"http://127.0.0.1:{port}/healthz"
        stack.enter_context(
            running("kubelet", [kubernetes / "kubelet", *flags], room=here, env=env, health=health)
        )
        _until_ready(kubeconfig)
        yield node


def _make_bridge() -> None:
    """The bridge that the network plugin would make for the first pod: it gives us an address."""
    for words in (
        ["link", "add", "cni0", "type", "bridge"],
        ["addr", "add", f"{ADDRESS}/24", "dev", "cni0"],
        ["link", "set", "cni0", "up"],
    ):
        subprocess.run(["ip", *words], check=True, timeout=30)


def _containerd(here: Path, programs: Path, port: int) -> Path:
    """Write containerd's settings, and the network's; all its folders are in memory.

    A pod asks to be killed later than others when memory is short. Not every root may grant that,
    and the machine's own programs come first here.
    """
    network = {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": True,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]]},
            }
        ],
    }
    (here / "cni").mkdir(exist_ok=True)
    (here / "cni" / "pods.conflist").write_text(json.dumps(network))
    path = here / "containerd.toml"
    path.write_text(f"""\
version = 2
root = "{isolated.ROOM}/containerd"
state = "/run/containerd"
[metrics]
address = "127.0.0.1:{port}"
[plugins."io.containerd.internal.v1.opt"]
path = "{isolated.ROOM}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX}"
netns_mounts_under_state_dir = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{programs}/lib/cni"
conf_dir = "{here}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{programs}/sbin/runc"
""")
    return path


def _controllers(kubeconfig: Path) -> dict[str, dict[str, str]]:
    """The flags of the two programs that turn a Job into a pod on the node."""
    here = kubeconfig.parent
    both = {
        "kubeconfig": str(kubeconfig),
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }
    manager = {
        "service-account-private-key-file": str(here / "service-accounts.key"),
        "root-ca-file": str(here / "certs" / "apiserver.crt"),
        "flex-volume-plugin-dir": str(here / "plugins"),
    }
    return {"kube-controller-manager": {**both, **manager}, "kube-scheduler": both}


def _kubelet(here: Path, kubeconfig: Path, port: int) -> list[str]:
    """kubelet's flags, and its file of settings; JSON is YAML too."""
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The log of a pod is asked for by the API server, on the bridge that only this node has.
        "address": ADDRESS,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": port,
        "resolvConf": "",
        "podLogsDir": str(isolated.ROOM / "pods"),
        "volumePluginDir": str(here / "plugins"),
        "evictionHard": {"memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
    }
    path = here / "kubelet.json"
    path.write_text(json.dumps(settings, indent=1))
    told = {
        "config": str(path),
        "kubeconfig": str(kubeconfig),
        "root-dir": str(isolated.ROOM / "kubelet"),
        "cert-dir": str(here / "kubelet"),
        "hostname-override": NAME,
        "node-ip": ADDRESS,
    }
    return [f"--{key}={value}" for key, value in told.items()]


def _pause_image(here: Path) -> Path:
    """The image of the process that holds a pod's namespaces, packed as ours is."""
    path = here / "pause.tar"
    files = {"usr/local/bin/pause": CONTAINERD.need("pause")}
    images().pack(path, [files], {"Entrypoint": ["/usr/local/bin/pause"]}, SANDBOX)
    return path


def images() -> ModuleType:
    """The program that packs images."""
    spec = importlib.util.spec_from_file_location("image_build", IMAGES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _until_ready(kubeconfig: Path) -> None:
    """Wait until the node takes pods."""
    from kubernetes import config
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    until = time.monotonic() + PATIENCE
    said = "no node"
    while time.monotonic() < until:
        for node in core.list_node().items:
            ready = [c for c in node.status.conditions or [] if c.type == "Ready"]
            if ready and ready[0].status == "True" and not node.spec.taints:
                return
            said = f"{[(c.status, c.message) for c in ready]}, taints {node.spec.taints}"
        time.sleep(0.5)
    raise Failed(f"the node was not ready after {PATIENCE} s: {said}")


if __name__ == "__main__":
    command.main("node", PARTS, serving, lambda node: {"KUBECONFIG": str(node.kubeconfig)})
