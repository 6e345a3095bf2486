"""Real servers on loopback for the tests: how each is built, started and stopped.

parts.py      what is built into ~/.cache/opslore/servers, and the stamp that says it is whole
process.py    one running program: its port, its log, its health, its end
ollama.py     Ollama, with the llama-server and llama-quantize of the llama.cpp it pins
s3.py         an S3 server (versitygw)
mlflow.py     an MLflow tracking server
kube.py       etcd and kube-apiserver
helm.py       helm and kubectl
fixtures.py   all of them as pytest fixtures: pytest_plugins = ["real.fixtures"]

`make servers` builds them all. A person starts one with `python -m tests.real.ollama start`, and a
script or a test without fixtures with `with ollama.serving() as url:`.
"""
