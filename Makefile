# make install   the environment alone
# make report    environment, sample archive, every notebook run headlessly, the report's path
# make test      environment, the fast tests (make test-slow: browsers, whole reports, clusters)
# make lab       JupyterLab on notebooks/, with an introduction page
# make bench     the comparison with other tools, in a separate environment
# make check     check lint, format and types, without changes
# make docs      the documentation as a site, docs/_build/html/index.html
# make links     check the links of the documentation (needs a network)
# make clean     delete computed files, but neither raw archives nor the environment
# make help      these lines
#
# Another Python, 3.11 or newer:  make test PYTHON=python3.13

PYTHON = python3
RUN    = .venv/bin/python -m
READY  = .venv/ready-$(subst /,_,$(PYTHON))
# Without restarts: a process that has crashed would run its file again, for ever
PYTEST = pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
PIP    = pip install --quiet --disable-pip-version-check
SAMPLE = data/raw/sample
SCALE  = small
ROUNDS = 3

# No requests of JupyterLab to the internet for news, extensions and updates
QUIET_LAB = --LabApp.news_url=None --LabApp.extension_manager=readonly \
	--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate
# Open the rendered README; clusters are started by the notebooks
START = --LabApp.default_url=/lab/tree/README.md --LabApp.app_settings_dir=$(CURDIR)/.lab

.PHONY: report install help test test-slow lab bench check docs links clean

report: $(READY) $(SAMPLE)/columns.toml
	$(RUN) trajlib report --archive $(SAMPLE) --origin LEMD --destination LEBL

install: $(READY)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

test: $(READY)
	$(RUN) $(PYTEST) -m "not slow"

test-slow: $(READY)
	$(RUN) $(PYTEST) -m slow

lab: $(READY) $(SAMPLE)/columns.toml
	umask 077; BOKEH_RESOURCES=inline $(RUN) jupyter lab notebooks $(QUIET_LAB) $(START)

bench: $(READY) .venv-bench/ready
	.venv/bin/python benchmarks/run.py --scale $(SCALE) --rounds $(ROUNDS) --peers .venv-bench/bin/python

check: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy trajlib

docs: .venv/ready-docs
	$(RUN) sphinx -q -W --keep-going docs docs/_build/html
	@echo docs/_build/html/index.html

links: .venv/ready-docs
	$(RUN) sphinx -q -b linkcheck docs docs/_build/links

clean:
	rm -rf reports/*/ data/interim data/processed .pytest_cache .hypothesis .ruff_cache .mypy_cache

# Created after a complete installation; an interrupted one is repeated.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, as in: make PYTHON=python3.13")'
	$(PYTHON) -m venv --clear .venv
	$(RUN) $(PIP) --no-deps -r requirements.lock
	$(RUN) $(PIP) --no-deps --no-build-isolation -e .
	.venv/bin/python -m trajlib.importers.compile_loops
	touch $@

.venv/ready-docs: $(READY) docs/requirements.txt
	$(RUN) $(PIP) -r docs/requirements.txt
	touch $@

.venv-bench/ready: benchmarks/requirements.txt
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/python -m $(PIP) -r benchmarks/requirements.txt
	touch $@

# The last file that simulate writes, so that an incomplete archive is made again.
$(SAMPLE)/columns.toml: | $(READY)
	$(RUN) trajlib simulate $(SAMPLE) --flights 620 --seed 2016
