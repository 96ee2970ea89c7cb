"""Count the flights of an imported archive that each criterion turns into fragments.

python benchmarks/import_criteria.py ARCHIVE
"""

import sys
from pathlib import Path

import pandas as pd

from trajlib.importers.job import Criteria

LOOSER = {
    "min points": ("altitudes", [20, 15, 10, 5]),
    "max gap [s]": ("longest_gap", [420, 600, 900, 1800]),
    "max reach [km]": ("reach", [15, 25, 40, 75]),
}


def read_flights(archive: Path) -> pd.DataFrame:
    tables = [pd.read_parquet(archive / f"{name}.parquet") for name in ("imported", "rejected")]
    flights = pd.concat(tables, ignore_index=True)
    reach = flights[["origin_reach", "destination_reach"]].max(axis=1)
    return flights.assign(reach=reach.fillna(0))


def find_fragments(flights: pd.DataFrame, name: str, limit: float) -> pd.Series:
    column = LOOSER[name][0]
    if name == "min points":
        return ~(flights[column] >= limit)
    return flights[column] > limit


def measure(flights: pd.DataFrame) -> pd.DataFrame:
    """Return how many flights fail each criterion and limit, and how many fail only it."""
    default = Criteria()
    limits = {
        "min points": default.points,
        "max gap [s]": default.gap,
        "max reach [km]": default.reach,
    }
    failed = {name: find_fragments(flights, name, limit) for name, limit in limits.items()}
    rows = []
    for name, (_, limits_to_try) in LOOSER.items():
        others = pd.concat([failed[other] for other in failed if other != name], axis=1).any(axis=1)
        for limit in limits_to_try:
            fails = find_fragments(flights, name, limit)
            complete = ~fails & ~others
            rows.append((name, limit, fails.sum(), (fails & ~others).sum(), complete.sum()))
    names = ["criterion", "limit", "fail it", "fail it alone", "trajectories left"]
    return pd.DataFrame(rows, columns=names).set_index(["criterion", "limit"])


if __name__ == "__main__":
    flights = read_flights(Path(sys.argv[1]))
    print(f"{len(flights):,} flights")
    print(measure(flights).to_string())
