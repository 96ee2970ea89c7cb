"""The stages are the numbered notebooks: find them, set their parameters, run one."""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import requires, version
from pathlib import Path
from platform import python_version
from time import perf_counter

import nbformat
from nbformat import NotebookNode

from trajlib.archive.storage import replacing
from trajlib.report.code import digest_code, parse_cell
from trajlib.report.redaction import Rules, redact, redact_notebook
from trajlib.report.summary import write_json

__all__ = [
    "Stage",
    "find_stages",
    "list_files",
    "list_versions",
    "match_parameters",
    "read_notebook",
    "run_stage",
]

_HEADING = re.compile(r"^#+\s+(.+?)\s*$", re.MULTILINE)
_PLACES = ("archive", "data")  # where things are does not change a result
_LONGEST = 1_000  # characters of a message on the console


@dataclass(frozen=True)
class Stage:
    """A numbered notebook, and what to set in its parameters cell."""

    path: Path
    parameters: dict = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """As ``02_normalization``."""
        return self.path.stem

    @property
    def topic(self) -> str:
        """As ``normalization``: the name of its results."""
        return self.name.partition("_")[2]

    @property
    def notebook(self) -> NotebookNode:
        """The notebook as its author saved it."""
        return read_notebook(self.path)

    def title(self) -> str:
        """Return the notebook's first heading."""
        return next(iter(_headings(self.notebook.cells)), self.name)

    def key(self, data: str) -> str:
        """Return a digest that changes with all that its results depend on.

        These are the notebook, its parameters, the modules that it uses, the versions of the
        packages that trajlib declares, and the data, by their fingerprint.
        """
        cells = self.notebook.cells
        sources = [cell.source for cell in cells]
        # what hides names of the machine in the executed copy belongs to every stage
        code = [cell.source for cell in cells if cell.cell_type == "code"]
        code.append("import trajlib.report.redaction")
        given = {name: value for name, value in self.parameters.items() if name not in _PLACES}
        parts = [sources, given, digest_code(code), list_versions(), data]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def declared(self) -> dict[str, str]:
        """Return name and type, such as ``list[int]``, of the parameters.

        Raises
        ------
        ValueError
            When there is no cell tagged ``parameters``, when it holds anything but assignments
            of one name a statement, or when another cell sets a parameter to a constant.
        """
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
        if len(tagged) != 1:
            raise ValueError(
                f"{self.path} has {len(tagged)} cells tagged “parameters”, expected one: "
                "it is where the report sets archive, origin and destination"
            )
        types = dict(self._read_parameters(tagged[0].source))
        for cell in cells:
            if cell is not tagged[0]:
                self._refuse_constant(cell.source, {"origin", "destination", *types})
        return types

    def _read_parameters(self, source: str) -> Iterator[tuple[str, str]]:
        lines = source.split("\n")
        try:
            statements = ast.parse(source).body
        except SyntaxError as error:
            line = lines[(error.lineno or 1) - 1]
            raise self._refuse(line, "it is no Python that sets a parameter") from error
        for node in statements:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr()):
                    yield name, ast.unparse(kind)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    yield name, _type_of(value)
                case _:
                    wanted = "expected one parameter a line, such as trees: int = 100"
                    raise self._refuse(lines[node.lineno - 1], wanted)

    def _refuse_constant(self, source: str, names: set[str]) -> None:
        try:
            statements = parse_cell(source).body
        except SyntaxError:
            return  # the notebook fails there by itself
        for node in statements:
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
                continue
            set_here = {t.id for t in node.targets if isinstance(t, ast.Name)} & names
            if set_here:
                line = source.split("\n")[node.lineno - 1]
                raise self._refuse(line, f"it would undo the report's {min(set_here)}")

    def _refuse(self, line: str, why: str) -> ValueError:
        return ValueError(f"{self.path}, the line “{line.strip()}”: {why}")


def read_notebook(path: Path) -> NotebookNode:
    """Return a notebook.

    Raises
    ------
    ValueError
        When the file is no notebook, or one in another language than Python.
    """
    try:
        nb = nbformat.read(path, 4)
    except Exception as error:  # of json, of nbformat, of its schema
        raise ValueError(f"{path} is no notebook that can be read: {error}") from error
    kernel = nb.metadata.get("kernelspec", {})
    language = kernel.get("language") or nb.metadata.get("language_info", {}).get("name")
    if (language or "python").lower() != "python":
        raise ValueError(f"{path} is written in {language}, expected Python")
    return nb


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
    by_name = {name: stage for stage in stages for name in (stage.topic, stage.name)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(f"no stage {unknown[0]!r}; there are {', '.join(s.name for s in stages)}")
    wanted = [by_name[name].name for name in names]
    return [s for s in stages if not wanted or s.name in wanted]


def match_parameters(
    stages: Iterable[Stage], common: Mapping[str, str], given: Mapping[str, str]
) -> list[Stage]:
    """Return the stages with their parameters set, as far as each declares them.

    Parameters
    ----------
    stages
        As returned by `find_stages`.
    common
        Parameters that notebooks share; not every one needs each.
    given
        Name to text, read as the type that the notebook declares; ``10,20`` is a list, too.

    Raises
    ------
    ValueError
        When no stage declares a parameter that was given, when its text is not of that type, or
        when a notebook's parameters cannot be read.
    """
    declared = {stage: stage.declared() for stage in stages}
    names = sorted({name for parameters in declared.values() for name in parameters})
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"no stage has a parameter {unknown[0]!r}; there are {', '.join(names)}")
    matched = []
    for stage, types in declared.items():
        values: dict[str, object] = {name: common[name] for name in types if name in common}
        for name in types.keys() & given.keys():
            values[name] = _read_value(stage, name, given[name], types[name])
        matched.append(Stage(stage.path, values))
    return matched


def run_stage(
    stage: Stage, folder: Path, *, key: str, processed: Path, rules: Rules, env: Mapping[str, str]
) -> dict:
    """Run one notebook, keep its executed copy in the folder, and return its result.

    The result is saved beside the copy, as the last of all: where it holds the stage's key and no
    failure, and the files that it lists are as they were, the stage need not run again.

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
    env
        Environment variables of the notebook.

    Returns
    -------
    dict
        ``key``, ``seconds``, ``failure`` (None, or where and why it stopped), ``files``, those
        that it wrote into ``processed`` (see `list_files`), and the content of its summary.
    """
    result, picture = folder / f"{stage.name}.json", folder / f"{stage.name}.png"
    summary, figure = (processed / f"{stage.topic}.summary.{kind}" for kind in ("json", "png"))
    for old in (summary, figure):
        old.unlink(missing_ok=True)
    before, started = _list_states(processed), perf_counter()
    nb, failure = _execute(stage, rules, env)
    outcome = {"key": key, "seconds": round(perf_counter() - started, 1), "failure": failure}
    states, files = _list_states(processed), list_files(processed)
    outcome["files"] = {name: files[name] for name in files if states[name] != before.get(name)}
    with replacing(folder / f"{stage.name}.ipynb") as temporary:
        nbformat.write(nb, temporary)
        for old in (result, picture):  # which stand until there is something instead
            old.unlink(missing_ok=True)
    if summary.exists() and not failure:
        outcome |= json.loads(summary.read_text("utf-8"))
    if figure.exists() and not failure:
        with replacing(picture) as temporary:
            temporary.write_bytes(figure.read_bytes())
    write_json(result, outcome)
    return outcome


def list_files(folder: Path) -> dict[str, str]:
    """Return a digest of the content of each file below a folder, by its path there.

    Hidden files are left out: they are being written.
    """
    states = _list_states(folder)
    return {name: _digest_content(folder / name, state) for name, state in states.items()}


@cache
def list_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that it declares."""
    lines = [line for line in requires("trajlib") or [] if "extra" not in line]
    names = [re.split(r"[^\w-]", line)[0] for line in lines]
    return {"Python": python_version()} | {name: version(name) for name in ("trajlib", *names)}


def _list_states(folder: Path) -> dict[str, tuple[int, int, int]]:
    paths = [path for path in folder.rglob("[!.]*") if path.is_file()]
    facts = {str(path.relative_to(folder)): path.stat() for path in paths}
    return {n: (each.st_size, each.st_mtime_ns, each.st_ino) for n, each in facts.items()}


@cache
def _digest_content(path: Path, state: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _type_of(value: ast.expr) -> str:
    try:
        return type(ast.literal_eval(value)).__name__
    except ValueError:
        return "object"


def _read_value(stage: Stage, name: str, text: str, kind: str) -> object:
    outer, _, inner = kind.rstrip("]").partition("[")
    if outer == "str":
        return text
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = text.split(",") if outer == "list" else text
    if outer == "list" and not isinstance(value, list):
        value = list(value) if isinstance(value, tuple) else [value]
    fits = all(_is_of(each, inner) for each in value) if outer == "list" else _is_of(value, outer)
    if not fits:
        raise ValueError(
            f"parameter {name} is {text!r}, expected a value of type {kind}, as {stage.name} "
            "declares it"
        )
    return value


def _is_of(value: object, kind: str) -> bool:
    allowed = (kind, "int") if kind == "float" else (kind,)
    return kind in ("", "object") or type(value).__name__ in allowed


def _execute(stage: Stage, rules: Rules, env: Mapping[str, str]) -> tuple[NotebookNode, str | None]:
    from papermill.parameterize import parameterize_notebook  # a second, not needed by the lab

    from trajlib.report.kernel import run_cells

    nb = nbformat.from_dict(stage.notebook)
    nb.metadata.setdefault("papermill", {})
    for cell in nb.cells:
        cell.metadata.setdefault("tags", [])
    nb = parameterize_notebook(nb, stage.parameters, kernel_name="python3", language="python")
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    failure, begun = run_cells(nb, stage.path.parent, env)
    if failure:
        if len(failure) > _LONGEST:  # the page has it whole
            failure = f"{failure[:_LONGEST]} …"
        failure = redact(f"{stage.name} stopped {_place(nb.cells, begun)}: {failure}", rules)
    return redact_notebook(nb, rules), failure


def _place(cells: list[NotebookNode], begun: int) -> str:
    if begun < 0:
        return "before its first cell"
    number = sum(cell.cell_type == "code" for cell in cells[: begun + 1])
    above = _headings(cells[:begun])
    return f"in cell [{number}]" + (f", under “{above[-1]}”" if above else "")


def _headings(cells: list[NotebookNode]) -> list[str]:
    return _HEADING.findall("\n".join(c.source for c in cells if c.cell_type == "markdown"))
