import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from trajlib.report.html import (
    render_companions,
    render_explorer,
    render_front,
    render_notebook,
)
from trajlib.report.summary import SUMMARY_TYPE
from trajlib.report.tables import format_table

EXEC = "application/vnd.bokehjs_exec.v0+json"
LOAD = "application/vnd.bokehjs_load.v0+json"


def describe_stage(name, **changes):
    stage = {"name": name, "title": name.title(), "status": "whole", "seconds": 61, "failure": None}
    return stage | {"headline": "", "numbers": {}, "claims": []} | changes


def describe_report(*stages, **changes):
    parts = {"pair": "LEMD → LEBL", "made": "today", "data": {}, "parameters": {}, "versions": {}}
    archive = {"title": "An archive", "source": "its source", "simulated": False}
    return parts | {"archive": archive, "stages": stages} | changes


def render(*cells, **changes):
    stages = [describe_stage("01_index"), describe_stage("02_models", **changes)]
    stages += [describe_stage("03_mine"), describe_stage("04_later", status="not run")]
    return render_notebook(new_notebook(cells=list(cells)), describe_report(*stages), stages[1])


def show(**data):
    data = {name.replace("__", "/"): value for name, value in data.items()}
    return new_code_cell("show()", execution_count=3, outputs=[new_output("display_data", data)])


def test_headings_are_the_contents_and_lead_to_their_sections():
    page = render(new_markdown_cell("# Models\n\n## Train\n\n## Score & compare"))
    links = re.findall(r'<li class="level2"><a href="#(.*?)">(.*?)</a>', page)
    for anchor, text in links:
        assert f'id="{anchor}"' in page
        assert text in ("Train", "Score &amp; compare")
    assert len(set(links)) == 2


def test_a_section_whose_code_shows_nothing_is_not_on_the_page():
    silent = new_code_cell("if plans: show()", execution_count=2)
    page = render(
        new_markdown_cell("# Plans\n\n## With plans\n\nThe plan is compared with:"),
        silent,
        new_markdown_cell("## Without plans"),
        silent,
        show(text__plain="shown"),
        new_markdown_cell("## Not run yet"),
        new_code_cell("later()"),
        new_markdown_cell("## Ceiling"),
        new_markdown_cell("The ceiling is:"),
        silent,
    )
    titles = re.findall(r'<li class="level2"><a href="#.*?">(.*?)</a>', page)
    assert list(dict.fromkeys(titles)) == [
        "With plans",
        "Without plans",
        "Not run yet",
    ]
    assert "The ceiling is" not in page


def test_an_empty_section_before_the_summary_is_not_on_the_page():
    data = {"headline": "It works.", "numbers": {}}
    summary = {"application/vnd.trajlib.summary+json": data, "text/markdown": "It works."}
    page = render(
        new_markdown_cell("# Plans"),
        new_markdown_cell("## With plans\n\nThe plan is compared with:"),
        new_code_cell("if plans: show()", execution_count=2),
        new_markdown_cell("## Summary"),
        new_code_cell("save()", execution_count=3, outputs=[new_output("display_data", summary)]),
    )
    assert "The plan is compared" not in page


def test_previous_and_next_lead_to_stages_with_a_page():
    page = render()
    assert 'rel="prev" href="01_index.html"' in page
    assert 'rel="next" href="03_mine.html"' in page
    assert "04_later" not in page


@pytest.mark.parametrize("name", ["03_a#1", "03_what?", "03_50 %", 'a"b'])
def test_a_link_leads_to_a_stage_of_any_name(name):
    stages = [describe_stage("02_models"), describe_stage(name)]
    report = describe_report(*stages)
    for page in (render_front(report, {}), render_notebook(new_notebook(), report, stages[0])):
        links = re.findall(r'href="([^"]*)\.html"', page)
        assert name in [unquote(link) for link in links]
        assert not [link for link in links if re.search(r"[#? ]", link)]


def test_consecutive_code_cells_share_one_fold():
    page = render(
        new_code_cell("first = 1", execution_count=1), new_code_cell("second", execution_count=2)
    )
    assert page.count('<details class="code">') == 1
    assert "Code [1] to [2]" in page
    assert "first" in page
    assert "second" in page


def show_table(**columns):
    return format_table(pd.DataFrame(columns)).to_html()


def test_a_table_has_a_dash_for_what_is_missing_and_no_sign_at_zero():
    table = show_table(skill=[np.nan, -0.00004, -0.25])
    assert re.findall(r"<td[^>]*>(.*?)</td>", table) == ["–", "0.00", "−0.25"]


def test_numbers_of_a_column_have_as_many_decimals_as_the_largest_needs():
    cells = re.findall(r"<td[^>]*>(.*?)</td>", show_table(error=[0.123456, 12.3456]))
    assert cells == ["0.12", "12.35"]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", show_table(error=[7494.8, 12.3], flights=[5, 1e9]))
    assert cells[0] == "7,495"


def test_a_column_of_words_is_aligned_with_its_heading_to_the_left():
    table = show_table(n=[1, 2], why=["of " * 20, "of it"])
    assert re.search(r'class="data row0 col1 text long" ?>of of', table)
    assert re.search(r"th\.col1 \{\s+text-align: left", table)
    assert "th.col0" not in table


def test_a_long_name_may_break_at_its_underscores_and_text_is_escaped():
    table = show_table(**{"impurity_rank": ["<script>"], "<b>": [1]})
    assert "impurity_<wbr>rank" in table
    assert "&lt;script&gt;" in table
    assert "&lt;b&gt;" in table


def test_a_table_may_have_the_same_name_twice():
    table = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"], index=["x", "x"])
    html = format_table(table).to_html()
    assert html.count("<td") == 6
    assert 'class="row_heading' not in html  # no numbers of rows


def test_a_long_table_shows_its_first_and_last_rows():
    table = show_table(n=range(1_000))
    assert "60 of 1,000 rows" in table
    assert table.count("<tr") < 70


def test_a_formula_is_mathml():
    page = render(new_markdown_cell(r"The spread $\sigma_a$ and $$\frac{a}{b}$$"))
    assert page.count("<math") == 2
    assert "<mfrac>" in page


@pytest.mark.parametrize(
    "cell",
    [
        new_markdown_cell("by <script>alert(1)</script> and $<script>alert(1)</script>$"),
        new_markdown_cell('[x](javascript:alert(1)) ![](x" onerror=alert(1))'),
        show(text__markdown="callsign <script>alert(1)</script>"),
        show(text__plain="<script>alert(1)</script>"),
        new_code_cell("x = '<script>alert(1)</script>'"),
        new_code_cell("x", outputs=[new_output("stream", text="<script>alert(1)</script>")]),
    ],
)
def test_text_that_looks_like_a_script_is_text(cell):
    page = render(cell)
    assert "<script>alert" not in page
    assert "javascript:" not in page
    assert "script-src 'none'" in page


def make_figure(script="embed('</script><b>')"):
    return [
        show(text__html='<div data-root-id="p1"></div>'),
        show(**{"application/javascript": script, EXEC: ""}),
    ]


def explore(*cells):
    stage = describe_stage("02_models")
    return render_explorer(new_notebook(cells=list(cells)), describe_report(stage), stage)


def test_bokehs_script_is_on_the_page_of_the_explorer_once():
    loader = show(**{"application/javascript": "BOKEHJS", LOAD: "BOKEHJS"})
    assert explore(loader) is None
    page = explore(loader, loader, *make_figure(), *make_figure())
    assert page.count("BOKEHJS") == 1
    assert page.count(r"embed('\x3c/script><b>')") == 2
    assert page.count("data-root-id") == 2


def test_a_notebooks_page_links_its_explorer_once_and_has_no_script():
    page = render(*make_figure(), *make_figure())
    assert page.count('href="02_models.explorer.html"') == 1
    assert "<script" not in page
    assert "script-src 'none'" in page


def test_scripts_other_than_bokehs_are_left_out():
    alert = show(application__javascript="alert(1)")
    assert "alert" not in render(alert)
    assert explore(alert) is None


def test_the_summary_is_at_the_top_of_a_page_and_only_there():
    data = {"text/markdown": "**It is -3 NM.**", SUMMARY_TYPE: {}}
    page = render(
        new_markdown_cell("# Models"),
        new_markdown_cell("## Train"),
        new_markdown_cell("Text.\n\n## Summary"),
        new_code_cell("save()", outputs=[new_output("execute_result", data)]),
        headline="It is -3 NM.",
        numbers={"error": "-3 NM"},
    )
    assert page.count("It is −3 NM.") == 1
    assert page.index("It is −3 NM.") < page.index('<h2 id="2-train">')
    assert "<dd>−3 NM</dd>" in page
    assert "Summary" not in page  # a heading with nothing below it


def test_a_long_table_is_folded_and_a_short_one_is_not():
    for rows, folded in ((5, 0), (40, 1)):
        table = format_table(pd.DataFrame({"n": range(rows)})).to_html()
        assert render(show(text__html=table)).count('<details class="table">') == folded


def test_a_term_is_linked_where_it_first_appears_outside_headings_and_links():
    page = render(
        new_markdown_cell("# Skill\n\n[skill](https://a.b) and the skill, again skill"),
        new_markdown_cell("Skill is explained."),
    )
    assert page.count('href="glossary.html#skill"') == 1
    assert ">skill</a>, again skill" in page
    glossary = render_companions(describe_report())["glossary.html"]
    assert 'id="skill"' in glossary


def test_a_term_in_the_plural_in_a_heading_is_linked_below_it():
    page = render(new_markdown_cell("# Route clusters\n\nA route cluster is a group."))
    assert page.count('href="glossary.html#route-cluster"') == 1
    assert ">route cluster</a> is a group" in page


def test_only_the_end_of_a_progress_bar_is_shown():
    bar = new_output("stream", text="10 %\r50 %\r100 %\ndone\n")
    page = render(new_code_cell("x", outputs=[bar]))
    assert "100 %\ndone" in page
    assert "50 %" not in page


def test_an_error_is_shown_with_its_traceback_and_at_the_top():
    error = new_output("error", ename="ValueError", evalue="no flights", traceback=["line 1"])
    page = render(
        new_code_cell("x", outputs=[error]),
        failure="02_models stopped in cell [3]",
        status="failed",
    )
    assert page.index("02_models stopped in cell [3]") < page.index("no flights")
    assert "line 1" in page


def test_the_alternative_text_of_a_picture_names_its_section():
    page = render(new_markdown_cell("## Dispersion"), show(image__png="aGVsbG8=\n"))
    assert '<img src="data:image/png;base64,aGVsbG8=" alt="Figure: Dispersion">' in page


def test_a_figure_that_describes_itself_has_that_as_its_alternative_text():
    page = render(show(image__png="eA==", text__plain="Altitude falls. Drawn: mean."))
    assert 'alt="Altitude falls. Drawn: mean."' in page


def test_no_page_loads_anything_over_the_network():
    report = describe_report(describe_stage("01_index"))
    pages = [render(), render_front(report, {}), *render_companions(report).values()]
    for page in (*pages, explore(*make_figure())):
        assert "default-src 'none'" in page
        page = re.sub(r'<a href="https://[^"]*"', "", page)  # links load nothing by themselves
        assert not re.search(r'(?:src|href|action)="(?!data:|#|[\w.]+html)', page)
        assert "@import" not in page
        assert "url(" not in page


LATER = {
    "when": " (from 1 July 2021)",
    "width": 9.1,
    "coverage": 88.0,
    "flights": 940,
    "error": 2.5,
    "far": False,
}
LATER |= {"naive": 10.4, "naive_coverage": 86.0}
TESTED = {"error": 1.9, "naive": 10.2, "flights": 900, "later": LATER}
FRONT = {
    "when": "360 days",
    "days": 360,
    "typical": "A flight takes 60 min in the median.",
    "rejected": 2233,
    "model": "LightGBM",
    "arrival": {
        "at_takeoff": {"value": 2.43, "low": 2.3, "high": 2.6, "unit": "min"},
        "airborne_10": {"value": 2.21, "low": 2.1, "high": 2.3, "unit": "min"},
        "mean": {"value": 3.18, "low": 3.0, "high": 3.3, "unit": "min", "name": "mean"},
        "best baseline": {"value": 3.18, "unit": "min", "name": "mean"},
    },
    "interval": {"level": 90.0, "width": 8.6, "coverage": 90.2, "far": False} | TESTED,
    "routes": ["54 % fly along the direct line"],
    "models": [],
}


def test_the_front_page_begins_with_the_results():
    stages = [describe_stage(name) for name in ("01_index", "07_prediction")]
    report = describe_report(*stages, front=FRONT, data={"flights of the pair": "4,722"})
    page = render_front(report, {"map": "data:image/png;base64,eA=="}, "02_a.explorer.html")
    text = re.sub(r"\s+", " ", page)
    assert "LEMD → LEBL: 4,722 flights on 360 days; 2,233 more are not used. At take-off" in text
    assert "missed by 2.4 min on average (3.2 min with the average flight)" in text
    interval = (
        "The 90 % interval at take-off is 8.6 min wide and contains 90 % of 900 arrivals on "
        "unseen days.</p><p>On the last fifth of the days (from 1 July 2021) the interval is 9.1 "
        "min wide and contains 88 % of 940 arrivals, which are missed by 2.5 min on average; one "
        "from the durations of earlier flights is 10.4 min wide and contains 86 %."
    )
    assert f"{interval}</p><p>A flight takes 60 min in the median." in text
    assert page.count("<li><strong>") == 5
    assert 'class="marked"' not in page
    assert "54 % fly along the direct line" in text
    assert text.index("LEMD → LEBL: 4,722") < text.index("base64,eA==")
    assert text.index("base64,eA==") < text.index('"07_prediction') < text.index('"01_index')
    assert 'href="02_a.explorer.html"' in page


def test_a_coverage_far_from_nominal_is_marked():
    interval = {"level": 90.0, "width": 8.6, "coverage": 55.0, "far": True} | TESTED
    front = FRONT | {"interval": interval, "arrival": {}}
    page = render_front(describe_report(front=front, data={"flights of the pair": "4,722"}), {})
    assert page.count('class="marked"') == 1
    assert "900 flights tested: the interval is too narrow" in page
    assert "the arrival time is missed by" not in page
    assert page.count("<strong>") == 3


def test_a_coverage_far_from_nominal_on_later_days_is_marked():
    later = {"later": LATER | {"coverage": 60.0, "far": True}}
    front = FRONT | {"interval": FRONT["interval"] | later}
    page = render_front(describe_report(front=front, data={"flights of the pair": "4,722"}), {})
    assert page.count('class="marked"') == 1
    assert "900 flights tested; on later days 60\N{NO-BREAK SPACE}% of 940" in page
    assert "of arrivals inside it, 60\N{NO-BREAK SPACE}% on later days" in page


def test_a_notebook_without_data_for_its_question_is_a_line_instead_of_a_card():
    stages = [
        describe_stage("08_feature_sets", headline="Errors."),
        describe_stage("11_flight_plans", headline="The archive has no plans.", empty=True),
    ]
    page = render_front(describe_report(*stages), {})
    assert page.count('<li class="card') == 1
    assert re.search(r"Without data here: <a href=\"11_flight_plans.html\">.*has no plans\.", page)


def test_a_model_no_better_than_a_baseline_is_not_shown_as_a_gain():
    arrival = FRONT["arrival"] | {
        "at_takeoff": FRONT["arrival"]["at_takeoff"]
        | {"best": "last three flights", "verdict": "no better"}
    }
    report = describe_report(front=FRONT | {"arrival": arrival}, data={"flights of the pair": "9"})
    page = re.sub(r"[ \n]+", " ", render_front(report, {}))
    assert (
        "At take-off the model is no better than this baseline: the 95\N{NO-BREAK SPACE}% conf"
        in page
    )
    assert "; no better than last three flights</small>" in page
    arrival["at_takeoff"] |= {"verdict": "worse"}
    page = render_front(report, {})
    assert "At take-off the model is worse than this baseline." in page


def test_the_front_page_names_the_parameters_that_were_set():
    pair = {"archive": "sample", "origin": "LEMD", "destination": "LEBL"}
    assert "Parameters set" not in render_front(describe_report(parameters=pair), {})
    quick = pair | {"trees": "20", "folds": "2"}
    page = render_front(describe_report(parameters=quick), {})
    assert "Parameters set for this report: folds 2, trees 20." in page
    assert "LEMD 2" not in page


def test_claims_are_one_line_on_the_front_page_and_a_table_on_their_own():
    claim = {"claim": "R² is 0.9", "talk": "0.9", "here": "-0.4", "verdict": "does not hold"}
    stage = describe_stage("04_models", headline="R² is -0.4.", claims=[claim])
    report = describe_report(stage)
    page = render_front(report, {})
    assert '<a href="claims.html">1 does not hold</a>' in page
    assert "R² is 0.9" not in page
    assert page.count("R² is −0.4.") == 1
    table = render_companions(report)["claims.html"]
    for part in ("R² is 0.9", "−0.4", "does not hold", 'href="04_models.html"'):
        assert part in table


def test_data_and_models_have_separate_pages():
    card = {
        "name": "at_takeoff",
        "feature_set": "at_takeoff",
        "level": 0.9,
        "scores": {"random days": {"arrival": 0.55}},
    }
    card["training"] = {"flights": 1200, "days": 300, "first": "2016-01-01", "last": "2016-12-01"}
    with_plan = {"name": "at_takeoff_with_plan", "feature_set": "at_takeoff"}
    report = describe_report(front=FRONT | {"models": [card, with_plan]}, data={"period": "2016"})
    report["reasons"] = {"Rejected": {"the file is empty": 3}, "Repaired": {}}
    report["data"]["unused"] = [["fragment", "few points", 1234]]
    report["data"]["flights of the pair"] = "100"
    report["data"]["repaired"] = [["at the import", "spoofed", 5]]
    pages = render_companions(report)
    assert "Of 1,334 recorded flights, 100 are used." in pages["data.html"]
    parts = ("the file is empty", "few points", "1,234", "spoofed", "<dd>2016</dd>")
    for part in (*parts, "An archive", "its source", "biases"):
        assert part in pages["data.html"]
    headings = ("Predictions at take-off<", "Predictions at take-off, with the plan<")
    for part in (*headings, "1,200 flights on 300 days", '55.0 <strong class="far">!</strong>'):
        assert part in pages["models.html"]


def test_labels_of_numbers_have_display_names():
    numbers = {
        "interval score gained, at_takeoff, duration": "+1.0%",
        "time error, airborne_10": "2.1 min",
        "along error, gain": "+1.0%",
        "rank of duration_max": "2",
    }
    stage = describe_stage("08_feature_sets", numbers=numbers)
    scores = {"random days": {"cross": 0.9, "duration": 0.9}}
    card = {"name": "planned", "feature_set": "planned", "level": 0.9, "scores": scores}
    report = describe_report(stage, front=FRONT | {"models": [card]})
    page = render_companions(report)["models.html"]
    labels = re.findall(r"<dt>(.*?)</dt>", page)
    assert labels[-4:] == [
        "interval score gained, at take-off, time",
        "time error, 10 min into the flight",
        "along track error, gain",
        "rank of maximum duration",
    ]
    assert re.findall(r'<th scope="row">(.*?)</th>', page) == ["cross track", "time"]
    assert "Predictions before departure" in page


def test_the_models_page_shows_the_lowest_coverage_of_the_route_beside_the_average():
    scores = {"random days": {"cross": 0.88, "arrival": 0.9}}
    card = {"name": "planned", "feature_set": "planned", "level": 0.9, "scores": scores}
    card["lowest"] = {"random days": {"cross": [0.43, 0.1]}}
    page = render_companions(describe_report(front=FRONT | {"models": [card]}))["models.html"]
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells == ["88.0 (43 at 10\N{NO-BREAK SPACE}%)", "90.0"]


def test_every_page_escapes_texts_of_an_archive():
    hostile = "<script>alert(1)</script>"
    claim = {"claim": hostile, "talk": hostile, "here": hostile, "verdict": "holds"}
    texts = {"headline": hostile, "numbers": {hostile: hostile}, "claims": [claim]}
    report = describe_report(
        describe_stage("01_index", **texts),
        archive={"title": hostile, "source": hostile, "simulated": False},
        data={hostile: hostile, "flights of the pair": hostile},
        parameters={"archive": hostile},
        front=FRONT | {"routes": [hostile]},
        reasons={"Rejected": {hostile: 1}},
    )
    pictures = {"map": "data:image/png;base64,eA=="}
    for page in (render_front(report, pictures), *render_companions(report).values()):
        assert "<script" not in page


def test_pages_with_claims_and_data_mark_simulated_flights_as_no_evidence():
    archive = {"title": "", "source": "", "simulated": True}
    report = describe_report(archive=archive)
    pages = render_companions(report)
    for page in (render_front(report, {}), pages["claims.html"], pages["data.html"]):
        assert page.count("no evidence") == 1
    assert "no evidence" not in render_front(describe_report(), {})
