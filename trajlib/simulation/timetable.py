"""The timetable of simulated archives: pairs, airlines, callsigns, aircraft and times."""

import numpy as np
import pandas as pd

FIRST_DAY = pd.Timestamp("2016-01-01", tz="UTC")
DAYS = 152  # January to May
# Share of flights of each city pair; the first also gets the remainder of rounding.
PAIRS = {
    ("LEMD", "LEBL"): 0.82,
    ("LEBL", "LEMD"): 0.06,
    ("LEMD", "LEPA"): 0.04,
    ("LEBL", "LEPA"): 0.03,
    ("LEMD", "LEMG"): 0.03,
    ("LEMD", "GCLP"): 0.02,
}
# Share of slots, prefix of registrations, and shares of aircraft types, of each airline.
OPERATORS = {
    "IBE": (0.45, "EC", {"A319": 0.3, "A320": 0.4, "A321": 0.3}),
    "VLG": (0.27, "EC", {"A319": 0.1, "A320": 0.9}),
    "AEA": (0.18, "EC", {"B738": 0.7, "E190": 0.3}),
    "RYR": (0.10, "EI", {"B738": 1.0}),
}
FLEET = 12  # aircraft of each operator and type


def draw_timetable(flights: int, seed: int) -> pd.DataFrame:
    """Return the identity and the scheduled take-off of simulated flights, one row each.

    Every city pair has daily slots, each with an airline, a callsign and a time of day; flights
    are spread over the days and take slots at random.

    >>> int((draw_timetable(60, seed=1)["destination"] == "LEBL").sum())
    52
    """
    rng = np.random.default_rng([seed, 0])
    counts = {pair: int(share * flights) for pair, share in PAIRS.items()}
    counts[next(iter(PAIRS))] += flights - sum(counts.values())
    parts = [_draw_pair(rng, pair, count, n) for n, (pair, count) in enumerate(counts.items(), 1)]
    timetable = pd.concat(parts, ignore_index=True)
    types = [OPERATORS[code][2] for code in timetable["operator"]]
    kinds = [str(rng.choice(list(kind), p=list(kind.values()))) for kind in types]
    numbers = rng.integers(FLEET, size=flights)
    tails = list(map(_registration, timetable["operator"], kinds, numbers))
    return timetable.assign(aircraft_type=kinds, registration=tails)


def _draw_pair(rng: np.random.Generator, pair: tuple, count: int, number: int) -> pd.DataFrame:
    days = np.floor((np.arange(count) + rng.random(count)) * DAYS / max(count, 1)).astype(int)
    rank = pd.Series(days, dtype=int).groupby(days).cumcount().to_numpy(int)
    slots = 22 + 2 * (count // DAYS)
    order = rng.permuted(np.tile(np.arange(slots), (DAYS, 1)), axis=1)[days, rank]
    codes = rng.choice(list(OPERATORS), size=slots, p=[share for share, _, _ in OPERATORS.values()])
    minutes = 5 * np.round(12 * (5.5 + 15.5 * (np.arange(slots) + 0.5) / slots))
    times = pd.to_timedelta(days, "D") + pd.to_timedelta(minutes[order], "min")
    return pd.DataFrame(
        {
            "callsign": [f"{codes[slot]}{1000 * number + 2 * slot + 2}" for slot in order],
            "operator": codes[order],
            "origin": pair[0],
            "destination": pair[1],
            "scheduled": FIRST_DAY + times,
        }
    )


def _registration(operator: str, aircraft_type: str, number: int) -> str:
    _, prefix, types = OPERATORS[operator]
    model = 4 * list(OPERATORS).index(operator) + list(types).index(aircraft_type)
    return f"{prefix}-{chr(65 + model)}{chr(65 + number)}{chr(90 - (model + 5 * number) % 26)}"
