"""Compile all loops of reading and importing flights in advance.

python -m trajlib.importers.compile_loops
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from trajlib.archive.reading import read_flight, write_flight
from trajlib.importers.cleaning import Limits, clean_points
from trajlib.importers.pipeline import import_flights
from trajlib.importers.resampling import leave_one_out
from trajlib.schema import REQUIRED


def compile_loops() -> None:
    """Read, import and clean a flight of a few points."""
    seconds = np.arange(0.0, 1800.0, 60.0)
    points = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(seconds, unit="s", origin="2020-01-01", utc=True),
            "callsign": "XXX1",
            "latitude": 40 + seconds / 1800,
            "longitude": 3.0,
            "altitude": 10_000.0,
            "groundspeed": 120.0,
        }
    )
    with TemporaryDirectory() as folder:
        points.to_parquet(Path(folder) / "points.parquet")
        import_flights(Path(folder) / "points.parquet", Path(folder) / "archive")
        # after a gap of some minutes all checks are made
        write_flight(points.drop(range(10, 15)), Path(folder) / "flight.csv")
        read_flight(Path(folder) / "flight.csv", REQUIRED)
    clean_points(points.drop(columns="callsign").assign(flight=0), Limits(spacing=30.0))
    leave_one_out(seconds, points[["latitude", "longitude", "altitude"]].to_numpy(float).T.copy())


if __name__ == "__main__":
    compile_loops()
