"""The command line: ``python -m trajlib``, also installed as ``trajlib``.

What a command needs is imported when it runs, so that help comes at once.
"""

import os
from atexit import register
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from trajlib.cli.archives import import_, index, simulate
from trajlib.cli.console import prepare_console
from trajlib.cli.predictions import predict
from trajlib.cli.reports import compare, report

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of their use


@click.group(
    cls=_Commands,
    commands=[simulate, import_, index, report, compare, predict],
    context_settings=_CONTEXT,
)
@click.version_option(package_name="trajlib")
def main() -> None:
    """Predict aircraft trajectories from an archive of flights.

    An archive is a folder of CSVs, one per flight, in any sub-folders. Simulate one or import
    real flights, make the report of a city pair, then predict flights, or compare two reports:

    \b
        python -m trajlib simulate data/raw/sample --flights 620 --seed 2016
        python -m trajlib report --archive data/raw/sample --origin LEMD --destination LEBL
        python -m trajlib predict --origin LEMD --destination LEBL --time 2016-03-05T07:00
        python -m trajlib compare reports/LEMD-LEBL reports/SFO-LAX

    Nothing leaves the machine: a local cluster listens on loopback only, and pages open from
    disk without a network. Ctrl-C stops what a command started; given again, it continues from
    what is finished.

    \b
    Files:       data/raw/NAME              an archive, never changed
                 data/interim/NAME.*        its index, and stores of city pairs
                 data/processed/PAIR/       tables and models of the notebooks
                 reports/PAIR/index.html    the report, beside the executed notebooks
    Environment: DASK_SCHEDULER_ADDRESS     a Dask scheduler, instead of a local cluster
    Scripts:     --json, where a command has it, prints one JSON document and nothing else;
                 progress and errors go to standard error
    Exit status: 0 when everything requested is finished,
                 1 when something stopped it (the message names cause and remedy),
                 2 when the command was not understood,
                 130 when it was stopped by Ctrl-C.
    """  # noqa: D301, as \b makes click leave lines as they are
    os.umask(0o077)  # only the owner can read files that hold flights
    prepare_console()
    _prepare_home()


def _prepare_home() -> None:
    # Libraries keep caches and settings in the home folder; a user may have none that is usable.
    home = os.path.expanduser("~")  # noqa: PTH111, which keeps ~ where there is no home
    if not (Path(home).is_dir() and os.access(home, os.W_OK | os.X_OK)):
        folder = TemporaryDirectory(prefix="trajlib-home-", ignore_cleanup_errors=True)
        register(folder.cleanup)
        os.environ["HOME"] = folder.name
