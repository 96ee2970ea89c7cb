"""Generate state vectors of many aircraft in the form of the OpenSky Network, an hour in a file.

    python benchmarks/state_vectors.py FOLDER --gigabytes 10 [--seed 0]

Flights connect random airports of Europe at 1 s along a great circle, with climb, cruise and
descent, noise, missing rows and late positions. Each aircraft flies one leg after the other, also
across the files. FLIGHTS.csv beside the folder has the true ends of each flight.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from pyproj import Geod

from trajlib.geodesy import find_airport

GEOD = Geod(ellps="WGS84")
AIRPORTS = [
    *("EGLL", "LFPG", "EHAM", "EDDF", "LEMD", "LEBL", "EDDM", "LIRF", "EGKK", "EKCH"),
    *("LSZH", "ENGM", "LOWW", "ESSA", "EIDW", "LPPT", "EBBR", "LEPA", "EGCC", "LIMC"),
    *("EDDL", "EDDB", "LGAV", "LFPO", "EFHK", "EPWA", "LKPR", "LHBP", "LROP", "LEMG"),
]
ROW_BYTES = 118  # mean size of a row
DAY = 86_400  # s
START = pd.Timestamp("2022-06-27", tz="UTC").value // 10**9


def plan_flights(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the flights of a day: aircraft, callsign, airports, and the times of both ends [s]."""
    rows, aircraft = [], 0
    while len(rows) < count:
        time, place = int(rng.integers(0, DAY // 2)), rng.integers(len(AIRPORTS))
        while True:
            target = (place + rng.integers(1, len(AIRPORTS))) % len(AIRPORTS)
            ends = [find_airport(AIRPORTS[k]) for k in (place, target)]
            metres = GEOD.inv(
                ends[0].longitude, ends[0].latitude, ends[1].longitude, ends[1].latitude
            )[2]
            duration = int(metres / 220 + 600)
            if time + duration >= DAY:
                break
            name = f"TST{len(rows) % 9000 + 100}"
            rows.append(
                (f"{aircraft + 0x400000:06x}", name, *(a.code for a in ends), time, time + duration)
            )
            time, place = time + duration + int(rng.integers(2_400, 7_200)), target
        aircraft += 1
    columns = ["icao24", "callsign", "origin", "destination", "takeoff", "landing"]
    return pd.DataFrame(rows[:count], columns=columns)


def fly(flight: pd.Series, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the state vectors of one flight, in the units of OpenSky [deg, m, m/s]."""
    seconds = np.arange(flight["landing"] - flight["takeoff"] + 1)
    ends = [find_airport(flight[name]) for name in ("origin", "destination")]
    azimuth, _, metres = GEOD.inv(
        ends[0].longitude, ends[0].latitude, ends[1].longitude, ends[1].latitude
    )
    to_end = np.minimum(seconds, seconds[::-1])
    speed = 70 + 170 * np.minimum(to_end / 600, 1)  # m/s, in cruise 10 min from both ends
    travelled = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2)])
    scale = metres / travelled[-1]
    last = len(seconds)
    longitude, latitude, back = GEOD.fwd(
        np.full(last, ends[0].longitude),
        np.full(last, ends[0].latitude),
        np.full(last, azimuth),
        travelled * scale,
    )
    cruise = rng.integers(30, 40) * 304.8
    ground = np.interp(seconds, [0, last - 1], [a.elevation * 0.3048 for a in ends])
    altitude = ground + (cruise - ground) * np.minimum(to_end / 1_100, 1)
    climb = np.gradient(altitude)
    onground = (seconds < 3) | (seconds > last - 4)
    keep = rng.random(last) > 0.03
    late = rng.random(last) < 0.02
    return {
        "time": (START + flight["takeoff"] + seconds)[keep],
        "lat": np.round(latitude + rng.normal(0, 2e-5, last), 6)[keep],
        "lon": np.round(longitude + rng.normal(0, 2e-5, last), 6)[keep],
        "velocity": np.round(speed * scale, 2)[keep],
        "heading": np.round((back + 180) % 360, 2)[keep],
        "vertrate": np.round(climb, 2)[keep],
        "onground": onground[keep],
        "baroaltitude": np.round(altitude, 2)[keep],
        "geoaltitude": np.round(altitude + 40, 2)[keep],
        "lastposupdate": np.round(START + flight["takeoff"] + seconds - 0.4 - late, 2)[keep],
    }


def write_hour(flights: pd.DataFrame, hour: int, seed: int, folder: Path) -> None:
    """Write the state vectors of all aircraft within an hour, in the order of time."""
    first, end = hour * 3_600, (hour + 1) * 3_600
    inside = flights[(flights["takeoff"] < end) & (flights["landing"] >= first)]
    parts = []
    for number, flight in inside.iterrows():
        part = pd.DataFrame(fly(flight, np.random.default_rng([seed, number])))
        part = part[part["time"].between(START + first, START + end - 1)]
        parts.append(part.assign(icao24=flight["icao24"], callsign=f"{flight['callsign']:8}"))
    if not parts:
        return
    table = pd.concat(parts).sort_values(["time", "icao24"], ignore_index=True)
    table["onground"] = table["onground"].map({True: "True", False: "False"})
    table["squawk"], table["alert"], table["spi"] = "1000", "False", "False"
    table["lastcontact"] = table["lastposupdate"]
    order = "time icao24 lat lon velocity heading vertrate callsign onground alert spi squawk"
    order += " baroaltitude geoaltitude lastposupdate lastcontact"
    arrow = pa.Table.from_pandas(table[order.split()], preserve_index=False)
    csv.write_csv(arrow, folder / f"states-{hour:02}.csv", csv.WriteOptions(quoting_style="none"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = options.gigabytes * 1e9 / ROW_BYTES
    rng = np.random.default_rng(options.seed)
    flights = plan_flights(round(rows / 6_000), rng)
    flights.to_csv(options.folder.parent / "FLIGHTS.csv", index=False)
    for hour in range(24):
        write_hour(flights, hour, options.seed, options.folder)


if __name__ == "__main__":
    main()
