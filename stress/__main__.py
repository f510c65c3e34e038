"""`python -m stress NAME SEED BUDGET`: run one campaign, print its report as JSON.

The budget is a number of cases, or a time with an s: 5000 or 3600s.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

name, seed, budget = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    campaign = import_module(f"stress.{name}").campaign
    if budget.endswith("s"):
        report = campaign(Path(folder), int(seed), seconds=float(budget[:-1]))
    else:
        report = campaign(Path(folder), int(seed), cases=int(budget))
print(json.dumps(asdict(report), indent=2))
sys.exit(bool(report.failures))
