# `make` lists the targets. PYTHON chooses the Python that .venv is made from.
PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run lab test scores bench lint update lists lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv with the exact packages and fetch the models; once
	@command -v $(PYTHON) >/dev/null || { echo "setup: no $(PYTHON) found; \
	install Python 3.10 to 3.13, or name one: make setup PYTHON=..." >&2; exit 1; }
	@$(PYTHON) notebooks/book/bootstrap.py

run: setup ## execute every notebook and render the pages, build/book/index.html
	@cd notebooks && ../$(BIN)/python -m book.execute run $(NOTEBOOKS)

lab: setup ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir notebooks

test: setup ## run the whole test suite, two files at a time
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

scores: setup ## measure every model card again (DATA=... for the sets not in here)
	@cd notebooks && ../$(BIN)/python -m recipes score $(if $(DATA),--data $(abspath $(DATA)))

bench: setup ## print what the series costs, as ratios
	@$(BIN)/python tests/bench.py

lint: setup ## check code, notebooks and spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --exclude '*.ipynb' .
	@$(BIN)/ruff format --check --line-length 79 notebooks/*.ipynb notebooks/*/*.ipynb
	@$(BIN)/codespell

update: setup ## execute the notebooks in place, outputs clean (NOTEBOOKS=... for some)
	@cd notebooks && ../$(BIN)/python -m book.execute update $(NOTEBOOKS)

lists: setup ## write the generated tables, badges and links
	@cd notebooks && ../$(BIN)/python -m book.sync_generated

lock: setup ## renew constraints.txt from the ranges
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade \
	--no-annotate --custom-compile-command "make lock" \
	--output-file constraints.txt tests/requirements.txt

clean: ## delete .venv and build/; the cached models stay
	@rm -rf .venv build .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
