"""Select the flights of a city pair from an index, and find those that are incomplete."""

import difflib

import pandas as pd

from trajlib.geodesy import distance, find_airport, locate_airport

FARTHEST_END = 30.0  # NM from its airport within which a complete flight begins or ends


def find_pair(index: pd.DataFrame, origin: str, destination: str) -> tuple[str, str]:
    """Return the codes that an index uses for two airports, given by ICAO or IATA codes.

    Raises
    ------
    ValueError
        When both codes are of the same airport.

    >>> find_pair(pd.DataFrame({"origin": ["SFO"], "destination": ["LAX"]}), "ksfo", "KLAX")
    ('SFO', 'LAX')
    """
    codes = pd.unique(index[["origin", "destination"]].to_numpy().ravel())
    names: dict = {}
    for code in codes[pd.notna(codes)]:
        names.setdefault(locate_airport(code), code)
    pair = [code.strip().upper() for code in (origin, destination)]
    pair = [code if code in codes else names.get(locate_airport(code), code) for code in pair]
    if locate_airport(pair[0]) == locate_airport(pair[1]):
        raise ValueError(
            f"{origin} → {destination}: a city pair needs two airports; a flight back to where it "
            "began is a flight, but of no pair"
        )
    return pair[0], pair[1]


def select_flights(
    index: pd.DataFrame, origin: str, destination: str, *, incomplete: bool = False
) -> pd.DataFrame:
    """Return the usable rows of one city pair, in the order of ``path``.

    Parameters
    ----------
    index
        As returned by `build_index`.
    origin, destination
        Airports by ICAO or IATA code.
    incomplete
        Keep flights that begin or end far from these airports, so that their departure or arrival
        is missing.

    Raises
    ------
    ValueError
        When the archive holds no usable flight of the pair; the nearest pairs are named.
    """
    usable = index[index["rejected"].isna()]
    pair = find_pair(usable, origin, destination)
    rows = _of_pair(usable, pair)
    if rows.empty:
        unusable = _of_pair(index, find_pair(index, origin, destination))
        if len(unusable):
            reason = unusable["rejected"].mode()[0]
            fragment = unusable.loc[unusable["rejected"] == reason, "fragment"].all()
            hint = "; --max-gap and --max-reach of the import decide" if fragment else ""
            raise ValueError(
                f"no usable flight {origin} → {destination}: {len(unusable):,} are rejected, most "
                f"of them as {reason}{hint}"
            )
        raise ValueError(
            f"no usable flight {origin} → {destination} among {len(index):,} files; "
            f"the nearest pairs there are: {', '.join(_nearest_pairs(usable, *pair))}"
        )
    for code in pair:
        find_airport(code)  # raises an error if its position is unknown
    if "incomplete" in rows and not incomplete:
        complete = rows[rows["incomplete"].isna()]
        if complete.empty:
            raise ValueError(
                f"all {len(rows)} flights {origin} → {destination} begin or end more than "
                f"{FARTHEST_END:.0f} NM from their airports, such as {rows['path'].iloc[0]}: "
                f"{rows['incomplete'].iloc[0]}"
            )
        rows = complete
    return rows.sort_values("path", ignore_index=True)


def count_incomplete(index: pd.DataFrame, origin: str, destination: str) -> int:
    """Return the number of usable flights of a pair that begin or end far from its airports."""
    rows = index[index["rejected"].isna() & index["incomplete"].notna()]
    return len(_of_pair(rows, find_pair(index, origin, destination)))


def _of_pair(index: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return index[(index["origin"] == pair[0]) & (index["destination"] == pair[1])]


def _nearest_pairs(index: pd.DataFrame, origin: str, destination: str) -> list[str]:
    counts = index.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    names = {f"{o} → {d}": f"{o} → {d} ({n})" for (o, d), n in counts.items()}
    close = difflib.get_close_matches(f"{origin} → {destination}", names, n=3, cutoff=0.3)
    return [names[name] for name in close or list(names)[:3]] or ["none"]


def unify_airports(index: pd.DataFrame) -> pd.DataFrame:
    """Return an index in which each airport has one code, its most frequent one in the archive."""
    codes = pd.concat([index["origin"], index["destination"]]).dropna()
    counts = codes.groupby(codes).size().sort_values(ascending=False, kind="stable")
    names: dict = {}
    chosen = {code: names.setdefault(locate_airport(code), code.upper()) for code in counts.index}
    ends = {name: index[name].map(chosen).astype("str") for name in ("origin", "destination")}
    return index.assign(**ends)


def describe_ends(index: pd.DataFrame) -> pd.Series:
    """Return a text on how far from its airports a flight begins or ends, null if near them."""
    text = pd.Series(None, index.index, dtype="str")
    for name, end, verb in (("destination", "last", "ends"), ("origin", "first", "begins")):
        miles = _distance_from(index, name, end)
        distances = miles.map(" {:,.0f} NM from ".format).astype("str")
        description = verb + distances + index[name].fillna("")
        text = text.mask(miles > FARTHEST_END, description)
    return text


def _distance_from(index: pd.DataFrame, airport: str, end: str) -> pd.Series:
    """Return the distance [NM] of first or last positions from an airport, NaN if not known."""
    positions = {code: locate_airport(code) for code in index[airport].dropna().unique()}
    positions = {code: value for code, value in positions.items() if isinstance(value, tuple)}
    lat = index[airport].map({code: value[0] for code, value in positions.items()}).astype(float)
    lon = index[airport].map({code: value[1] for code, value in positions.items()}).astype(float)
    flown = index[f"latitude_{end}"], index[f"longitude_{end}"]
    return pd.Series(distance(lat, lon, *flown), index.index)
