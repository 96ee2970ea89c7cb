import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import dask
import nbformat
import pytest

from trajlib.report import code
from trajlib.report.redaction import machine_rules
from trajlib.report.stages import Stage, find_stages, match_parameters, run_stage


@pytest.fixture
def run(tmp_path, write_notebook):
    """Run the cells of one notebook as a stage; return its result and the executed copy."""
    processed, folder = tmp_path / "data" / "processed", tmp_path / "reports"
    processed.mkdir(parents=True)

    def run(*cells, env=None):
        stage = Stage(write_notebook("notebooks/02_trial.ipynb", *cells), {"origin": "SFO"})
        rules = machine_rules(tmp_path, [processed])
        result = run_stage(
            stage, folder, key="key", processed=processed, rules=rules, env=env or {}
        )
        return result, (folder / "02_trial.ipynb").read_text("utf-8")

    return run


def test_stages_are_the_numbered_notebooks_in_order(write_notebook):
    for name in ("02_b", "10_c", "01_a", "notes", "3_d"):
        path = write_notebook(f"{name}.ipynb")
    assert [stage.name for stage in find_stages(path.parent)] == ["01_a", "02_b", "10_c"]


def test_a_stage_is_named_with_or_without_its_number(write_notebook):
    folder = write_notebook("01_a.ipynb").parent
    write_notebook("02_b.ipynb")
    assert [stage.name for stage in find_stages(folder, ["b", "01_a"])] == ["01_a", "02_b"]


def test_an_unknown_stage_is_refused_with_the_existing_ones(write_notebook):
    folder = write_notebook("01_a.ipynb").parent
    with pytest.raises(ValueError, match=r"no stage 'x'; there are 01_a"):
        find_stages(folder, ["x"])
    with pytest.raises(ValueError, match="no numbered notebook"):
        find_stages(folder / "none")


def declare(write_notebook, text):
    return [Stage(write_notebook("01_a.ipynb", parameters=text))]


def test_a_notebook_is_given_the_parameters_that_it_declares(write_notebook):
    stages = declare(write_notebook, "origin: str = 'LEMD'\ntrees: int = 100\nshare: float = 0.5")
    common, parameters = {"origin": "SFO", "archive": "x"}, {"trees": "10", "share": "1"}
    (stage,) = match_parameters(stages, common, parameters)
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


def test_the_key_changes_with_the_code_that_formats_tables(write_notebook, monkeypatch):
    stage = Stage(write_notebook("01_a.ipynb", "x = 1"))
    key = stage.key("data")
    read = code._read_module

    def read_changed(path):
        text, imports, files = read(path)
        return f"{text} changed" if path.name == "tables.py" else text, imports, files

    monkeypatch.setattr(code, "_read_module", read_changed)
    assert stage.key("data") != key


def test_outputs_of_a_notebook_do_not_change_its_key(write_notebook):
    stage = Stage(write_notebook("01_a.ipynb", "x = 1"))
    key = stage.key("data")
    nb = nbformat.read(stage.path, 4)
    nb.cells[2].execution_count = 7
    nbformat.write(nb, stage.path)
    assert stage.key("data") == key


def test_a_stage_runs_with_its_parameters_in_its_folder(run):
    result, copy = run("import os\nprint(origin, os.path.basename(os.getcwd()))")
    assert "SFO notebooks" in copy
    assert result["failure"] is None
    assert result["seconds"] > 0


def test_the_summary_of_a_notebook_is_saved_beside_its_copy(run, tmp_path):
    result, _ = run(
        "from trajlib.report.summary import save_summary",
        "save_summary('../data/processed', 'trial', headline='It is 3.', numbers={'it': '3 NM'})",
    )
    assert (result["headline"], result["numbers"]) == ("It is 3.", {"it": "3 NM"})
    assert json.loads((tmp_path / "reports/02_trial.json").read_text()) == result


def test_a_summary_of_an_earlier_run_is_ignored(run, tmp_path):
    (tmp_path / "data/processed/trial.summary.json").write_text('{"headline": "old"}')
    assert "headline" not in run("x = 1")[0]


def test_the_executed_copy_has_no_path_host_or_address(run, tmp_path):
    _, copy = run(
        "import os, socket, sys",
        "print(os.getcwd(), sys.prefix, socket.gethostname(), 'tcp://10.0.0.7:8786')",
        "import pandas\npandas.read_csv('/opt/flights/none.csv')",
    )
    for hidden in (str(tmp_path), "site-packages", "10.0.0.7", "/opt", f"{Path.home()}/"):
        assert hidden not in copy
    assert len(socket.gethostname()) < 4 or socket.gethostname() not in copy


def test_a_failure_names_notebook_cell_section_and_error(run):
    result, copy = run("x = 1", "## Divide", "x / 0", "print('never')")
    failure = "02_trial stopped in cell [4], under “Divide”: ZeroDivisionError: division by zero"
    assert result["failure"] == failure
    assert result["error"] == "ZeroDivisionError"
    assert "ZeroDivisionError" in copy


def test_a_killed_kernel_is_a_failure(run):
    result, copy = run("print('so far')", "import os\nos.kill(os.getpid(), 9)")
    assert "in cell [4]" in result["failure"]
    assert "memory" in result["failure"]
    assert "so far" in copy


def test_a_kernel_that_exits_is_not_called_out_of_memory(run):
    result, _ = run("import os\nos._exit(3)")
    assert "exit status 3" in result["failure"]
    assert "memory" not in result["failure"]


def test_a_process_that_cannot_start_is_described_by_its_error_output(run, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named ipykernel_launcher' >&2\nexit 1\n")
    python.chmod(0o700)
    monkeypatch.setattr("trajlib.report.kernel.sys.executable", str(python))
    result, _ = run("1 + 1")
    assert result["failure"] == (
        "02_trial stopped before its first cell: its process could not start: "
        "No module named ipykernel_launcher"
    )


def test_a_missing_interpreter_is_not_called_out_of_memory(run, monkeypatch):
    monkeypatch.setattr("trajlib.report.kernel.sys.executable", "/no/such/python")
    failure = run("1 + 1")[0]["failure"]
    assert "could not start" in failure
    assert "memory" not in failure


def test_settings_of_the_user_do_not_reach_a_notebook(run, monkeypatch, tmp_path):
    home = tmp_path / "home"
    startup = home / ".ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("surprise = 1")
    (home / ".config/matplotlib").mkdir(parents=True)
    (home / ".config/matplotlib/matplotlibrc").write_text("savefig.dpi: 17")
    (home / ".config/dask").mkdir()
    (home / ".config/dask/mine.yaml").write_text("array: {chunk-size: 17MiB}")
    kernels = home / ".local/share/jupyter/kernels/python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text('{"argv": ["/bin/false"], "language": "python"}')
    for name, value in {"HOME": home, "MPLBACKEND": "svg", "DASK_ARRAY__SVG__SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))
    _, copy = run(
        "import dask, dask.array, matplotlib, matplotlib.pyplot as plt",
        "print('surprise' in globals(), plt.rcParams['savefig.dpi'])",
        "print(dask.config.get('array.chunk-size'), dask.config.get('array.svg.size'))",
        "print(matplotlib.get_backend())",
    )
    assert "False figure" in copy
    assert "128MiB 120" in copy
    assert "inline" in copy


def test_settings_that_lead_to_a_cluster_do_reach_a_notebook(run, monkeypatch):
    with dask.config.set({"distributed.comm.tls.ca-file": "ours.pem"}):
        _, copy = run(
            "import dask, distributed",
            "print(dask.config.get('distributed.comm.tls.ca-file'))",
        )
    assert '"ours.pem' in copy


def test_a_docstring_or_a_comment_does_not_change_a_key_and_code_does(tmp_path, monkeypatch):
    package = tmp_path / "trajlib"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "data.js").write_text("1")
    monkeypatch.setattr("trajlib.report.code._PACKAGE", package)

    def digest(a='"""A."""\nfrom trajlib.b import f', b="def f():\n    return 1", c="x = 1"):
        code._read_module.cache_clear()
        for name, text in {"a": a, "b": b, "c": c}.items():
            (package / f"{name}.py").write_text(text)
        return code.digest_code(["%matplotlib inline\nimport trajlib.a"])

    same = digest()
    assert digest(a='"""B."""\n\nfrom trajlib.b import f  # why') == same
    assert digest(b='def f():\n    """Return 1."""\n    return 1') == same
    assert digest(c="x = 2") == same  # nothing imports it
    assert digest(b="def f():\n    return 2") != same
    with_file = digest(b="FILE = 'data.js'")
    (package / "data.js").write_text("2")
    assert digest(b="FILE = 'data.js'") != with_file
    code._read_module.cache_clear()


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("origin, destination = 'LEMD', 'LEBL'", "origin, destination"),
        ("%matplotlib inline\norigin: str = 'LEMD'", "%matplotlib inline"),
        ("origin: str = 'LEMD'\nif True:\n    trees = 1", "if True:"),
        ("origin: str = 'LEMD'\ntrees: int", "trees: int"),
        ("origin = destination = 'LEMD'", "origin = destination"),
    ],
)
def test_parameters_that_cannot_be_read_are_refused_with_the_line(write_notebook, cell, line):
    stages = declare(write_notebook, cell)
    with pytest.raises(ValueError, match=re.escape(line)) as error:
        match_parameters(stages, {"origin": "SFO"}, {})
    assert "01_a.ipynb" in str(error.value)


def test_a_notebook_without_parameters_is_refused(write_notebook):
    stage = Stage(write_notebook("01_a.ipynb"))
    nb = nbformat.read(stage.path, 4)
    nb.cells[1].metadata["tags"] = []
    nbformat.write(nb, stage.path)
    with pytest.raises(ValueError, match=r"01_a.ipynb has 0 cells tagged “parameters”"):
        match_parameters([stage], {"origin": "SFO"}, {})


@pytest.mark.parametrize(
    "line",
    [
        "destination = 'LEBL'",
        "destination: str = 'LEBL'",
        "x, destination = 1, 'LEBL'",
        "if x: destination = 'LEBL'",
    ],
)
def test_a_cell_that_sets_the_pair_again_is_refused(write_notebook, line):
    stage = Stage(write_notebook("01_a.ipynb", f"x = 1\n{line}"))
    message = re.escape(f"“{line}”: it would undo the report's destination")
    with pytest.raises(ValueError, match=message):
        match_parameters([stage], {"origin": "SFO"}, {})


def test_a_cell_may_set_the_pair_to_what_it_computes(write_notebook):
    source = "destination = study.destination\ndef f(destination='LEBL'):\n    origin = 'x'"
    stage = Stage(write_notebook("01_a.ipynb", source))
    match_parameters([stage], {"origin": "SFO"}, {})


def test_parameters_of_any_form_are_read(write_notebook):
    cell = "models: list[str] = [\n    'forest',  # of trees\n]\nshare = 0.5; near = 20"
    (stage,) = declare(write_notebook, cell)
    assert stage.declared() == {"models": "list[str]", "share": "float", "near": "int"}
    parameters = {"models": "forest,ridge", "near": "5"}
    (matched,) = match_parameters([stage], {}, parameters)
    assert matched.parameters == {"models": ["forest", "ridge"], "near": 5}


@pytest.mark.parametrize(("text", "value"), [("10", [10]), ("5,10", [5, 10]), ("[5]", [5])])
def test_a_list_may_be_given_without_its_brackets(write_notebook, text, value):
    (stage,) = match_parameters(
        declare(write_notebook, "minutes: list[int] = [10]"), {}, {"minutes": text}
    )
    assert stage.parameters == {"minutes": value}


def test_a_list_of_another_type_is_refused(write_notebook):
    stages = declare(write_notebook, "minutes: list[int] = [10]")
    with pytest.raises(ValueError, match=r"expected a value of type list\[int\], as 01_a declares"):
        match_parameters(stages, {}, {"minutes": "[1.5]"})


def test_a_parameter_of_one_name_has_one_type_in_all_notebooks():
    types = {}
    for stage in find_stages(Path(__file__).parent.parent / "notebooks"):
        for name, kind in stage.declared().items():
            types.setdefault(name, set()).add(kind)
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_text("{"), "01_a.ipynb is no notebook that can be read"),
        (lambda path: path.write_text("[]"), "01_a.ipynb is no notebook that can be read"),
        (lambda path: set_kernel(path, language="R"), "01_a.ipynb is written in R"),
    ],
)
def test_a_file_that_is_no_notebook_in_python_is_named(write_notebook, change, message):
    stage = Stage(write_notebook("01_a.ipynb"))
    change(stage.path)
    with pytest.raises(ValueError, match=message):
        match_parameters([stage], {}, {})


def set_kernel(path, **kernel):
    nb = nbformat.read(path, 4)
    nb.metadata.kernelspec = kernel and kernel | {"name": "x", "display_name": "x"}
    nbformat.write(nb, path)


def test_a_notebook_without_a_kernelspec_runs(run, tmp_path, write_notebook):
    stage = Stage(write_notebook("notebooks/03_bare.ipynb", "1 + 1"), {"origin": "SFO"})
    nb = nbformat.read(stage.path, 4)
    del nb.metadata["kernelspec"]
    nbformat.write(nb, stage.path)
    options = {"key": "k", "processed": tmp_path / "data/processed", "rules": [], "env": {}}
    assert run_stage(stage, tmp_path / "reports", **options)["failure"] is None


@pytest.mark.parametrize("name", ["a b%20{x}[y]*", "q'\"#?&ñ→", "-n"])
def test_a_notebook_runs_in_a_folder_of_any_name(tmp_path, write_notebook, name):
    path = write_notebook(f"{name}/01_a.ipynb", "print(origin)")
    stage = Stage(path, {"origin": name})
    options = {"key": "k", "processed": tmp_path / name / "p", "rules": [], "env": {}}
    (tmp_path / name / "p").mkdir()
    (tmp_path / name / "r").mkdir()
    assert run_stage(stage, tmp_path / name / "r", **options)["failure"] is None
    assert (tmp_path / name / "r" / "01_a.ipynb").exists()
