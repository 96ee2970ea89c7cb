"""The stages are the numbered notebooks: find them, check their parameters, run one."""

import hashlib
import json
import re
from ast import literal_eval
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import requires, version
from pathlib import Path
from platform import python_version
from time import perf_counter

import nbformat
from nbformat import NotebookNode

from trajlib.archive.storage import raise_full_disk, replacing
from trajlib.report.redaction import Rules, redact, redact_notebook
from trajlib.report.summary import write_json

__all__ = [
    "Stage",
    "find_stages",
    "list_files",
    "list_versions",
    "match_parameters",
    "run_stage",
]

_HEADING = re.compile(r"^#+\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """A numbered notebook, and what to set in its parameters cell."""

    notebook: Path
    parameters: dict = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """As ``02_normalization``."""
        return self.notebook.stem

    @property
    def topic(self) -> str:
        """As ``normalization``: the name of its results."""
        return self.name.partition("_")[2]

    def title(self) -> str:
        """Return the notebook's first heading."""
        return next(iter(_headings(nbformat.read(self.notebook, 4).cells)), self.name)

    def key(self, data: str) -> str:
        """Return a digest that changes with all that its results depend on.

        These are the notebook, its parameters, the code of trajlib, the versions of what it
        imports, and the data, by their fingerprint.
        """
        cells = [cell.source for cell in nbformat.read(self.notebook, 4).cells]
        package = Path(__file__).parent.parent
        files = [*package.rglob("*.py"), *package.rglob("*.js")]
        code = [path.read_text("utf-8") for path in sorted(files)]
        parts = [cells, self.parameters, code, list_versions(), data]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_stages(notebooks: str | Path, names: Iterable[str] = ()) -> list[Stage]:
    """Return the numbered notebooks of a folder in order, all or those named.

    Names are those of the files, with or without the number.

    Raises
    ------
    ValueError
        When the folder holds no stage, or a name is none's.
    """
    stages = [Stage(path) for path in sorted(Path(notebooks).glob("[0-9][0-9]_*.ipynb"))]
    if not stages:
        raise ValueError(f"no numbered notebook in {notebooks}, expected such as 01_index.ipynb")
    known = {name: stage for stage in stages for name in (stage.name, stage.topic)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no stage {unknown[0]!r}; there are {', '.join(s.name for s in stages)}")
    wanted = [known[name].name for name in names]
    return [s for s in stages if not wanted or s.name in wanted]


def match_parameters(
    stages: Iterable[Stage], common: Mapping[str, str], given: Mapping[str, str]
) -> list[Stage]:
    """Return the stages with their parameters set, as far as each declares them.

    Parameters
    ----------
    stages
        As found.
    common
        Parameters that notebooks share; not every one needs each.
    given
        Name to text, read as the type that the notebook declares.

    Raises
    ------
    ValueError
        When no stage declares a parameter that was given, or its text is not of that type.
    """
    declared = {stage: _declared(stage) for stage in stages}
    known = sorted({name for parameters in declared.values() for name in parameters})
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"no stage has a parameter {unknown[0]!r}; there are {', '.join(known)}")
    return [
        Stage(
            stage.notebook,
            {name: common[name] for name in types if name in common}
            | {
                name: _read_value(name, given[name], types[name]) for name in types if name in given
            },
        )
        for stage, types in declared.items()
    ]


def run_stage(stage: Stage, folder: Path, *, key: str, processed: Path, rules: Rules) -> dict:
    """Run one notebook, keep its executed copy in the folder, and return what it found.

    The result is saved beside the copy, as the last of all: where it stands, holds the stage's
    key and no failure, and the files that it lists are as they were, the stage needs not be run
    again.

    Parameters
    ----------
    stage
        With its parameters.
    folder
        The report's; receives ``NAME.ipynb``, ``NAME.json`` and, if there is one, ``NAME.png``.
    key
        The stage's key.
    processed
        Folder in which the notebook saves its results.
    rules
        What must not leave the machine.

    Returns
    -------
    dict
        ``key``, ``seconds``, ``failure`` (None, or where and why it stopped), ``files``, those
        that it wrote into ``processed``, as `list_files` tells them, and the summary:
        ``headline``, ``numbers``, ``claims``.
    """
    result, picture = folder / f"{stage.name}.json", folder / f"{stage.name}.png"
    summary, figure = (processed / f"{stage.topic}.summary.{kind}" for kind in ("json", "png"))
    for old in (summary, figure):
        old.unlink(missing_ok=True)
    before, started = list_files(processed), perf_counter()
    nb, failure = _execute(stage, processed, rules)
    found = {"key": key, "seconds": round(perf_counter() - started, 1), "failure": failure}
    files = list_files(processed)
    found["files"] = {name: files[name] for name in files if files[name] != before.get(name)}
    with replacing(folder / f"{stage.name}.ipynb") as temporary:
        nbformat.write(nb, temporary)
        for old in (result, picture):  # which stand until there is something in their place
            old.unlink(missing_ok=True)
    if summary.exists() and not failure:
        found |= json.loads(summary.read_text("utf-8"))
    if figure.exists() and not failure:
        with replacing(picture) as temporary:
            temporary.write_bytes(figure.read_bytes())
    write_json(result, found)
    return found


def list_files(folder: Path) -> dict[str, list[int]]:
    """Return size [bytes] and time of change [ns] of each file below a folder, by its path there.

    Hidden files are left out: they are being written.
    """
    paths = [path for path in folder.rglob("[!.]*") if path.is_file()]
    facts = {str(path.relative_to(folder)): path.stat() for path in paths}
    return {name: [fact.st_size, fact.st_mtime_ns] for name, fact in facts.items()}


def list_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that it declares."""
    names = [re.match(r"[\w-]+", line)[0] for line in requires("trajlib") if "extra" not in line]
    return {"Python": python_version()} | {name: version(name) for name in ("trajlib", *names)}


def _declared(stage: Stage) -> dict[str, str]:
    from papermill import inspect_notebook  # a second, which the lab need not wait for

    parameters = inspect_notebook(str(stage.notebook)).values()
    return {each["name"]: each["inferred_type_name"] for each in parameters}


def _read_value(name: str, text: str, kind: str) -> object:
    if kind == "str":
        return text
    try:
        value = literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    if type(value).__name__ not in (kind.partition("[")[0], "int" if kind == "float" else kind):
        raise ValueError(f"parameter {name} is {text!r}, expected a value of type {kind}")
    return value


def _execute(stage: Stage, folder: Path, rules: Rules) -> tuple[NotebookNode, str | None]:
    import papermill

    failure, draft = None, folder / f".{stage.name}.ipynb"  # papermill saves it after each cell
    try:
        papermill.execute_notebook(
            str(stage.notebook),
            str(draft),
            stage.parameters,
            kernel_name="python3",
            cwd=str(stage.notebook.parent),
            progress_bar=False,
            # A kernel is interrupted before it ends, and may say so in the terminal. There is
            # nothing left for it to do: its results are on disk.
            extra_arguments=["--log-level=CRITICAL"],
            shutdown_kernel="immediate",
        )
    except papermill.PapermillExecutionError as error:
        failure = f"{error.ename}: {error.evalue}"
    except RuntimeError:  # nbclient's, when the process of the notebook is gone
        failure = "its process ended, as it does when memory runs out"
    except BaseException as error:  # papermill's, when it cannot save the copy; or Ctrl-C
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise_full_disk(error, folder / f"{stage.name}.ipynb")
        raise
    executed = nbformat.read(draft, 4)
    draft.unlink()
    told = failure and redact(f"{stage.name} stopped {_place(executed)}: {failure}", rules)
    return redact_notebook(executed, rules), told


def _place(nb: NotebookNode) -> str:
    begun = [cell.metadata.get("papermill", {}).get("start_time") for cell in nb.cells]
    code = [i for i, cell in enumerate(nb.cells) if cell.cell_type == "code" and begun[i]]
    if not code:
        return "before its first cell"
    above = _headings(nb.cells[: code[-1]])
    return f"in cell [{len(code)}]" + (f", under “{above[-1]}”" if above else "")


def _headings(cells: list[NotebookNode]) -> list[str]:
    return _HEADING.findall("\n".join(c.source for c in cells if c.cell_type == "markdown"))
