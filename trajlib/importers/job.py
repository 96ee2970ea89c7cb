"""The settings of an import, used by all its steps."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trajlib.importers.cleaning import Limits
from trajlib.importers.formats.base import Options

SIDES = ("origin", "destination")


@dataclass(frozen=True)
class Criteria:
    """Criteria of a trajectory; a flight that fails one of the first three is a fragment.

    Attributes
    ----------
    points
        Lowest number of points after cleaning.
    gap
        Longest time between two points [s].
    reach
        Greatest distance [km] from the airports to the first and the last point.
    repaired
        Highest share of points whose position or altitude was removed; above it, the flight is
        rejected.
    speed, rate
        Highest speed [kt] and rate of climb or descent [ft/min]; faster changes are repaired.
    """

    points: int = 20
    gap: float = 420.0
    reach: float = 15.0
    repaired: float = 0.25
    speed: float = 1000.0
    rate: float = 6000.0


@dataclass(frozen=True)
class Job:
    """Settings of one import, used by all its steps."""

    root: Path  # folder of the source
    options: Options
    work: Path
    archive: Path
    buckets: int
    criteria: Criteria
    limits: Limits
    measured_only: bool
    strict: bool
    pair: dict[str, str]  # the airports given, by side


def is_wanted(job: Job, flights: pd.DataFrame) -> pd.Series:
    """Return which flights are of the pair that the import is limited to, if it is."""
    wanted = pd.Series(True, flights.index)
    for side, code in job.pair.items():
        wanted &= flights[side].eq(code)
    return wanted
