# Needs make and Python 3.11 or newer (with its venv module). Everything else goes into .venv, at the versions of uv.lock.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# 3.11 first: it is what the tests run on.
PYTHONS := python3.11 python3.12 python3.13 python3 python
STAMP := .venv/.installed
AWS_SAM_CLI := aws-sam-cli==1.170.0
CFN_LINT := cfn-lint==1.58.0
CHECKOV := checkov==3.3.30
# Where the packages are that are no installed ones; what the tests and mypy read from pyproject.toml.
PACKAGES := .:layers/zentrigger:client

# What the calling shell has set must not lead any tool out of .venv.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONSTARTUP
unexport UV_PROJECT_ENVIRONMENT UV_PYTHON UV_PROJECT UV_WORKING_DIRECTORY UV_SYSTEM_PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_PYTHON_DOWNLOADS := never
# Trust whom the machine trusts (a company's proxy, say); uv falls back on its own list where the machine has none.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem)
export UV_SYSTEM_CERTS ?= $(if $(CERTIFICATES),true,false)
export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------------------------------------------------- running

.PHONY: demo
demo: $(STAMP) ## show the whole path on this machine: HTTP, S3, a refusal (3 minutes; no AWS account, no Docker)
	@python -m local.demo

.PHONY: up
up: $(STAMP) ## keep the embedded AWS running; Ctrl-C ends it (SCHEDULE="rate(1 minute)", PIPELINES=/your/project, FAULTS=help)
	@python -m local up $(if $(SCHEDULE),--schedule "$(SCHEDULE)") $(if $(PIPELINES),--pipelines "$(PIPELINES)") \
		$(if $(FAULTS),--faults "$(FAULTS)")

# --------------------------------------------------------------------------------------------------------- checking

.PHONY: test
test: $(STAMP) ## run all tests (ARGS="-k name" for some)
	@python -m pytest $(ARGS)

# A ZenML server needs packages that nothing else here does: an environment of its own, from the same lock file.
ZENML_SERVER_VENV := .local/zenml-server/venv

.PHONY: test-zenml-server
test-zenml-server: $(STAMP) ## run the tests that need a ZenML server (6 minutes; 130 MB to download the first time)
	@UV_PROJECT_ENVIRONMENT=$(ZENML_SERVER_VENV) uv sync --quiet --frozen --only-group zenml-server
	@ZENTRIGGER_ZENML_SERVER_PYTHON=$(CURDIR)/$(ZENML_SERVER_VENV)/bin/python \
		python -m pytest tests/zenml_server -m zenml_server -o log_cli=true -o log_cli_level=INFO $(ARGS)

.PHONY: test-image
test-image: $(STAMP) ## build the image without Docker and run it (2 minutes the first time; root, buildah, crun, debootstrap)
	@python -m pytest tests/image -m image $(ARGS)

.PHONY: test-artifacts
test-artifacts: $(STAMP) ## build what is deployed, with SAM and for this machine, and run it (1 minute; 60 MB to download)
	@ZENTRIGGER_SAM="uvx --quiet --from $(AWS_SAM_CLI) sam" python -m pytest tests/artifacts $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff: rules and format; import-linter: who may know whom
	@ruff check .
	@ruff format --check .
	@PYTHONPATH="$(PACKAGES)" lint-imports --no-cache

.PHONY: types
types: $(STAMP) ## mypy, strict, sources and tests
	@mypy .

# These three run apart from .venv: they would hold back its packages.
.PHONY: validate
# Only read, never called: `sam validate` wants to know a Region. A deployment must not get one by default.
validate: export AWS_DEFAULT_REGION ?= eu-central-1
validate: $(STAMP) ## template.yaml: sam validate --lint, cfn-lint for all Regions, checkov (200 MB to download the first time)
	@echo "Checking template.yaml with $(AWS_SAM_CLI), $(CFN_LINT) and $(CHECKOV)"
	@uvx --quiet --from "$(AWS_SAM_CLI)" sam validate --lint
	@uvx --quiet --from "$(CFN_LINT)" cfn-lint --regions ALL_REGIONS -- template.yaml
	@uvx --quiet --from "$(CHECKOV)" checkov --file template.yaml --framework cloudformation --compact --quiet --skip-download

.PHONY: check
check: lint types validate test ## everything that CI checks

.PHONY: format
format: $(STAMP) ## rewrite the sources as ruff wants them
	@ruff check --fix .
	@ruff format .

.PHONY: build
build: $(STAMP) ## sam build: functions and layers, ready for sam deploy
	@uvx --quiet --from "$(AWS_SAM_CLI)" sam build

# -------------------------------------------------------------------------------------------------------- deploying
# docs/deploy.md tells the whole way. Every step may be repeated; what is there already is left as it is.

STAGE ?= dev
DEPLOY = @python -m deploy $(1) --stage "$(STAGE)" $(if $(REGION),--region "$(REGION)")

.PHONY: deploy
deploy: $(STAMP) ## build and deploy to AWS, publish, and try it with a real run (STAGE=dev, REGION=eu-central-1)
	@$(MAKE) --no-print-directory deploy-build
	@$(MAKE) --no-print-directory deploy-image
	@$(MAKE) --no-print-directory deploy-stack
	@$(MAKE) --no-print-directory deploy-publish
	@$(MAKE) --no-print-directory deploy-smoke

.PHONY: deploy-build
deploy-build: build ## sam build, as make build

.PHONY: deploy-image
deploy-image: $(STAMP) ## build the image of this commit and push it to ECR (BUILD_OPTIONS="--secret …" for docker)
	$(call DEPLOY,image) $(if $(BUILD_OPTIONS),--build-options='$(BUILD_OPTIONS)')

.PHONY: deploy-stack
deploy-stack: deploy-build ## sam deploy with that image (IMAGE_URI=repository@sha256:… for another one)
	$(call DEPLOY,stack) --sam 'uvx --quiet --from $(AWS_SAM_CLI) sam' $(if $(IMAGE_URI),--image-uri "$(IMAGE_URI)")

.PHONY: deploy-publish
deploy-publish: $(STAMP) ## publish the pipelines, with a key that is made the first time and kept in Secrets Manager
	$(call DEPLOY,publish)

.PHONY: deploy-smoke
deploy-smoke: $(STAMP) ## ask for /health, and run training_pipeline to its end (SMOKE="--pipeline name" for another)
	$(call DEPLOY,smoke) $(SMOKE)

.PHONY: destroy
destroy: $(STAMP) ## say what deleting the stack would delete and keep; do it with YES=1
	$(call DEPLOY,destroy) $(if $(YES),--yes)

.PHONY: clean
clean: ## remove .venv, caches and what the embedded AWS left
	rm -rf .venv .local .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------- installing

.PHONY: install
install: $(STAMP) ## make .venv; every other target does it by itself

# A .venv of an older checkout is brought up to date; one whose interpreter is gone is made anew.
$(STAMP): uv.lock pyproject.toml client/pyproject.toml
	@set -eu; \
	works() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	uv_version=$$(awk '/^name = "uv"$$/ {getline; gsub(/"/, "", $$3); print $$3; exit}' uv.lock); \
	if ! works .venv/bin/python; then \
		found=; \
		for candidate in $(PYTHONS); do \
			if works "$$candidate"; then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "No Python 3.11 or newer found (looked for: $(PYTHONS)). Install one and call make again." >&2; exit 1; \
		fi; \
		echo "Making .venv with $$("$$found" -c 'import platform, sys; print(sys.executable, platform.python_version())')"; \
		"$$found" -m venv --clear .venv || { \
			rm -rf .venv; \
			echo "$$found cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
		}; \
	fi; \
	if [ "$$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$$uv_version" ]; then \
		echo "Installing uv $$uv_version into .venv (about 25 MB to download)"; \
		.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null; \
		.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$$uv_version"; \
	fi; \
	echo "Installing the packages of uv.lock into .venv (about 240 MB to download the first time)"; \
	.venv/bin/uv sync --frozen --project .; \
	touch $@; \
	echo "Ready: .venv, $$(du -sh .venv | cut -f1)"
