"""The common style of all figures: colours, sizes and fonts, for paper and screen."""

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import cycle

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter, StrMethodFormatter

from trajlib.estimate import typeset
from trajlib.labels import display_model

# The first four can be distinguished with all three kinds of colour blindness, and in grey, as they
# differ by 16 steps of lightness. The last two rely on their line styles.
COLORS = ("#14365c", "#a93246", "#34958f", "#e3a63a", "#8a6fb0", "#7fb2e0")
INK, GREY, PALE = "#22272e", "#8b949e", "#e4e8ec"
LAND, SEA = "#f4f2ec", "#dfe7ee"
SEQUENTIAL, DIVERGING = "crest", "vlag"  # of seaborn; light is low, white is zero
WIDTH = 9.0  # in, the width of a report's column at 100 px/in

_LINES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.4, 1.2, 1.4)), (0, (9, 2)), (0, (2, 3)))
_MARKERS = "osD^vX"
_BASE = "seaborn-v0_8-whitegrid"  # of matplotlib; importing seaborn takes 0.2 s
_STYLE = {
    "axes.edgecolor": GREY,
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": mpl.cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 144,  # 1.44 pixels per pixel of a report: sharp, with 30 to 150 kB per figure
    "figure.figsize": (WIDTH, 4.0),
    "figure.labelsize": 9,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.sans-serif": ["DejaVu Sans"],  # included in matplotlib
    "font.size": 9.0,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "patch.edgecolor": "white",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.5,
    "text.color": INK,
    "xtick.bottom": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
}


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function that returns a figure: our style, and an optional ``title``.

    The style applies to this call only. The figure is closed in pyplot, so that a notebook shows it
    once, as the value of its cell.

    >>> @styled
    ... def plot_nothing() -> Figure:
    ...     return plt.figure()
    >>> plot_nothing().get_size_inches().tolist(), plt.get_fignums()
    ([9.0, 4.0], [])
    """

    @wraps(function)
    def draw(*args, title: str | None = None, **kwargs) -> Figure:
        plt.draw_if_interactive()  # loads the backend first, so that its settings remain
        with plt.style.context(["default", _BASE, _STYLE]):  # not the user's settings
            figure = function(*args, **kwargs)
            if title:
                _add_title(figure, typeset(title))
            _group_thousands(figure)
            figure.draw_without_rendering()  # ticks take the style when they are first drawn
            figure.set_layout_engine("none")  # computed, and slow to compute again when it is saved
        plt.close(figure)
        figure.__class__ = _DescribedFigure  # IPython drops formatters of Figure itself
        return figure

    return draw


class _DescribedFigure(Figure):
    """A figure with a description as its text output in a notebook."""

    def __repr__(self) -> str:
        return describe_figure(self)

    def savefig(self, *args, **kwargs) -> None:
        with plt.style.context("default"):  # not the user's settings, such as dots per inch
            super().savefig(*args, **kwargs)


def _add_title(figure: Figure, title: str) -> None:
    lines = "\n".join(textwrap.wrap(title, int(98 * figure.get_figwidth() / WIDTH)))
    if not figure.legends:
        figure.suptitle(lines, x=0.005, ha="left")
        return
    legend = figure.legends[0]  # the layout has no room for both a title and a legend
    look = {"size": mpl.rcParams["figure.titlesize"], "weight": mpl.rcParams["figure.titleweight"]}
    legend.set_title(lines, prop=look)
    legend.set_alignment("left")


def _group_thousands(figure: Figure) -> None:
    """Write altitudes as 30,000, as in texts and tables."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            plain = isinstance(axis.get_major_formatter(), ScalarFormatter)
            if plain and "[ft]" in axis.get_label_text() + ax.get_title() + ax.get_title("left"):
                axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def series_styles(names: Iterable[str], *, markers: bool = False) -> dict[str, dict]:
    """Return colour and line style of each series, optionally with a marker, for ``ax.plot``.

    The same names in the same order have the same styles in every figure; after six they repeat.

    >>> series_styles(["time", "distance"])["distance"]["color"]
    '#a93246'
    """
    looks = zip(names, cycle(COLORS), cycle(_LINES), cycle(_MARKERS), strict=False)
    return {
        name: {"color": color, "linestyle": line} | ({"marker": marker} if markers else {})
        for name, color, line, marker in looks
    }


def add_legend(figure: Figure, *axs: Axes, columns: int = 5) -> float:
    """Add a legend of some of the axes, if they have any, above all axes.

    Equal labels count once. Of at most ``columns`` columns, it has as many as the figure is wide
    enough for; labels too long for one column are wrapped. Its height [in] is returned.
    """
    labelled: dict[str, Artist] = {}
    for ax in axs:
        handles, names = ax.get_legend_handles_labels()
        texts = [typeset(display_model(name)) for name in names]
        labelled |= dict(zip(texts, handles, strict=True))
    handles, labels = list(labelled.values()), list(labelled)
    widest = 0.98 * figure.bbox.width
    for number in range(min(columns, len(labels)), 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper left", ncols=number)
        width = legend.get_tightbbox().width
        if number == 1 and width > widest:
            legend.remove()
            longest = max(map(len, labels))
            labels = [textwrap.fill(text, int(longest * widest / width) - 4) for text in labels]
            legend = figure.legend(handles, labels, loc="outside upper left")
        if number == 1 or width <= widest:
            return legend.get_tightbbox().height / figure.dpi
        legend.remove()
    return 0.0


def show_percent(axs: Iterable[Axes]) -> None:
    """Label the horizontal axes, of fractions, in per cent."""
    for ax in axs:
        ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=None))


def sequential_colormap() -> Colormap:
    """Return the colours of densities and amounts, from light (low) to dark."""
    import seaborn as sns

    return sns.color_palette(SEQUENTIAL, as_cmap=True)


def cluster_colors(numbers: Iterable[int]) -> dict[int, str]:
    """Return a different colour for each cluster, and grey for -1 (no cluster).

    >>> len(set(cluster_colors(range(9)).values())), cluster_colors([-1, 0])
    (10, {-1: '#8b949e', 0: '#14365c'})
    """
    clusters = sorted(number for number in set(numbers) if number >= 0)
    colors: Sequence[str] = COLORS
    if len(clusters) > len(COLORS):
        import seaborn as sns

        colors = sns.husl_palette(len(clusters)).as_hex()
    return {-1: GREY} | dict(zip(clusters, colors, strict=False))


def describe_figure(figure: Figure) -> str:
    """Return a text description of a figure, from its title, panels, axes and legend.

    >>> figure, ax = plt.subplots()
    >>> _ = ax.plot([1, 2], label="mean")
    >>> _ = ax.set(title="Altitude falls", xlabel="time [min]", ylabel="altitude $H_p$ [ft]")
    >>> _ = figure.legend()
    >>> describe_figure(figure)
    'Altitude falls. Vertical: altitude [ft]. Horizontal: time [min]. Drawn: mean.'
    >>> plt.close(figure)
    """
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    panels = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
    drawn = [text.get_text() for legend in legends for text in legend.get_texts()]
    parts = {
        "": [figure.get_suptitle(), *(legend.get_title().get_text() for legend in legends)],
        "Panels: ": panels if len(figure.axes) > 1 else [],
        "Vertical: ": [figure.get_supylabel(), *(ax.get_ylabel() for ax in figure.axes)],
        "Horizontal: ": [figure.get_supxlabel(), *(ax.get_xlabel() for ax in figure.axes)],
        "Drawn: ": drawn,
    }
    if not any(parts[""]):
        parts[""] = panels[:1]
    texts = {name: ", ".join(dict.fromkeys(filter(None, parts[name]))) for name in parts}
    text = " ".join(f"{name}{text}." for name, text in texts.items() if text)
    return re.sub(r"\s*\$[^$]*\$|\n", " ", text).replace("  ", " ")
