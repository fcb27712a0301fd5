# `make help` is the manual. Needs Python 3.11 or newer and a C linker; uv, Rust and everything else are installed when missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
# This machine's uv if it works, otherwise one that is installed into .tools.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/uv/bin/uv)
# uv must not resolve or download anything by itself: `sync` below installs what uv.lock names, with the Python that exists.
export UV_NO_SYNC := 1
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# With it set, every start compiles all modules again, which doubles the time of tests and service starts.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
SYNCED := .venv/.synced
PROJECTS := pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml deploy/*/pyproject.toml)
PROTOS := $(shell find protos -name '*.proto')
MESSAGES := libs/contracts/src
SOURCES := $(wildcard libs/*/src services/*/src deploy/*/src)
FILTER := libs/gateway-filter
ROUTER := services/endpoint-router
CRATES := $(FILTER) $(ROUTER)
BUILD_HOOK := tools/hatch_cargo.py
RUST := $(BUILD_HOOK) $(FILTER)/build.rs $(foreach crate,$(CRATES),$(crate)/Cargo.toml $(crate)/Cargo.lock $(shell find $(crate)/rust -name '*.rs'))
# The gateway's filter with functions for the tests in Python.
FILTER_FOR_TESTS := $(FILTER)/target/testing/release/libarks.so
TESTS := $(wildcard libs/*/tests services/*/tests deploy/*/tests charts/tests tools tests e2e bench)

.PHONY: help
help: ## Show this text
	@echo "usage: make TARGET"
	@echo
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do printf '  %-17s %s\n' "$$target" "$$text"; done
	@echo
	@echo "Arks keeps its data in ~/.arks, or in ARKS_HOME if that is set. .venv/bin/arks --help lists all commands."

# --- Arks on this machine

.PHONY: up
up: $(SYNCED) ## Install Arks (500 MB, a minute), start it, serve a small model; prints URL, key file, model and a curl line. UP="--port 9000" for options
	@$(BIN)/arks up --link $(UP)

.PHONY: down
down: $(SYNCED) ## Stop Arks; its data is kept
	@$(BIN)/arks down

# --- installation

.tools/uv/bin/uv:
	@echo "installing uv $(UV_VERSION)"
	@$(PYTHON) -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(SYNCED): uv.lock $(PROJECTS) $(RUST)
	@$(UV) --version >/dev/null 2>&1 || $(MAKE) .tools/uv/bin/uv
	@echo "installing what uv.lock names (some 500 MB where nothing is cached)"
	@$(UV) sync --quiet --frozen --all-packages --all-extras
	@# xds-protos has an older copy of these messages, and either of the two may be installed last.
	@$(UV) sync --quiet --frozen --all-packages --all-extras --reinstall-package opentelemetry-proto
	@touch $@

.PHONY: sync
sync: $(SYNCED)

$(FILTER_FOR_TESTS): $(RUST)
	@cargo build --release --locked --quiet --features testing --manifest-path $(FILTER)/Cargo.toml --target-dir $(FILTER)/target/testing
	@touch $@

# --- checks

.PHONY: test
test: $(SYNCED) ## Run all tests: first those without servers, then those with real servers. TEST="-k name" selects
	@status=0; $(MAKE) test-unit || status=$$?; $(MAKE) test-real || status=$$?; exit $$status

.PHONY: test-unit
test-unit: $(SYNCED) $(FILTER_FOR_TESTS) ## Run only the tests without servers, in seconds
	@# Without cargo's summary, which looks like pytest's: .ci/run reads that one.
	@{ cargo test --locked --quiet --features testing --manifest-path $(FILTER)/Cargo.toml && \
	  cargo test --locked --quiet --manifest-path $(ROUTER)/Cargo.toml; } 2>&1 | sed -E '/^(running|test result:) .*[0-9]|^$$/d'
	$(BIN)/pytest -m "not real and not kube and not e2e" -n auto $(TEST)

.PHONY: test-real
test-real: $(SYNCED) $(FILTER_FOR_TESTS)
	@# These tests mostly wait for servers: two files at a time, those with the longest tests first.
	$(BIN)/pytest -m "real" -n 2 --dist loadfile --no-loadscope-reorder e2e deploy services libs charts bench $(TEST)

.PHONY: test-again
test-again: $(SYNCED) $(FILTER_FOR_TESTS) ## Run what failed last time, except journeys
	$(BIN)/pytest -m "not e2e" --last-failed --last-failed-no-failures none $(TEST)

.PHONY: format
format: $(SYNCED) ## Format the code and fix what ruff can fix by itself
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format
	for crate in $(CRATES); do cargo fmt --manifest-path $$crate/Cargo.toml; done

.PHONY: lint
lint: $(SYNCED) ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	for crate in $(CRATES); do \
	  cargo fmt --check --manifest-path $$crate/Cargo.toml; \
	  cargo clippy --locked --quiet --manifest-path $$crate/Cargo.toml -- --deny warnings; \
	  cargo clippy --locked --quiet --all-targets --all-features --manifest-path $$crate/Cargo.toml -- --deny warnings; \
	done
	$(BIN)/mypy $(SOURCES) deploy/images deploy/release.py $(BUILD_HOOK)
	@# Tests have files of the same name in different directories, so mypy checks one directory at a time.
	@find $(TESTS) -name '*.py' | sed 's|/[^/]*$$||' | sort -u | while read -r tests; do echo "mypy $$tests"; $(BIN)/mypy $$tests/*.py; done

.PHONY: verify
verify: $(SYNCED) ## Check import layers, protobuf rules, and that generated files are current
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	@.ci/buf-breaking $(BIN)/buf
	@generated=$$(mktemp -d); trap 'rm -rf "$$generated"' EXIT; \
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out="$$generated" --pyi_out="$$generated" $(PROTOS); \
	(cd "$$generated" && find . -type f) | while read -r file; do \
	  cmp "$$generated/$$file" "$(MESSAGES)/$$file" || { echo "out of date: run make generate" >&2; exit 1; }; \
	done
	$(BIN)/python -m tools.generate --check

SCREENS := deploy/local/tests/render/test_screens.py

.PHONY: generate
generate: $(SYNCED) ## Generate protobuf messages, CRDs, the READMEs of charts, docs/resources.md and docs/screens.md
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=$(MESSAGES) --pyi_out=$(MESSAGES) $(PROTOS)
	$(BIN)/python -m tools.generate
	REWRITE_GOLDEN=1 $(BIN)/pytest -q $(SCREENS)

.PHONY: bench
bench: $(SYNCED) $(FILTER_FOR_TESTS) ## Compare requests a second, latency and CPU of Arks with plain Envoy, in the same run
	@for bench in gateway bodies idle; do echo "== $$bench"; $(BIN)/python -m bench.$$bench; done

.PHONY: bench-limits
bench-limits: $(SYNCED) $(FILTER_FOR_TESTS) ## Measure how exact limits are at ten times the load (5 minutes), then 100,000 tokens and a flood of keys
	@for bench in limits tokens; do echo "== $$bench"; $(BIN)/python -m bench.$$bench; done

.PHONY: bench-kills
bench-kills: $(SYNCED) $(FILTER_FOR_TESTS) ## Kill each process of the data path in turn during 100,000 requests; compare each charge. BENCH="20000 --rate 100"
	@$(BIN)/python -m bench.kills $(BENCH)

.PHONY: bench-hostile
bench-hostile: $(SYNCED) $(FILTER_FOR_TESTS) ## Measure honest load beside hostile clients: latency, charges, memory. BENCH="10 --idle 20000" (minutes)
	@$(BIN)/python -m bench.hostile $(BENCH)

.PHONY: nightly
nightly: $(SYNCED) $(FILTER_FOR_TESTS) ## Run what takes too long for each change: more inputs, the clients of others, sums of a thousand requests, kills
	ARKS_BODIES=1000000 $(BIN)/pytest services/endpoint-router/tests/adapters/envoy/test_admission_bodies.py -o timeout=7200
	ARKS_SEEDS=100 $(BIN)/pytest -q -n auto services/endpoint-router/tests/testing/test_faults.py -o timeout=7200
	ARKS_REQUESTS=1000 $(BIN)/pytest -m real e2e/test_usage_adds_up.py
	ARKS_EXAMPLES=2000 $(BIN)/pytest -m real services/openai-proxy/tests/test_served.py -k schemathesis -o timeout=7200
	ARKS_EXAMPLES=300 ARKS_OPTIONS=1000 $(BIN)/pytest -m real e2e/test_openai_description.py e2e/test_engine_options.py -o timeout=7200
	@$(MAKE) fuzz
	@$(MAKE) test-clients
	@$(MAKE) bench-kills

# Readers of what others write: bodies, answers and streams, lines of the usage log and starts, batches, load reports,
# discovery requests. Inputs to begin with are in services/*/tests/corpus.
FUZZED := $(addprefix services/endpoint-router/tests/,service/test_any_report.py \
	adapters/envoy/test_corpus.py adapters/xds/test_corpus.py \
	$(addprefix adapters/envoy/test_admission_,request.py text.py uses.py names.py errors.py answer.py answer_json.py \
	answer_dialects.py)) \
	$(addprefix services/token-quota/tests/domain/test_,charge.py corpus.py lease_book.py wire.py wire_any.py) \
	services/metrics/tests/domain/test_page.py libs/kit/tests/test_reading.py

.PHONY: fuzz
fuzz: $(SYNCED) $(FILTER_FOR_TESTS) ## Feed every reader FUZZ (20000) new inputs a test; inputs that fail are kept in .hypothesis
	ARKS_FUZZ=$(or $(FUZZ),20000) $(BIN)/pytest -q -n auto --hypothesis-profile fuzz -o timeout=7200 $(FUZZED)

CLIENTS := .tools/clients/.installed
$(CLIENTS): e2e/clients/requirements.txt
	@$(PYTHON) -m venv .tools/clients
	@$(UV) pip install --quiet --python .tools/clients/bin/python -r $<
	@touch $@

NODE_CLIENT := .tools/clients-node/.installed
NODE_SUITE := ARKS_NODE_MODULES=$(CURDIR)/.tools/clients-node node --test e2e/clients/suite.mjs
$(NODE_CLIENT): e2e/clients/package-lock.json
	@mkdir -p $(@D) && cp e2e/clients/package.json $< $(@D) && npm ci --silent --no-audit --no-fund --prefix $(@D)
	@touch $@

.PHONY: test-clients
test-clients: $(SYNCED) $(CLIENTS) $(NODE_CLIENT) ## Run OpenAI's clients for Python and Node, LiteLLM's, LangChain's, LlamaIndex', instructor's and Pydantic AI's against a real Arks, Node's at openai-proxy too
	@home=$$(mktemp -d); trap 'ARKS_HOME=$$home $(BIN)/arks down; rm -rf "$$home"' EXIT; \
	port=$$($(BIN)/python -c "from arks.kit.ports import free_port; print(free_port())"); \
	ARKS_HOME=$$home $(BIN)/arks up --port $$port && \
	ARKS_URL=http://127.0.0.1:$$port/v1 ARKS_KEY_FILE=$$home/demo-key .tools/clients/bin/pytest -q -p no:cacheprovider -c /dev/null --noconftest e2e/clients/suite.py && \
	ARKS_URL=http://127.0.0.1:$$port/v1 ARKS_KEY_FILE=$$home/demo-key $(NODE_SUITE)
	@env ARKS_NODE_MODULES=$(CURDIR)/.tools/clients-node e2e/clients/proxy.sh $(BIN)/python node --test e2e/clients/suite.mjs

.PHONY: bench-held
bench-held: $(SYNCED) $(FILTER_FOR_TESTS) ## 1,000 requests at once to an endpoint at zero: who waits, is refused and charged, and first tokens. BENCH="--known"
	@$(BIN)/python -m bench.held $(BENCH)

.PHONY: bench-routing
bench-routing: $(SYNCED) ## Measure times to first token of Arks and of Envoy's own policies at simulated engines. BENCH="--only table"
	@$(BIN)/python -m bench.routing $(BENCH)

# --- documentation

SITE := .tools/site
$(SITE)/.installed: uv.lock pyproject.toml
	@$(UV) --version >/dev/null 2>&1 || $(MAKE) .tools/uv/bin/uv
	@UV_PROJECT_ENVIRONMENT=$(SITE) $(UV) sync --quiet --frozen --only-group site
	@touch $@

# The script that draws diagrams is in the site, so that the site needs no other server.
MERMAID := mermaid-11.16.0
MERMAID_SHA256 := ff48c94a0a0458b377a5187ad01407184d2a182e6476c2015b7068ff58355fae
$(SITE)/$(MERMAID).min.js: $(SITE)/.installed
	@cd $(SITE) && if npm pack --silent $(subst -,@,$(MERMAID)) >/dev/null; then \
		echo "$(MERMAID_SHA256)  $(MERMAID).tgz" | sha256sum --check --quiet; \
		tar -xzOf $(MERMAID).tgz package/dist/mermaid.min.js >script.part; mv script.part $(@F); rm $(MERMAID).tgz; \
	else echo "without mermaid from npm, diagrams are drawn by a script from the internet"; fi

.PHONY: site
site: $(SITE)/.installed $(SITE)/$(MERMAID).min.js ## Build the documentation as a site into dist/site
	@NO_MKDOCS_2_WARNING=1 ARKS_SITE_MERMAID=$(SITE)/$(MERMAID).min.js $(SITE)/bin/mkdocs build --quiet --clean
	@echo "dist/site/index.html"

# --- release

.PHONY: release
release: $(SYNCED) ## Write VERSION=1.2.3 everywhere, build wheels and charts into dist/; prints what to do next. Publishes nothing
	@UV="$(UV)" $(BIN)/python -m deploy.release "$(VERSION)"

# --- Kubernetes

IMAGES := $(HOME)/.cache/arks-kube/images/images.tar
export UV

.PHONY: images
images: $(SYNCED) ## Build all container images, arks/NAME:dev, with Docker or buildah. IMAGE="token-quota --tag x" selects
	@$(BIN)/python deploy/images/build.py $(IMAGE)

.PHONY: push
push: $(SYNCED) ## Build the images and push them to REGISTRY=registry.example.com/arks, with the chart's version as tag
	@$(BIN)/python deploy/images/build.py --push "$(REGISTRY)" $(IMAGE)

.PHONY: kube-binaries
kube-binaries: ## Build Kubernetes, etcd, CoreDNS, LeaderWorkerSet and promtool for tests once, into ~/.cache/arks-kube (needs Go)
	@$(PYTHON) e2e/cluster/build.py

.PHONY: cluster-packages
cluster-packages: ## Install missing Debian packages for the test cluster (needs root)
	@e2e/cluster/packages.sh

.PHONY: test-kube
test-kube: $(SYNCED) $(FILTER_FOR_TESTS) kube-binaries ## Run the tests that need a real kube-apiserver
	@# The test of bench waits the longest, so it starts first.
	$(BIN)/pytest -m kube -n 2 --dist loadfile --no-loadscope-reorder bench charts services libs $(TEST)

.PHONY: bench-proxy
bench-proxy: $(SYNCED) ## Compare openai-proxy with direct gRPC; BENCH="--apart 24", "--hand-over 1500": prefill and decode apart with engines that do both
	@GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m bench.proxy $(BENCH)

.PHONY: bench-kubernetes
bench-kubernetes: $(SYNCED) kube-binaries ## Measure 500 applications and 2,000 tokens on an API server: start, idle, changes. BENCH="--number 100"
	@$(BIN)/python -m bench.kubernetes $(BENCH)

.PHONY: journey-images
journey-images: $(SYNCED) cluster-packages
	@$(BIN)/python deploy/images/build.py --engine buildah --archive $(IMAGES)

.PHONY: e2e
e2e: journey-images kube-binaries ## Run user journeys on a real one-node Kubernetes (needs root). TEST="-k name" selects
	@e2e/journeys.sh $(BIN)/pytest $(TEST)
