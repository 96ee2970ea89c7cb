"""Remove paths, addresses, host and user of this machine from executed notebooks."""

import getpass
import os
import re
import socket
from collections.abc import Iterable, Set
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from html import unescape
from pathlib import Path

from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from nbformat.v4 import new_output

from trajlib.report.summary import SUMMARY_TYPE

Rules = list[tuple[re.Pattern, str]]

_HIDDEN = "…"
_ADDRESSES = (
    r"\b(?:tcp|tls|ucx|inproc|wss?|s3)://[^\s\"'<>,)\]]+",
    r"\bhttps?://(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:]+\])[^\s\"'<>,)\]]*",
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])",
    r"\blocalhost:\d+",
)
_PART = re.compile(r"\w+|\W")
_ESCAPE = re.compile(r"\\(?:u([\da-fA-F]{4})|(.))")  # as in JSON
_LEFT_OUT = "*Left out here: it may show single flights.*"
_TEXTS = ("text/plain", "text/html", "text/markdown", "image/svg+xml")
_UNCHANGED = (
    "image/png",
    "application/javascript",
    "application/vnd.bokehjs_exec.v0+json",
    SUMMARY_TYPE,
)
_WIDGET = "application/vnd.jupyter.widget-view+json"


def machine_rules(root: Path, folders: Iterable[Path] = ()) -> Rules:
    """Return the rules (pattern and replacement) with which :func:`redact` hides a machine.

    Paths below ``root``, the project's folder, are shown relative to it. Paths to other folders,
    such as the archive, absolute or relative to ``root/notebooks``, are replaced by their names.
    """
    rules = [(f"{re.escape(str(root))}/", ""), (rf"{re.escape(str(root))}\b", ".")]
    for folder in sorted({f.absolute() for f in folders} | {f.resolve() for f in folders}):
        if not folder.is_relative_to(root):
            relative = [os.path.relpath(folder, start) for start in (root, root / "any")]
            forms = [str(folder), *relative]
            rules += [(_path(re.escape(form)), f"{_HIDDEN}/{folder.name}") for form in forms]
    rules += _absolute_paths(root)
    rules += [(pattern, _HIDDEN) for pattern in _ADDRESSES]
    rules += [(rf"\b{re.escape(name)}\b", _HIDDEN) for name in _people_and_hosts()]
    return [(re.compile(pattern), text) for pattern, text in rules]


def redact(text: str, rules: Rules) -> str:
    """Return a text with all matches of the rules replaced.

    >>> rules = machine_rules(Path("/srv/trajlib"), [Path("/mnt/flights")])
    >>> redact("/srv/trajlib/trajlib/index.py reads ../../mnt/flights/a.csv", rules)
    'trajlib/index.py reads …/flights/a.csv'
    >>> redact("<Client: 'tcp://127.0.0.1:40123' processes=2>", rules)
    "<Client: '…' processes=2>"
    """
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def redact_notebook(nb: NotebookNode, rules: Rules) -> NotebookNode:
    """Return a copy of an executed notebook without names of the machine it ran on.

    Metadata is dropped except tags, kernel and language. Outputs of types that a page does not show
    are dropped. Scripts of Bokeh stay unchanged: they contain numbers, and a change would break
    them.
    """
    nb = deepcopy(nb)
    metadata = {k: v for k, v in nb.metadata.items() if k in ("kernelspec", "language_info")}
    nb.metadata = NotebookNode(metadata)
    for cell in nb.cells:
        cell.metadata = NotebookNode(tags=_tags(cell))
        cell.source = redact(cell.source, rules)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not _is_dead_widget(output)]
            for output in cell.outputs:
                _redact_output(output, rules)
    return nb


def keep_aggregates(nb: NotebookNode, names: Set[str]) -> NotebookNode:
    """Return a copy of an executed notebook that shows nothing of single flights.

    Outputs are kept if their cell is tagged ``aggregate`` and they name no flight. A note replaces
    the outputs of every other cell.
    """
    nb = deepcopy(nb)
    for cell in nb.cells:
        outputs = cell.get("outputs")
        is_tagged = "aggregate" in _tags(cell)
        if outputs and not (is_tagged and all(_is_aggregate(each, names) for each in outputs)):
            cell.outputs = [new_output("display_data", data={"text/markdown": _LEFT_OUT})]
            cell.metadata = NotebookNode(tags=[t for t in _tags(cell) if t != "aggregate"])
    return nb


def _redact_output(output: NotebookNode, rules: Rules) -> None:
    for key in ("text", "ename", "evalue"):
        if key in output:
            output[key] = redact(strip_ansi(output[key]), rules)
    if "traceback" in output:
        output.traceback = [redact(strip_ansi("\n".join(output.traceback)), rules)]
    if "metadata" in output:
        output.metadata = NotebookNode()
    if "data" in output:
        data = {kind: value for kind, value in output.data.items() if kind in _TEXTS + _UNCHANGED}
        for kind in data.keys() & set(_TEXTS):
            # the second replacement removes links to hidden dashboards
            data[kind] = redact(data[kind], rules).replace(f' href="{_HIDDEN}"', "")
        output.data = NotebookNode(data)


def _is_dead_widget(output: NotebookNode) -> bool:
    """Return whether an output is empty without its kernel."""
    data = output.get("data", {})
    return _WIDGET in data and "image/png" not in data


def _is_aggregate(output: NotebookNode, names: Set[str]) -> bool:
    if output.output_type == "error":
        return False
    data = output.get("data", {"text": output.get("text", "")})
    return not any(names_flight(str(data[kind]), names) for kind in data if kind != "image/png")


def names_flight(text: str, names: Set[str]) -> bool:
    """Return whether a text contains the name of a flight as a whole word.

    Names may contain blanks and signs, which may be escaped in the text as in HTML and JSON.

    >>> names_flight("flown by EC-MAB.", {"EC-MAB"}), names_flight("XEC-MABX", {"EC-MAB"})
    (True, False)
    """
    lengths = _count_parts(frozenset(names))
    for form in {text, _unescape(text)}:
        parts = _PART.findall(form)
        for length in lengths:
            runs = zip(*(parts[first:] for first in range(length)), strict=False)
            if not names.isdisjoint(map("".join, runs)):
                return True
    return False


@lru_cache(maxsize=1)  # of one archive, needed for each output
def _count_parts(names: frozenset[str]) -> set[int]:
    return {len(_PART.findall(name)) for name in names}


def _unescape(text: str) -> str:
    def read(escape: re.Match) -> str:
        code, sign = escape.groups()
        return chr(int(code, 16)) if code else " " if sign in "bfnrt" else sign

    return unescape(_ESCAPE.sub(read, text))


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", ()))


def _absolute_paths(root: Path) -> list[tuple[str, str]]:
    folders = "|".join(re.escape(entry.name) for entry in os.scandir("/") if entry.is_dir())
    climbs = (re.escape(os.path.relpath("/", start)) for start in (root, root / "any"))
    begin, part = rf"(?:{'|'.join(climbs)})?/(?:{folders})", r"/[\w.+@=~-]+"
    return [
        (_path(rf"{begin}(?:{part})*/site-packages/(?={part[1:]})"), ""),
        (_path(rf"{begin}(?:{part})+({part})"), rf"{_HIDDEN}\1"),
        (_path(f"{begin}{part}"), _HIDDEN),
    ]


def _path(pattern: str) -> str:
    return rf"(?<![\w.:/<]){pattern}"


def _people_and_hosts() -> list[str]:
    host = socket.gethostname()
    # shorter names, and root, may be ordinary words on a page
    names = {host, host.split(".")[0]}
    with suppress(KeyError, OSError):  # neither in the environment nor among the machine's users
        names.add(getpass.getuser())
    names -= {"root", "localhost"}
    return sorted((name for name in names if len(name) > 3), key=len, reverse=True)
