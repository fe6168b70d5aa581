# popstream's front door. `make help` lists the targets; each one sets up what it needs, once, in .venv.

NET ?= resnet20-w1a2
N ?= 20
STALL ?= 0
SEED ?= 0
PYTHON ?= python3

VENV := .venv
PY := $(VENV)/bin/python
TESTED := $(VENV)/.dev $(VENV)/.sim $(VENV)/.build $(VENV)/.train $(VENV)/.host $(VENV)/.farm $(VENV)/.plot $(VENV)/.report $(VENV)/.soc $(VENV)/.prove $(VENV)/.mutate $(VENV)/.fuzz $(VENV)/.qonnx $(VENV)/.brevitas
# A file of tests goes to one process, long files first (tests/conftest.py). One that crashes ends the run: a new one
# would be given the same test again, without end.
PYTEST = PYTEST_ADDOPTS=$(call quoted,ARGUMENTS) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
ARGUMENTS ?=
# What is given to one make is not for another that it starts, as a test does.
unexport ARGUMENTS BAUD BOARD BUS CHECK CODE DATA FAMILY FITS FLASH FPS FREQ HOURS MODEL N NAME NET PYTHON REGISTERS RELOADABLE RTL SEED SEEDS SPEC STALL TAKE TIME WAVES
# Freed activations stay with the process: without, glibc returns and faults them in again at every step.
TRAINING := MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000

# A variable's value as one word of the shell, whatever is in it; ARGUMENTS are several, which no shell reads.
quoted = '$(subst ','\'',$(value $(1)))'
if_given = $(if $(value $(1)),$(2) $(call quoted,$(1)))
RUN = POPSTREAM_ARGUMENTS=$(call quoted,ARGUMENTS) $(PY) -m popstream
SEEDED = --seed $(call quoted,SEED) $(call if_given,SEEDS,--seeds)

.NOTPARALLEL:  # two pip in one environment undo each other's work
.DEFAULT_GOAL := help
.PHONY: help sim test check soak fuzz train sweep tables speed export export-qonnx import rom accuracy bits fold cost occupancy report prove mutate verilog \
    resources unit bitstream bitstreams bench boards flash board-sim netlist reload host docs lint clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12
	@echo
	@echo 'NET='$(call quoted,NET)' picks a network of model/zoo, N='$(call quoted,N)' the number of images;' \
	    'ARGUMENTS= adds options (ARGUMENTS=--help lists them).'

sim: $(VENV)/.sim  ## stream real images through the RTL and compare with the golden model (WAVES=1, STALL=0.3)
	$(RUN) sim $(call quoted,NET) --images $(call quoted,N) --stall $(call quoted,STALL) --seed $(call quoted,SEED) $(if $(value WAVES),--waves)

test: $(TESTED) lint  ## lint, type check and run every test
	$(PYTEST)

check: $(TESTED) lint  ## lint, type check and the tests that end soon: two minutes, for the inner loop
	$(PYTEST) --within 120

soak: $(VENV)/.sim $(VENV)/.train $(VENV)/.farm  ## random cases of every kind for HOURS (1), with SEED; the same command goes on
	$(RUN) soak $(call if_given,HOURS,--hours) --seed $(call quoted,SEED)

fuzz: $(VENV)/.sim $(VENV)/.build $(VENV)/.fuzz  ## hostile bytes, guided by coverage, into all that reads others' files, for HOURS (1); goes on
	$(RUN) soak --fuzz all $(call if_given,HOURS,--hours) --seed $(call quoted,SEED)

train: $(VENV)/.train  ## train NET by its recipe in model/recipes; the same command resumes
	$(TRAINING) $(RUN) train $(call quoted,NET) $(if $(filter command line,$(origin SEED)),--seed $(call quoted,SEED))

sweep: $(VENV)/.train $(VENV)/.farm  ## train the runs of SPEC (model/sweeps) on Ray, here or at RAY_ADDRESS; the same command resumes
	$(TRAINING) $(RUN) sweep $(call if_given,SPEC)

tables: $(VENV)/.train $(VENV)/.sim  ## SPEC's results beside the published ones: tables, heat maps, curves, accuracy against LUTs
	$(RUN) tables $(call if_given,SPEC)

speed: $(VENV)/.train  ## images/s of NET's training beside a plain PyTorch loop, in one run
	$(TRAINING) $(RUN) speed $(call quoted,NET)

export: $(VENV)/.train  ## freeze a trained NET, write model/zoo/NET and its ROM image
	$(RUN) export $(call quoted,NET)

export-qonnx: $(VENV)/.qonnx  ## write NET as a QONNX file, and compare every node of N images in its own executor with golden
	$(RUN) export-qonnx $(call quoted,NET) --images $(call quoted,N)

import: $(VENV)/.qonnx  ## take in MODEL, a QONNX file of Brevitas or QKeras, as the network NAME (DATA=cifar10; ARGUMENTS='--mean .. --std ..')
	$(RUN) import $(call if_given,MODEL) $(call if_given,NAME,--name) $(call if_given,DATA,--data)

rom: $(VENV)/.core  ## pack NET's manifest into a ROM image (.bin, .mem) and read it back
	$(RUN) rom $(call quoted,NET)

accuracy: $(VENV)/.sim $(VENV)/.train $(VENV)/.farm  ## float, frozen, golden (N images) and RTL (RTL images) top-1 side by side
	$(RUN) accuracy $(call quoted,NET) --images $(call quoted,N) --rtl $(call quoted,$(if $(value RTL),RTL,N))

occupancy: $(VENV)/.sim $(VENV)/.plot  ## how long each stage of NET is busy, starved and blocked; plots of that and of cost
	$(RUN) occupancy $(call quoted,NET)

report: $(VENV)/.sim $(VENV)/.report  ## NET on one page: what was measured, drawn, with BOARD's bitstream if there is one
	$(RUN) report $(call quoted,NET) $(call if_given,BOARD)

bits: $(VENV)/.sim $(VENV)/.train $(VENV)/.build $(VENV)/.plot  ## cycles x LUT of NET's recipe for all W and A of 1, 2 and 4 (untrained)
	$(RUN) bits $(call quoted,NET)

fold: $(VENV)/.build  ## fold NET to BOARD: the fastest folding that fits, or with FPS= the smallest that reaches it
	$(RUN) fold $(call quoted,NET) $(call if_given,BOARD) $(call if_given,FPS,--fps) $(call if_given,FREQ,--freq)

cost: $(VENV)/.build  ## compare the cost model with synthesis on ten points; goes on where it was stopped
	$(RUN) cost

prove: $(VENV)/.prove  ## prove that every block with streams keeps the contract (ARGUMENTS='Skid Fork', ARGUMENTS=--quick)
	$(RUN) prove

verilog: $(VENV)/.build  ## write NET's accelerator as Verilog for a design of your own (NAME=, BUS=axi, REGISTERS=1)
	$(RUN) verilog $(call quoted,NET) $(if $(filter command line,$(origin NAME)),--name $(call quoted,NAME)) \
	    $(call if_given,BUS,--bus) $(if $(value REGISTERS),--registers)

unit: $(VENV)/.build  ## place and route the compute unit by itself, beside others' blocks (ARGUMENTS='conv16 conv64')
	$(RUN) unit

resources: $(VENV)/.build  ## synthesise NET's accelerator and report LUT, EBR and DSP (FAMILY=ecp5 or ice40)
	$(RUN) resources $(call quoted,NET) $(call if_given,FAMILY,--family)

netlist: $(VENV)/.sim $(VENV)/.build  ## NET's synthesised netlist (iCE40) in simulation, N images against the golden model
	$(RUN) netlist $(call quoted,NET) --images $(call quoted,N) --stall $(call quoted,STALL)

mutate: $(if $(value CODE),$(TESTED),$(VENV)/.sim $(VENV)/.build)  ## plant 200 faults in NET's netlist, or with CODE=1 in popstream's Python: each must be noticed
	$(RUN) mutate $(if $(value CODE),--code,$(call quoted,NET)) --seed $(call quoted,SEED)

board-sim: $(VENV)/.sim $(VENV)/.build $(VENV)/.host  ## BOARD's complete top with NET in simulation: N images by the host program, against golden
	$(RUN) board-sim $(call quoted,NET) $(call if_given,BOARD) --images $(call quoted,N) $(call if_given,BAUD,--baud)

host: $(VENV)/.host  ## talk to a board: ARGUMENTS='identify --port PORT', classify, data, selftest, ports
	$(RUN) host

bitstream: $(VENV)/.build  ## build NET for BOARD, timing checked (SEED=, SEEDS=, FREQ=, RELOADABLE=1; the fastest folding that fits)
	$(RUN) bitstream $(call quoted,NET) $(call if_given,BOARD) $(SEEDED) $(call if_given,FREQ,--freq) $(if $(value RELOADABLE),--reloadable)

bitstreams: $(VENV)/.build  ## build NET for every board that the open tools build, and print the table; goes on where it stopped
	$(RUN) bitstreams $(call quoted,NET) $(SEEDED)

bench: $(VENV)/.build $(VENV)/.sim  ## NET on BOARD: images/s, clock, resources, use of the lanes, beside published designs
	$(RUN) bench $(call quoted,NET) $(call if_given,BOARD) $(if $(filter-out 0,$(value SEED)),--seed $(call quoted,SEED)) \
	    $(call if_given,SEEDS,--seeds) $(call if_given,FREQ,--freq)

reload: $(VENV)/.build  ## put NET into a bitstream of BOARD built with RELOADABLE=1 for a network of the same shape
	$(RUN) reload $(call quoted,NET) $(call if_given,BOARD)

boards: $(VENV)/.build  ## list the boards; with NET= at how many cycles it fits each of them (FITS=1: all networks)
	$(RUN) boards $(if $(filter command line,$(origin NET)),$(call quoted,NET)) $(if $(value FITS),--fits)

flash: $(VENV)/.build  ## write NET's bitstream to BOARD's SRAM, or with FLASH=1 to its flash
	$(RUN) flash $(call quoted,NET) $(call if_given,BOARD) $(if $(value FLASH),--flash)

docs: $(VENV)/.sim $(VENV)/.build  ## tables and figures of README and docs/ made anew (TAKE='build/.../sim.json', TIME='make sim', CHECK=1)
	POPSTREAM_ARGUMENTS=$(call quoted,ARGUMENTS) $(PY) -m docs $(foreach file,$(value TAKE),--take '$(subst ','\'',$(file))') \
	    $(call if_given,TIME,--time) $(if $(value CHECK),--check)

lint: $(VENV)/.dev  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:  ## remove everything built; what was trained (build/*/train, build/sweeps) stays
	@[ ! -d build ] || find build -mindepth 2 -maxdepth 2 ! -path 'build/sweeps/*' ! -name train -exec rm -rf {} +
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 \( -type f -o -empty \) -delete

# The environment: one stamp per set of packages, so that `make sim` installs no torch.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than 3.11; set PYTHON=python3.11 or newer"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) -m venv failed; install Python's venv module"; exit 1; }
	@touch $@

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "setting up $(VENV): core"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.sim $(VENV)/.build $(VENV)/.train $(VENV)/.host $(VENV)/.farm $(VENV)/.plot $(VENV)/.report $(VENV)/.soc $(VENV)/.prove $(VENV)/.mutate $(VENV)/.fuzz $(VENV)/.qonnx $(VENV)/.brevitas $(VENV)/.dev: $(VENV)/.%: $(VENV)/.core
	@echo "setting up $(VENV): $*"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
