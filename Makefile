# Every target has its help in the same line; "make help" prints them.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/seahow-uk/nodeprobe/cmd.version=$(VERSION)
TOOL    := go tool -modfile=scripts/tools/go.mod
FUZZTIME ?= 2000x

# One static file; only the race detector needs C.
export CGO_ENABLED = 0

.PHONY: help run test check build bench bench-storage torture-storage proto fuzz fake-paths e2e e2e-path meshes clean \
	check-format check-vet check-staticcheck check-arrows check-tidy check-proto ceilings

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' Makefile

run: build ## build, and run a mesh of four nodes on ports 8443-8446 until Ctrl-C (KEEP=1 keeps its data)
	@exec bin/mesh $(MESHFLAGS)

test: ## run all tests, with the race detector where there is a C compiler
	@scripts/test.sh

check: check-format check-vet check-staticcheck check-arrows check-tidy check-proto ceilings ## run every check that needs no tests to run

build: ## build bin/nodeprobe, and bin/mesh that "make run" uses
	go build -buildvcs=false -trimpath -tags grpcnotrace -ldflags "$(LDFLAGS)" -o bin/nodeprobe .
	@go build -buildvcs=false -trimpath -o bin/mesh ./scripts/mesh

bench: build ## run the benchmarks and print one table: figure, bar, verdict (BENCH=regexp picks rows)
	@go build -buildvcs=false -trimpath -tags grpcnotrace -o bin/bench ./scripts/bench
	@exec bin/bench -run '$(BENCH)'

bench-storage: ## measure the store in minutes of 31 simulated days, with 1,000 peers, and its questions (BENCH=regexp picks rows)
	@go build -buildvcs=false -trimpath -o bin/bench ./scripts/bench
	@exec bin/bench -storage -run '$(BENCH)'

torture-storage: ## kill, fill, flip and cut: 500 kills, 30 full disks, 200 damaged files (as root; BENCH=regexp picks rows)
	@go build -buildvcs=false -trimpath -o bin/bench ./scripts/bench
	@exec bin/bench -torture -run '$(BENCH)'

proto: ## regenerate the plugin contract's Go code (needs protoc)
	@scripts/proto.sh sdk/proto/v1

fuzz: ## run each fuzz target FUZZTIME long (default 2000x; or a time, as 1m)
	@scripts/fuzz.sh $(FUZZTIME)

fake-paths: ## search PATHS paths that lie, lose and reorder for an MTU, over UDP and TCP; no answer may be wrong (default 1000000)
	go test -count=1 -v -run 'IsNeverWrong$$' ./builtin/path -paths $${PATHS:-1000000}

e2e: meshes ## test the built binary as its users meet it, and real meshes
	go test -count=1 -timeout 15m ./cmd/e2e

e2e-path: build ## measure paths in a network of namespaces, as root, and print what was found (NETLAB_RUNS=20 a row; NETLAB_ROWS=text picks rows of the table)
	@NETLAB_RUNS=$${NETLAB_RUNS:-20} CGO_ENABLED=0 go test -v -count=1 -timeout 60m ./scripts/netlab

meshes: build ## bring up meshes of 4 and of 20 nodes on loopback until they are whole
	@bin/mesh -until-whole -dir .mesh/4 -base-port 18443
	@bin/mesh -until-whole -dir .mesh/20 -base-port 18443 -nodes 20 -limit 2m

clean: ## remove what building and running made
	rm -rf bin .mesh coverage.out

check-format: ## gofumpt
	@files=$$($(TOOL) gofumpt -l .); if [ -n "$$files" ]; then echo "not formatted (gofumpt -w):"; echo "$$files"; exit 1; fi

check-vet: ## go vet, for Linux, Windows and macOS
	go vet ./...
	GOOS=windows go vet ./...
	GOOS=darwin go vet ./...

check-staticcheck: ## staticcheck
	$(TOOL) staticcheck ./...

check-arrows: ## which package may import which
	go test -count=1 ./scripts/arrows

check-tidy: ## go.mod and go.sum hold what is needed, and nothing else
	@scripts/tidy.sh

check-proto: ## the generated code is what plugin.proto says
	@scripts/proto.sh --check sdk/proto/v1

ceilings: ## name files over 400 and functions over 60 lines; never fails
	@scripts/ceilings.sh
