import pytest

from trajlib.features.airborne import STATE
from trajlib.features.feature_sets import PLANNED, feature_availability
from trajlib.features.plan_features import PLAN
from trajlib.features.recent_traffic import HISTORY
from trajlib.labels import display_name
from trajlib.trajectories.events import FEATURES

STATES = [f"{name}_at_10" for name in STATE]


@pytest.mark.parametrize("names", [PLANNED, HISTORY, STATES, PLAN, list(FEATURES.index)])
def test_every_predictor_has_a_display_name_of_its_own(names):
    shown = [display_name(name) for name in names]
    assert len(set(shown)) == len(names)
    assert not any("_" in name for name in shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mass_min", "minimum mass"),
        ("duration_max, 3 alike", "maximum duration, and 3 alike"),
        (
            "recent_cross_20_3h",
            "cross-track offset at 20 % of the route, flights of the last 3 h, "
            "adjusted for aircraft type",
        ),
        ("plan_off_at_10", "offset from the filed plan after 10 min"),
        ("recent_arrival_last1", "time of flight, the last flight, adjusted for aircraft type"),
    ],
)
def test_a_display_name_has_quantity_position_and_flights(name, shown):
    assert display_name(name) == shown
    assert feature_availability(name.partition(",")[0])
