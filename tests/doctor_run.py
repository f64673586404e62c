"""Run inside the lab: `python -m tests.doctor_run SETTINGS [FLAG…]`; prints name, outcome, detail.

With CLOCK_AHEAD_S in the environment the clock of this process is that far ahead.
"""

import json
import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

from danesurvey.doctor import examine, verdict
from danesurvey.settings import load


def main(settings_file: str, *flags: str) -> None:
    ahead_s = float(os.environ.pop("CLOCK_AHEAD_S", "0"))
    true_time = time.time
    with patch("time.time", lambda: true_time() + ahead_s):
        results = list(examine(load(Path(settings_file), flags)))
    found = {one.check.name: (one.outcome, one.detail) for one in results}
    json.dump({"code": verdict(results), "checks": found}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
