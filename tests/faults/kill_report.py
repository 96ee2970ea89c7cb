"""Kill a report at random instants: ``python tests/faults/kill_report.py [TIMES]``.

After each kill the same command must complete, must not repeat a stage that was complete, and must
give the same numbers as a report that was not killed.
"""

import functools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = "archive: str = ''  # folder\norigin: str = ''  # airport\n"
PARAMETERS += "destination: str = ''  # airport\ndata: str = ''  # folder"
STAGES = {
    "01_sweep": [
        "import json\nfrom pathlib import Path\nfrom trajlib import build_index, connect, "
        "map_flights, select_flights, store_flights",
        "client = connect()\nindex = build_index(archive, Path(data) / 'interim' / "
        "f'{Path(archive).name}.index.parquet')\nrows = select_flights(index, origin, destination)"
        "\nstore = store_flights(rows, f'{data}/interim/{origin}-{destination}')\n"
        "samples = map_flights(store, len)",
    ],
    "02_wait": ["import json, time\nfrom pathlib import Path\ntime.sleep(1)\nsamples = [1]"],
}
SAVE = (
    "summary = {'headline': 'Done.', 'numbers': {'n': str(len(samples))}, 'claims': []}\n"
    "where = Path(data) / 'processed' / f'{origin}-{destination}' / 'NAME.summary.json'\n"
    "where.write_text(json.dumps(summary))"
)


def write_stages(folder: Path) -> None:
    """Write two short stages."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(parents=True)
    for name, cells in STAGES.items():
        cells = [*cells, SAVE.replace("NAME", name.partition("_")[2])]
        nb = new_notebook(metadata={"kernelspec": kernel})
        nb.cells = [new_markdown_cell(f"# {name}"), new_code_cell(PARAMETERS)]
        nb.cells[1].metadata["tags"] = ["parameters"]
        nb.cells += [new_code_cell(cell) for cell in cells]
        nbformat.write(nb, folder / f"{name}.ipynb")


def start_report(root: Path, archive: Path, *arguments: str, **options) -> subprocess.Popen:
    """Start the command in a folder."""
    command = [sys.executable, "-m", "trajlib", "report", "--archive", str(archive), *arguments]
    command += ["--origin", "LEMD", "--destination", "LEBL"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=root, env=environment, **pipes, **options)


def finished_stages(root: Path) -> set[str]:
    """Return the stages with a result."""
    stages = set()
    for path in (root / "reports/LEMD-LEBL").glob("0*.json"):
        if json.loads(path.read_text())["failure"] is None:
            stages.add(path.stem)
    return stages


def numbers_of(root: Path) -> dict:
    """Return the results of the report by stage; all pages must exist."""
    report = json.loads((root / "reports/LEMD-LEBL/report.json").read_text())
    assert report["whole"]
    for name in ("index", *STAGES):
        assert (root / f"reports/LEMD-LEBL/{name}.html").read_text().rstrip().endswith("</html>")
    return {stage["name"]: stage["numbers"] for stage in report["stages"]}


def finish(report: subprocess.Popen) -> str:
    """Return the output of a report that must succeed."""
    output, errors = report.communicate(timeout=180)
    assert report.returncode == 0, errors
    return output


def kill_once(root: Path, archive: Path, wait: Callable[[], None]) -> int:
    """Kill a report after a wait and run it again; return how many stages were kept."""
    write_stages(root / "notebooks")
    report = start_report(root, archive)
    wait()
    report.kill()
    report.communicate()
    finished = finished_stages(root)
    output = finish(start_report(root, archive))
    kept = set(re.findall(r"(\w+) .*unchanged since it ran", output))
    assert kept == finished, f"whole were {finished}, kept were {kept}"
    return len(kept)


def main(times: int) -> dict[str, int]:
    """Return the number of runs by stages kept; raise AssertionError if a report differs."""
    instants, counts = random.Random(1), {"kept 0": 0, "kept 1": 0, "kept 2": 0}
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "raw" / "tiny"
        command = [sys.executable, "-m", "trajlib", "simulate", archive, "--flights", "60"]
        subprocess.run([*command, "--seed", "1"], check=True)
        first = Path(folder) / "undisturbed"
        write_stages(first / "notebooks")
        started = time.perf_counter()
        finish(start_report(first, archive))
        seconds, expected = time.perf_counter() - started, numbers_of(first)
        for number in range(times):
            root = Path(folder) / f"killed-{number}"
            wait = functools.partial(time.sleep, instants.uniform(0, seconds))
            counts[f"kept {kill_once(root, archive, wait)}"] += 1
            assert numbers_of(root) == expected
            print(number + 1, counts, flush=True)
    return counts


if __name__ == "__main__":
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
