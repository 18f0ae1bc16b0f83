# Each target sets up .venv by itself when it is missing or older than what it is made from.
# ERA8_DATA names a folder that holds cifar-10-batches-py; without it the data is fetched once.
PYTHON ?= python3
BIN := .venv/bin
BIOME := 2.6.8

.PHONY: install try run test test-all test-gpu lint page notebooks study bench

install: .venv/made  ## set up .venv

try: .venv/made  ## train the BN notebook for two epochs on 5,000 images: a minute, after the set-up
	$(BIN)/python -m era8 run bn --epochs 2 --train-images 5000 --or-synthetic

run: .venv/made  ## train and write the three notebooks to runs/
	$(BIN)/python -m era8 run --or-synthetic

test: .venv/made  ## run the quick tests, minutes in all; no data set is needed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not process"

test-all: .venv/made  ## run all, also with a browser (Debian's chromium) and other versions (12 GB)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
	$(BIN)/pip install -q -e '.[browser]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser tests/versions

test-gpu: .venv/made  ## prove what needs an NVIDIA GPU; writes runs/gpu/gpu.json, to be sent
	$(BIN)/python -m pytest tests/gpu -rs -s

lint: .venv/made  ## check style, types and what imports what, notebooks and JavaScript included
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	if command -v npx >/dev/null; then npx --yes @biomejs/biome@$(BIOME) check; fi

page: .venv/made  ## rebuild README, docs, figures and study.ipynb from results/
	$(BIN)/python -m study

bench: .venv/made  ## measure the speed beside what a user would run instead, on a free machine
	$(BIN)/python -m benchmarks --race
	$(BIN)/python -m study

notebooks: .venv/made  ## train the three notebooks in full and write them over their sources
	$(BIN)/python -m era8 run --publish
	$(BIN)/python -m study

study: .venv/made  ## train the runs of study.yaml that are missing, with the versions of the others
	$(BIN)/pip install -q -c constraints.txt -e '.[study]'
	$(BIN)/python -m era8 sweep study/study.yaml --out results/runs --workers 2 --threads 1
	$(BIN)/python -m study.inside
	$(BIN)/python -m study

.venv/made: requirements.txt pyproject.toml  ## what all of them need, set up once
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q -e '.[dev,jupyter,study,sweep]'
	touch $@
