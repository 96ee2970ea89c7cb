"""The stages of a report, which are the numbered notebooks: find, parametrise and run them."""

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
from trajlib.report.summary import write_file, write_json

_HEADING = re.compile(r"^#+\s+(.+?)\s*$", re.MULTILINE)
_LOCATIONS = ("archive", "data")  # parameters that do not change results
_LONGEST = 1_000  # characters of a message on the console


@dataclass(frozen=True)
class Stage:
    """A numbered notebook, and values for its parameters cell."""

    path: Path
    parameters: dict = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Name of the notebook, such as ``02_normalization``."""
        return self.path.stem

    @property
    def topic(self) -> str:
        """Name of its results, such as ``normalization``."""
        return self.name.partition("_")[2]

    @property
    def notebook(self) -> NotebookNode:
        """The notebook as saved by its author."""
        return read_notebook(self.path)

    def title(self) -> str:
        """Return the notebook's first heading."""
        return next(iter(_headings(self.notebook.cells)), self.name)

    def key(self, data: str) -> str:
        """Return a digest of everything that the results depend on.

        These are the notebook, its parameters, the modules that it uses, the versions of trajlib's
        dependencies, and the fingerprint of the data.
        """
        cells = self.notebook.cells
        sources = [cell.source for cell in cells]
        code = [cell.source for cell in cells if cell.cell_type == "code"]
        # every executed copy is redacted, and its tables are formatted
        code.append("import trajlib.report.redaction, trajlib.report.tables")
        parameters = {k: v for k, v in self.parameters.items() if k not in _LOCATIONS}
        parts = [sources, parameters, digest_code(code), list_versions(), data]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def declared(self) -> dict[str, str]:
        """Return name and type, such as ``list[int]``, of the parameters.

        Raises
        ------
        ValueError
            When there is no cell tagged ``parameters``, when it contains anything but assignments
            to single names, or when another cell sets a parameter to a constant.
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
                    expected = "expected one parameter a line, such as trees: int = 100"
                    raise self._refuse(lines[node.lineno - 1], expected)

    def _refuse_constant(self, source: str, names: set[str]) -> None:
        try:
            statements = parse_cell(source).body
        except SyntaxError:
            return  # the notebook will fail in this cell
        for node, target, value in _list_assignments(statements):
            if target in names and isinstance(value, ast.Constant):
                line = source.split("\n")[node.lineno - 1]
                raise self._refuse(line, f"it would undo the report's {target}")

    def _refuse(self, line: str, why: str) -> ValueError:
        return ValueError(f"{self.path}, the line “{line.strip()}”: {why}")


def _list_assignments(
    statements: Iterable[ast.stmt],
) -> Iterator[tuple[ast.stmt, str, ast.expr | None]]:
    """Yield each name that statements set outside of functions and classes, with its value."""
    for node in statements:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                yield node, name, value
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from ((node, *pair) for pair in _pair_names(target, value))
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                bodies = (getattr(node, name, []) for name in ("body", "orelse", "finalbody"))
                for body in bodies:
                    yield from _list_assignments(body)


def _pair_names(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match target, value:
        case ast.Name(id=name), _:
            yield name, value
        case (
            (ast.Tuple(elts=targets) | ast.List(elts=targets)),
            (ast.Tuple(elts=values) | ast.List(elts=values)),
        ):
            for one, other in zip(targets, values, strict=False):
                yield from _pair_names(one, other)


def read_notebook(path: Path) -> NotebookNode:
    """Return a notebook.

    Raises
    ------
    ValueError
        When the file is not a notebook, or is in another language than Python.
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
    """Return the numbered notebooks of a folder in order, all or those with the given names.

    Names are those of the files, with or without the number.

    Raises
    ------
    ValueError
        When the folder contains no stage, or a name is unknown.
    """
    stages = [Stage(path) for path in sorted(Path(notebooks).glob("[0-9][0-9]_*.ipynb"))]
    if not stages:
        raise ValueError(f"no numbered notebook in {notebooks}, expected such as 01_index.ipynb")
    by_name = {name: stage for stage in stages for name in (stage.topic, stage.name)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(f"no stage {unknown[0]!r}; there are {', '.join(s.name for s in stages)}")
    selected = [by_name[name].name for name in names]
    return [s for s in stages if not selected or s.name in selected]


def match_parameters(
    stages: Iterable[Stage], common: Mapping[str, str], given: Mapping[str, str]
) -> list[Stage]:
    """Return the stages with their parameters set, as far as each declares them.

    ``common`` parameters are set as they are. ``given`` ones are texts, converted to the type that
    the notebook declares; ``10,20`` can be a list.

    Raises
    ------
    ValueError
        When no stage declares a given parameter, when its text does not have that type, or when
        the parameters of a notebook cannot be read.
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
    """Run one notebook, save its executed copy in the folder, and return its result.

    The result is saved last. If it has the stage's key and no failure, and the files that it lists
    are unchanged, the stage need not run again.

    Parameters
    ----------
    stage, key
        The stage with its parameters, and its key.
    folder
        Folder of the report; receives ``NAME.ipynb``, ``NAME.json`` and, if available,
        ``NAME.png``.
    processed
        Folder in which the notebook saves its results.
    rules
        Rules for removing names of this machine.
    env
        Environment variables of the notebook.

    Returns
    -------
    dict
        ``key``, ``seconds``, ``failure`` (None, or where and why it stopped), ``error`` (the name
        of the error that a cell raised, or None), ``files`` (written into ``processed``, see
        `list_files`), and the content of its summary.
    """
    result, picture = folder / f"{stage.name}.json", folder / f"{stage.name}.png"
    summary, figure = (processed / f"{stage.topic}.summary.{kind}" for kind in ("json", "png"))
    for old in (summary, figure):
        old.unlink(missing_ok=True)
    before, started = _list_states(processed), perf_counter()
    nb, failure = _execute(stage, rules, env)
    outcome = {"key": key, "seconds": round(perf_counter() - started, 1), "failure": failure}
    outcome["error"] = _find_error(nb)
    states, files = _list_states(processed), list_files(processed)
    outcome["files"] = {name: files[name] for name in files if states[name] != before.get(name)}
    with replacing(folder / f"{stage.name}.ipynb") as temporary:
        nbformat.write(nb, temporary)
        for old in (result, picture):  # only removed when the new copy is complete
            old.unlink(missing_ok=True)
    if summary.exists() and not failure:
        outcome |= json.loads(summary.read_text("utf-8"))
    if figure.exists() and not failure:
        write_file(picture, figure.read_bytes())
    write_json(result, outcome)
    return outcome


def list_files(folder: Path) -> dict[str, str]:
    """Return a digest of each file below a folder, by its path there, except of hidden files.

    Hidden files are still being written.
    """
    states = _list_states(folder)
    return {name: _digest_content(folder / name, state) for name, state in states.items()}


@cache
def list_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of its dependencies."""
    lines = [line for line in requires("trajlib") or [] if "extra" not in line]
    names = [re.split(r"[^\w-]", line)[0] for line in lines]
    return {"Python": python_version()} | {name: version(name) for name in ("trajlib", *names)}


def _list_states(folder: Path) -> dict[str, tuple[int, int, int]]:
    paths = [path for path in folder.rglob("[!.]*") if path.is_file()]
    facts = {str(path.relative_to(folder)): path.stat() for path in paths}
    return {n: (stat.st_size, stat.st_mtime_ns, stat.st_ino) for n, stat in facts.items()}


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
    fits = all(_is_of(item, inner) for item in value) if outer == "list" else _is_of(value, outer)
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
    from papermill.parameterize import parameterize_notebook  # slow to import

    from trajlib.report.kernel import run_cells

    nb = nbformat.from_dict(stage.notebook)
    nb.metadata.setdefault("papermill", {})
    for cell in nb.cells:
        cell.metadata.setdefault("tags", [])
    nb = parameterize_notebook(nb, stage.parameters, kernel_name="python3", language="python")
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    failure, position = run_cells(nb, stage.path.parent, env)
    if failure:
        if len(failure) > _LONGEST:  # the page shows all of it
            failure = f"{failure[:_LONGEST]} …"
        where = _describe_position(nb.cells, position)
        failure = redact(f"{stage.name} stopped {where}: {failure}", rules)
    return redact_notebook(nb, rules), failure


def _find_error(nb: NotebookNode) -> str | None:
    outputs = [output for cell in nb.cells for output in cell.get("outputs", ())]
    errors = [output.ename for output in outputs if output.output_type == "error"]
    return errors[-1] if errors else None


def _describe_position(cells: list[NotebookNode], position: int) -> str:
    if position < 0:
        return "before its first cell"
    number = sum(cell.cell_type == "code" for cell in cells[: position + 1])
    headings = _headings(cells[:position])
    return f"in cell [{number}]" + (f", under “{headings[-1]}”" if headings else "")


def _headings(cells: list[NotebookNode]) -> list[str]:
    return _HEADING.findall("\n".join(c.source for c in cells if c.cell_type == "markdown"))
