# make run and make test work on a fresh machine: they set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes; one has the tests of whole commands, which start Ray, and begins with them.
TWO := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: run test test-fast test-cluster check fix lock wheel clean

run: $(VENV)/.installed
	$(BIN)/python -m tune_app.run

test: $(VENV)/.installed check
	$(BIN)/python -m pytest $(TWO)

test-fast: $(VENV)/.installed
	$(BIN)/python -m pytest $(TWO) -m "not system"

# A real `ray up` of head and workers in namespaces of this machine, 6 minutes, as root; needs
# openssh-server, rsync and iproute2.
test-cluster: $(VENV)/.installed
	$(BIN)/python -m tests.cluster

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The versions that were tested together; run it after changing pyproject.toml.
lock: $(VENV)/.installed
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' > constraints.txt

# What cluster.yaml installs on its nodes.
wheel: $(VENV)/.installed
	rm -f dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation

$(VENV)/.installed: pyproject.toml constraints.txt tests/servers.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(PYTHON) -m venv $(VENV)/servers
	$(VENV)/servers/bin/python -m pip install --quiet --requirement tests/servers.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
