"""A form for JupyterLab that predicts one flight with the saved models of a report."""

from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path

import ipywidgets as widgets
import pandas as pd

from trajlib.archive.study import Study
from trajlib.features.feature_sets import prediction_minutes
from trajlib.models.flight_inputs import DESCRIPTION, build_flight_row, load_flight, load_flown
from trajlib.models.inference import (
    FlightPrediction,
    choose_feature_set,
    open_store,
    predict_flight,
)
from trajlib.models.saved_models import load_model
from trajlib.plots.prediction import plot_trajectory
from trajlib.plots.style import describe_figure


class PredictionForm:
    """Input fields for a flight, with its predicted map, profile and arrival below them.

    A prediction in flight needs the samples of a recorded flight with this callsign that began on
    this day. If the flight cannot be predicted, the reason is shown.

    The form offers all city pairs with saved models. Its initial values are the pair of the study,
    the take-off time ``start`` (UTC), the identity of the flight, and the ``minutes`` flown before
    the prediction, 0 for take-off.
    """

    def __init__(
        self,
        study: Study,
        start: pd.Timestamp,
        *,
        callsign: str = "",
        operator: str = "",
        aircraft_type: str = "",
        minutes: float = 0,
    ):
        self.study = study
        self.data = Path(study.results).parent.parent
        cards = self.data.glob("processed/*/prediction/at_takeoff/card.json")
        archived = set(study.index["origin"] + "-" + study.index["destination"])
        pairs = sorted(archived & {card.parts[-4] for card in cards})
        folder = self.data / "processed" / study.pair / "prediction"
        times = {
            prediction_minutes(card.parent.name) for card in folder.glob("airborne_*/card.json")
        }
        self.fields = {
            "pair": widgets.Dropdown(description="pair", options=pairs, value=study.pair),
            "callsign": widgets.Text(description="callsign", value=callsign),
            "operator": widgets.Text(description="operator", value=operator),
            "aircraft_type": widgets.Text(description="type", value=aircraft_type),
            "date": widgets.DatePicker(description="date (UTC)", value=start.date()),
            "time": widgets.TimePicker(description="take-off", value=start.time(), step=60),
            "minutes": widgets.Dropdown(
                description="min flown", options=[0, *sorted(times)], value=minutes
            ),
        }
        self.answer = widgets.HTML()
        self.picture = widgets.Image(format="png", layout={"max_width": "100%"})
        self.description = ""
        for field in self.fields.values():
            field.continuous_update = False
            field.layout.width = "15rem"
            field.observe(lambda change: self.update(), names="value")
        row = widgets.HBox(list(self.fields.values()), layout={"flex_flow": "row wrap"})
        self.box = widgets.VBox([row, self.answer, self.picture])
        self.update()

    def update(self) -> None:
        """Predict the flight described by the fields, and show it."""
        try:
            prediction, flown = self.predict()
        except (OSError, ValueError) as error:
            self.answer.value = f"<p><b>{escape(str(error))}</b></p>"
            return
        lines = prediction.describe()
        self.answer.value = "<br>".join(map(escape, [*lines, *prediction.warnings]))
        figure = plot_trajectory(
            prediction.trajectory,
            flown=flown,
            usual=prediction.usual,
            plan=prediction.plan,
            airports=prediction.pair,
            title=" ".join(lines[2].split()),
        )
        file = BytesIO()
        figure.savefig(file, format="png")
        self.picture.value = file.getvalue()
        self.description = describe_figure(figure)

    def predict(self) -> tuple[FlightPrediction, pd.DataFrame | None]:
        """Return the prediction, and the flown trajectory if the flight is recorded.

        Raises
        ------
        ValueError
            When the flight cannot be predicted, with the reason.
        """
        values = {name: field.value for name, field in self.fields.items()}
        pair = tuple(values["pair"].split("-"))
        if None in (values["date"], values["time"]):
            raise ValueError("date and time of take-off are needed")
        start = pd.Timestamp.combine(values["date"], values["time"]).tz_localize("UTC")
        past = open_store(self.data / "interim" / values["pair"])
        given = {name: values[name].strip() for name in DESCRIPTION}
        described = {name: text for name, text in given.items() if text}
        minutes = values["minutes"]
        csv, samples = None, None
        if minutes:
            csv = self.find_record(past, given["callsign"], start)
            flight, samples = load_flight(csv, pair, minutes, **described)
        else:
            flight = build_flight_row(pair, start, **described)
        feature_set = choose_feature_set(past, flight["start"].item(), minutes)
        saved = load_model(self.data / "processed" / values["pair"] / "prediction" / feature_set)
        flown = None if csv is None else load_flown(csv, saved)
        prediction = predict_flight(
            saved, flight, past=past, traffic=self.study.index, samples=samples
        )
        return prediction, flown

    def find_record(self, past: pd.DataFrame | None, callsign: str, start: pd.Timestamp) -> Path:
        """Return the file of the flight with a callsign that began on a day."""
        if past is not None and "callsign" in past:
            same = past["callsign"].eq(callsign.upper())
            rows = past[same & past["start"].dt.date.eq(start.date())]
            if len(rows):
                return Path(self.study.archive) / rows["path"].iloc[0]
        raise ValueError(
            f"no flight {callsign or 'without a callsign'} of {start:%Y-%m-%d} is recorded: "
            "minutes flown need its samples, choose 0 for a prediction at take-off"
        )

    def _repr_mimebundle_(self, **_: object) -> dict:
        # the picture is for pages without a kernel, where widgets do not work
        png = b64encode(self.picture.value).decode()
        view = self.box._repr_mimebundle_()
        return {**view, "image/png": png, "text/plain": self.description}
