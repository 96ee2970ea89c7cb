"""Format tables for the pages of a report."""

from datetime import datetime
from html import escape
from itertools import count

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from trajlib.estimate import format_number, typeset

_ROWS = 60  # shown of a longer table, the first and the last ones
_LONG = 25  # characters; longer texts may be broken anywhere
_MISSING = "\N{EN DASH}"
_numbers = count(1)


def format_table(table: pd.DataFrame) -> Styler:
    """Return a table in the format of our pages.

    Missing values are dashes, negative numbers have a minus sign but zeros have none, columns of
    words are aligned to the left, and long names may break at underscores.

    >>> table = pd.DataFrame({"skill": [-0.25, float("nan")], "of": ["forest", "ridge"]})
    >>> html = format_table(table).to_html()
    >>> "\N{MINUS SIGN}0.25" in html, ">\N{EN DASH}<" in html, "nan" in html
    (True, True, False)
    """
    hidden = max(0, len(table) - _ROWS)
    if hidden:
        table = pd.concat([table.head(_ROWS // 2), table.tail(_ROWS // 2)])
    repeated = not (table.columns.is_unique and table.index.is_unique)  # refused by Styler
    if repeated:
        table = table.reset_index()
        table.columns = [f"{name}{' ' * i}" for i, name in enumerate(table.columns)]
    texts = pd.DataFrame({name: _format_column(table[name]) for name in table}, table.index)
    texts.columns = table.columns
    classes = texts.map(_classify)
    styler = texts.style.set_uuid(f"t{next(_numbers)}").set_table_attributes('class="dataframe"')
    styler.cell_ids = False
    styler.set_td_classes(classes).format(escape="html")
    styler.format_index(_break, axis="columns").format_index(_break, axis="index")
    if repeated:
        styler.hide(axis="index")  # numbers of the rows
    if hidden:
        styler.set_caption(f"{_ROWS} of {hidden + _ROWS:,} rows")
    left = [{"selector": "th", "props": "text-align: left"}]
    words = [name for name in texts if (classes[name] != "").all()]
    return styler.set_table_styles(dict.fromkeys(words, left))


def _format_column(column: pd.Series) -> list[str]:
    if not pd.api.types.is_float_dtype(column):
        return [_format_value(value) for value in column]
    sizes = column.abs()
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) and sizes.max() > 1_000 * sizes.min() and sizes.max() >= 10:
        return [_format_value(value) for value in column]
    largest = sizes.max() if len(sizes) else 1
    decimals = int(np.clip(3 - np.floor(np.log10(largest)), 0, 4))
    needed = [f"{value:.{decimals}f}".rstrip("0").partition(".")[2] for value in sizes]
    decimals = max(map(len, needed), default=0)
    return [_MISSING if pd.isna(v) else typeset(f"{v:z,.{decimals}f}") for v in column]


def _format_value(value: object) -> str:
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        return str(value)
    if pd.isna(value):
        return _MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        number = int(value)
        return typeset(f"{number:,}" if abs(number) >= 10_000 else f"{number}")
    if isinstance(value, (float, np.floating)):
        return typeset(format_number(float(value)) if np.isfinite(value) else str(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return typeset(str(value))


def _classify(text: str) -> str:
    if text == _MISSING:
        return "missing"
    if not text[:1].isalpha():
        return ""
    return "text long" if len(text) >= _LONG and " " in text else "text"


def _break(label: object) -> str:
    return escape(_format_value(label)).replace("_", "_<wbr>")
