"""`make bench-parse`: seconds to read real runbooks, and how the time grows with generated ones."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from opslore.config_sources import RunbookSource
from opslore.sources import runbook
from tests.bench.quality import ROOT, shared

ALERT = """### Alert: Generated{n}Failing

**Symptoms:**
- Component {n} answers with error code {n}.

**Resolution:**
```bash
kubectl rollout restart deployment/component-{n} -n <namespace>
```

"""


def seconds(path: Path) -> tuple[float, int]:
    """Best of three readings, and the alerts found."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        found = runbook.collect(RunbookSource(path=str(path)), ROOT)
        times.append(time.perf_counter() - began)
    return min(times), len(found.documents)


def main() -> None:
    """Measure and print."""
    out: dict[str, float] = {}
    for name in ("openshift-RUNBOOK.md", "openshift", "prometheus-operator"):
        out[name], alerts = seconds(shared() / name)
        print(f"{name:24} {alerts:6} alerts {out[name]:8.2f} s")
    with tempfile.TemporaryDirectory() as room:
        for count in (100, 1000, 10_000):
            path = Path(room) / f"{count}.md"
            path.write_text("## s\n\n" + "".join(ALERT.format(n=n) for n in range(count)))
            out[str(count)], alerts = seconds(path)
            print(f"generated {count:14} {alerts:6} alerts {out[str(count)]:8.2f} s")
    print(json.dumps({key: round(value, 3) for key, value in out.items()}))


if __name__ == "__main__":
    main()
