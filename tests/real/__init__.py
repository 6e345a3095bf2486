"""Real servers on loopback for the tests: how each is built, started and stopped.

parts.py      what is built into ~/.cache/opslore/servers, and the stamp that says it is whole
process.py    one running program: its port, its log, its health, its end
ollama.py     Ollama, with the llama-server and llama-quantize of the llama.cpp it pins
s3.py         an S3 server (versitygw)
mlflow.py     an MLflow tracking server
kube.py       etcd and kube-apiserver
helm.py       helm and kubectl
emulate.py    a GitHub with issues and comments (npm `emulate`)
node.py       beside them a node that runs pods: containerd, kubelet, controller-manager, scheduler
isolated.py   a machine of its own for that node, and the proof that nothing was left on this one
traces.py     what can be left on a machine
fixtures.py   all of them as pytest fixtures: pytest_plugins = ["real.fixtures"]

`make servers` builds them all but the node's, which `make test-cluster` builds. A person starts one
with `python -m tests.real.ollama start`, and a script or a test without fixtures with
`with ollama.serving() as url:`.
"""
