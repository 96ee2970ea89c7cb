"""Tracks of the FAA's Traffic Flow Management System, and the plans published with them."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import Field, convert_table
from trajlib.importers.formats.tables import point_reader, read_head, read_table

_FIELDS = {
    "flight_id": Field("fid"),
    "timestamp": Field("elap_time"),
    "latitude": Field("lat"),
    "longitude": Field("lon"),
    "altitude": Field("alt", unit="FL"),
    "groundspeed": Field("speed", unit="NM/s"),
    "track": Field("course", unit="rad"),
}
_PLAN = {
    "flight_id": Field("fid"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
}


def _recognize_plans(head: Head) -> bool:
    return head.has("flt_plan_id") and (head.has("longitude", "latitude") or head.has("fid"))


def _read_plans(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    """Yield the waypoints of each flight's plan in order, without times."""
    if options.kind != "plan" or not read_head(path).has("latitude", "longitude"):
        return
    beside = sorted(path.parent.glob("*.csv"))
    lists = [table for table in beside if read_head(table).has("fid", "flt_plan_id")]
    if not lists:
        raise FormatError("no table beside it gives the plan of a flight (FID, FLT_PLAN_ID)")
    flights = pd.concat(read_table(lists[0], ("fid", "flt_plan_id"), texts=("fid",)))
    waypoints = pd.concat(read_table(path, ("longitude", "latitude", "flt_plan_id")))
    plans = convert_table(flights.merge(waypoints, on="flt_plan_id"), _PLAN)
    yield plans.assign(timestamp=pd.Series(pd.NaT, plans.index).dt.tz_localize("UTC"))


_ATTRIBUTION = (
    "TFMS tracks and filed routes as published with DeepTP (Liu and Hansen, "
    "github.com/yulinliu101/DeepTP), MIT licence"
)
FORMAT = Format(
    name="tfms",
    title="TFMS tracks (CSV)",
    needs="the table; airports are inferred",
    recognize=lambda head: head.has("fid", "elap_time", "lat", "lon", "alt"),
    read=point_reader(_FIELDS),
    attribution=_ATTRIBUTION,
)
PLANS = Format(
    name="tfms-plans",
    title="filed routes published with TFMS tracks (CSV)",
    needs="beside the waypoints by FLT_PLAN_ID, the table of FID and FLT_PLAN_ID",
    recognize=_recognize_plans,
    read=_read_plans,
    attribution=_ATTRIBUTION,
)
