"""Runs the benchmarks of this package, all or those named: `python -m tests.bench [NAME …]`."""

from __future__ import annotations

import importlib
import sys

from tests.bench import benchmarks, machine


def main(wanted: list[str]) -> int:
    """Run and print; returns 1 for a name that is no benchmark, or the highest code of one."""
    there = benchmarks()
    unknown = sorted(set(wanted) - set(there))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}: there are {', '.join(there)}")
        return 1
    print(machine())
    code = 0
    for name in wanted or there:
        module = importlib.import_module(f"tests.bench.{name}")
        print(f"\n--- {name}: {module.__doc__.splitlines()[0]}", flush=True)
        code = max(code, module.main([]))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
