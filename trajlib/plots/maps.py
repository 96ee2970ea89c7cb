"""Flights and city pairs on the map."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from pyproj import Geod

from trajlib.estimate import count
from trajlib.geodesy import Airport, find_airport, unwrap_longitude
from trajlib.plots.basemap import Bounds, read_borders, read_land
from trajlib.plots.flights import draw_tracks, split_flights
from trajlib.plots.style import (
    COLORS,
    GREY,
    INK,
    LAND,
    PALE,
    SEA,
    WIDTH,
    add_legend,
    cluster_colors,
    sequential_colormap,
    styled,
)
from trajlib.schema import label

if TYPE_CHECKING:
    import xarray as xr

_GEOD = Geod(ellps="WGS84")
_NAME_SIZE = 55, 22  # px, of an airport's code
_TITLE = 0.35  # in, height of a line above the legend, with its margins
_LABEL = 0.15  # in, further room below a narrow map that is higher than wide
_BESIDE = 6.0  # in, width of a map below which the legend is beside it


@styled
def plot_routes(
    trajectories: "xr.Dataset | pd.DataFrame",
    *,
    mean: "xr.Dataset | None" = None,
    airports: Sequence[str] = (),
) -> Figure:
    """Draw the tracks of one flight, ten, or all, over land and borders.

    Up to six flights have different colours; of more than 200 the density is drawn.

    Parameters
    ----------
    trajectories
        ``latitude`` and ``longitude`` [deg] over (path, fraction), or a DataFrame of samples
        with a level ``path`` in its index; without one it is a single flight.
    mean
        Mean trajectory over (fraction), drawn on top.
    airports
        ICAO or IATA codes to mark.
    """
    tracks = split_flights(trajectories, "longitude", "latitude")
    # continuous across the antimeridian, around the origin as the normalised flights are
    centre = find_airport(airports[0]).longitude if airports else next(iter(tracks.values()))[0, 0]
    tracks = {path: _unwrap_line(line, centre) for path, line in tracks.items()}
    bounds = bounds_around(np.concatenate([*tracks.values(), airport_positions(airports, centre)]))
    figure, ax = plt.subplots(figsize=map_size(bounds))
    draw_map(ax, bounds)
    draw_tracks(ax, tracks)
    if mean is not None:
        ax.plot(mean["longitude"], mean["latitude"], color=COLORS[1], lw=2, label="mean")
        ax.legend(loc="best")
    mark_airports(ax, airports)
    return figure


@styled
def plot_tracks(
    tracks: Mapping[str, np.ndarray],
    airports: Sequence[str],
    *,
    clusters: pd.Series | None,
    names: Mapping[int, str],
    plans: Sequence[np.ndarray],
    width: float = WIDTH,
) -> Figure:
    """Draw the tracks of many flights over land, in the colours of their route clusters.

    Parameters
    ----------
    tracks, plans
        Tracks by path, and filed routes: arrays (n, 2) of longitude and latitude [deg].
    airports
        Codes of origin and destination.
    clusters
        Number of the cluster by path; -1 and missing flights are grey.
    names
        Names of the clusters, for the legend; clusters without a name are grey. With names, the
        great circle between the airports is drawn, as the direct line.
    width
        Of the figure [in].
    """
    start, end = map(find_airport, airports)
    centre = start.longitude
    tracks = {path: _unwrap_line(line, centre) for path, line in tracks.items()}
    direct = _great_circle(start, end, centre) if names else airport_positions(airports, centre)
    bounds = bounds_around(np.concatenate([*tracks.values(), direct]))
    columns = 2 if width == WIDTH else 1
    wide, high = map_size(bounds, width)
    beside = columns == 2 and wide < _BESIDE  # the legend has room beside a map of north and south
    figure, ax = plt.subplots(figsize=(width, high))
    draw_map(ax, bounds)
    alpha = float(np.clip(20 / max(len(tracks), 1), 0.08, 0.6))
    colors = cluster_colors(names)
    for path, line in tracks.items():
        color = COLORS[0] if clusters is None else colors.get(clusters.get(path, -1), GREY)
        ax.plot(*line.T, color=color, linewidth=0.9, alpha=alpha, solid_capstyle="round")
    for number, name in names.items():
        ax.plot([], [], color=colors[number], linewidth=2, label=name)
    if names:
        ax.plot(*direct.T, color=INK, linewidth=0.9, linestyle=":", label="direct line")
    for number, plan in enumerate(plans):
        line = _unwrap_line(plan, centre)
        plan_label = None if number else "filed plans"
        ax.plot(*line.T, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=plan_label)
    mark_airports(ax, airports)
    if names or len(plans):
        if beside:
            ax.set_anchor("W")
            ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
        else:
            is_narrow = columns == 1
            ax.set_anchor("N" if is_narrow else "C")
            room = _TITLE + is_narrow * _LABEL
            figure.set_figheight(high + add_legend(figure, ax, columns=columns) + room)
    figure.draw_without_rendering()  # the layout fits a map of fixed shape at the second drawing
    return figure


@styled
def plot_archive(index: pd.DataFrame, *, named: int = 15) -> Figure:
    """Draw an archive's routes as great circles, wider and darker for more flights.

    Unusable files of the ``index`` and unknown airports are not drawn. Of the airports, the
    ``named`` busiest are named.
    """
    routes = _count_routes(index)
    lines = _great_circles(routes)
    bounds = bounds_around(np.concatenate(lines))
    figure, ax = plt.subplots(figsize=map_size(bounds))
    draw_map(ax, bounds)
    flights = routes["flights"].to_numpy()
    drawn = LineCollection(
        lines,
        array=flights,
        cmap=sequential_colormap(),
        norm=LogNorm(1, max(flights.max(), 10)),
        linewidths=0.6 + 4 * np.sqrt(flights / flights.max()),
        capstyle="round",
    )
    ax.add_collection(drawn)
    figure.colorbar(
        drawn, ax=ax, label="flights, both directions", format="{x:,.0f}", pad=0.01, shrink=0.8
    )
    _name_busiest(ax, routes, lines, named)
    ax.set_title(f"{count(flights.sum(), 'flight')} on {count(len(routes), 'route')}")
    return figure


@styled
def plot_pair_matrix(index: pd.DataFrame, *, named: int = 15) -> Figure:
    """Draw the number of flights from each origin (rows) to each destination (columns).

    Unusable files of the ``index`` are omitted. The ``named`` busiest airports have a row and a
    column; the others share ``other``.
    """
    import seaborn as sns

    counts = _count_pairs(index, named)
    side = min(WIDTH, 2.5 + 0.4 * len(counts))
    figure, ax = plt.subplots(figsize=(side, 0.8 * side))
    sns.heatmap(
        counts,
        mask=counts == 0,
        annot=counts.map("{:,}".format),
        annot_kws={"fontsize": 7},
        fmt="",
        cmap=sequential_colormap(),
        norm=LogNorm(1, max(counts.to_numpy().max(), 10)),
        linewidths=0.6,
        cbar_kws={"label": "flights", "format": "{x:,.0f}", "shrink": 0.7},
        ax=ax,
    )
    ax.grid(False)
    ax.set_facecolor(PALE)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="destination", ylabel="origin")
    return figure


def draw_map(ax: Axes, bounds: Bounds) -> None:
    """Draw land and borders on axes of longitude and latitude, true to shape at mid-latitude.

    >>> figure, ax = plt.subplots()
    >>> draw_map(ax, (-4, 40, -3, 41))
    >>> float(round(ax.get_aspect() * np.cos(np.radians(40.5)), 6))
    1.0
    >>> plt.close(figure)
    """
    west, south, east, north = bounds
    ax.set_facecolor(SEA)
    for rings in read_land(bounds):
        shore = Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))
        ax.add_patch(PathPatch(shore, facecolor=LAND, edgecolor="none", zorder=0))
    borders = read_borders(bounds)
    ax.add_collection(LineCollection(borders, colors=GREY, linewidths=0.5, alpha=0.6, zorder=0.5))
    ax.set_aspect(1 / np.cos(np.radians((south + north) / 2)))
    ax.grid(False)
    ax.set(xlim=(west, east), ylim=(south, north))
    if west < -180 or east > 180:
        ax.xaxis.set_major_formatter(lambda lon, _: f"{(lon + 180) % 360 - 180:g}")
    ax.set(xlabel=label("longitude"), ylabel=label("latitude"))


def bounds_around(points: np.ndarray) -> Bounds:
    """Return bounds [deg] around points (n, 2) of longitude and latitude.

    No side is below 0.2°, and the map is at least half as wide as high.

    >>> bounds_around(np.array([(0, 40), (50, 45)]))
    (-3.0, 37.0, 53.0, 48.0)
    """
    west, south = np.nanmin(points, axis=0)
    east, north = np.nanmax(points, axis=0)
    pad = max(0.06 * max(east - west, north - south), 0.1)
    south, north = max(south - pad, -90.0), min(north + pad, 90.0)
    narrowest = (north - south) / 2 / max(np.cos(np.radians((south + north) / 2)), 0.1)
    side = max(pad, (narrowest - (east - west)) / 2)
    return float(west - side), float(south), float(east + side), float(north)


def airport_positions(codes: Sequence[str], centre: float) -> np.ndarray:
    """Return airports' longitude, within 180° of a longitude [deg], and latitude, (n, 2)."""
    airports = [find_airport(code) for code in codes]
    line = np.array([(airport.longitude, airport.latitude) for airport in airports])
    return _unwrap_line(line.reshape(-1, 2), centre)


def _unwrap_line(line: np.ndarray, centre: float) -> np.ndarray:
    """Return a line (n, 2) of longitude and latitude within 180° of a longitude [deg]."""
    return np.column_stack([unwrap_longitude(line[:, 0], centre), line[:, 1]])


def map_size(bounds: Bounds, width: float = WIDTH) -> tuple[float, float]:
    """Return a figure's size [in] near the map's own shape, at most as wide as given."""
    west, south, east, north = bounds
    shape = (north - south) / ((east - west) * np.cos(np.radians((south + north) / 2)))
    beside = 1.6 * width / WIDTH
    height = float(np.clip((width - beside) * shape + 0.6, width / 3, 6.2))
    return float(np.clip((height - 0.6) / shape + beside, min(4.0, width), width)), height


def mark_airports(ax: Axes, codes: Sequence[str]) -> None:
    """Mark airports of a route on a map, with their names above or below the route."""
    positions = airport_positions(codes, np.mean(ax.get_xlim()))
    for code, (lon, lat) in zip(codes, positions, strict=True):
        below = len(codes) > 1 and lat == positions[:, 1].min()
        _mark_airport(ax, code, lon, lat, up=-12 if below else 5)


def _mark_airport(ax: Axes, code: str, lon: float, lat: float, up: float = 5) -> None:
    ax.plot(lon, lat, "o", color="white", mec=INK, mew=1.2, ms=5, zorder=5)
    text = ax.annotate(code, (lon, lat), xytext=(5, up), textcoords="offset points", zorder=6)
    text.set(fontsize=8, path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.8)])


def _count_pairs(index: pd.DataFrame, named: int) -> pd.DataFrame:
    """Return flights by origin (rows) and destination (columns), busiest airports first."""
    ends = _usable_ends(index)
    order = list(ends.melt()["value"].value_counts().index)
    if len(order) > named + 1:
        order = [*order[:named], "other"]
        ends = ends.where(ends.isin(order), "other")
    counts = pd.crosstab(ends["origin"], ends["destination"])
    counts = counts.reindex(index=order, columns=order, fill_value=0)
    names = {code: code.replace("$", r"\$") for code in order}  # not a formula
    return counts.rename(index=names, columns=names)


def _count_routes(index: pd.DataFrame) -> pd.DataFrame:
    """Return airports and number of flights of each route, in ascending order of the number.

    Both directions count together.
    """
    ends = _usable_ends(index)
    located = [code for code in pd.unique(ends.to_numpy().ravel()) if _is_located(code)]
    ends = ends[ends.isin(located).all(axis=1) & (ends["origin"] != ends["destination"])]
    if ends.empty:
        raise ValueError(f"no flight between two known airports in {len(index)} files")
    sides = pd.DataFrame(np.sort(ends.to_numpy(dtype=str), axis=1), columns=["one", "other"])
    return sides.value_counts(ascending=True).rename("flights").reset_index()


def _usable_ends(index: pd.DataFrame) -> pd.DataFrame:
    ends = index.loc[index["rejected"].isna(), ["origin", "destination"]].dropna()
    if ends.empty:
        raise ValueError(f"no usable flight from one airport to another in {len(index)} files")
    return ends


def _is_located(code: str) -> bool:
    try:
        find_airport(code)
    except ValueError:
        return False
    return True


def _great_circles(routes: pd.DataFrame) -> list[np.ndarray]:
    """Return each route as a line (n, 2) of longitude and latitude, around their centre."""
    ends = routes[["one", "other"]].map(find_airport).to_numpy()
    lon = np.array([end.longitude for end in ends.ravel()])
    centre = np.degrees(np.angle(np.exp(1j * np.radians(lon)).mean()))
    return [_great_circle(one, other, centre) for one, other in ends]


def _great_circle(one: Airport, other: Airport, centre: float) -> np.ndarray:
    positions = one.longitude, one.latitude, other.longitude, other.latitude
    line = np.array(_GEOD.npts(*positions, 60, initial_idx=0, terminus_idx=0))
    line[0, 0] = unwrap_longitude(line[0, 0], centre)
    line[:, 0] = np.unwrap(line[:, 0], period=360)
    return line


def _name_busiest(ax: Axes, routes: pd.DataFrame, lines: list[np.ndarray], named: int) -> None:
    """Mark all airports, and name the busiest."""
    ends = pd.concat([routes.set_index(side)["flights"] for side in ("one", "other")])
    busiest = ends.groupby(level=0).sum().nlargest(named).index
    positions = {code: line[0] for code, line in zip(routes["one"], lines, strict=True)}
    positions |= {code: line[-1] for code, line in zip(routes["other"], lines, strict=True)}
    dots = np.array(list(positions.values()))
    ax.plot(*dots.T, "o", color="white", mec=INK, mew=0.7, ms=2.8, zorder=3)
    ax.figure.draw_without_rendering()  # fixes the layout, so that positions are final
    taken = np.empty((0, 2))
    for code in busiest:  # names that would overlap that of a busier airport are omitted
        pixel = ax.transData.transform(positions[code])
        if not (np.abs(taken - pixel) < _NAME_SIZE).all(axis=1).any():
            _mark_airport(ax, code, *positions[code])
            taken = np.vstack([taken, pixel])
