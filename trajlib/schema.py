"""The table of columns: names, symbols, units, groups and types.

Names are those of the ``traffic`` library, or full words if it has none. Units are those of
aviation (ft, kt, NM, ft/min, s), otherwise SI (K, Pa, kg, N).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a flight.

    ``kind`` is ``text``, ``time`` or ``number``; ``decimals`` is the number of significant
    decimals, as in our CSVs, which the store also preserves.
    """

    name: str
    symbol: str
    unit: str
    group: str
    kind: str
    description: str
    decimals: int = 0


def _column(text: str) -> Column:
    name, symbol, unit, group, decimals, description = (part.strip() for part in text.split("|"))
    kind = "text" if group == "identity" else "time" if name == "timestamp" else "number"
    return Column(name, symbol, unit, group, kind, description, int(decimals or 0))


# name | symbol | unit | group | decimals | what it is
_TABLE = """
callsign              |       |        | identity    |   | operator's code and flight number
operator              |       |        | identity    |   | code of the airline that flies it
aircraft_type         |       |        | identity    |   | ICAO type designator
registration          |       |        | identity    |   | registration of the aircraft
origin                |       |        | identity    |   | airport of departure, ICAO or IATA code
destination           |       |        | identity    |   | airport of arrival, ICAO or IATA code
timestamp             | UTC   |        | time        | 0 | instant of the sample
duration              | t     | s      | time        | 2 | time since the flight's first sample
gap                   | Δt    | s      | time        | 1 | time to the nearest surveillance point
latitude              | φ     | deg    | geometric   | 6 | geodetic latitude, WGS 84
longitude             | λ     | deg    | geometric   | 6 | longitude, WGS 84, east positive
altitude              | H_p   | ft     | geometric   | 1 | pressure altitude
geoaltitude           | h     | ft     | geometric   | 1 | height above mean sea level
distance              | d     | NM     | geometric   | 3 | distance flown over ground
groundspeed           | v_g   | kt     | geometric   | 2 | speed over ground
vertical_rate         | ROC   | ft/min | geometric   | 1 | rate of change of the pressure altitude
track                 | χ     | deg    | geometric   | 2 | course over ground, from true north
heading               | ψ     | deg    | geometric   | 2 | direction of the nose, from true north
flight_path_angle     | γ     | deg    | geometric   | 3 | angle of climb over ground
roll                  | μ     | deg    | geometric   | 2 | bank angle, right wing down positive
pitch                 | θ     | deg    | geometric   | 2 | angle of the nose above the horizon
turn_rate             | ω     | deg/s  | geometric   | 3 | rate of change of the heading
true_airspeed         | v_TAS | kt     | aerodynamic | 2 | speed through the air
calibrated_airspeed   | v_CAS | kt     | aerodynamic | 2 | airspeed as a pitot tube reads it
mach                  | M     |        | aerodynamic | 4 | airspeed over speed of sound
dynamic_pressure      | q     | Pa     | aerodynamic | 1 | ρ v²/2 of the true airspeed
mass                  | m     | kg     | aerodynamic | 1 | mass of the aircraft
fuel_flow             | FF    | kg/s   | aerodynamic | 4 | fuel burned per second, all engines
fuel                  | m_f   | kg     | aerodynamic | 1 | fuel burned since the first sample
thrust                | T_N   | N      | aerodynamic | 0 | net thrust, all engines
drag                  | D     | N      | aerodynamic | 0 | aerodynamic drag
lift                  | L     | N      | aerodynamic | 0 | aerodynamic lift
lift_coefficient      | C_L   |        | aerodynamic | 5 | lift over dynamic pressure and wing area
drag_coefficient      | C_D   |        | aerodynamic | 5 | drag over dynamic pressure and wing area
load_factor           | n     |        | aerodynamic | 3 | lift over weight
temperature           | T     | K      | atmospheric | 2 | static air temperature
pressure              | p     | Pa     | atmospheric | 1 | static air pressure
density               | ρ     | kg/m³  | atmospheric | 5 | air density
wind_u                | w_u   | kt     | atmospheric | 2 | wind towards east
wind_v                | w_v   | kt     | atmospheric | 2 | wind towards north
temperature_departure | ΔT    | K      | atmospheric | 2 | temperature less the standard's
speed_of_sound        | a     | kt     | atmospheric | 2 | speed of sound at the temperature
relative_humidity     | RH    | %      | atmospheric | 1 | vapour over what saturates the air
"""

COLUMNS = {column.name: column for column in map(_column, _TABLE.strip().splitlines())}
IDENTITY = tuple(name for name, column in COLUMNS.items() if column.kind == "text")
NUMERIC = tuple(name for name, column in COLUMNS.items() if column.kind == "number")
REQUIRED = ("timestamp", "latitude", "longitude", "altitude")


def label(name: str) -> str:
    """Return the axis label of a column: its name in words, symbol and unit.

    >>> label("altitude")
    'altitude $H_p$ [ft]'
    >>> label("mach")
    'mach $M$'
    >>> label("flights")
    'flights'
    """
    column = COLUMNS.get(name)
    if column is None:
        return name.replace("_", " ")
    symbol = f" ${_mathtext(column.symbol)}$" if column.symbol else ""
    unit = f" [{column.unit}]" if column.unit else ""
    return name.replace("_", " ") + symbol + unit


def _mathtext(symbol: str) -> str:
    stem, _, subscript = symbol.partition("_")
    if not subscript:
        return stem
    return f"{stem}_{subscript}" if len(subscript) == 1 else f"{stem}_{{{subscript}}}"
