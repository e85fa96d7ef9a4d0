"""`python -m benchmarks.soak`: a thousand runs, while functions and tasks are killed and AWS misbehaves.

Each run goes through the whole stack: real HTTP, the functions' real processes, tables, stream, queues and rules of
template.yaml. What its task does is a stub. In the end every run must have ended, once, for the reason that what was
done to it gives; exit code 1 if not.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

# The domain is a layer, not an installed package.
sys.path.append(str(Path(__file__).resolve().parents[2] / "layers" / "zentrigger"))

from benchmarks.soak.soak import Settings, soak


def main() -> int:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=Settings.runs)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--speed", type=float, default=Settings.speed, help="of the clock; the world's is 1")
    parser.add_argument("--limit", type=float, default=Settings.limit_seconds, metavar="SECONDS")
    parser.add_argument(
        "--floor", type=int, default=200, metavar="RUNS", help="how many to do before without kills and faults; 0: none"
    )
    options = parser.parse_args()
    logging.basicConfig(format="%(name)s: %(message)s")
    # What they warn of is what the faults bring about.
    for name in ("local", "runner", "samtranslator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = Settings(runs=options.runs, seed=options.seed, speed=options.speed, limit_seconds=options.limit)
    floor = soak(replace(settings, runs=options.floor, calm=True)) if options.floor else None
    figures = soak(settings)
    if floor is not None:
        _say("Without kills and faults:", *floor.lines())
        _say("", "With them:")
    _say(*figures.lines())
    if floor is not None:
        _say(f"ratio     {figures.runs_a_minute / floor.runs_a_minute:.2f} of the runs a minute")
    return 1 if figures.violations or (floor is not None and floor.violations) else 0


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 - a benchmark prints


if __name__ == "__main__":
    sys.exit(main())
