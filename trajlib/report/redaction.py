"""Take out of executed notebooks what names this machine: paths, addresses, host, user."""

import getpass
import os
import re
import socket
from collections.abc import Iterable, Set
from copy import deepcopy
from functools import lru_cache
from html import unescape
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output

__all__ = ["keep_aggregates", "machine_rules", "names_flight", "redact", "redact_notebook"]

Rules = list[tuple[re.Pattern, str]]

_HIDDEN = "…"
_ADDRESSES = (
    r"\b(?:tcp|tls|ucx|inproc|wss?|s3)://[^\s\"'<>,)\]]+",
    r"\bhttps?://(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:]+\])[^\s\"'<>,)\]]*",
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])",
    r"\blocalhost:\d+",
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PART = re.compile(r"\w+|\W")
_ESCAPE = re.compile(r"\\(?:u([\da-fA-F]{4})|(.))")  # as in JSON
_LEFT_OUT = "*Left out here: it may tell of single flights.*"
_SCRIPTS = ("application/javascript", "application/vnd.bokehjs_exec.v0+json")


def machine_rules(root: Path, places: Iterable[Path] = ()) -> Rules:
    """Return the rules, pattern and text to put there, by which :func:`redact` hides a machine.

    Parameters
    ----------
    root
        The project's folder: paths below it are shown relative to it.
    places
        Other folders that occur in outputs, such as the archive: shown by their name alone,
        where they are named from the root of the file system and from ``root/notebooks``.
    """
    rules = [(f"{re.escape(str(root))}/", ""), (rf"{re.escape(str(root))}\b", ".")]
    for place in sorted({p.absolute() for p in places} | {p.resolve() for p in places}):
        if not place.is_relative_to(root):
            forms = (str(place), os.path.relpath(place, root), os.path.relpath(place, root / "any"))
            rules += [(_path(re.escape(form)), f"{_HIDDEN}/{place.name}") for form in forms]
    rules += _absolute_paths(root)
    rules += [(pattern, _HIDDEN) for pattern in _ADDRESSES]
    rules += [(rf"\b{re.escape(name)}\b", _HIDDEN) for name in _people_and_hosts()]
    return [(re.compile(pattern), text) for pattern, text in rules]


def redact(text: str, rules: Rules) -> str:
    """Return a text with everything that the rules name replaced.

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
    """Return a copy of an executed notebook that can leave the machine it ran on.

    Sources and outputs are redacted, scripts of figures excepted, which hold numbers only;
    papermill's own cells and metadata, and the colours of terminals, are dropped.
    """
    nb = deepcopy(nb)
    nb.metadata = {k: v for k, v in nb.metadata.items() if k in ("kernelspec", "language_info")}
    nb.cells = [cell for cell in nb.cells if "papermill-error-cell-tag" not in _tags(cell)]
    for cell in nb.cells:
        cell.metadata = {"tags": _tags(cell)}
        cell.source = redact(cell.source, rules)
        if cell.cell_type == "code":
            cell.outputs = [_redact_output(output, rules) for output in cell.outputs]
    return nb


def keep_aggregates(nb: NotebookNode, names: Set[str]) -> NotebookNode:
    """Return a copy of an executed notebook that tells nothing of single flights.

    An output stays where its cell is tagged ``aggregate``, by which whoever wrote it says that
    it shows many flights as one, unless it is an error or names a flight. A note stands for the
    outputs of every other cell: what nobody vouches for is left out.
    """
    nb = deepcopy(nb)
    for cell in nb.cells:
        if cell.get("outputs"):
            wrong = [o for o in cell.outputs if o.output_type == "error" or _names(o, names)]
            if wrong or "aggregate" not in _tags(cell):
                cell.outputs = [new_output("display_data", data={"text/markdown": _LEFT_OUT})]
                cell.metadata = {"tags": [tag for tag in _tags(cell) if tag != "aggregate"]}
    return nb


def names_flight(text: str, names: Set[str]) -> bool:
    """Return whether one of the names of flights stands in a text and is no part of a word.

    A name may hold blanks and signs; the text may escape them as HTML and JSON do.

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


@lru_cache(maxsize=1)  # of one archive, asked for each output
def _count_parts(names: frozenset[str]) -> set[int]:
    return {len(_PART.findall(name)) for name in names}


def _unescape(text: str) -> str:
    def read(escape: re.Match) -> str:
        code, sign = escape.groups()
        return chr(int(code, 16)) if code else " " if sign in "bfnrt" else sign

    return unescape(_ESCAPE.sub(read, text))


def _names(output: NotebookNode, names: Set[str]) -> bool:
    data = output.get("data", {"text": output.get("text", "")})
    return any(names_flight(str(v), names) for k, v in data.items() if k != "image/png")


def _redact_output(output: NotebookNode, rules: Rules) -> NotebookNode:
    clean = NotebookNode(output)
    for key in ("text", "evalue"):
        if key in clean:
            clean[key] = redact(_ANSI.sub("", clean[key]), rules)
    if "traceback" in clean:
        clean.traceback = [redact(_ANSI.sub("", "\n".join(clean.traceback)), rules)]
    if "data" in clean:
        # the second copy of BokehJS, for JupyterLab alone, is of no use outside it
        kept = {k: v for k, v in clean.data.items() if "bokehjs_load" not in k}
        clean.data = NotebookNode({k: _redact_data(k, v, rules) for k, v in kept.items()})
    return clean


def _redact_data(kind: str, value: object, rules: Rules) -> object:
    if kind in _SCRIPTS or kind.startswith("image/png") or not isinstance(value, str):
        return value
    # a link to a dashboard that is hidden leads nowhere
    return redact(value, rules).replace(f' href="{_HIDDEN}"', "")


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
    # shorter names, and root, are words that a page may use for themselves
    names = {getpass.getuser(), host, host.split(".")[0]} - {"root", "localhost"}
    return sorted((name for name in names if len(name) > 3), key=len, reverse=True)
