# Fieldloom. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

export CGO_ENABLED ?= 0
GO ?= go
BIN := bin
TOOLS := $(CURDIR)/.tools
DRIVERS := modbus mqtt serial
# The wire of v1 may only grow beyond what was released.
RELEASED := proto/released.binpb
# Go stamps binaries with the commit, and fails where git refuses to tell it: a copy
# without history, or one that belongs to another user.
ifneq ($(shell git rev-parse --verify -q HEAD >/dev/null 2>&1 && echo yes),yes)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif
# One set of flags for builds, tests and whatever a test builds: what differs in a flag is
# compiled again, the standard library with it (30 s of CPU), and kept apart in the cache.
export GOFLAGS := $(GOFLAGS) -trimpath

# Tools, pinned; built from the module proxy into .tools/.
BUF_VERSION := v1.75.0
GOLANGCI_VERSION := v2.15.0
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
# The versions are in the folder's name: another version is another tool, never an old one taken for it.
GENERATORS := $(TOOLS)/gen-$(PROTOC_GEN_GO_VERSION)-$(PROTOC_GEN_GO_GRPC_VERSION)

.PHONY: help
help: ## This text
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: build
build: packages ## Build bin/fieldloom and the signed packages in bin/drivers/

# All in one go build, so that one executable is linked while the next is compiled.
.PHONY: binaries
binaries: modules
	@mkdir -p $(BIN)/drivers && chmod go-w $(BIN) $(BIN)/drivers
	$(GO) build -ldflags=-w -o $(BIN)/ ./cmd/fieldloom $(foreach d,$(DRIVERS),./drivers/$(d)/cmd/driver-$(d))

# The first build on a machine fetches modules; say so, since it needs the network and time.
.PHONY: modules
modules:
	@if ! GOPROXY=off $(GO) mod download >/dev/null 2>&1; then \
		echo "fetching the modules of go.mod from $$($(GO) env GOPROXY) into $$($(GO) env GOMODCACHE), once" >&2; \
		$(GO) mod download || echo "go on with the modules that are there" >&2; \
	fi

# The builder's own key signs what is built here; bin/trust.yaml trusts it, and a
# gateway that finds no trust file beside its configuration takes that one. A build for
# another platform is signed by a fieldloom of this one.
.PHONY: packages
packages: binaries
	@fieldloom=$(BIN)/fieldloom; platform=$$($(GO) env GOOS)/$$($(GO) env GOARCH); \
	if [ $$platform != $$($(GO) env GOHOSTOS)/$$($(GO) env GOHOSTARCH) ]; then fieldloom="env -u GOOS -u GOARCH $(GO) run ./cmd/fieldloom"; fi; \
	if ! [ -e $(BIN)/build.key -a -e $(BIN)/trust.yaml ]; then \
		rm -f $(BIN)/build.key $(BIN)/build.pub $(BIN)/trust.yaml; \
		$$fieldloom driver keygen --no-password --private $(BIN)/build.key --public $(BIN)/build.pub --trust $(BIN)/trust.yaml >/dev/null; \
	fi; \
	for d in $(DRIVERS); do \
		$$fieldloom driver pack drivers/$$d/driver.json --exec $$platform=$(BIN)/driver-$$d --key $(BIN)/build.key --into $(BIN)/drivers --if-new; \
	done

.PHONY: demo
demo: build ## Simulated devices, drivers and gateway in one go; ARGS="--for 30s --devices 20"
	@exec $(BIN)/fieldloom demo $(ARGS)

.PHONY: test
test: modules ## All tests that need nothing but Go
	$(GO) test -timeout 10m ./...

.PHONY: race
race: ## The tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (60s) each
	GO=$(GO) FUZZTIME=$${FUZZTIME:-60s} ./scripts/fuzz.sh

.PHONY: bench
bench: build ## Every figure as a line of JSON, against a limit of the same run; ARGS="-only start,idle"
	$(GO) run ./test/bench $(ARGS)

.PHONY: load
load: build ## 1,000 devices for 60 s, counted by the witness (Modbus, then MQTT)
	$(GO) test -tags load -count=1 -v -timeout 15m ./test/load/

.PHONY: chaos
chaos: build ## The long versions of the tests that break things
	$(GO) test -tags chaos -count=1 -timeout 30m ./core/internal/spool/ ./core/internal/state/ ./core/internal/depot/ ./core/internal/supervise/ ./core/gateway/internal/samples/
	$(GO) test -tags chaos -count=1 -v -p 1 -timeout 40m ./test/chaos/... ./test/nasty/
	$(GO) test -tags chaos -count=1 -v -timeout 40m -run NoGhost ./test/e2e/

.PHONY: peers
peers: build ## Install (Debian packages) and run the tests against programs that are not ours
	./scripts/peers-install.sh
	$(GO) test -tags peers -count=1 -timeout 20m -run Peer ./...

.PHONY: check
check: lint portable generated licences ## Lint, generated code and licences, and that authors may build elsewhere

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) $(TOOLS)/buf-$(BUF_VERSION)
	$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) run ./...
	$(TOOLS)/buf-$(BUF_VERSION) lint
	$(TOOLS)/buf-$(BUF_VERSION) format -d --exit-code
	$(TOOLS)/buf-$(BUF_VERSION) breaking --against $(RELEASED)

# What an author of a driver imports, on what he may sit at.
AUTHORS := ./core/plugin ./core/driver/... ./core/engine/... ./core/control/... ./core/frame/... ./proto/driver/...
.PHONY: portable
portable: ## What authors import, built for macOS and Windows
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build $(AUTHORS)
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build $(AUTHORS)

.PHONY: generate
generate: generators ## Generate the wire's Go code
	PATH="$(GENERATORS):$$PATH" $(TOOLS)/buf-$(BUF_VERSION) generate

.PHONY: generated
generated: generators ## Prove that the committed generated code is current and go.mod is tidy
	@rm -rf $(TOOLS)/fresh && mkdir -p $(TOOLS)/fresh
	PATH="$(GENERATORS):$$PATH" $(TOOLS)/buf-$(BUF_VERSION) generate -o $(TOOLS)/fresh
	@for f in proto/driver/v1/*.pb.go; do diff -q "$$f" "$(TOOLS)/fresh/$$f" || { echo "$$f is not current: run make generate" >&2; exit 1; }; done
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: licences
licences: ## Every dependency's licence is one we may ship
	$(GO) test -count=1 -run Licences ./test/rules

.PHONY: generators
generators: $(TOOLS)/buf-$(BUF_VERSION) $(GENERATORS)/protoc-gen-go $(GENERATORS)/protoc-gen-go-grpc

define install
	@mkdir -p $(@D)
	cd / && GOBIN=$(TOOLS)/tmp $(GO) install $(1)
	@mv $(TOOLS)/tmp/$(2) $@
endef

$(TOOLS)/buf-$(BUF_VERSION):
	$(call install,github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION),buf)
$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION),golangci-lint)
$(GENERATORS)/protoc-gen-go:
	$(call install,google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION),protoc-gen-go)
$(GENERATORS)/protoc-gen-go-grpc:
	$(call install,google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC_VERSION),protoc-gen-go-grpc)

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN) $(TOOLS)
