"""aws and gcloud: their commands from the models that they ship, which are too many to ask for."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from .said import Kind, Said
from .tree import Tree, run


def gcloud(program: Path) -> Tree:
    """The tree that gcloud completes commands from (released commands only)."""
    root = run(program, "info", "--format=value(installation.sdk_root)").split()[0]
    text = (Path(root) / "data/cli/gcloud_completions.py").read_text("utf-8")
    tree = json.loads(
        re.sub(r",(\s*[}\]])", r"\1", text.partition("CLI_TREE = ")[2].replace("'", '"'))
    )
    return {path: said for path, said in _gcloud("", tree) if path.split(" ")[0] not in _UNRELEASED}


_UNRELEASED = ("alpha", "beta", "preview")


def _gcloud(path: str, node: dict[str, Any]) -> list[tuple[str, Said]]:
    said = Said(runs=not node["commands"])
    for flag, value in node["flags"].items():
        kind: Kind = "bool" if value == "bool" else "value"
        said.add([flag.lstrip("-")], kind)
    found = [(path, said)]
    for name, below in node["commands"].items():
        if path or name not in _UNRELEASED:
            found += _gcloud(f"{path} {name}".strip(), below)
    return found


def aws(program: Path) -> Tree:
    """The operations of the service models in botocore, named as the aws command names them."""
    data = _botocore(program)
    found: Tree = {"": Said(runs=False)}
    for service in sorted(one.name for one in data.iterdir() if one.is_dir()):
        version = max((one.name for one in (data / service).iterdir()), default="")
        path = data / service / version / "service-2.json.gz"
        if path.is_file():
            found |= _service(service, path)
    return found


def _botocore(program: Path) -> Path:
    """Where botocore's models lie: beside the Python that runs the aws command.

    Raises:
        FileNotFoundError: the aws command is no Python program with botocore beside it.
    """
    for shebang in (program, Path(_real(program))):
        first = shebang.read_text("utf-8", errors="replace").partition("\n")[0]
        if "python" in first:
            code = (
                "import botocore, pathlib; print(pathlib.Path(botocore.__file__).parent / 'data')"
            )
            done = subprocess.run(
                [first[2:].strip(), "-c", code], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return Path(done.stdout.strip())
    raise FileNotFoundError(f"no botocore beside {program}")


def _real(program: Path) -> str:
    """The program behind a shim of pyenv; the program itself without one."""
    if "shims" not in program.parts:
        return str(program)
    done = subprocess.run(
        ["pyenv", "which", program.name], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or str(program)


def _service(service: str, path: Path) -> Tree:
    import gzip

    model = json.loads(gzip.decompress(path.read_bytes()))
    found: Tree = {}
    for name, operation in model["operations"].items():
        said = Said()
        shape = model["shapes"].get(operation.get("input", {}).get("shape", ""), {})
        for member, entry in shape.get("members", {}).items():
            kinds: dict[str, Kind] = {"boolean": "bool", "list": "many"}
            target = model["shapes"][entry["shape"]]
            said.add([_dashed(member)], kinds.get(target["type"], "value"))
        found[f"{service} {_dashed(name)}"] = said
    return found


def _dashed(name: str) -> str:
    """`DescribeDBInstances` -> `describe-db-instances`, as botocore's xform_name does it."""
    if name.endswith("s") and re.search(r"[A-Z]{2,}s$", name):
        head = re.search(r"[A-Z]{2,}s$", name)
        assert head
        name = f"{name[: head.start()]}-{head[0].lower()}"
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1-\2", name)
    name = re.sub(r"([a-z])([0-9]+)", r"\1\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name)
    return re.sub(r"-+", "-", name).lower()
