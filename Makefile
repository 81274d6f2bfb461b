# vaultfs. `make` alone lists the targets. Everything is for a Debian-like Linux with Go and make;
# what else is needed is installed by the targets that need it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GO    ?= go
TAGS  := -tags libvirt_dlopen
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PKGS  := gcc libc6-dev qemu-utils qemu-system-x86 seabios libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients \
         swtpm swtpm-tools ovmf mmdebstrap extlinux syslinux-common parted e2fsprogs fuse3 nbdkit libnbd-bin util-linux procps \
         postgresql postgresql-client postgresql-contrib rsync tar zstd gzip lzop acl attr libcap2-bin
BUILDINFO := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help build install demo test unit race lint fuzz histories mutants bench bench-report bench-diff bench-go bench-big bench-prune deps clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## build ./vaultfs
	@command -v gcc >/dev/null || $(MAKE) --no-print-directory deps
	CGO_ENABLED=1 $(GO) build $(TAGS) -trimpath -ldflags "-X main.version=$(BUILDINFO)" -o vaultfs ./cmd/vaultfs

install: build ## install vaultfs and its bash completion under /usr/local
	$(SUDO) install -m 755 vaultfs /usr/local/bin/vaultfs
	$(SUDO) mkdir -p /usr/local/share/bash-completion/completions
	./vaultfs completion bash | $(SUDO) tee /usr/local/share/bash-completion/completions/vaultfs >/dev/null

deps: ## install the Debian packages that tests and demo use
	@missing=$$(dpkg-query -W -f='$${db:Status-Status} $${Package}\n' $(PKGS) 2>&1 | grep -v '^installed ' || true); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PKGS) >/dev/null; \
	fi

demo: deps build ## back up a running VM, prove it, boot it from the mount (a few minutes)
	$(SUDO) internal/demo/demo.sh ./vaultfs

test: deps lint race ## everything CI runs: vet, staticcheck, all tests with the race detector

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet $(TAGS) ./...
	$(GO) tool staticcheck $(TAGS) ./...

race:
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" $(GO) test $(TAGS) -race -count=1 -timeout 60m ./...

unit: ## the fast tests that need neither root nor other programs
	$(GO) test $(TAGS) ./chunk ./repo/... ./internal/layout

fuzz: ## fuzz every decoder for 20 s each
	@set -e; for p in $$($(GO) list $(TAGS) ./...); do \
	  for f in $$($(GO) test $(TAGS) -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test $(TAGS) -run '^$$' -fuzz "^$$f\$$" -fuzztime 20s -fuzzminimizetime 1x $$p | tail -3; \
	  done; \
	done

# What grows with a repository: time and memory of gc, verify and look-ups on one
# of 10 million chunks in 1,000 snapshots. It takes 3 GB, twice for a while.
BENCH ?= .cache/bench
histories: ## run 10,000 random histories of sessions, collections, crashes and broken leases (ten minutes on an idle core, or more)
	@set -o pipefail; VAULTFS_HISTORIES=$${VAULTFS_HISTORIES:-10000} $(GO) test $(TAGS) -count=1 -timeout 4h -v -run '^TestHistories$$' ./repo | grep -v '=== RUN\|--- PASS: TestHistories/'

mutants: ## prove that the histories catch each rule of collecting that is left out (hours)
	@set -o pipefail; VAULTFS_MUTANTS=$${VAULTFS_MUTANTS:-.} $(GO) test $(TAGS) -count=1 -timeout 4h -v -run '^TestMutants$$' ./repo | grep -v '=== RUN'

# vaultfs and its peers on the same data. GUESTS="1.qcow2 2.qcow2 3.qcow2 other.qcow2" takes guests that there are:
# two or three generations of one, and another; else they are made, once. restic, borg and kopia are taken from PATH.
# BENCHFLAGS are those of bench/compare, such as "-rounds 5", "-large 50000" or "-only large,tree".
PEERS := restic borgbackup python3-llfuse
bench: deps build ## compare with restic and borg on guests, trees and dumps, into bench/RESULTS.md (20 minutes, 40 GB)
	dpkg -s $(PEERS) >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PEERS) >/dev/null; }
	mkdir -p $(BENCH)
	$(GO) build $(TAGS) -o $(BENCH)/compare ./bench/compare
	$(SUDO) env "PATH=$$PATH" $(BENCH)/compare -vaultfs ./vaultfs -dir $(BENCH) -out bench -guests "$(GUESTS)" $(BENCHFLAGS)

bench-report: ## write bench/RESULTS.md and the plots anew from bench/results.json
	$(GO) run $(TAGS) ./bench/compare -report-only -out bench

bench-big: build ## make a repository of 10 million chunks, and measure gc, verify and look-ups on it (half an hour)
	mkdir -p $(BENCH)
	[ -e $(BENCH)/big/config ] || $(GO) run $(TAGS) ./bench/bigrepo $(BENCH)/big
	$(GO) run $(TAGS) ./bench/bigrepo -measure ./vaultfs $(BENCH)/big

# Forgetting and collecting beside restic, which is to be installed: the same
# series of states is backed up into both, then all but the newest are forgotten,
# in copies of the two repositories and in turn. An image has few chunks and many
# packs that are partly used; small files have many chunks, so that memory shows.
bench-prune: build ## compare forget and gc with restic's forget and prune (half an hour)
	mkdir -p $(BENCH)
	$(GO) run $(TAGS) ./bench/prune -vaultfs ./vaultfs -dir $(BENCH) -kind image
	$(GO) run $(TAGS) ./bench/prune -vaultfs ./vaultfs -dir $(BENCH) -kind files -files 400000 -states 12 -keep 3 -change 0.25

# The Go benchmarks of the steps of backing up and reading: cutting, naming, compressing, sealing, packs, look-ups,
# views, mounts. BENCH=REGEXP chooses others (BENCH=. all, some of which take minutes to set up), COUNT= how often.
STEPS := BenchmarkNext|NameDisk|StreamNext|Payload|BoxSeal|Pack$$|SegmentMap|Put$$|DiskRead|FirstUsable|ChunkCache|Writer|1MiB|4KiB|BenchmarkView|BenchmarkRead$$
GOBENCH = $(if $(filter file,$(origin BENCH)),$(STEPS),$(BENCH))

bench-diff: ## compare the Go benchmarks of HEAD, or BASE=COMMIT, with those of the working tree (BENCH=REGEXP COUNT=6)
	GO="$(GO)" bench/diff.sh "$(or $(BASE),HEAD)" '$(GOBENCH)' "$(or $(COUNT),6)"

bench-go: ## run the Go benchmarks once (BENCH=REGEXP COUNT=1)
	@GO="$(GO)" bench/diff.sh "" '$(GOBENCH)' "$(or $(COUNT),1)"

clean: ## remove what build made
	rm -f vaultfs
