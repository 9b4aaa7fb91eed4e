# Each target does its own set-up from nothing but Python 3.11 to 3.14; the second time it is quick.
#
#   make run  [PORT=8080] [HOST=127.0.0.1] [AVATAR=me.avatar]    serve; open the address it prints
#   make test                                                    every check and test
#   make egress                                                  every command under watch: does anything leave? (minutes)
#   make long                                                    the tests that take minutes: instruments' real runs, a fleet
#   make figures                                                 the documents' tables, from benchmarks/results
#   make setup [PYTHON=/path/to/python]                          what `run` needs, into .venv
#   make setup-dev                                               what `test` needs, into .venv
#   make lock | audit | sbom | lowest                            the locked versions: renewed; asked about known holes; as a
#                                                                bill of materials; the oldest allowed ones tried

VENV := .venv
PY := $(VENV)/bin/python
STAMP_SERVE := $(VENV)/.ready-serve
STAMP_DEV := $(VENV)/.ready-dev
TOOLS := .venv-tools
STAMP_TOOLS := $(TOOLS)/.ready
LOCKS := $(wildcard .ci/lock/*.txt)
SETUP := .ci/setup.sh

.PHONY: run test egress long check types format layers rules figures setup setup-dev doctor lock audit sbom lowest clean
.DEFAULT_GOAL := run

run: $(STAMP_SERVE)
	@$(PY) -m engine.cli serve $(if $(AVATAR),--avatar "$(AVATAR)") $(if $(HOST),--host "$(HOST)") $(if $(PORT),--port "$(PORT)")

doctor: $(STAMP_SERVE)
	@$(PY) -m engine.cli doctor

# Bytecode is kept, whatever the environment says: every worker and command of the tests imports the same again.
test: $(STAMP_DEV)
	@$(MAKE) --no-print-directory format layers
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

egress: $(STAMP_DEV)
	$(PY) -m pytest -m "long or not long" tests/test_egress.py

long: $(STAMP_DEV)
	OMP_NUM_THREADS=1 $(PY) -m pytest -m long

check: $(STAMP_DEV)
	@$(MAKE) --no-print-directory -j2 format types layers rules

types: $(STAMP_DEV)
	$(PY) -m pytest -q tests/test_types.py

format: $(STAMP_DEV)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

layers: $(STAMP_DEV)
	$(VENV)/bin/lint-imports

rules: $(STAMP_DEV)
	$(PY) -m pytest -q tests/test_repository.py

figures: $(STAMP_DEV)
	$(PY) -m engine.cli bench readme

setup: $(STAMP_SERVE)

setup-dev: $(STAMP_DEV)

$(STAMP_SERVE): pyproject.toml $(SETUP) $(LOCKS)
	@sh $(SETUP) serve
	@touch $@

$(STAMP_DEV): pyproject.toml $(SETUP) $(LOCKS)
	@sh $(SETUP) dev
	@touch $@ $(STAMP_SERVE)

$(STAMP_TOOLS): $(SETUP) .ci/lock/tools.txt
	@sh $(SETUP) tools
	@touch $@

lock: $(STAMP_TOOLS)
	@sh .ci/lock.sh

# --strict: what no advisory database could be asked about is no clean bill.
audit: $(STAMP_TOOLS)
	$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes $(patsubst %,-r %,$(LOCKS))

sbom: $(STAMP_TOOLS)
	@mkdir -p build
	$(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file build/avatarcast.cdx.json .ci/lock/serve.txt
	@echo "build/avatarcast.cdx.json: what serves, as CycloneDX"

lowest: $(STAMP_TOOLS)
	@sh .ci/lowest.sh

clean:
	rm -rf $(VENV) $(TOOLS)
