"""Run a notebook with the current Python, without personal settings of the user."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory

import dask.config
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

# settings that would change how a notebook draws, prints or computes
_PERSONAL = (
    *("BOKEH_", "DASK_", "IPYTHON", "JUPYTER_", "JPY_", "MPL", "MATPLOTLIBRC", "PYDEVD_"),
    *("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONIOENCODING", "PYTHONOPTIMIZE"),
)
_LONGEST = 80  # characters of the folder of a socket, whose path is limited to 107
_CLUSTER_SETTINGS = "distributed", "jobqueue"  # certificates and addresses of a cluster
# format tables as on our pages, importing the code only when a table is shown
_FIRST = """
for _module in ("pandas", "pandas.core.frame"):
    get_ipython().display_formatter.formatters["text/html"].for_type_by_name(
        _module, "DataFrame",
        lambda table: __import__("trajlib.report.tables", fromlist=["_"])
        .format_table(table).to_html(),
    )
del _module
"""


class _ThisPython(KernelSpecManager):
    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, language="python", display_name=kernel_name)


def run_cells(nb: NotebookNode, folder: Path, env: Mapping[str, str]) -> tuple[str | None, int]:
    """Run the cells of a notebook in place until one fails.

    Matplotlib, IPython, Jupyter and Dask use default settings: personal ones are ignored, except
    those of Dask for a cluster. ``folder`` is the working directory, and ``env`` has environment
    variables to set.

    Returns
    -------
    tuple
        The reason for stopping, or None, and the position of the last started cell (-1 if none).
    """
    position = -1
    with TemporaryDirectory(prefix="trajlib-", ignore_cleanup_errors=True) as temporary:
        log = Path(temporary, "stderr")
        connection = {"connection_file": f"{temporary}/kernel.json"}
        if len(temporary) < _LONGEST:  # private sockets, since ports may be taken
            connection |= {"transport": "ipc", "ip": f"{temporary}/kernel"}
        manager = AsyncKernelManager(kernel_spec_manager=_ThisPython(), **connection)
        client = NotebookClient(
            nb,
            km=manager,
            timeout=None,
            startup_timeout=120,
            store_widget_state=False,
            shutdown_kernel="immediate",
            extra_arguments=["--log-level=CRITICAL", f"--IPKernelApp.exec_lines={_FIRST}"],
        )
        client.log.disabled = True
        with log.open("wb") as stderr:
            options = {"cwd": str(folder), "env": _environment(temporary) | dict(env)}
            try:
                with client.setup_kernel(cleanup_kc=True, stderr=stderr, **options):
                    for position, cell in enumerate(nb.cells):
                        client.execute_cell(cell, position)
            except CellExecutionError as error:
                return f"{error.ename}: {error.evalue}", position
            except DeadKernelError:
                return _describe_end(manager, log), position
            except (OSError, RuntimeError) as error:  # the kernel did not start
                return f"its process could not start: {_last_line(log) or error}", position
    return None, position


def _environment(temporary: str) -> dict[str, str]:
    env = {name: text for name, text in os.environ.items() if not name.startswith(_PERSONAL)}
    config: dict = {}
    dask.config.refresh(config=config, paths=[], env={})
    names = [name for name in _CLUSTER_SETTINGS if name in dask.config.config]
    cluster = {name: dask.config.get(name) for name in names}
    return env | {
        "DASK_INTERNAL_INHERIT_CONFIG": dask.config.serialize(dask.config.merge(config, cluster)),
        "IPYTHONDIR": temporary,
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_PLATFORM_DIRS": "1",
        "MPLCONFIGDIR": temporary,
        "PYTHONUTF8": "1",
        "TZ": "UTC",
    }


def _describe_end(manager: AsyncKernelManager, log: Path) -> str:
    process = getattr(manager.provisioner, "process", None)
    code = process.poll() if process else None
    if code == -Signals.SIGKILL:
        return "its process was killed (SIGKILL), as it is when memory runs out"
    if code is not None and code < 0:
        return f"its process was ended by {Signals(-code).name}"
    return f"its process ended by itself: {_last_line(log) or f'exit status {code}'}"


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
