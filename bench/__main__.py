"""Run benchmarks, each in a process of its own: `./run bench` all, `./run bench NAME…` some.

A benchmark is a module here with a `main()`; it prints its figures and the ratio to its
reference, measured in the same run.
"""

import pkgutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    known = sorted(one.name for one in pkgutil.iter_modules([str(HERE)]) if one.name != "__main__")
    wanted = sys.argv[1:] or known
    if unknown := set(wanted) - set(known):
        print(
            f"bench: no {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr
        )
        return 2
    failed = 0
    for name in wanted:
        print(f"== {name}", flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
