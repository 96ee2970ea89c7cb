"""``python -m trajlib``, and the same command line as the installed ``trajlib``."""

import os
import sys

from trajlib.cli import main


def run(name: str | None = None) -> None:
    """Run the command line; where the locale is not Unicode, in a new process that is."""
    if sys.getfilesystemencoding() != "utf-8":  # in which many paths could not be written down
        console = f"{sys.stdout.encoding}:backslashreplace" if sys.stdout else "utf-8"
        env = {"PYTHONIOENCODING": console} | os.environ | {"PYTHONUTF8": "1"}
        os.execve(sys.executable, sys.orig_argv, env)
    main(prog_name=name)


if __name__ == "__main__":
    run("python -m trajlib")
