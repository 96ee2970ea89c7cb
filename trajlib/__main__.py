"""``python -m trajlib``: the same command line as the installed ``trajlib``."""

from trajlib.cli import main

if __name__ == "__main__":
    main(prog_name="python -m trajlib")
