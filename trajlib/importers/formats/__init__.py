"""The formats that flights are imported from, one module each."""

from pathlib import Path

from trajlib.importers.formats import opensky, traffic_tables
from trajlib.importers.formats.base import Format, FormatError, Head, Options, read_head

__all__ = [
    "FORMATS",
    "Format",
    "FormatError",
    "Head",
    "Options",
    "describe_formats",
    "find_format",
    "recognize_format",
]

# the more particular before the more general
FORMATS = (
    opensky.FORMAT,
    traffic_tables.FORMAT,
)


def recognize_format(path: str | Path) -> Format:
    """Return the format of a file, recognised by its content.

    Raises
    ------
    FormatError
        When it is none of `FORMATS`, or one that is refused, with the reason.
    """
    head = read_head(Path(path))
    for candidate in FORMATS:
        if candidate.recognize(head):
            return candidate
    names = ", ".join(head.names[:8])[:100]
    told = f"its columns are {names}" if len(head.names) > 1 else "it has no header"
    raise FormatError(
        f"no known format: {told}; `python -m trajlib import --formats` lists the formats, "
        "and a columns.toml names the columns of any other table"
    )


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises
    ------
    FormatError
        When there is none.
    """
    for candidate in FORMATS:
        if candidate.name == name:
            return candidate
    raise FormatError(f"no format {name!r}; there are {', '.join(known.name for known in FORMATS)}")


def describe_formats() -> str:
    """Return the list of formats and what each needs."""
    return "\n".join(f"{known.name:<22}{known.title}\n{'':<22}{known.needs}" for known in FORMATS)
