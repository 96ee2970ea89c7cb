import getpass
import html
import json
import socket
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from trajlib.report.redaction import (
    keep_aggregates,
    machine_rules,
    names_flight,
    redact,
    redact_notebook,
)

ROOT = Path("/srv/someone/project")
RULES = machine_rules(ROOT, [Path("/mnt/big disk/sfo"), ROOT / "data/raw/sample"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("in /srv/someone/project/trajlib/index.py", "in trajlib/index.py"),
        ("run from /srv/someone/project", "run from ."),
        ("archive = '/mnt/big disk/sfo'", "archive = '…/sfo'"),
        ("archive = '../../../../mnt/big disk/sfo/a.csv'", "archive = '…/sfo/a.csv'"),
        ("/usr/lib/python3/site-packages/pandas/core/frame.py:12", "pandas/core/frame.py:12"),
        ("spilled to /tmp/dask-scratch-space/worker-1", "spilled to …/worker-1"),
        ("/home/alice", "…"),
        ("tcp://10.0.0.7:8786 and tls://node-3:8786", "… and …"),
        ("http://127.0.0.1:8787/status", "…"),
        ("kernel on 127.0.0.1:53124", "kernel on …"),
    ],
)
def test_paths_addresses_and_hosts_are_hidden(text, shown):
    assert redact(text, RULES) == shown


@pytest.mark.parametrize(
    "text",
    [
        "../data/raw/sample",
        "LEMD-LEBL/20160101T0615_IBE1234.csv",
        "8.4 NM/h </div> 1/2 kt/s 3.11.2 2016-01-01T06:15:00Z",
        "https://www.sfomuseum.org/home/data/flights",
        "root mean square",
    ],
)
def test_file_names_numbers_and_links_are_not_hidden(text):
    assert redact(text, RULES) == text


def test_host_and_user_names_are_hidden(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node17.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    rules = machine_rules(ROOT)
    assert redact("alice on node17.example.org, node17", rules) == "… on …, …"


def test_colours_and_paths_are_removed_from_a_traceback_and_words_are_kept():
    trace = ["\x1b[31mValueError\x1b[0m", f"File \x1b[32m{sys.prefix}/lib/x/a.py:3\x1b[0m, in f"]
    output = new_output("error", ename="ValueError", evalue="at /opt/x/y", traceback=trace)
    clean = redact_notebook(new_notebook(cells=[new_code_cell("f()", outputs=[output])]), RULES)
    (error,) = clean.cells[0].outputs
    assert error.evalue == "at …/y"
    assert error.traceback == ["ValueError\nFile …/a.py:3, in f"]


def test_metadata_is_dropped_but_for_tags_and_the_notebook_given_is_not_changed():
    metadata = {"tags": ["parameters"], "execution": {"iopub": "2016-01-01"}}
    output = new_output("display_data", data={"text/plain": "x"}, metadata={"path": "/opt/x"})
    cell = new_code_cell("f()", metadata=metadata, outputs=[output])
    nb = new_notebook(cells=[cell], metadata={"papermill": {"output_path": "/opt/x/y"}})
    clean = redact_notebook(nb, RULES)
    assert [c.metadata for c in clean.cells] == [{"tags": ["parameters"]}]
    assert clean.cells[0].outputs[0].metadata == {}
    assert "papermill" not in clean.metadata
    assert "papermill" in nb.metadata


def test_an_output_of_an_unknown_kind_is_dropped():
    data = {"text/plain": "x", "application/vnd.other+json": {"path": "/opt/x"}}
    cell = new_code_cell("f()", outputs=[new_output("display_data", data=data)])
    clean = redact_notebook(new_notebook(cells=[cell]), RULES)
    assert clean.cells[0].outputs[0].data == {"text/plain": "x"}


def test_a_widget_is_dropped_with_its_text():
    data = {"text/plain": "VBox()", "application/vnd.jupyter.widget-view+json": {"model_id": "x"}}
    cell = new_code_cell("f()", outputs=[new_output("display_data", data=data)])
    assert redact_notebook(new_notebook(cells=[cell]), RULES).cells[0].outputs == []


def test_a_user_without_a_name_is_no_error(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", Mock(side_effect=KeyError("uid not found")))
    assert redact("root mean square", machine_rules(ROOT)) == "root mean square"


def test_a_link_to_a_hidden_dashboard_is_no_link():
    html = '<a href=\'x\'>a</a><a href="http://127.0.0.1:8787/status" target="_blank">b</a>'
    cell = new_code_cell("client", outputs=[new_output("display_data", data={"text/html": html})])
    clean = redact_notebook(new_notebook(cells=[cell]), RULES)
    shown = clean.cells[0].outputs[0].data["text/html"]
    assert shown == "<a href='x'>a</a><a target=\"_blank\">b</a>"


@pytest.mark.parametrize(
    ("tags", "output", "is_shared"),
    [
        (["aggregate"], new_output("stream", text="45 flights in IBE12345"), True),
        ([], new_output("stream", text="45 flights"), False),
        (["aggregate"], new_output("stream", text="most is IBE1234's"), False),
        (["aggregate"], new_output("display_data", data={"text/html": "<td>EC-MAB</td>"}), False),
        (["aggregate"], new_output("display_data", data={"text/plain": "a/x_IBE1234.csv"}), False),
        (["aggregate"], new_output("error", ename="E", evalue="e", traceback=["e"]), False),
    ],
)
def test_an_output_is_shared_if_its_cell_is_tagged_and_names_no_flight(tags, output, is_shared):
    cell = new_code_cell("f()", outputs=[output], metadata={"tags": tags})
    names = {"IBE1234", "EC-MAB", "x_IBE1234"}
    shared = keep_aggregates(new_notebook(cells=[cell]), names).cells[0]
    assert (shared.outputs == [output]) == is_shared
    assert ("aggregate" in shared.metadata.tags) == is_shared
    assert cell.outputs == [output]


@pytest.mark.parametrize("name", ["20160101 IBE1234", "IBE 12", "a.b'c", "a.b", 'a<"b">', "ñandú"])
@pytest.mark.parametrize("escape", [str, html.escape, json.dumps, repr])
def test_a_flight_name_is_found_however_it_is_escaped(name, escape):
    for text in ("{}", "by {}.", "a/b/{}.csv.gz", "first\n{}\tlast"):
        assert names_flight(escape(text.format(name)), {name, "IBE1235"})


@pytest.mark.parametrize("text", ["IBE 123", "XIBE 12", "IBE, 12", "12 IBE", ""])
def test_a_name_of_several_words_matches_only_as_a_whole(text):
    assert not names_flight(text, {"IBE 12"})
