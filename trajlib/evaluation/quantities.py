"""The quantities that are predicted: names, units and decimals for people."""

from dataclasses import dataclass

__all__ = ["QUANTITIES", "Quantity"]


@dataclass(frozen=True)
class Quantity:
    """The display of an error: name, unit, and the divisor that converts it to this unit."""

    label: str
    unit: str
    divisor: float = 1.0
    decimals: int = 1

    @property
    def heading(self) -> str:
        """Label and unit, as in ``position [NM]``."""
        return f"{self.label} [{self.unit}]"

    def format(self, value: float) -> str:
        """Return a value in the unit with the decimals, or a dash if it is missing."""
        return "–" if value != value else f"{value:z,.{self.decimals}f}"


QUANTITIES = {
    "horizontal": Quantity("position", "NM"),
    "along": Quantity("along track", "NM"),
    "cross": Quantity("cross track", "NM"),
    "altitude": Quantity("altitude", "ft", decimals=0),
    "time": Quantity("time", "min", 60.0, decimals=2),
    "distance": Quantity("distance flown", "NM"),
    "latitude": Quantity("latitude", "deg", decimals=3),
    "longitude": Quantity("longitude", "deg", decimals=3),
    "duration": Quantity("time", "min", 60.0, decimals=2),
    "top_of_descent_time": Quantity("time of the top of descent", "min", 60.0, decimals=2),
    "top_of_descent_distance": Quantity("distance from the top of descent to the end", "NM"),
}
