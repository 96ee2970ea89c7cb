"""Find the layout of a CSV: lines before the samples, delimiter, and the field of each column.

A header in the schema's names is recognised directly. Otherwise the layout is derived from the
first lines: column names of other tools, units in a name or in a separate line, comments, the
delimiter, the decimal mark. An ambiguous file is refused, with the question to answer.
"""

import re
from collections.abc import Sequence
from csv import Error as CSVError
from csv import reader
from dataclasses import dataclass, field
from functools import cache, cached_property

from trajlib.archive.dialect import Dialect, find_conversion
from trajlib.schema import COLUMNS, NUMERIC, REQUIRED

UNIT_MARK = "_unit_confirmed"  # ends the name of a column that an import adds
MISSING = (  # texts that stand for no value, in lower case
    *("", "-", "--", "?", "n/a", "na", "#n/a", "#na", "nan", "-nan", "null", "none", "nil"),
    *("\\n", "<na>", "undefined", "unknown", "ground", "gnd", "1.#ind", "-1.#ind", "1.#qnan"),
)
AIRCRAFT = ("icao24", "registration")  # columns that identify an aircraft
# names that other tools use, with the unit where a tool always has another than the schema's, or
# "?" where it may be any, so that only a name with a unit is taken
_ALIASES = {
    "timestamp": "absolute_time time datetime date_time utc time_utc utc_time timestamp_utc "
    "utc_timestamp datetime_utc utc_datetime epoch epoch_time unix unixtime unix_time "
    "unix_timestamp time_position ts snapshot_id time_over event_time gps_time sample_time "
    "pos_time gps_date_time time_stamp",
    "latitude": "lat latitude_wgs84 gps_lat gps_latitude pos_lat position_lat latitude_n_s "
    "plane_latitude:?",
    "longitude": "lon lng long longitude_wgs84 gps_lon gps_longitude pos_lon pos_long position_lon "
    "longitude_e_w plane_longitude:?",
    "altitude": "alt baroaltitude:m baro_altitude:m alt_baro altitude_baro baro_alt barometric_alt "
    "barometric_altitude pressure_altitude pressure_alt std_alt alt_std altitude_std hp "
    "flight_level:FL flightlevel:FL fl:FL mode_c feet:ft p_alt "
    "alt_pressure altitude_pressure reported_altitude mode_c_code measured_flight_level:FL",
    "geoaltitude": "geoaltitude:m geo_altitude:m alt_geom gnss_altitude altitude_gnss alt_gnss "
    "gps_altitude altitude_gps gps_alt geometric_altitude height alt_msl altitude_msl "
    "plane_altitude:ft",
    "groundspeed": "gs ground_speed velocity:m/s speed spd gspeed gndspd gnd_speed speed_gnd sog "
    "speed_over_ground ground_velocity knots:kt kts:kt mph:mph",
    "vertical_rate": "vertrate:m/s vert_rate vertical_speed vert_speed vspeed vspd roc rocd vs "
    "baro_rate climb_rate rate_of_climb verticalrate vsi",
    "track": "trk trak true_track track_angle ground_track track_gnd cog course_over_ground course "
    "direction",
    "heading": "hdg true_heading heading_true",
    "true_airspeed": "tas airspeed_true",
    "calibrated_airspeed": "cas ias indicated_airspeed airspeed_indicated",
    "mach": "mach_number airspeed_mach",
    "temperature": "temp:? oat:? sat:? static_air_temperature:? outside_air_temperature:?",
    "wind_u": "u_component_of_wind:m/s eastward_wind:m/s",
    "wind_v": "v_component_of_wind:m/s northward_wind:m/s",
    "callsign": "ident call flight flight_number flight_no call_sign cs target_id tid "
    "target_identification acid",
    "operator": "airline carrier airline_icao ac_operator operating_as",
    "aircraft_type": "typecode ac_type icao_type aircraft_type_icao type aircraft equip model "
    "flight_plan_aircraft_short aircraft_model_code aircraft_icao aircraft_model",
    "registration": "reg tail tail_number aircraft_reg aircraft_registration ac_registration",
    "origin": "adep departure dep from origin_icao orig_icao departure_airport schd_from "
    "estdepartureairport orig_iata departure_icao dep_icao flight_plan_departure "
    "airport_origin_code_icao",
    "destination": "ades arrival arr to dest destination_icao arrival_airport real_to "
    "dest_icao schd_to estarrivalairport dest_iata arrival_icao arr_icao flight_plan_arrival "
    "airport_destination_code_icao",
    # for the importers: identity, and values split over two columns or two values in one column
    "flight_id": "flightid fid fr24_id flight_key trajectory_id traj_id ectrl_id",
    "icao24": "hex hex_ident icao icao_address icao24_address modes mode_s hexid address "
    "target_address target_addr aircraft_address aircraft_icao24 mode_s_code adshex acad",
    "onground": "on_ground gnd",
    "position_time": "last_position lastposupdate",
    "date": "day utc_date date_utc gps_date sample_date",
    "clock": "utc_clock time_of_day tod seconds_of_day sod",
    "position": "lat_lon latlon lat_long latitude_longitude location latlng",
    "north_south": "n_s ns lat_ns lat_dir lat_direction latitude_direction lat_hemisphere "
    "latitude_hemisphere",
    "east_west": "e_w ew lon_ew lon_dir lon_direction longitude_direction lon_hemisphere "
    "longitude_hemisphere",
}
UNITS = {  # by their usual spellings, in lower case
    **dict.fromkeys(("ft", "feet", "foot", "ftmsl", "ft_msl"), "ft"),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("kt", "kts", "knot", "knots", "kn"), "kt"),
    **dict.fromkeys(("m/s", "mps", "ms", "m_s"), "m/s"),
    **dict.fromkeys(("km/h", "kmh", "kph", "km_h"), "km/h"),
    **dict.fromkeys(("mph", "mi/h"), "mph"),
    **dict.fromkeys(("ft/s", "fps", "feet/s"), "ft/s"),
    **dict.fromkeys(("ft/min", "fpm", "ftmin", "ft_min", "feet/min"), "ft/min"),
    **dict.fromkeys(("deg", "degree", "degrees", "°", "dd"), "deg"),
    **dict.fromkeys(("rad", "radians"), "rad"),
    **dict.fromkeys(("fl", "flightlevel"), "FL"),
    **dict.fromkeys(("100ft", "100 ft", "hft"), "100 ft"),
    **dict.fromkeys(("k", "kelvin"), "K"),
    **dict.fromkeys(("c", "degc", "deg c", "°c", "celsius"), "degC"),
    **{"pa": "Pa", "hpa": "hPa", "mbar": "hPa", "km": "km", "nm": "NM", "nmi": "NM"},
    **{"kg": "kg", "t": "t", "lb": "lb", "lbs": "lb", "s": "s", "sec": "s", "min": "min"},
}
_SPELLINGS = {  # of units, in the order in which they are replaced
    r"kilomet(er|re)s?": "km",
    r"m[eè]t(er|re)s?": "m",
    r"miles?": "mi",
    r" *per *| */ *": "/",
    r"/(seconds?|sec)\b| s[*^]*-1": "/s",
    r"/minutes?\b": "/min",
    r"/(hours?|hr)\b": "/h",
}
_UNIVERSAL = re.compile(r"(^|_)(utc|gmt|zulu)(_|$)")
_TIMES = {*_ALIASES["timestamp"].split()}
_OFFSETS = {"utc_offset", "gmt_offset", "time_offset", "timezone", "time_zone", "tz", "zone"}
_TIME_WORDS = re.compile(r"utc|gmt|iso.?8601|yyy|hh:|^s$|sec|unix|epoch", re.IGNORECASE)
_SAME_NAMES = {name: name for name in (*COLUMNS, *_ALIASES)}
_TOOL_NAMES = {alias for texts in _ALIASES.values() for alias in re.sub(r":\S+", "", texts).split()}
_KNOWN = {*COLUMNS, *_ALIASES, *_TOOL_NAMES}
_MEASURED = {  # names of what is measured at a point, and of its time
    alias.partition(":")[0]
    for name in (*NUMERIC, "timestamp", "date", "clock", "position")
    for alias in (name, *_ALIASES.get(name, "").split())
}
_JOINED = {name.replace("_", ""): name for name in sorted(_KNOWN)}
_HEMISPHERES = {part for n in ("north_south", "east_west") for part in (n, *_ALIASES[n].split())}
# in brackets behind the name of a time, another zone than UTC, as in Time (CET)
_LOCAL = re.compile(r"(?i)[\[(] *(local.*|lt|(?!gmt)[a-z]{2,4}t|(utc|gmt) *[+-] *0*[1-9].*)[\])]")
_ABOVE_GROUND = re.compile(r"agl|aal|above +(ground|aerodrome|airport|airfield)")
_ASTERIX = {"callsign": "ti", "icao24": "ta", "track": "tta"}
_LONGEST = 80  # characters of a header in a message
_HEAD = 60  # lines in which the header is searched
_DELIMITERS = ",;\t|"


class FlightError(ValueError):
    """A file does not hold one flight; the message is the reason for rejecting it."""


class _RepeatedColumnError(FlightError):
    """A column occurs twice in a header, so that a further search would choose one of them."""


@dataclass(frozen=True)
class Layout:
    """Where the samples of a CSV begin, and the field of each column.

    Attributes
    ----------
    skip
        Lines before the first sample.
    count
        Fields of a line.
    fields
        Field number of each column of the schema, and of ``flight_id``, ``icao24``, ``date``,
        ``clock``, ``position``, ``north_south`` and ``east_west`` if present.
    units
        Factor and offset of each column that is in another unit than the schema's.
    unit_names
        Units given by the file, or known of the tool that wrote it, in the names of columns.toml.
    delimiter, decimal
        Delimiter of the fields, and decimal mark.
    plain
        Whether the header is the first line, in the names of the schema or of columns.toml.
    names
        Names of the fields as written in the file.
    comments
        Texts before the header.
    """

    skip: int
    count: int
    fields: dict[str, int] = field(hash=False)
    units: dict[str, tuple[float, float]] = field(hash=False)
    unit_names: dict[str, str] = field(default_factory=dict, hash=False)
    delimiter: str = ","
    decimal: str = "."
    plain: bool = False
    names: tuple[str, ...] = ()
    comments: str = ""

    @cached_property
    def confirmed(self) -> frozenset[str]:
        """Columns whose unit a columns.toml confirmed when the flight was imported.

        >>> header = b"altitude_unit_confirmed,timestamp,latitude,longitude,altitude"
        >>> find_columns(header, Dialect()).confirmed
        frozenset({'altitude'})
        """
        marked = [name for name in self.names if name.endswith(UNIT_MARK)]
        return frozenset(name.removesuffix(UNIT_MARK) for name in marked)

    @property
    def time(self) -> str:
        """The column with the times: ``timestamp``, or ``clock`` for times of day."""
        has_clock = "clock" in self.fields
        use_clock = "date" in self.fields or "timestamp" not in self.fields
        return "clock" if has_clock and use_clock else "timestamp"


def find_layout(head: bytes, dialect: Dialect, *, closely: bool = False) -> Layout:
    """Return the layout of a CSV, given its first lines.

    With ``closely`` the lines after the header are examined even if the header is sufficient.

    Raises
    ------
    FlightError
        When a required column is missing or occurs twice.
    """
    try:
        plain = find_columns(head.partition(b"\n")[0], dialect)
        return plain if not closely else _search(_decode(head), dialect) or plain
    except _RepeatedColumnError:
        raise
    except FlightError:
        layout = _search(_decode(head), dialect)
        if layout is None:
            raise
        return layout


@cache
def find_columns(header: bytes, dialect: Dialect) -> Layout:
    """Return the layout of a CSV, given its first line: a header in the names of the dialect.

    Raises
    ------
    FlightError
        When a required column is missing or occurs twice.
    """
    names = [name.strip() for name in split_line(header.rstrip(b"\r\n"), dialect.delimiter)]
    expected = {name: dialect.name(name) for name in COLUMNS}
    if names == [""]:
        raise FlightError("the file is empty, or has no header")
    missing = [expected[name] or name for name in REQUIRED if expected[name] not in names]
    if missing:
        raise FlightError(_describe_missing(missing, names))
    letters = [name for name in names if _split_unit(name)[0] in _HEMISPHERES]
    if letters:
        raise FlightError(f"hemispheres in columns of their own: {', '.join(letters)}")
    twice = [name for name in expected.values() if name and names.count(name) > 1]
    if twice:
        raise _RepeatedColumnError(f"columns twice in the header: {', '.join(twice)}")
    fields = {name: names.index(text) for name, text in expected.items() if text in names}
    for name in ("flight_id", "icao24"):
        for i, text in enumerate(names):
            if text.lower() in (name, *_ALIASES[name].split()) and i not in fields.values():
                fields.setdefault(name, i)
    return Layout(
        1,
        len(names),
        fields,
        dialect.units,
        delimiter=dialect.delimiter,
        decimal=dialect.decimal,
        plain=True,
        names=tuple(names),
    )


def match_columns(names: Sequence[str], dialect: Dialect) -> Layout:
    """Return the layout of a table with these column names; unknown names are ignored.

    Names in columns.toml take precedence, then those of the schema, then those of other tools.
    """
    fields, units = _match([name.strip() for name in names], dialect)
    factors = _find_factors(units, dialect)
    return Layout(1, len(names), fields, factors, units, names=tuple(names))


def split_line(line: bytes, delimiter: str) -> list[str]:
    """Return the fields of one line; if it is not UTF-8, it is decoded as cp1252.

    Raises
    ------
    FlightError
        When quotes in the line are not valid in CSV.
    """
    text = _decode(line)
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(reader([text], delimiter=delimiter), [])
    except CSVError as error:
        raise FlightError(str(error)) from error


def _decode(data: bytes) -> str:
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # the data ends within a character
            return data[: error.start].decode("utf-8")
        return data.decode("cp1252", errors="replace")


def _search(text: str, dialect: Dialect) -> Layout | None:
    """Return the layout given by the first line that has all required columns.

    None if no line has any of them.
    """
    lines = re.split(r"\r\n?|\n", text)[:_HEAD]
    delimiters = _DELIMITERS if dialect.delimiter == "," else dialect.delimiter
    nearest: tuple[list[str], list[str]] | None = None
    for i, line in enumerate(lines):
        if re.fullmatch(r"sep=.", line.strip(), re.IGNORECASE):
            delimiters = line.strip()[-1]
        for delimiter in sorted(delimiters, key=line.count, reverse=True):
            names = _split(line.lstrip("#% "), delimiter)
            fields, units = _match(names, dialect)
            missing = find_missing(fields)
            if not missing:
                return _describe(i, lines, delimiter, names, fields, units, dialect)
            if len(missing) < len(nearest[0] if nearest else REQUIRED):
                nearest = missing, names
    if nearest:
        missing = [dialect.names.get(name, name) for name in nearest[0]]
        raise FlightError(_describe_missing(missing, nearest[1]))
    return None


def _describe_missing(missing: list[str], names: list[str]) -> str:
    text = ", ".join(names)
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        return "it is no text, so no CSV; python -m trajlib import reads more formats"
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return (
        f"columns missing: {', '.join(missing)}; there are {text}: name them in columns.toml, or "
        "try python -m trajlib import, which reads more formats"
    )


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(reader([line], delimiter=delimiter), [])]
    except CSVError:
        return []


def find_missing(fields: dict[str, int]) -> list[str]:
    """Return the required columns that are in no field."""
    substitutes = {"latitude": "position", "longitude": "position", "timestamp": "clock"}
    return [n for n in REQUIRED if n not in fields and substitutes.get(n) not in fields]


def _match(names: list[str], dialect: Dialect) -> tuple[dict[str, int], dict[str, str]]:
    """Return the field number of each column, and the units that differ from the schema's."""
    units: dict[str, str] = {}
    parts = [_split_unit(name) for name in names]
    bases = [base for base, _ in parts]
    fields = _match_configured(names, bases, dialect)
    for candidates in (_SAME_NAMES, _ALIASES):
        for column, aliases in candidates.items():
            if column in fields or column in dialect.names:
                continue
            default_units = dict(alias.partition(":")[::2] for alias in aliases.split())
            for alias, unit in default_units.items():
                i = bases.index(alias) if alias in bases else None
                if i is None or i in fields.values() or (unit == "?" and not parts[i][1]):
                    continue
                fields[column] = i
                unit = parts[i][1] or unit
                if unit and column in NUMERIC and column not in dialect.units:
                    units[column] = unit
                break
    _adapt_to_others(fields, units, bases, dialect)
    if "timestamp" not in dialect.names and dialect.timezone == "UTC":
        _refuse_local([names[fields[n]] for n in ("timestamp", "clock", "date") if n in fields])
        _refuse_offsets(names, bases)
    return fields, units


def _match_configured(names: list[str], bases: list[str], dialect: Dialect) -> dict[str, int]:
    """Return the fields that columns.toml names, and that of a time named as UTC."""
    configured = _name_aircraft(dialect)
    fields = {n: names.index(text) for n, text in configured.items() if text in names}
    has_time = not {"timestamp", "clock", "date"}.isdisjoint(fields)
    return fields if has_time else fields | _find_universal(bases)


def _find_universal(bases: list[str]) -> dict[str, int]:
    """Return the field of a time that is named as UTC, beside which another one may be local."""
    named = [i for i, base in enumerate(bases) if base in _TIMES and _UNIVERSAL.search(base)]
    return {"timestamp": named[0]} if named else {}


def _name_aircraft(dialect: Dialect) -> dict[str, str]:
    """Return the names that columns.toml gives; a flight id that is the aircraft's is no flight's.

    >>> _name_aircraft(Dialect(many={"flight_id": "Tail"}))
    {'registration': 'Tail'}
    """
    names = dialect.names | {n: str(v) for n, v in dialect.many.items() if n in _ALIASES}
    flight = names.get("flight_id", "")
    for name in AIRCRAFT:
        is_alias = _split_unit(flight)[0] in (name, *_ALIASES[name].split())
        if flight and flight == names.get(name, flight if is_alias else ""):
            names.pop("flight_id", None)
            names[name] = flight
    return names


def _adapt_to_others(
    fields: dict[str, int], units: dict[str, str], bases: list[str], dialect: Dialect
) -> None:
    """Set what names mean when they occur together, unless columns.toml gives their meaning."""
    names = {*bases} - {*dialect.units}
    given = {*dialect.names, *dialect.many}
    free = given.isdisjoint(("track", "heading")) and "track" not in fields
    if free and "heading" in fields and {"velocity", "vertrate", "heading"} <= names:
        fields["track"] = fields.pop("heading")
    if {"velocity", "baro_altitude", "vertical_rate"} <= names:
        units.setdefault("vertical_rate", "m/s")
    if {"ta", "ti", "fl"} <= names:  # of radar messages, ASTERIX 048
        taken = {number for name, number in fields.items() if name in given}
        for name, item in _ASTERIX.items():
            if item in names and name not in given and bases.index(item) not in taken:
                fields[name] = bases.index(item)
        if "heading" not in given:
            fields.pop("heading", None)  # magnetic
    stands_in = "geoaltitude" in units and bases[fields["geoaltitude"]] != "height"
    given |= {*dialect.units}
    if stands_in and "altitude" not in fields and given.isdisjoint(("altitude", "geoaltitude")):
        fields["altitude"] = fields.pop("geoaltitude")
        units["altitude"] = units.pop("geoaltitude")


def _refuse_local(names: list[str]) -> None:
    for name in filter(_LOCAL.search, names):
        raise FlightError(
            f"{name} is a local time, of which zone? Say so in columns.toml: timestamp = "
            f'{{ column = "{name}", timezone = "Europe/Madrid" }} under [columns]'
        )


def _refuse_offsets(names: list[str], bases: list[str]) -> None:
    if _find_universal(bases):
        return
    for name, base in zip(names, bases, strict=True):
        if base in _OFFSETS:
            raise FlightError(
                f"the column {name} suggests that the times are local, of which zone? Say so in "
                'columns.toml: timestamp = { column = "...", timezone = "Europe/Madrid" } under '
                '[columns], or timezone = "UTC"'
            )


@cache
def _split_unit(name: str) -> tuple[str, str]:
    """Return a name in lower case with underscores, and the unit that it contains.

    >>> _split_unit("Altitude (m MSL)"), _split_unit("speed_km_h"), _split_unit("baroaltitude")
    (('altitude', 'm'), ('speed', 'km/h'), ('baroaltitude', ''))
    """
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip().strip("\"'")).lower()
    match = re.fullmatch(r"(.*?)[\s_]*[\[(]([^\])]*)[\])]\s*", text)
    unit = find_unit(match[2]) if match else ""
    if match and not unit and re.search(r"/ *(s|min|h)", match[2]):  # in a unit that is not known
        return text, ""
    if match and _ABOVE_GROUND.search(match[2]):  # neither an altitude nor above mean sea level
        return text, ""
    base = re.sub(r"[\s\-./,&_]+", "_", match[1] if match else text).strip("_")
    if not unit and base not in _TOOL_NAMES:
        parts = re.fullmatch(r"(.+?)_([^_]+(_[^_]+)?)", base)  # the shortest name before a unit
        stem, _, last = base.rpartition("_")
        if parts and parts[2] in UNITS:
            base, unit = parts[1], UNITS[parts[2]]
        elif stem and last in UNITS:
            base, unit = stem, UNITS[last]
    measured = re.sub(r"^(aircraft|point)_", "", base)
    if base not in _KNOWN and measured in _MEASURED:  # as in PointLat
        base = measured
    return base if base in _KNOWN else _JOINED.get(base.replace("_", ""), base), unit


def find_unit(text: str) -> str:
    """Return the unit that a text gives, with or without other words; empty if there is none.

    >>> [find_unit(text) for text in ("metres AMSL", "km/hr", "feet per minute", "100s of feet")]
    ['m', 'km/h', 'ft/min', '100 ft']
    """
    text = text.strip("[]() ").lower()
    if text in UNITS:
        return UNITS[text]
    for pattern, short in _SPELLINGS.items():
        text = re.sub(pattern, short, text)
    unit = next((UNITS[word] for word in text.split() if word in UNITS), "")
    return "100 ft" if unit == "ft" and re.search("100|hundred", text) else unit


def _describe(
    header_line: int,
    lines: list[str],
    delimiter: str,
    names: list[str],
    fields: dict[str, int],
    units: dict[str, str],
    dialect: Dialect,
) -> Layout:
    following = lines[header_line + 1 :]
    rows = [_split(line, delimiter) for line in following[:-1] or following]
    # a delimiter may end each line
    rows = [row[: len(names)] for row in rows if "".join(row[len(names) :]) == ""]
    rows = [row for row in rows if len(row) == len(names)]
    skip = header_line + 1
    if rows and _is_unit_line(rows[0], fields):
        skip += 1 + following.index(next(line for line in following if line.strip()))
        for name, i in fields.items():
            unit = find_unit(rows[0][i])
            if unit and name in NUMERIC and name not in dialect.units:
                units[name] = unit
    factors = _find_factors(units, dialect)
    required = [names[fields[name]] for name in REQUIRED if name in fields]
    twice = [name for name in required if names.count(name) > 1]
    if twice:
        raise FlightError(f"columns twice in the header: {', '.join(sorted(twice))}")
    return Layout(
        skip,
        len(names),
        fields,
        factors,
        units,
        delimiter=delimiter,
        decimal=_find_decimal(rows, fields, dialect),
        names=tuple(names),
        comments="\n".join(lines[:header_line]),
    )


def _find_factors(units: dict[str, str], dialect: Dialect) -> dict[str, tuple[float, float]]:
    try:
        return dialect.units | {name: find_conversion(name, unit) for name, unit in units.items()}
    except ValueError as error:
        raise FlightError(str(error)) from error


def _is_unit_line(row: list[str], fields: dict[str, int]) -> bool:
    """Return whether a line holds units: at least one unit, and no numbers."""
    texts = [row[fields[name]].strip("[]() ").lower() for name in fields if fields[name] < len(row)]
    digits = any(re.search(r"\d", text) and text not in UNITS for text in texts)
    return not digits and any(find_unit(text) or _TIME_WORDS.search(text) for text in texts)


def _find_decimal(rows: list[list[str]], fields: dict[str, int], dialect: Dialect) -> str:
    # a comma in a latitude is a decimal mark, as it cannot separate thousands
    if dialect.decimal != "." or "latitude" not in fields:
        return dialect.decimal
    indices = [fields["latitude"], fields["longitude"]]
    texts = [row[i] for row in rows for i in indices]
    return "," if any(re.fullmatch(r"\s*-?\d{1,3},\d+\s*", text) for text in texts) else "."
