"""A control plane that speaks Flyte 2's published interface (flyteidl2), for the tests.

It is not Flyte's own backend, which cannot be built where this project is made
(docs/decisions/0033-flyte-backend.md). Everything on its other side is real: the `flyte` command
that registers, the SDK that submits, and in every pod Flyte's own `a0`, which fetches its inputs
from S3, runs the task, asks for the tasks below it and leaves outputs.pb or error.pb.

runs.py       what a run and its actions are, and how an action is tried until it ends
services.py   the calls of the SDK
processes.py  a pod as a process of this machine
pods.py       a pod as a pod of Kubernetes
serving.py    the server
"""
