"""``python -m trajlib``, and the same command line as the installed ``trajlib``."""

import os
import sys

from trajlib.cli import main


def run(name: str | None = None) -> None:
    """Run the command line, in a new process with UTF-8 if the locale is not Unicode.

    Also without PYTHONOPTIMIZE=2, which removes docstrings that LightGBM needs.
    """
    if sys.flags.optimize > 1:
        rest = {name: text for name, text in os.environ.items() if name != "PYTHONOPTIMIZE"}
        os.execve(sys.executable, [text for text in sys.orig_argv if text != "-OO"], rest)
    if sys.getfilesystemencoding() != "utf-8":  # many paths could not be encoded
        console = f"{sys.stdout.encoding}:backslashreplace" if sys.stdout else "utf-8"
        env = {"PYTHONIOENCODING": console} | os.environ | {"PYTHONUTF8": "1"}
        os.execve(sys.executable, sys.orig_argv, env)
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
