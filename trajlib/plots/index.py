"""Figures of an archive's index."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, styled


@styled
def plot_days(times: pd.Series) -> Figure:
    """Draw the number of flights on each day, of flights that start at local ``times``."""
    days = times.dt.tz_localize(None).dt.floor("D").value_counts().sort_index()
    figure, ax = plt.subplots(figsize=(9, 2.6))
    ax.bar(days.index, days, width=1, color=COLORS[0], linewidth=0)
    ax.set(xlabel="local day", ylabel="flights", ylim=(0, None))
    ax.grid(visible=False, axis="x")
    return figure
