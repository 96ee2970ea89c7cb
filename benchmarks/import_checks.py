"""Hide the flights and airports that a source gives, and check whether an import recovers them.

python benchmarks/import_checks.py FOLDER    # with points.parquet and flights.parquet
"""

import sys
from pathlib import Path

import airportsdata
import numpy as np
import pandas as pd

from trajlib.geodesy import distance
from trajlib.importers.airports import infer_airports, measure_ends
from trajlib.importers.cleaning import Limits, clean_points
from trajlib.importers.job import Criteria
from trajlib.importers.segmentation import segment_flights, split_tracks

SIDES = ("origin", "destination")
MINUTE = pd.Timedelta("1min")


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    flights = pd.read_parquet(folder / "flights.parquet").set_index("flight_id").sort_index()
    points = pd.read_parquet(folder / "points.parquet")
    numbers = {name: "float64" for name in ("altitude", "groundspeed")}
    points = points.astype(numbers).sort_values(["flight_id", "timestamp"], kind="stable")
    speed = points["groundspeed"]
    return points.assign(groundspeed=speed.where(speed > 0)).reset_index(drop=True), flights


def check_segmentation(points: pd.DataFrame, flights: pd.DataFrame) -> None:
    """Merge the flights into one stream per registration, or callsign, and segment it again."""
    key = flights["registration"].fillna(flights["callsign"])
    points = points.assign(
        aircraft=points["flight_id"].map(pd.Series(pd.factorize(key)[0], key.index)),
        callsign=points["flight_id"].map(flights["callsign"]),
    )
    points = points.sort_values(["aircraft", "timestamp"], kind="stable", ignore_index=True)
    seconds = points["timestamp"].astype("int64").to_numpy() / 1000
    position = points["latitude"].to_numpy(), points["longitude"].to_numpy()
    track = split_tracks(points["aircraft"].to_numpy(), seconds, *position, 1000.0, 30.0)
    named = points["flight_id"].map(flights["registration"].notna()).to_numpy()
    track[named] = 0
    order = np.lexsort((track, points["aircraft"]))
    streams = np.column_stack([points["aircraft"], track])[order]
    points = points.iloc[order].reset_index(drop=True)
    points["aircraft"] = np.unique(streams, axis=0, return_inverse=True)[1]
    points["flight"] = segment_flights(points)
    points = points[points["flight"] >= 0]
    ends = points.groupby("flight_id")["timestamp"].agg(["min", "max"])
    cut = points.groupby("flight")["timestamp"].agg(["min", "max"])
    number = points.groupby("flight_id")["flight"].agg(lambda numbers: numbers.mode().iloc[0])
    miss = (ends - cut.loc[number].set_axis(number.index)).abs()
    recovered = (miss <= MINUTE).all(axis=1).sum()
    print(f"recovered with both ends within a minute: {recovered / len(flights):.2%}")


def check_airports(points: pd.DataFrame, flights: pd.DataFrame) -> None:
    """Infer the airports from the points alone; complete flights fulfil the default criteria."""
    points["flight"] = points["flight_id"].map(pd.Series(range(len(flights)), flights.index))
    points = points.sort_values(["flight", "timestamp"], kind="stable", ignore_index=True)
    cleaned, _ = clean_points(points, Limits(spacing=30.0, tolerance=2.0))
    ends = {side: measure_ends(cleaned, side) for side in SIDES}
    first = [infer_airports(ends[side], side) for side in SIDES]
    certain = pd.concat([table.loc[table["certain"], "airport"] for table in first])
    traffic = certain.value_counts()
    airports = airportsdata.load("IATA")
    by_flight = cleaned.groupby("flight")
    gap = by_flight["timestamp"].diff().dt.total_seconds().groupby(cleaned["flight"]).max()
    criteria = Criteria()
    complete = (by_flight["altitude"].count() >= criteria.points) & (gap <= criteria.gap)
    for side in SIDES:
        codes = flights[side].to_numpy()[ends[side].index]
        positions = np.array([(airports[code]["lat"], airports[code]["lon"]) for code in codes]).T
        kilometres = distance(ends[side]["latitude"], ends[side]["longitude"], *positions) * 1.852
        complete &= kilometres <= criteria.reach
    for side in SIDES:
        inferred = infer_airports(ends[side], side, traffic)["airport"][complete]
        codes = flights[side].to_numpy()[inferred.index]
        right = inferred == np.array([airports[code]["icao"] for code in codes])
        answered = inferred.notna()
        print(
            f"{side} of {len(inferred):,} complete flights: {right.mean():.2%} right, "
            f"{(answered & ~right).sum() / answered.sum():.2%} of the answers wrong"
        )


if __name__ == "__main__":
    points, flights = read(Path(sys.argv[1]))
    check_segmentation(points, flights)
    check_airports(points, flights)
