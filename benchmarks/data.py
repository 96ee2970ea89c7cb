"""Make the archive of a scale: flight CSVs, and hard links to them for each scale."""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from trajlib.geodesy import distance, find_airport
from trajlib.schema import COLUMNS, NUMERIC

SCALES = {"small": 200, "medium": 2_000}
SHORT = 10_000  # flights of one minute, to measure the fixed cost of a flight
SAMPLES = 4_800
PAIRS = [("LEMD", "LEBL"), ("LEBL", "LEMD"), ("LEMD", "LEPA"), ("LEPA", "LEBL"), ("LEMD", "GCLP")]
# typical values in cruise, so that numbers have realistic digits
CRUISE = {"geoaltitude": 35e3, "distance": 280}
CRUISE |= {"mass": 64e3, "thrust": 42e3, "drag": 41e3, "lift": 620e3, "pressure": 26e3}
CRUISE |= {"dynamic_pressure": 9e3, "temperature": 221, "density": 0.4, "mach": 0.78}
CRUISE |= {"fuel_flow": 0.7}

DIGITS = {name: COLUMNS[name].decimals + 4 for name in NUMERIC}  # 460 bytes per line


def make_flight(seed: int, folder: Path) -> None:
    """Write one flight of 36 numeric and 5 text columns, about 2.2 MiB, unless it exists."""
    path = folder / f"{seed:05}.csv"
    if path.exists():
        return
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.1, 1, SAMPLES)
    noise = {name: rng.normal(0, 0.02, SAMPLES).cumsum() / 10 for name in NUMERIC}
    columns = {}
    for name in NUMERIC:
        size = CRUISE.get(name, 300 if COLUMNS[name].decimals < 3 else 3)
        columns[name] = size * (ramp + noise[name])
    # straight from airport to airport, since impossible samples are rejected
    origin, destination = PAIRS[seed % len(PAIRS)]
    start, end = find_airport(origin), find_airport(destination)
    seconds = np.arange(SAMPLES)
    share = seconds / SAMPLES
    for name in ("latitude", "longitude"):
        first, last = getattr(start, name), getattr(end, name)
        columns[name] = first + (last - first) * share + noise[name] / 100
    miles = distance(start.latitude, start.longitude, end.latitude, end.longitude)
    columns["groundspeed"] = 3600 * miles / SAMPLES + noise["groundspeed"]
    level = np.minimum(np.minimum(seconds, seconds[::-1]) / 1_200, 1)
    columns["altitude"] = 34_000 * level + 10 * noise["altitude"]
    columns["vertical_rate"] = 60 * np.gradient(34_000 * level) + noise["vertical_rate"]
    columns["duration"] = np.arange(SAMPLES, dtype=float)
    take_off = pd.Timestamp("2016-01-01", tz="UTC")
    take_off += pd.Timedelta(minutes=int(rng.integers(200_000)))
    texts = dict(callsign=f"IBE{seed % 9999:04}", operator="IBE", aircraft_type="A320")
    df = pd.DataFrame({"timestamp": pd.date_range(take_off, periods=SAMPLES, freq="s"), **columns})
    df = df.assign(**texts, origin=origin, destination=destination)
    df["timestamp"] = df["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table = pa.Table.from_pandas(df.round(DIGITS), preserve_index=False)
    part = path.with_suffix(".part")
    csv.write_csv(table, part, csv.WriteOptions(quoting_style="none"))
    part.rename(path)


def make_archive(scale: str, root: Path) -> Path:
    """Return the archive of a scale below ``root``, making it if it is missing."""
    if scale == "short":
        return make_short(make_archive("small", root), root / "short")
    flights, archive = root / "distinct", root / scale
    flights.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        numbers = range(SCALES[scale])
        list(pool.map(partial(make_flight, folder=flights), numbers, chunksize=20))
    for number in numbers:
        origin, destination = PAIRS[number % len(PAIRS)]
        link = archive / f"{origin}-{destination}" / f"{number:05}.csv"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            os.link(flights / f"{number:05}.csv", link)
    return archive


def make_short(archive: Path, folder: Path) -> Path:
    """Cut the flights of an archive into files of one minute."""
    paths = sorted(archive.glob("*/*.csv"))
    for number, path in enumerate(paths):
        subfolder = folder / f"{number:05}"
        if subfolder.exists():
            continue
        part = folder / f"{number:05}.part"
        part.mkdir(parents=True, exist_ok=True)
        # without the airports, which are far from most of these minutes
        lines = [line.rsplit(",", 2)[0] + "\n" for line in path.read_text().splitlines()]
        header, *lines = lines
        for minute in range(SHORT // len(paths)):
            text = "".join([header, *lines[60 * minute : 60 * minute + 60]])
            (part / f"{minute:02}.csv").write_text(text)
        part.rename(subfolder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", choices=[*SCALES, "short"])
    parser.add_argument("root", type=Path)
    options = parser.parse_args()
    print(make_archive(options.scale, options.root))
