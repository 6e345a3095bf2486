"""Pack the image of the import Job as an OCI archive, without a container engine.

    python deploy/image/build.py build/opslore-image.tar

Run it with the Python whose packages go into the image. Two layers: this Python with the shared
libraries it needs, and the packages of requirements.txt with opslore itself. There is no shell in
it and no package manager. The same files give the same bytes. Load it with
`ctr -n k8s.io image import FILE`, `skopeo copy oci-archive:FILE docker://...` or `docker load`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import io
import json
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAME = "localhost/opslore:dev"
USER = 65532
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"usr/local/lib/{VERSION}/site-packages"
LIBRARIES = "usr/lib"
"""Where the loader looks without being told, for libraries that are in no folder it knows."""

UNUSED = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"}
"""Parts of the standard library that the program never imports."""

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

Files = dict[str, Path | bytes]
"""Path in the image, without a leading slash, to a file on this machine or to its bytes."""

SETTINGS: dict[str, object] = {
    "User": f"{USER}:{USER}",
    "Env": [
        "PATH=/usr/local/bin",
        "LANG=C.UTF-8",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONUNBUFFERED=1",
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    ],
    "Entrypoint": ["/usr/local/bin/opslore"],
    "WorkingDir": "/",
    "Labels": {"org.opencontainers.image.title": "opslore"},
}
"""What the image says of its process."""

LAUNCHER = f"""#!/usr/local/bin/{VERSION} -I
import sys
from opslore.cli import main
sys.exit(main())
"""


def main() -> None:
    """Build the archive and print what is in it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", default=NAME, help="name and tag that the archive carries")
    told = parser.parse_args()
    sys.stdout.write(json.dumps(build(told.output, told.name), indent=1) + "\n")


def build(output: Path, name: str = NAME) -> dict[str, object]:
    """Write the archive; returns its name, digest and sizes in bytes."""
    base, packages = base_files(), package_files()
    base |= libraries([path for path in (base | packages).values() if isinstance(path, Path)])
    digest, sizes = pack(output, [base, packages], SETTINGS, name)
    return {
        "name": name,
        "digest": digest,
        "archive": output.stat().st_size,
        "layers": sizes,
        "unpacked": sum(_size(content) for content in (base | packages).values()),
        "packages": sorted(found.name for found in closure()),
    }


def pack(
    output: Path, layers: Sequence[Files], settings: dict[str, object], name: str
) -> tuple[str, list[int]]:
    """Write an archive of these layers.

    Args:
        output: the archive; replaced in one step.
        layers: the files of each layer, the lowest first.
        settings: what the image says of its process: `Entrypoint`, `User`, `Env`.
        name: name and tag that the archive carries.

    Returns:
        The image's digest, and the bytes of each layer as packed.
    """
    blobs: dict[str, bytes] = {}
    described, diffs, sizes = [], [], []
    for files in layers:
        plain = tar(files)
        packed = io.BytesIO()
        with gzip.GzipFile("", "wb", 6, packed, mtime=0) as zipped:
            zipped.write(plain)
        sizes.append(len(packed.getvalue()))
        described.append(_blob(blobs, packed.getvalue(), "layer.v1.tar+gzip"))
        diffs.append(f"sha256:{hashlib.sha256(plain).hexdigest()}")
    config = _blob(blobs, _json(_config(settings, diffs)), "config.v1+json")
    manifest = _blob(blobs, _json(_manifest(config, described)), "manifest.v1+json")
    _write(output, blobs, manifest, name)
    return str(manifest["digest"]), sizes


def base_files() -> Files:
    """This Python under /usr/local, and the few files that a program expects of a system."""
    import certifi

    library = Path(sys.base_prefix) / "lib" / VERSION
    files: Files = {f"usr/local/bin/{VERSION}": Path(sys.executable).resolve()}
    for path in sorted(library.rglob("*")):
        inside = path.relative_to(library)
        if path.is_file() and _is_wanted(inside) and inside.parts[0] != "site-packages":
            files[f"usr/local/lib/{VERSION}/{inside.as_posix()}"] = path
    files["etc/passwd"] = f"opslore:x:{USER}:{USER}::/:/sbin/nologin\n".encode()
    files["etc/group"] = f"opslore:x:{USER}:\n".encode()
    files["etc/nsswitch.conf"] = b"hosts: files dns\n"
    files["etc/ssl/certs/ca-certificates.crt"] = Path(certifi.where())
    return files


def package_files() -> Files:
    """The packages of requirements.txt with all they need, and opslore."""
    files: Files = {"usr/local/bin/opslore": LAUNCHER.encode()}
    for found in closure():
        for path in found.files or []:
            where = PurePosixPath(path)
            if ".." not in where.parts and where.suffix != ".pyc" and where.name != "RECORD":
                files[f"{SITE}/{where}"] = Path(str(found.locate_file(path)))
    for file in sorted((ROOT / "src" / "opslore").rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            files[f"{SITE}/{file.relative_to(ROOT / 'src').as_posix()}"] = file
    return files


def closure() -> list[importlib.metadata.Distribution]:
    """The installed distributions of requirements.txt and of what they require."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    todo = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found: dict[str, importlib.metadata.Distribution] = {}
    while todo:
        wanted = todo.pop()
        key = canonicalize_name(wanted.name)
        if key in found:
            continue
        try:
            found[key] = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            requirements = HERE / "requirements.txt"
            sys.exit(f"no {wanted.name} here: pip install -r {requirements} -c constraints.txt")
        for text in found[key].requires or []:
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                todo.append(needed)
    return [found[key] for key in sorted(found)]


def libraries(programs: list[Path]) -> Files:
    """The shared libraries that programs and extension modules load, as the loader finds them."""
    binary = [path for path in programs if _is_elf(path)]
    done = subprocess.run(
        ["ldd", *map(str, binary)], capture_output=True, text=True, check=False, timeout=120
    )
    files: Files = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"\s+(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)", line)
        if match is None or Path(match[2]).resolve() in binary:
            continue
        known = match[2].startswith(("/lib", "/usr/lib"))
        if "site-packages" not in match[2]:
            inside = match[2].lstrip("/") if known else f"{LIBRARIES}/{match[1]}"
            files[inside] = Path(match[2]).resolve()
    return files


def tar(files: Files) -> bytes:
    """The files as a tar: sorted, owned by root, without times."""
    stream = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for inside in sorted(files):
            for parent in reversed(PurePosixPath(inside).parents[:-1]):
                if str(parent) not in folders:
                    folders.add(str(parent))
                    info = tarfile.TarInfo(str(parent))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
            content = files[inside]
            data = content if isinstance(content, bytes) else content.read_bytes()
            info = tarfile.TarInfo(inside)
            info.size = len(data)
            info.mode = 0o755 if inside.startswith("usr/local/bin/") or ".so" in inside else 0o644
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _config(settings: dict[str, object], diffs: list[str]) -> dict[str, object]:
    return {
        "architecture": MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }


def _manifest(config: dict[str, object], layers: list[dict[str, object]]) -> dict[str, object]:
    kind = "application/vnd.oci.image.manifest.v1+json"
    return {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}


def _write(output: Path, blobs: dict[str, bytes], manifest: dict[str, object], name: str) -> None:
    notes = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1],
    }
    entry = {**manifest, "annotations": notes}
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}
    files: Files = {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    files["index.json"] = _json(index)
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_name(f".{output.name}.tmp")
    fresh.write_bytes(tar(files))
    fresh.replace(output)


def _blob(blobs: dict[str, bytes], data: bytes, kind: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    media = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}


def _is_wanted(inside: Path) -> bool:
    parts = set(inside.parts)
    if parts & UNUSED or "__pycache__" in parts or inside.parts[0].startswith("config-"):
        return False
    return inside.suffix not in (".pyc", ".a", ".exe")


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
