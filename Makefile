# The commands of the project. Each sets up what is missing: `make demo` on a fresh machine is enough.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
SCREEN := xvfb-run -a -s "-screen 0 1600x1000x24"
# Processes that run the tests, each with one thread; those of the window share one.
PROCESSES := 2
# Where networks compute: `make test` runs all tests in float32, the default, these also in bfloat16.
NUMERIC := tests/inference tests/backends tests/metrics tests/training/test_losses.py \
	tests/training/loop/test_loop.py

.PHONY: demo test test-bfloat16 check screenshots bench mutants fuzz docs clean help

help:  ## list the commands
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY)  ## find the lesions of a real photograph, compare with the experts, write demo-output/
	@$(if $(DISPLAY)$(WAYLAND_DISPLAY),sh scripts/install_screen.sh || echo "Going on without: napari may not open.")
	$(VENV)/bin/napari-fundus demo -o demo-output --overwrite

test: $(READY) $(VENV)/.screen  ## run all tests, those in a real napari window included
	OMP_NUM_THREADS=1 $(SCREEN) $(PY) -m pytest -n $(PROCESSES) --dist loadgroup

test-bfloat16: $(READY)  ## run the tests in which networks compute, in bfloat16
	OMP_NUM_THREADS=1 NAPARI_FUNDUS_PRECISION=bfloat16 $(PY) -m pytest $(NUMERIC)

check: $(READY)  ## linter, formatter, type checker, documentation
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mkdocs build --strict --quiet

screenshots: $(READY) $(VENV)/.screen  ## take the pictures of the documentation from a real window
	$(SCREEN) $(PY) scripts/screenshots.py $(if $(wildcard ../shared/data/idrid),--data ../shared/data/idrid)

bench: $(READY) $(VENV)/.screen  ## measure speed beside peers and limits, write docs/performance.md
	$(PY) -m benchmarks.performance
	$(SCREEN) $(PY) -m benchmarks.waiting

mutants: $(READY) mutants/venv/.ready  ## change the numerics in 100 places, list what no test notices
	mutants/venv/bin/python scripts/mutants.py --python $(PY) $(MUTANTS)

mutants/venv/.ready:
	$(PY) -m venv mutants/venv
	mutants/venv/bin/pip install --quiet 'cosmic-ray>=8.3'
	@touch $@

fuzz: $(READY)  ## try 100,000 damaged files on every reader
	$(PY) -m benchmarks.fuzz --corpus fuzz-corpus

docs: $(READY)  ## serve the documentation on this machine
	$(VENV)/bin/mkdocs serve

clean:  ## remove what these commands made
	rm -rf $(VENV) site demo-output fuzz-corpus mutants .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml scripts/make_venv.sh
	sh scripts/make_venv.sh $(VENV)
	@touch $@

$(VENV)/.screen: scripts/install_screen.sh $(READY)
	sh scripts/install_screen.sh
	@touch $@
