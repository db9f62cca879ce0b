# Thin calls: notebooks/book/bootstrap.py does the work, and does it without make too.
# `make` lists the targets. PYTHON chooses the Python that .venv is made from,
# NOTEBOOKS=... some notebooks for run and update, DATA=... the folder of sets for scores.
PYTHON ?= python3
TARGETS := setup run lab check smoke test nightly scores bench lint update lists lock clean

.DEFAULT_GOAL := help
.PHONY: help $(TARGETS)

help $(TARGETS):
	@command -v "$(PYTHON)" >/dev/null || { echo "setup: no $(PYTHON) found; \
	install Python 3.11 or newer, or name one: make $@ PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" notebooks/book/bootstrap.py $@ \
	$(if $(filter run update,$@),$(NOTEBOOKS)) \
	$(if $(filter scores nightly,$@),$(if $(DATA),--data "$(DATA)"))
