"""Display names of quantities, predictors, feature sets and clusters, for pages and figures."""

import re
from dataclasses import dataclass

from trajlib.schema import COLUMNS


@dataclass(frozen=True)
class Quantity:
    """The display of an error: name, unit, and the divisor that converts it to this unit."""

    label: str
    unit: str
    divisor: float = 1.0
    decimals: int = 1

    @property
    def heading(self) -> str:
        """Label and unit, as in ``position [NM]``."""
        return f"{self.label} [{self.unit}]"

    def format(self, value: float) -> str:
        """Return a value in the unit with the decimals, or a dash if it is missing."""
        return "–" if value != value else f"{value:z,.{self.decimals}f}"


QUANTITIES = {
    "horizontal": Quantity("position", "NM"),
    "along": Quantity("along track", "NM"),
    "cross": Quantity("cross track", "NM"),
    "altitude": Quantity("altitude", "ft", decimals=0),
    "time": Quantity("time", "min", 60.0, decimals=2),
    "distance": Quantity("distance flown", "NM"),
    "groundspeed": Quantity("ground speed", "kt"),
    "latitude": Quantity("latitude", "deg", decimals=3),
    "longitude": Quantity("longitude", "deg", decimals=3),
    "duration": Quantity("time", "min", 60.0, decimals=2),
    "top_of_descent_time": Quantity("time of the top of descent", "min", 60.0, decimals=2),
    "top_of_descent_distance": Quantity("distance from the top of descent to the end", "NM"),
}

_NAMES = {
    "hour": "local hour of departure",
    "holiday": "public holiday",
    "wind_u": "wind towards east felt by recent flights",
    "wind_v": "wind towards north felt by recent flights",
    "wind_residual": "scatter of the wind felt by recent flights",
    "recent_departure_east": "eastward heading of recent departures",
    "recent_departure_north": "northward heading of recent departures",
    "recent_landing_east": "eastward heading of recent landings",
    "recent_landing_north": "northward heading of recent landings",
    "top_of_climb_time": "time of the top of climb",
    "top_of_climb_distance": "distance to the top of climb",
    "top_of_descent_time": QUANTITIES["top_of_descent_time"].label,
    "top_of_descent_distance": QUANTITIES["top_of_descent_distance"].label,
    "plan_length": "length of the filed plan",
    "plan_level": "filed flight level",
    "plan_speed": "filed speed",
    "plan_minutes": "filed time en route",
    "energy_rate_climb": "energy rate in climb",
    "energy_rate_descent": "energy rate in descent",
}
_NAMES |= {
    f"plan_cross_{percent}": f"cross-track offset of the filed plan at {percent} % of the route"
    for percent in range(5, 100, 5)
}
_QUANTITIES = {
    "cross": "cross-track offset",
    "duration": "time since the first sample",
    "groundspeed": "ground speed",
}
_STATE = {
    "age": "age of the last point",
    "along": "along-track position",
    "cross": "cross-track offset",
    "to_go": "distance to the destination",
    "progress": "route progress",
    "altitude": "altitude",
    "groundspeed": "ground speed",
    "track_off": "course off the great circle",
    "climb": "climb rate",
    "acceleration": "acceleration",
    "drift": "cross-track drift",
    "distance": "distance flown",
    "groundspeed_mean": "mean ground speed so far",
    "altitude_mean": "mean altitude so far",
    "cross_max": "rightmost cross-track offset so far",
    "cross_min": "leftmost cross-track offset so far",
    "plan_off": "offset from the filed plan",
    "plan_turn": "course off the filed plan's",
}
_STATISTICS = {
    "max": "maximum",
    "min": "minimum",
    "mean": "mean",
    "std": "standard deviation of the",
}
_RECENT = re.compile(r"recent_(?P<name>\w+?)(_(?P<place>\d+))?_((?P<hours>\d+)h|last(?P<last>\d+))")
_CALLSIGN = re.compile(r"callsign_(?P<name>[a-z]+)(_(?P<place>\d+))?")
_AIRBORNE = re.compile(r"(?P<name>\w+)_at_(?P<minutes>\d+)")
_AGGREGATE = re.compile(rf"(?P<column>\w+)_(?P<statistic>{'|'.join(_STATISTICS)})")
_GROUP = re.compile(r"(?P<first>.+), (?P<others>\d+) alike")


def display_quantity(name: str) -> str:
    """Return the display name of a quantity that is predicted; other names are unchanged.

    >>> display_quantity("horizontal"), display_quantity("all of them")
    ('position', 'all of them')
    """
    return QUANTITIES[name].label if name in QUANTITIES else name


def display_name(predictor: str) -> str:
    """Return the display name of a predictor, or of a group of predictors.

    For unknown names, underscores are replaced by spaces.

    >>> display_name("recent_departure_east")
    'eastward heading of recent departures'
    >>> display_name("callsign_altitude_50")
    'altitude at 50 % of the route, earlier flights of the callsign'
    >>> display_name("groundspeed_at_10, 2 alike")
    'ground speed after 10 min, and 2 alike'
    """
    if group := _GROUP.fullmatch(predictor):
        return f"{display_name(group['first'])}, and {group['others']} alike"
    if predictor in _NAMES:
        return _NAMES[predictor]
    if match := _RECENT.fullmatch(predictor):
        return f"{_name_passage(match)}, {_name_window(match)}, adjusted for aircraft type"
    if match := _CALLSIGN.fullmatch(predictor):
        return f"{_name_passage(match)}, earlier flights of the callsign"
    if (match := _AIRBORNE.fullmatch(predictor)) and match["name"] in _STATE:
        return f"{_STATE[match['name']]} after {match['minutes']} min"
    if (match := _AGGREGATE.fullmatch(predictor)) and match["column"] in COLUMNS:
        column = match["column"].replace("_", " ")
        return f"{_STATISTICS[match['statistic']]} {column}"
    return predictor.replace("_", " ")


def display_feature_set(name: str) -> str:
    """Return the display name of a feature set: the time at which it is known.

    >>> [display_feature_set(name) for name in ("planned", "at_takeoff", "airborne_10")]
    ['before departure', 'at take-off', '10 min into the flight']
    >>> display_feature_set("at_takeoff_with_plan")  # a saved model's name
    'at take-off, with the plan'
    """
    if name.endswith("_with_plan"):
        return f"{display_feature_set(name.removesuffix('_with_plan'))}, with the plan"
    if name.startswith("airborne_"):
        return f"{name.removeprefix('airborne_')} min into the flight"
    times = {"planned": "before departure", "at_takeoff": "at take-off"}
    return times.get(name, "after landing")


def shorten_feature_set(name: str) -> str:
    """Return a short name of a feature set, for axes: the minutes since the first sample.

    >>> [shorten_feature_set(name) for name in ("planned", "at_takeoff", "airborne_10")]
    ['before', '0', '10']
    """
    texts = {"planned": "before", "at_takeoff": "0", "whole_flight": "after landing"}
    return texts.get(name, name.removeprefix("airborne_"))


def display_model(name: str) -> str:
    """Return the display name of a model or a baseline.

    >>> display_model("lightgbm"), display_model("operator and type")
    ('LightGBM', 'operator and type')
    """
    return "LightGBM" if name == "lightgbm" else name


def display_cluster(number: float) -> str:
    """Return the display name of a cluster of trajectories; -1 means no cluster.

    >>> display_cluster(0), display_cluster(-1)
    ('cluster 1', 'no cluster')
    """
    return f"cluster {number + 1:.0f}" if number >= 0 else "no cluster"


def _name_passage(match: re.Match) -> str:
    if match["name"] == "arrival":
        return "time of flight"
    quantity = _QUANTITIES.get(match["name"], match["name"].replace("_", " "))
    return f"{quantity} at {match['place']} % of the route" if match["place"] else quantity


def _name_window(match: re.Match) -> str:
    if match["hours"]:
        hours = int(match["hours"])
        return "flights of the last hour" if hours == 1 else f"flights of the last {hours} h"
    count = int(match["last"])
    return "the last flight" if count == 1 else f"the last {count} flights"
