# make demo   designs, trains and exports an early-exit network on scikit-learn's digits (runs/demo)
# make test   runs the tests
# Both set themselves up in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Threads that spin while they wait starve each other on shared cores.
export OMP_WAIT_POLICY ?= passive
# Where data sets are looked for; tests that need one that is not there are skipped.
ifneq ($(wildcard ../shared/data),)
export OFFRAMP_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test lint clean

demo: $(STAMP)
	$(BIN)/offramp run digits --out runs/demo

test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs/demo
