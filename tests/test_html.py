import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from trajlib.report.html import render_front, render_notebook
from trajlib.report.tables import format_table

EXEC = "application/vnd.bokehjs_exec.v0+json"
LOAD = "application/vnd.bokehjs_load.v0+json"


def describe_stage(name, **told):
    stage = {"name": name, "title": name.title(), "status": "whole", "seconds": 61, "failure": None}
    return stage | {"headline": "", "numbers": {}, "claims": []} | told


def describe_report(*stages, **told):
    parts = {"pair": "LEMD → LEBL", "made": "today", "data": {}, "parameters": {}, "versions": {}}
    archive = {"title": "An archive", "source": "its source", "simulated": False}
    return parts | {"archive": archive, "stages": stages} | told


def render(*cells, **told):
    stages = [describe_stage("01_index"), describe_stage("02_models", **told)]
    stages += [describe_stage("03_mine"), describe_stage("04_later", status="not run")]
    return render_notebook(new_notebook(cells=list(cells)), describe_report(*stages), stages[1])


def show(**data):
    data = {name.replace("__", "/"): value for name, value in data.items()}
    return new_code_cell("show()", execution_count=3, outputs=[new_output("display_data", data)])


def test_headings_are_the_contents_and_lead_to_their_sections():
    page = render(new_markdown_cell("# Models\n\n## Train\n\n## Score & tell"))
    for anchor, text in re.findall(r'<li class="level2"><a href="#(.*?)">(.*?)</a>', page):
        assert f'id="{anchor}"' in page
        assert text in ("Train", "Score &amp; tell")
    assert page.count('<li class="level2">') == 2


def test_before_and_after_are_the_stages_that_have_a_page():
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


def test_code_is_folded_but_there_and_one_fold_where_nothing_is_shown_between():
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
    assert format_table(table).to_html().count("<td") >= 4


def test_of_a_long_table_both_ends_are_shown():
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


def test_bokehs_script_is_there_once_and_only_with_a_figure():
    def loader():
        return show(**{"application/javascript": "BOKEHJS", LOAD: "BOKEHJS"})

    def figure():
        return show(**{"application/javascript": "embed('</script><b>')", EXEC: ""})

    assert "BOKEHJS" not in render(loader())
    page = render(loader(), loader(), figure(), figure())
    assert page.count("BOKEHJS") == 1
    assert page.count(r"embed('\x3c/script><b>')") == 2


def test_scripts_other_than_bokehs_are_left_out():
    assert "alert" not in render(show(application__javascript="alert(1)"))


def test_a_progress_bar_leaves_its_end_and_a_widget_nothing():
    bar = new_output("stream", text="10 %\r50 %\r100 %\ndone\n")
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"}
    page = render(
        new_code_cell("x", outputs=[bar, new_output("display_data", widget)]),
    )
    assert "100 %\ndone" in page
    assert "50 %" not in page
    assert "VBox" not in page


def test_an_error_is_shown_with_its_traceback_and_said_at_the_top():
    error = new_output("error", ename="ValueError", evalue="no flights", traceback=["line 1"])
    page = render(
        new_code_cell("x", outputs=[error]),
        failure="02_models stopped in cell [3]",
        status="failed",
    )
    assert page.index("02_models stopped in cell [3]") < page.index("no flights")
    assert "line 1" in page


def test_a_picture_has_a_text_that_tells_its_section():
    page = render(new_markdown_cell("## Dispersion"), show(image__png="aGVsbG8=\n"))
    assert '<img src="data:image/png;base64,aGVsbG8=" alt="Figure: Dispersion">' in page


def test_no_page_asks_for_anything_over_the_network():
    for page in (render(), render_front(describe_report(describe_stage("01_index")), {})):
        assert "default-src 'none'" in page
        assert not re.search(r'(?:src|href|action)="(?!data:|#|[\w.]+html)', page)
        assert "@import" not in page
        assert "url(" not in page


def test_the_front_page_tells_claims_figures_and_the_time_of_each_stage():
    claim = {"claim": "R² is 0.9", "talk": "0.9", "here": "0.4", "verdict": "does not hold"}
    stage = describe_stage(
        "04_models", headline="R² is 0.4.", claims=[claim], numbers={"R²": "0.4"}
    )
    page = render_front(describe_report(stage), {"04_models": "data:image/png;base64,eA=="})
    for part in ("R² is 0.9", "does not hold", "1 min 1 s", "base64,eA==", "04_models.html"):
        assert part in page


def test_the_front_page_escapes_what_an_archive_says():
    hostile = "<script>alert(1)</script>"
    stage = describe_stage("01_index", headline=hostile, numbers={hostile: hostile})
    archive = {"title": hostile, "source": hostile, "simulated": False}
    page = render_front(describe_report(stage, archive=archive), {})
    assert "<script" not in page


def test_the_front_page_says_that_simulated_flights_are_no_evidence():
    archive = {"title": "", "source": "", "simulated": True}
    claim = {"claim": "c", "talk": "t", "here": "h", "verdict": "holds"}
    stage = describe_stage("04_models", claims=[claim])
    page = render_front(describe_report(stage, archive=archive), {})
    assert page.count("no evidence") == 2  # at the top, and below the claims
    assert "no evidence" not in render_front(describe_report(), {})
