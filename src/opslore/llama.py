"""llama.cpp in this process: a model's engine, reached by nobody else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from opslore.errors import MissingExtra, ServerError

SOCKET_LIMIT = 100
"""Longest path of a socket that every system takes."""


def engine(
    gguf: Path, socket: Path, *, context: int, threads: int, what: str, **settings: object
) -> Any:
    """llama.cpp's server object, listening on nothing but a socket in a private folder.

    Its work loop starts in a thread of its own, and a stop that comes before that start is lost:
    freeing the engine would wait for ever. Whoever opens one asks it something first: an answer
    proves that the loop runs.

    Args:
        gguf: the model.
        socket: a path in a folder that nobody else reads.
        context: tokens.
        threads: of the engine.
        what: what needs it, for the error when the package is missing.
        settings: more fields of llama.cpp's parameters.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ServerError: llama.cpp refuses the model, or the socket's path is too long.
    """
    # OpenMP threads that wait by spinning starve their neighbours; read when libgomp is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{what} needs 'xllamacpp'", hint="pip install xllamacpp") from error
    if len(str(socket)) > SOCKET_LIMIT:
        raise ServerError(
            f"{socket.parent}: too long for a socket", hint="set TMPDIR to a shorter path"
        )
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = context
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.fit_params = False
    params.verbosity = 0
    params.warmup = False
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 1
    params.hostnames = [str(socket)]
    for name, value in settings.items():
        setattr(params, name, value)
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads
        cpu.poll = 0
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ServerError(f"{gguf}: llama.cpp cannot load it: {error}") from error
