"""The content of a report, as ``report.json`` holds it and the pages show it."""

from typing import Any, NotRequired, TypedDict


class Facts(TypedDict):
    """What a report is about."""

    pair: str  # as in LEMD → LEBL
    archive: dict[str, Any]  # title, source and simulated, of its columns.toml
    data: dict[str, Any]  # as `trajlib.report.build.describe_data` returns it
    parameters: dict[str, Any]  # of the notebooks, as far as they were set
    reasons: NotRequired[dict[str, dict[str, int]]]  # Rejected: files of the archive by reason


class SummaryContent(TypedDict):
    """What a notebook saves at its end, see `trajlib.report.summary.save_summary`."""

    headline: str
    numbers: dict[str, str]
    estimates: dict[str, dict]  # value, low, high and unit of numbers
    claims: list[dict[str, str]]  # claim, talk, here and verdict
    empty: NotRequired[bool]  # whether there are no data for its question


class StageContent(SummaryContent):
    """A stage; its summary is empty unless it has run to its end."""

    name: str
    title: str
    status: str  # whole, failed or not run
    failure: str | None  # where and why it stopped
    seconds: float
    key: NotRequired[str]  # digest of all that the result depends on


class ArrivalError(TypedDict):
    """A mean absolute error of the arrival with its interval, in a unit."""

    value: float
    unit: str
    name: NotRequired[str]  # of the model or baseline
    flights: NotRequired[int]
    low: NotRequired[float]
    high: NotRequired[float]
    p95: NotRequired[float]
    best: NotRequired[str]  # the baseline with the smallest error
    verdict: NotRequired[str]  # against it, as `Experiment.compare` returns it


class LaterDays(TypedDict):
    """The interval of the arrival on days after those of training."""

    when: str  # " (from 1 July 2021)"
    width: float  # min
    coverage: float  # %
    naive: float  # width without a model [min]
    naive_coverage: float  # %
    flights: int
    error: float  # min
    far: bool  # whether the coverage is far from the level


class Interval(TypedDict, total=False):
    """The interval of the arrival at take-off, of a model like the saved one; empty without any."""

    level: float  # %
    width: float  # min
    naive: float  # width without a model [min]
    coverage: float  # %, on random days
    far: bool  # whether the coverage is far from the level
    error: float  # min
    flights: int  # on which these were measured
    later: LaterDays


class Front(TypedDict, total=False):
    """The answer on the front page; empty if its figures failed."""

    when: str  # days with flights, in words
    days: int  # their number
    typical: str  # usual durations, operators and types, in words
    rejected: int  # flights of the pair that are not used
    model: str  # whose errors of the arrival are given
    arrival: dict[str, ArrivalError]  # by feature set, and of other predictions
    interval: Interval
    routes: list[str]  # in words
    models: list[dict]  # from the cards of the saved models


class Report(Facts):
    """A report of a city pair."""

    made: str  # time (UTC)
    whole: bool  # whether all wanted stages are
    versions: dict[str, str]
    stages: list[StageContent]
    front: Front
