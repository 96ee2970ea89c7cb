import json
import socket
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from trajlib.report.redaction import machine_rules
from trajlib.report.stages import Stage, find_stages, match_parameters, run_stage


@pytest.fixture
def run(tmp_path, write_notebook):
    """Run the cells of one notebook as a stage; return what was found and the executed copy."""
    processed, folder = tmp_path / "data" / "processed", tmp_path / "reports"
    processed.mkdir(parents=True)

    def run(*cells):
        stage = Stage(write_notebook("notebooks/02_trial.ipynb", *cells), {"origin": "SFO"})
        rules = machine_rules(tmp_path, [processed])
        found = run_stage(stage, folder, key="key", processed=processed, rules=rules)
        return found, (folder / "02_trial.ipynb").read_text("utf-8")

    return run


def test_stages_are_the_numbered_notebooks_in_order(write_notebook):
    for name in ("02_b", "10_c", "01_a", "notes", "3_d"):
        path = write_notebook(f"{name}.ipynb")
    assert [stage.name for stage in find_stages(path.parent)] == ["01_a", "02_b", "10_c"]


def test_a_stage_is_named_with_or_without_its_number(write_notebook):
    folder = write_notebook("01_a.ipynb").parent
    write_notebook("02_b.ipynb")
    assert [stage.name for stage in find_stages(folder, ["b", "01_a"])] == ["01_a", "02_b"]


def test_an_unknown_stage_is_refused_and_the_known_named(write_notebook):
    folder = write_notebook("01_a.ipynb").parent
    with pytest.raises(ValueError, match=r"no stage 'x'; there are 01_a"):
        find_stages(folder, ["x"])
    with pytest.raises(ValueError, match="no numbered notebook"):
        find_stages(folder / "none")


def declare(write_notebook, text):
    return [Stage(write_notebook("01_a.ipynb", parameters=text))]


def test_a_notebook_is_given_the_parameters_that_it_declares(write_notebook):
    stages = declare(write_notebook, "origin: str = 'LEMD'\ntrees: int = 100\nshare: float = 0.5")
    common, given = {"origin": "SFO", "archive": "x"}, {"trees": "10", "share": "1"}
    (stage,) = match_parameters(stages, common, given)
    assert stage.parameters == {"origin": "SFO", "trees": 10, "share": 1}


def test_a_parameter_of_no_notebook_is_refused(write_notebook):
    stages = declare(write_notebook, "origin: str = 'LEMD'\ntrees: int = 100")
    with pytest.raises(ValueError, match="parameter 'tree'; there are origin, trees"):
        match_parameters(stages, {}, {"tree": "10"})


@pytest.mark.parametrize("text", ["ten", "1.5", "[1]", "True"])
def test_a_parameter_of_another_type_is_refused(write_notebook, text):
    with pytest.raises(ValueError, match="expected a value of type int"):
        match_parameters(declare(write_notebook, "trees: int = 100"), {}, {"trees": text})


def test_the_key_changes_with_notebook_parameters_and_data(write_notebook):
    stage = Stage(write_notebook("01_a.ipynb", "x = 1"), {"origin": "SFO"})
    key = stage.key("data")
    assert stage.key("data") == key
    assert stage.key("other data") != key
    assert replace(stage, parameters={"origin": "LAX"}).key("data") != key
    write_notebook("01_a.ipynb", "x = 2")
    assert stage.key("data") != key


def test_outputs_of_a_notebook_do_not_change_its_key(write_notebook):
    stage = Stage(write_notebook("01_a.ipynb", "x = 1"))
    key = stage.key("data")
    nb = nbformat.read(stage.notebook, 4)
    nb.cells[2].execution_count = 7
    nbformat.write(nb, stage.notebook)
    assert stage.key("data") == key


def test_a_stage_runs_with_its_parameters_in_its_folder(run):
    found, copy = run("import os\nprint(origin, os.path.basename(os.getcwd()))")
    assert "SFO notebooks" in copy
    assert found["failure"] is None
    assert found["seconds"] > 0


def test_what_the_notebook_saved_is_found_and_kept_beside_its_copy(run, tmp_path):
    found, _ = run(
        "from trajlib.report.summary import save_summary",
        "save_summary('../data/processed', 'trial', headline='It is 3.', numbers={'it': '3 NM'})",
    )
    assert (found["headline"], found["numbers"]) == ("It is 3.", {"it": "3 NM"})
    assert json.loads((tmp_path / "reports/02_trial.json").read_text()) == found


def test_a_summary_of_an_earlier_run_is_not_taken_for_this_ones(run, tmp_path):
    (tmp_path / "data/processed/trial.summary.json").write_text('{"headline": "old"}')
    assert "headline" not in run("x = 1")[0]


def test_the_executed_copy_names_neither_place_nor_host_nor_address(run, tmp_path):
    _, copy = run(
        "import os, socket, sys",
        "print(os.getcwd(), sys.prefix, socket.gethostname(), 'tcp://10.0.0.7:8786')",
        "import pandas\npandas.read_csv('/opt/flights/none.csv')",
    )
    for hidden in (str(tmp_path), "site-packages", "10.0.0.7", "/opt", f"{Path.home()}/"):
        assert hidden not in copy
    assert len(socket.gethostname()) < 4 or socket.gethostname() not in copy


def test_a_failure_names_notebook_cell_section_and_error(run):
    found, copy = run("x = 1", "## Divide", "x / 0", "print('never')")
    told = "02_trial stopped in cell [4], under “Divide”: ZeroDivisionError: division by zero"
    assert found["failure"] == told
    assert "ZeroDivisionError" in copy


def test_a_notebook_that_is_ended_before_its_first_cell_is_a_failure_too(run, monkeypatch):
    def end(notebook, copy, *_, **__):
        Path(copy).write_bytes(Path(notebook).read_bytes())
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr("papermill.execute_notebook", end)
    assert "before its first cell" in run("1 + 1")[0]["failure"]


def test_a_notebook_whose_process_is_killed_is_a_failure_too(run):
    found, copy = run("print('so far')", "import os\nos.kill(os.getpid(), 9)")
    assert "in cell [4]" in found["failure"]
    assert "memory" in found["failure"]
    assert "so far" in copy
