"""Propose the ``columns.toml`` of an archive from the first lines of a few files."""

import re
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect
from trajlib.archive.facts import read_head_tail
from trajlib.archive.layout import Layout, find_layout
from trajlib.archive.listing import list_files
from trajlib.archive.reading import UNREADABLE, FlightError, read_flight
from trajlib.archive.storage import format_location, resolve
from trajlib.geodesy import find_airport
from trajlib.schema import COLUMNS, IDENTITY

_FILES = 5  # that are examined


def suggest_dialect(archive: str | Path) -> str:
    """Return the text of a ``columns.toml`` for an archive, with comments on what is missing.

    It contains the layout found in the first file, and a question where this is ambiguous.

    Raises
    ------
    FileNotFoundError
        When the archive is not a folder, or holds no CSV.
    ValueError
        When none of the first files has a line of samples.
    """
    files = list_files(archive).head(_FILES)
    path, head = _find_sample(archive, files)
    try:
        layout = find_layout(head, Dialect(), closely=True)
    except FlightError as error:
        return f"# to be decided: {error}\n"
    lines = [*_describe_form(layout, files["path"]), "", "[columns]"]
    lines += [line for name in COLUMNS if (line := _describe_column(name, layout, head))]
    try:
        read_flight(f"{resolve(archive)}/{path}")
    except FlightError as error:
        lines.append(f"# to be decided: {error}")
    text = "\n".join(lines)
    missing = [n for n in IDENTITY[-2:] if n not in layout.fields and f"<{n}>" not in text]
    lines += [f"# no {name} is given" for name in missing]
    count = sum(name in layout.fields for name in COLUMNS)
    return "\n".join([*lines, f"# {count} of {len(COLUMNS)} columns are understood", ""])


def _find_sample(archive: str | Path, files: pd.DataFrame) -> tuple[str, bytes]:
    for path, size in zip(files["path"], files["size"], strict=True):
        try:
            head, _ = read_head_tail(f"{resolve(archive)}/{path}", size)
        except UNREADABLE:
            continue
        if head.count(b"\n") > 1:
            return path, head
    location = format_location(archive)
    raise ValueError(f"none of the first {len(files)} files of {location} holds a line of samples")


def _describe_form(layout: Layout, paths: pd.Series) -> list[str]:
    lines = []
    if layout.delimiter != ",":
        lines.append(f"delimiter = {layout.delimiter!r}".replace("'", '"'))
    if layout.decimal != ".":
        lines.append(f'decimal = "{layout.decimal}"')
    pattern = re.compile(r"(?P<origin>[A-Z]{3,4})[-_](?P<destination>[A-Z]{3,4})")
    if paths.map(lambda path: _joins_airports(pattern.search(path))).all():
        lines.append(f"path = '{pattern.pattern}'")
    return lines


def _joins_airports(match: re.Match | None) -> bool:
    try:
        return match is not None and all(map(find_airport, match.groups()))
    except ValueError:
        return False


def _describe_column(name: str, layout: Layout, head: bytes) -> str | None:
    if name not in layout.fields:
        return None
    number = layout.fields[name]
    written = layout.names[number]
    entry = {} if written == name else {"column": written}
    if name in layout.unit_names:
        entry["unit"] = layout.unit_names[name]
    if name == "timestamp":
        lines = head.decode("utf-8", errors="replace").splitlines()[layout.skip :]
        fields = lines[0].split(layout.delimiter) if lines else []
        if number < len(fields) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", fields[number]):
            entry["format"] = "unix"
    if not entry:
        return None
    return f"{name} = {{ {', '.join(f'{key} = {text!r}' for key, text in entry.items())} }}"
