"""`python -m tests.soak [--kills 20] [--units 40] [--seed 6666]`: the long form of tests/end_to_end/test_kills.py."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.kills import random_kills, soak


def main() -> int:
    """Prints what happened; 0 only if the disturbed dataset is the undisturbed one."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--seed", type=int, default=6666)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="humandepth-soak-") as folder:
        kills = list(random_kills(options.kills, options.units, options.seed))
        result = soak(Path(folder), kills, units=options.units, say=lambda line: print(line, flush=True))
    print(
        f"{result.kills} kills over {result.units} units: {result.starts - result.units} units begun again "
        f"({result.redone_allowed} allowed)\nundisturbed {result.undisturbed_hash}\ndisturbed   {result.final_hash}"
    )
    is_sound = (
        result.final_hash == result.undisturbed_hash
        and not result.problems
        and result.starts - result.units <= result.redone_allowed
    )
    print("identical" if is_sound else f"NOT identical, or too much redone {result.problems}")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
