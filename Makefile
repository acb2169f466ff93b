# `make demo` and `make test` need Python 3.11 or newer, git and make; they install into .venv.
# `make PYTHON=... TARGET` takes another interpreter: as it is where it has crvae3d and its tests' packages, else to make .venv with.

PYTHON ?= python3
VENV := .venv

ifneq ($(filter command line environment,$(origin PYTHON)),)
ASK := import lightning, pytest, torch_geometric, xdist; from importlib.metadata import version; version('crvae3d')
READY := $(shell $(PYTHON) -c "$(ASK)" 2>/dev/null && echo yes)
endif

ifeq ($(READY),yes)
RUN := $(PYTHON)
INSTALLED :=
else
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/installed-$(subst /,_,$(PYTHON))
endif

.PHONY: install demo test test-slow bench lint clean

install: $(INSTALLED)

demo: $(INSTALLED)
	$(RUN) -m crvae3d demo

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n auto --maxprocesses 4 --dist loadfile

test-slow: $(INSTALLED)
	$(RUN) -m pytest -q -m slow

bench: $(INSTALLED)
	$(RUN) benchmarks/speed.py --short

lint: $(INSTALLED)
	$(RUN) -m pip install -q ruff
	$(RUN) -m ruff check . && $(RUN) -m ruff format --check .

clean:
	rm -rf $(VENV) demo

$(VENV)/installed%: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'crvae3d needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	test -e $@ || rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q --no-compile -c constraints.txt -e ".[test]"
	$(VENV)/bin/python -m compileall -qq -j 0 -x '/(tests|graph_objs|pip|setuptools|fontTools|lexers)/' $(VENV) || true  # on all cores; one module is of a later Python
	touch $@
