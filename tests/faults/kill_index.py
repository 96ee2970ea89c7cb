"""Kill an index run at random instants: ``python tests/faults/kill_index.py [TIMES]``.

After each kill the index must be the old one or the new one, and the next run must complete.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from trajlib.archive.index import build_index

FILES = 400
LINES = "\n".join(f"2016-01-01T06:{m:02}:00Z,40,{m / 10},100,LEMD,LEBL" for m in range(60))
TEXT = f"timestamp,latitude,longitude,altitude,origin,destination\n{LINES}\n"
CODE = "import sys; from trajlib.archive.index import build_index; print('go', flush=True);"
CODE += "[build_index(sys.argv[1], sys.argv[2]) for _ in range(1000)]"


def kill_once(archive: Path, output: Path, wait: float) -> str:
    """Return the state of the index after a kill: ``none``, ``old`` or ``new``."""
    before = pd.read_parquet(output) if output.exists() else None
    (archive / f"{time.time_ns()}.csv").write_text(TEXT)
    run = subprocess.Popen(
        [sys.executable, "-c", CODE, str(archive), str(output)], stdout=subprocess.PIPE
    )
    run.stdout.readline()
    time.sleep(wait)
    run.kill()
    run.wait()
    after = pd.read_parquet(output) if output.exists() else None
    whole = build_index(archive, output).drop(columns=["archive", "rejections_file"])
    if after is None:
        return "none"
    if before is not None and after.equals(before):
        return "old"
    assert after.equals(whole), "neither the old index nor the new one"
    return "new"


def main(times: int, seed: int = 1) -> dict[str, int]:
    """Return the number of runs with each outcome; raise AssertionError for any other index."""
    instants = random.Random(seed)
    counts = dict.fromkeys(("none", "old", "new"), 0)
    with tempfile.TemporaryDirectory() as folder:
        archive, output = Path(folder) / "archive", Path(folder) / "index.parquet"
        archive.mkdir()
        for number in range(FILES):
            (archive / f"{number}.csv").write_text(TEXT)
        for _ in range(times):
            counts[kill_once(archive, output, instants.uniform(0, 0.5))] += 1
    return counts


if __name__ == "__main__":
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
