"""``python -m trajlib``, and the same command line as the installed ``trajlib``."""

import os
import sys

from trajlib.cli import main


def run(name: str | None = None) -> None:
    """Run the command line."""
    if sys.flags.optimize > 1:
        sys.exit("Error: LightGBM needs docstrings: run without -OO and PYTHONOPTIMIZE=2")
    os.environ["MPLBACKEND"] = "agg"  # pictures are written to files
    for variable in ("NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS"):  # nothing works uncompiled
        os.environ.pop(variable, None)
    try:
        main(prog_name=name)
    except OSError as error:  # not of a command, but of standard output
        print(f"Error: standard output: {error.strerror}", file=sys.stderr)
        os._exit(1)  # without another attempt to write what is left


if __name__ == "__main__":
    run("python -m trajlib")
