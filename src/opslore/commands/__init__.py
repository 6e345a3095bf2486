"""Shell commands as data: parse, canonical form, equivalence, holes, and risk. No model in here.

```python
>>> from opslore import commands
>>> commands.canonical("kubectl -n $NS get po -ojson")
'kubectl get pod --namespace=<namespace> --output=json'
>>> commands.fill("kubectl logs <pod> -n <ns>", {"namespace": "apps", "pod": "web-0"})
'kubectl logs web-0 -n apps'
>>> commands.risk("kubectl delete ns apps").level
'destructive'

```
"""

from opslore.commands.canonical import canonical
from opslore.commands.equivalence import Verdict, equivalent
from opslore.commands.holes import Hole, fill, holes
from opslore.commands.parse import parse
from opslore.commands.recognise import is_setup, looks_like_command
from opslore.commands.risk import Risk, risk, unsafe
from opslore.commands.syntax import Script, Simple
from opslore.commands.template import template

__all__ = [
    "Hole",
    "Risk",
    "Script",
    "Simple",
    "Verdict",
    "canonical",
    "equivalent",
    "fill",
    "holes",
    "is_setup",
    "looks_like_command",
    "parse",
    "risk",
    "template",
    "unsafe",
]
