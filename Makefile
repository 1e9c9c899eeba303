# handlegrid on this machine. Every target prepares .venv first, when that is needed.
# PYTHON=... chooses another interpreter; else python3.11, else python3, else a newer one.

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
RUN = $(or $(PYTHON),$(error handlegrid needs Python 3.11 or newer with venv; Debian and Ubuntu: \
	apt install python3.11 python3.11-venv)) deploy/bootstrap.py

SIDE_BY_SIDE = -n logical --maxprocesses 4 --dist worksteal

.PHONY: help up down status test lint format bench bench-full fuzz sanitize

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

up:  ## Start a whole hierarchy on this machine and resolve an identifier through it
	@$(RUN) handlegrid up

down:  ## Stop it; the data stay
	@$(RUN) handlegrid down

status:  ## Show what is running, and where
	@$(RUN) handlegrid status

test:  ## Run every test on every processor (ARGS="tests/unit -q" narrows it down, on one)
	@$(RUN) --dev python -m pytest $(or $(ARGS),$(SIDE_BY_SIDE))

lint:  ## Check style and types
	@$(RUN) --dev ruff check
	@$(RUN) --dev ruff format --check
	@$(RUN) --dev mypy

format:  ## Put the code into the house's form
	@$(RUN) --dev ruff format
	@$(RUN) --dev ruff check --fix

bench:  ## Measure resolution on this machine, in less than ten minutes
	@$(RUN) --dev python -m benchmarks.all $(ARGS)

bench-full:  ## The same at full size, an hour or two
	@$(RUN) --dev python -m benchmarks.all --full $(ARGS)

fuzz:  ## Search every decoder and both data paths for faults (ARGS="--seconds 900", LAYERS="message body")
	@$(RUN) --dev python -m pip install --quiet --disable-pip-version-check -c constraints.txt atheris
	@$(RUN) --dev python -m tests.fuzz.search $(LAYERS) $(ARGS)
	@$(RUN) --dev python -m tests.fuzz.datagrams $(ARGS)

sanitize:  ## Test and fuzz the compiled module under AddressSanitizer and UBSan
	@$(RUN) --dev python -m tests.fuzz.sanitize $(ARGS)
