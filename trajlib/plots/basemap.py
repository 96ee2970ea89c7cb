"""Land and borders of the world, clipped to the map (Natural Earth 1:10m)."""

import gzip
import json
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path as FilePath

import numpy as np
from matplotlib.path import Path
from matplotlib.transforms import Bbox

Bounds = tuple[float, float, float, float]  # west, south, east, north [deg]; west < east

_ATLAS = FilePath(__file__).with_name("countries-10m.json.gz")


def read_land(bounds: Bounds, *, steps: int = 2000) -> list[list[np.ndarray]]:
    """Return the land within bounds as polygons, each a list of rings: its outline and its holes.

    Rings are arrays (n, 2) of longitude and latitude [deg]. Longitudes of the bounds may exceed
    ±180 across the antimeridian. Details smaller than the longer side divided by ``steps`` are
    omitted.

    >>> madrid = read_land((-4, 40, -3, 41))
    >>> len(madrid), madrid[0][0].min(axis=0).tolist()
    (1, [-4.0, 40.0])
    """
    polygons = [
        [_clip(ring + turn, bounds, steps) for ring in rings]
        for rings, box in _land()
        for turn in _turns(box, bounds)
    ]
    polygons = [[ring for ring in rings if len(ring) > 2] for rings in polygons]
    return [rings for rings in polygons if rings]


def read_borders(bounds: Bounds, *, steps: int = 2000) -> list[np.ndarray]:
    """Return the borders between countries that touch the bounds, as lines (n, 2) [deg].

    Parameters are as for ``read_land``; lines are thinned but not cut at the bounds.

    >>> len(read_borders((-4, 40, -3, 41)))
    0
    """
    return [
        _thin(line + turn, bounds, steps)
        for line, box in _borders()
        for turn in _turns(box, bounds)
    ]


@cache
def _atlas() -> tuple[dict, list[np.ndarray]]:
    """Return the objects and the arcs of the TopoJSON, the arcs decoded to degrees."""
    text = gzip.decompress(_ATLAS.read_bytes()).decode()
    # The arcs are most of the file, and its last list of this depth. They are only numbers, which
    # numpy reads several times as fast as json.
    start = text.rindex('"arcs":[[[') + len('"arcs":')
    end = text.index("]]]", start) + 3
    atlas = json.loads(text[:start] + "[]" + text[end:])
    scale, translate = atlas["transform"]["scale"], atlas["transform"]["translate"]
    arcs = text[start:end]
    numbers = np.fromstring(arcs.replace("[", "").replace("]", ""), int, sep=",")
    ends = np.cumsum([arc.count("],[") + 1 for arc in arcs.split("]],[[")])
    steps = np.split(numbers.reshape(-1, 2), ends[:-1])
    return atlas["objects"], [np.cumsum(arc, axis=0) * scale + translate for arc in steps]


@cache
def _land() -> list[tuple[list[np.ndarray], np.ndarray]]:
    objects, arcs = _atlas()
    polygons = chain.from_iterable(land["arcs"] for land in objects["land"]["geometries"])
    rings = [[_join(ring, arcs) for ring in polygon] for polygon in polygons]
    return [(polygon, _box(polygon[0])) for polygon in rings]


@cache
def _borders() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the arcs that two countries share, each with its box."""
    objects, arcs = _atlas()
    uses: Counter[int] = Counter()
    for country in objects["countries"]["geometries"]:
        polygons = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        uses.update(
            {arc if arc >= 0 else ~arc for polygon in polygons for r in polygon for arc in r}
        )
    return [(arcs[arc], _box(arcs[arc])) for arc, countries in uses.items() if countries > 1]


def _join(ring: list[int], arcs: list[np.ndarray]) -> np.ndarray:
    """Return a ring of arcs, continuous beyond ±180°; a negative number is a reversed arc."""
    line = np.concatenate([arcs[arc] if arc >= 0 else arcs[~arc][::-1] for arc in ring])
    line[:, 0] = np.unwrap(line[:, 0], period=360)
    if abs(line[-1, 0] - line[0, 0]) > 180:  # around the South Pole
        line = np.concatenate([line, [(line[-1, 0], -90), (line[0, 0], -90)]])
    return line


def _box(line: np.ndarray) -> np.ndarray:
    return np.concatenate([line.min(axis=0), line.max(axis=0)])


def _turns(box: np.ndarray, bounds: Bounds) -> list[tuple[float, float]]:
    """Return the shifts by whole turns of longitude with which a box overlaps the bounds."""
    west, south, east, north = bounds
    if box[1] > north or box[3] < south:
        return []
    return [(x, 0.0) for x in (-360.0, 0.0, 360.0) if box[0] + x <= east and box[2] + x >= west]


def _clip(ring: np.ndarray, bounds: Bounds, steps: int) -> np.ndarray:
    west, south, east, north = bounds
    box = Bbox.from_extents(west, south, east, north)
    return _thin(np.asarray(Path(ring, closed=True).clip_to_bbox(box).vertices), bounds, steps)


def _thin(line: np.ndarray, bounds: Bounds, steps: int) -> np.ndarray:
    """Return a line without points in the same cell as the previous point."""
    west, south, east, north = bounds
    cell = np.round(line / (max(east - west, north - south) / steps))
    return line[np.r_[True, (np.diff(cell, axis=0) != 0).any(axis=1)]] if len(line) else line
