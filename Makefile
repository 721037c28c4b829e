# The workshop's commands; `make` alone lists them. Works with GNU make 3.81 and later.
# Each sets .venv up first, from requirements.txt, and finds it ready from then on.
#
#   make lessons LESSON=03            only the lessons whose names start so; several, in this order: LESSON="03 01"
#   make lessons TIMEOUT=1200         seconds that one cell may take
#   make test PYTEST_ARGS="-k rules"  anything that pytest takes
#   make workshop JUPYTER_ARGS="--no-browser --port 9999"
#   make instance INSTANCE_ARGS="--yes --region eu-west-1"      see scripts/notebook_instance/instance.py
#   make test-images IMAGE="3.2-0 2.13"   only the images with these in their names
#   make test-aws LESSON="03 12"      on your account, only these; YES=1 does not ask
#   make PYTHON=/path/to/python3.12 … the interpreter that .venv is made from; else the newest of 3.11 to 3.13

LESSON ?=
TIMEOUT ?= 600
PYTEST_ARGS ?= -n 2
JUPYTER_ARGS ?=
INSTANCE_ARGS ?=
LOCK_ARGS ?=
BENCH ?=
IMAGE ?=
YES ?=
# PyTorch makes this folder as soon as it has an optimizer, by default in TMPDIR, and leaves it there.
TORCHINDUCTOR_CACHE_DIR ?= $(CURDIR)/build/torchinductor
export PYTHON LOCK_ARGS TORCHINDUCTOR_CACHE_DIR

VENV_PYTHON := .venv/bin/python
FOR_LESSON_10 = $(if $(LESSON),$(if $(filter 1 10%,$(LESSON)),sdk3),sdk3) # where it is among the lessons
ON_STUB := $(VENV_PYTHON) -m lessons.on_stub $(VENV_PYTHON) -m

.PHONY: help env sdk3 clients site-env site workshop kernel instance instance-status instance-delete lessons test test-aws test-images bench notebooks lint format lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

env: ## set .venv up, where the lock has changed
	@.ci/make_venv

# Few of their modules are ever loaded, so pip need not compile all of them.
sdk3: env ## the same for .venv-sdk3: version 3 of the SDK, the kernel of lesson 10
	@PIP_NO_COMPILE=1 .ci/make_venv .venv-sdk3 requirements-sdk3.txt "1 GB"

clients: sdk3 ## and for .venv-cli: the AWS CLI, which the tests try on the stub AWS
	@PIP_NO_COMPILE=1 .ci/make_venv .venv-cli requirements-cli.txt "0.3 GB"

site-env: ## and for .venv-site: the tools of the site
	@PIP_NO_COMPILE=1 .ci/make_venv .venv-site requirements-site.txt "0.2 GB"

# `-m jupyterlab`, not the script `jupyter-lab`, which would not survive a move of this folder.
workshop: env ## open the lessons in JupyterLab, with an AWS of their own on this machine
	@$(ON_STUB) jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=. \
		--LabApp.default_url=/lab/tree/notebooks --LabApp.extension_manager=readonly \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
		--KernelManager.transport_encryption=auto $(if $(filter 0,$(shell id -u)),--allow-root) $(JUPYTER_ARGS)

lessons: env $(FOR_LESSON_10) ## execute every lesson; pages go to build/lessons/
	@$(ON_STUB) lessons.run --timeout $(TIMEOUT) $(LESSON)

site: site-env ## make a site of what `make lessons` has executed, in build/site/; executes nothing
	@.venv-site/bin/python -m lessons.site

test: clients site-env ## lint, then every test, the lessons among them
	@$(VENV_PYTHON) -m ruff check --quiet .
	@$(VENV_PYTHON) -m ruff format --check --quiet . || \
		{ echo "Some files are not formatted: run 'make format'." >&2; exit 1; }
	@$(VENV_PYTHON) -m mypy --no-error-summary
	@scratch=$$(mktemp -d) && trap 'chmod -R u+rwx "$$scratch"; rm -rf "$$scratch"' EXIT && trap 'exit 130' HUP INT TERM && \
		mkdir "$$scratch/tmp" && \
		TMPDIR="$$scratch/tmp" $(VENV_PYTHON) -m pytest --basetemp="$$scratch/pytest" $(PYTEST_ARGS)

test-aws: env $(FOR_LESSON_10) ## run the lessons on your AWS account, which bills; says how much at most, asks, cleans up
	@$(VENV_PYTHON) -m lessons.on_aws $(if $(filter 1,$(YES)),--yes) $(LESSON)

test-images: env ## run the entry points on the versions of SageMaker's images; up to 25 GB in build/images/
	@$(VENV_PYTHON) -m tests.support.image_environments $(IMAGE)

bench: env ## measure speed side by side; BENCH=torch_throughput for one
	@$(VENV_PYTHON) -m tests.bench $(BENCH)

kernel: env ## make .venv, and .venv-sdk3 where it is set up, kernels of this user's Jupyter, as on a notebook instance
	@scratch=$$(mktemp -d) && trap 'chmod -R u+rwx "$$scratch"; rm -rf "$$scratch"' EXIT && TMPDIR="$$scratch" \
		$(VENV_PYTHON) -m ipykernel install --user --name workshop --display-name "Python 3 (workshop)" && \
		if [ -x .venv-sdk3/bin/python ]; then TMPDIR="$$scratch" \
		.venv-sdk3/bin/python -m ipykernel install --user --name workshop-sdk3 --display-name "Python 3 (SageMaker SDK 3)"; fi

instance: env ## make a notebook instance on AWS, with bucket and role; says the price and asks first
	@$(VENV_PYTHON) -m notebook_instance.instance create $(INSTANCE_ARGS)

instance-status: env ## say what of it is there, and what it costs now
	@$(VENV_PYTHON) -m notebook_instance.instance status $(INSTANCE_ARGS)

instance-delete: env ## delete it with all that is in it; lists that and asks first
	@$(VENV_PYTHON) -m notebook_instance.instance delete $(INSTANCE_ARGS)

notebooks: env ## derive notebooks/*.ipynb from notebooks/*.py
	@$(VENV_PYTHON) -m lessons.pairs

lint: env ## check style, types, and the rules of the lessons
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) -m lessons.rules
	@$(VENV_PYTHON) -m lessons.pairs --check

format: env ## format the code, and derive the notebooks
	@$(VENV_PYTHON) -m ruff check --fix --exit-zero --quiet .
	@$(VENV_PYTHON) -m ruff format .
	@$(VENV_PYTHON) -m lessons.pairs

lock: ## resolve requirements*.in into requirements*.txt, for every Python and system
	@.ci/make_lock

clean: ## remove .venv and its sisters, build/ and every cache
	rm -rf .venv .venv-sdk3 .venv-cli .venv-site build .pytest_cache .ruff_cache .mypy_cache
	find notebooks scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
	find notebooks scripts -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
