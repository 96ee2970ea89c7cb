"""Tables of errors and skills as text, with intervals and units."""

from collections.abc import Sequence

import pandas as pd

from trajlib.estimate import Estimate, format_number
from trajlib.labels import QUANTITIES, display_feature_set, display_model, display_quantity

_LEVELS = {
    "feature_set": ("predicted", display_feature_set),
    "model": ("model", display_model),
    "name": ("name", display_model),
    "error": ("error", display_quantity),
}


_MARKS = {"beats it": "", "no better": " *", "worse": " †"}  # of verdicts


def label_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with display names of feature sets, models and errors in its index.

    >>> index = pd.Index(["planned", "at_takeoff"], name="feature_set")
    >>> label_rows(pd.DataFrame({"skill": [0.1, 0.2]}, index)).index.tolist()
    ['before departure', 'at take-off']
    """
    keys = table.index.to_frame(index=False)
    for level, (title, display) in _LEVELS.items():
        if level in keys:
            keys[level] = keys[level].map(display)
            keys = keys.rename(columns={level: title})
    index = pd.Index(keys.iloc[:, 0]) if keys.shape[1] == 1 else pd.MultiIndex.from_frame(keys)
    return table.set_axis(index)


def to_display_units(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of errors or targets with their display names and units, times in minutes.

    >>> to_display_units(pd.DataFrame({"horizontal": [2.5], "time": [90.0]})).iloc[0].to_dict()
    {'position [NM]': 2.5, 'time [min]': 1.5}
    """
    scaled = {name: table[name] / QUANTITIES[name].divisor for name in table if name in QUANTITIES}
    return table.assign(**scaled).rename(
        columns={name: QUANTITIES[name].heading for name in scaled}
    )


def format_errors(table: pd.DataFrame, quantities: Sequence[str] | None = None) -> pd.DataFrame:
    """Return errors with their intervals as text, one column per quantity.

    Parameters
    ----------
    table
        As returned by `Experiment.tabulate`.
    quantities
        Quantities to show; by default all that have values.

    Returns
    -------
    DataFrame
        Texts such as ``12.3 (11.0 to 13.6)``; the unit is in the column's name.
    """
    keys = list(table.columns[: table.columns.get_loc("quantity")])
    if quantities is None:
        quantities = list(table["quantity"].unique())
    columns = {}
    for quantity in quantities:
        display = QUANTITIES[quantity]
        rows = table[table["quantity"] == quantity].set_index(keys)
        texts = [
            _format_interval(row, display.decimals)
            for row in rows[["error", "low", "high"]].itertuples(index=False)
        ]
        columns[display.heading] = pd.Series(texts, rows.index, dtype=object)
    order = table.set_index(keys).index.unique()
    return label_rows(pd.DataFrame(columns).reindex(order).fillna(""))


def format_arrivals(table: pd.DataFrame) -> pd.DataFrame:
    """Return arrival errors with their intervals as text, as in ``2.43 (2.31 to 2.55)``.

    Where there is a verdict, errors that are no better than the best baseline's are marked with
    `` *``, and worse ones with `` †``.

    Parameters
    ----------
    table
        As `score_arrivals` or `score_before_landing` returns it.
    """
    parts = {
        "mean absolute error [min]": ["mae", "low", "high"],
        "95th percentile [min]": ["p95", "p95_low", "p95_high"],
    }
    columns = {"flights": table["flights"]}
    for name, part in parts.items():
        columns[name] = [_format_interval(row, 2) for row in table[part].itertuples(index=False)]
    if "verdict" in table:
        marked = columns["mean absolute error [min]"]
        marks = table["verdict"].map(_MARKS).fillna("")
        columns["mean absolute error [min]"] = [
            text + mark for text, mark in zip(marked, marks, strict=True)
        ]
    shares = table.filter(regex="^within_")
    limits = " / ".join(name.removeprefix("within_") for name in shares)
    columns[f"within {limits} min [%]"] = [
        " / ".join(f"{100 * share:.0f}" for share in row) for row in shares.itertuples(index=False)
    ]
    return label_rows(pd.DataFrame(columns, table.index))


def format_skills(
    table: pd.DataFrame, errors: Sequence[str] = ("horizontal", "altitude", "time")
) -> pd.DataFrame:
    """Return skills with their intervals as text, one column per error.

    Parameters
    ----------
    table
        As returned by `Experiment.compare`, with any levels before ``error``.

    Returns
    -------
    DataFrame
        Texts such as ``0.26 (0.22 to 0.30)``, with `` *`` if the model is no better than the best
        baseline, and `` †`` if it is worse. Empty if the table is.
    """
    mark = table["verdict"].map(_MARKS)
    rows = zip(table["skill"], table["low"], table["high"], mark, strict=True)
    texts = [f"{skill:z.2f} ({low:z.2f} to {high:z.2f}){mark}" for skill, low, high, mark in rows]
    texts = pd.Series(texts, table.index, dtype=object)
    wide = texts.unstack("error").reindex(columns=list(errors))  # noqa: PD010
    wide = wide.reindex(table.index.droplevel("error").unique()).fillna("")
    return label_rows(wide.rename(columns=display_quantity))


def format_groups(table: pd.DataFrame, errors: Sequence[str]) -> pd.DataFrame:
    """Return mean errors and skills of groups as text, the errors side by side.

    Parameters
    ----------
    table
        As returned by `score_groups`, with any levels before ``error``.

    Returns
    -------
    DataFrame
        By the groups and ``flights`` (number with an error): for each error ``mean``, in the unit
        of ``QUANTITIES``, and ``skill``, such as ``0.26 (0.22 to 0.30)``, without the interval for
        a single day.
    """
    groups = [name for name in table.index.names if name != "error"]
    scale = [QUANTITIES[name].divisor for name in table.index.get_level_values("error")]
    intervals = table[["skill", "low", "high"]].itertuples(index=False)
    texts = pd.DataFrame(
        {
            "flights": table["flights"].groupby(level=groups).transform("max"),
            "mean": (table["mean"] / scale).map(format_number),
            "skill": [_format_interval(row, 2) for row in intervals],
        }
    ).replace("nan", "")
    wide = texts.set_index("flights", append=True).unstack("error", sort=False)  # noqa: PD010
    columns = pd.MultiIndex.from_product([errors, ["mean", "skill"]], names=["error", None])
    wide = wide.swaplevel(axis=1).fillna("").reindex(columns=columns, fill_value="")
    return wide.rename(columns={name: QUANTITIES[name].heading for name in errors}, level="error")


def _format_interval(row: tuple[float, float, float], decimals: int) -> str:
    return str(Estimate(*row, decimals=decimals)).replace(" (nan to nan)", "")
