# Tombolo. `make help` lists the targets.
#
# What a fresh machine needs: Go, Node.js 20.19 or later, npm, make, git. Tests of the browser need Chromium: it is installed where
# that can be done (apt, root), else set CHROMIUM=/path/to/it. The end-to-end tests need Firefox and WebKitGTK, too: likewise, else FIREFOX=,
# WEBKIT_DRIVER=, WEBKIT_BROWSER= and XVFB=.

PORT ?= 8080
HOST ?= 127.0.0.1
GO   ?= go

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# Of a release, the version that all parts report: see make release.
VERSION ?=
STAMP    = $(if $(VERSION),-X github.com/tombolo-net/tombolo/core.released=$(VERSION))

WASM := web/build/tombolo.wasm
JS   := GOOS=js GOARCH=wasm
# Test binaries for js run where the first argument says; see web/test/gotest.mjs.
IN    = -exec "node $(CURDIR)/web/test/gotest.mjs $(1)"

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: build ## a relay and a native peer on this machine, and a page to open; PORT=8080 HOST=127.0.0.1 (0.0.0.0: for other machines, too)
	@node web/scripts/demo.mjs --host $(HOST) --port $(PORT)

##@ Build

.PHONY: build
build: site ## bin/tombolo, bin/tombolo-relay, web/dist/site, web/dist/npm, web/dist/examples
	@echo "build 3/3: tombolo and tombolo-relay (minutes, the first time)"
	$(GO) build -trimpath -ldflags "$(STAMP)" -o bin/ ./native/cmd/tombolo ./relay/cmd/tombolo-relay

.PHONY: wasm
wasm: ## the program of the tab, without what a tab does not need: see wasm/lean
	@echo "build 1/3: the program of the tab, Go to WebAssembly (minutes, the first time)"
	@mkdir -p web/build
	$(GO) run ./wasm/lean -snapshot -simd -hot wasm/cmd/tombolo/hot.txt $(LEAN) -ldflags "$(STAMP)" -o $(WASM) ./wasm/cmd/tombolo
	cp "$$($(GO) env GOROOT)/lib/wasm/wasm_exec.js" web/build/

.PHONY: hot
hot: build ## wasm/cmd/tombolo/hot.txt anew: what the program of the tab begins with
	node web/scripts/hot.mjs

.PHONY: site
site: wasm web/node_modules/.package-lock.json
	@echo "build 2/3: the npm package, the page and the examples"
	cd web && VERSION=$(VERSION) npm run --silent build

%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@

# Packages that programs import. wasm is for js only.
PUBLIC := core core/message core/dispatch core/link core/mesh core/mesh/replay core/bridge core/reservation core/world core/world/seat core/world/actor core/world/board core/datagram core/webrtc native native/local native/control native/webrtc relay
PUBLIC_JS := wasm wasm/websocket wasm/webtransport wasm/webrtc

# What these promise is recorded, so that a change of it is made on purpose: see CHANGELOG.md.
GO_API := native/internal/goapi

.PHONY: api
api: web/node_modules/.package-lock.json ## record the public APIs, after a change of one that is on purpose
	$(GO) run ./$(GO_API) -write $(GO_API)/native.txt $(addprefix ./,$(PUBLIC))
	$(GO) build -o bin/goapi ./$(GO_API) && $(JS) bin/goapi -write $(GO_API)/js.txt $(addprefix ./,$(PUBLIC_JS))
	cd web && npm run --silent api -- --write

.PHONY: docs
docs: web/docs/node_modules/.package-lock.json ## the site of the documents, with the references of the APIs: web/dist/docs/index.html
	cd web/docs && npm run --silent build
	@mkdir -p $(addprefix web/dist/docs/api/go/,$(dir $(PUBLIC) $(PUBLIC_JS)))
	@for p in $(PUBLIC); do $(GO) doc -all ./$$p >web/dist/docs/api/go/$$p.txt || exit 1; done
	@for p in $(PUBLIC_JS); do $(JS) $(GO) doc -all ./$$p >web/dist/docs/api/go/$$p.txt || exit 1; done
	node web/docs/build.mjs

##@ Test

# Most of what tests do is wait: more of them run at once than there are cores.
ATONCE := -parallel 4

STAGES := test-web test-native fuzz test-js test-browser test-e2e

.PHONY: test
test: ## all tests, and what each stage took (make test-web, test-native, fuzz, test-js, test-browser, test-e2e for one stage)
	@took=; for stage in $(STAGES); do \
		begun=$$(date +%s); $(MAKE) --no-print-directory $$stage; status=$$?; \
		took="$$took, $$stage $$(($$(date +%s) - begun)) s"; \
		test $$status = 0 || { echo "make test: $$stage failed ($${took#, })"; exit $$status; }; \
	done; echo "make test: all passed ($${took#, })"

.PHONY: test-web
test-web: bin/httporacle web/node_modules/.package-lock.json web/test/node24/node_modules/.package-lock.json ## the package's units, under this machine's Node.js and under 24
	cd web && HTTP_ORACLE=$(CURDIR)/bin/httporacle npm run --silent test:unit

.PHONY: test-native
test-native: services ## Go, natively, with the race detector
	$(GO) test -race $(ATONCE) ./...

.PHONY: services
services:
	@native/e2e/services.sh

# Inputs for each target, and a tenth of them for those that cross a socket. A time, as 10s, works too; but at its end a run may fail of just
# that ("context deadline exceeded").
FUZZTIME ?= 10000x
FUZZ      = $(GO) test -run=NONE -fuzzminimizetime=100x -fuzztime=$(FUZZTIME)
FUZZ_SLOW = $(GO) test -run=NONE -fuzzminimizetime=100x -fuzztime=$(FUZZTIME:0000x=000x)

.PHONY: fuzz
fuzz: ## a minute of fuzzing: what is read off the network, and off the control socket
	$(FUZZ) -fuzz=FuzzDecode ./core/message
	$(FUZZ) -fuzz=FuzzReader ./core/message
	$(FUZZ) -fuzz=FuzzAsk ./core/mesh/replay
	$(FUZZ) -fuzz=FuzzAnswer ./core/mesh/replay
	$(FUZZ) -fuzz=FuzzQuestion ./core/bridge
	$(FUZZ) -fuzz=FuzzFrames ./core/webrtc
	$(FUZZ) -fuzz=FuzzSignals ./core/webrtc
	$(FUZZ) -fuzz=FuzzServer ./core/webrtc
	$(FUZZ) -fuzz=FuzzToHost ./core/world/wire
	$(FUZZ_SLOW) -fuzz=FuzzWhatABoardReceives ./core/world/board
	$(FUZZ) -fuzz=FuzzWhatAStandbyReceives ./core/world
	$(FUZZ) -fuzz=FuzzTick ./core/world/wire
	$(FUZZ) -fuzz=FuzzRead ./wasm/internal/link
	$(FUZZ) -fuzz=FuzzPath ./native/gateway
	$(FUZZ_SLOW) -fuzz=FuzzGateway ./native/gateway
	$(FUZZ_SLOW) -fuzz=FuzzControl ./native/control

.PHONY: test-js
test-js: bin/testpeer ## core and the node, under Node.js
	TESTPEER=$(CURDIR)/bin/testpeer $(JS) $(GO) test $(ATONCE) $(call IN,node) ./core/... ./wasm/...

.PHONY: test-browser
test-browser: bin/testpeer chromium ## the transports and the node, in Chromium
	TESTPEER=$(CURDIR)/bin/testpeer $(JS) $(GO) test -p 1 $(call IN,chromium) ./wasm/...

.PHONY: test-e2e
test-e2e: build bin/testpeer chromium browsers web/docs/node_modules/.package-lock.json ## the weight of the package; it, the page, the examples and the documents, against the real binaries
	cd web && npm run --silent weigh
	cd web && TESTPEER_BIN=$(CURDIR)/bin/testpeer npm run --silent test:e2e

.PHONY: test-long
test-long: build bin/testpeer chromium browsers web/test/node24/node_modules/.package-lock.json web/docs/node_modules/.package-lock.json ## what takes minutes: 1 GiB through the circuit to a tab and back, silence, sleep, hidden pages; 500 nodes whose relays restart; AutoTLS with the real broker; 20 relays and 600 tabs, simulated; PostgreSQL; what pages do more seldom, and every place of the node
	cd web && LONG=1 TESTPEER_BIN=$(CURDIR)/bin/testpeer npm run --silent test:e2e
	LONG=1 $(GO) test -race -count=1 -run QUIC ./native/e2e
	LONG=1 $(GO) test -count=1 -run 'Restarted|WithoutADomain' ./relay
	$(MAKE) --no-print-directory scale
	TOMBOLO_POSTGRES_TEST=install $(GO) test -race -count=1 ./native/postgres
	TOMBOLO_POSTGRES_TEST=install $(GO) test -count=1 -run Conforms ./native/postgres # what go-datastore leaves out with the race detector
	LONG=1 TESTPEER=$(CURDIR)/bin/testpeer $(JS) $(GO) test -count=1 -p 1 -run TestConforms $(call IN,chromium) ./wasm/websocket ./wasm/webtransport
	TESTPEER=$(CURDIR)/bin/testpeer $(JS) $(GO) test -count=1 -p 1 -run 'TestConforms|TestStreams|TestNothingLeaks|TestDialler' $(call IN,firefox) ./wasm/websocket ./wasm/webrtc
	$(FUZZ) -fuzz=FuzzLikeTheRealOne ./wasm/lean/gogo
	$(FUZZ) -fuzz=FuzzLikeTheRealOne ./wasm/lean/protobuf/proto
	$(MAKE) build LEAN=-plain # the program as go build makes it
	cd web && TESTPEER_BIN=$(CURDIR)/bin/testpeer npm run --silent test:e2e
	$(MAKE) build

.PHONY: bin/testpeer
bin/testpeer:
	$(GO) build -trimpath -o $@ ./native/internal/testpeer

.PHONY: bin/bench
bin/bench:
	cd native/bench && $(GO) build -o $(CURDIR)/$@ .

.PHONY: bin/httporacle
bin/httporacle:
	$(GO) build -trimpath -o $@ ./native/internal/httporacle

.PHONY: bin/messenger
bin/messenger:
	$(GO) build -trimpath -o $@ ./native/internal/messenger

.PHONY: chromium
chromium:
	@web/test/chromium.sh

.PHONY: browsers
browsers:
	@web/test/browsers.sh

##@ Measure and check

.PHONY: bench
bench: build bin/bench bin/testpeer bin/messenger chromium web/bench/node_modules/.package-lock.json bench-colyseus ## figures, each as a ratio to a peer in the same run
	bin/bench
	TESTPEER=$(CURDIR)/bin/testpeer node web/bench/run.mjs
	node web/bench/run.mjs --start --runs 3
	TESTPEER=$(CURDIR)/bin/testpeer node web/bench/run.mjs --runs 1 --far 20,100,300 --side ours --side js-libp2p
	node web/bench/run.mjs --runs 1 --rooms 10,25,50,100,200,400 --side ours
	node web/bench/run.mjs --runs 1 --world 500 --side ours
	node web/bench/run.mjs --tabs

# Without it, its figures are left out.
.PHONY: bench-colyseus
bench-colyseus:
	-@$(MAKE) --no-print-directory native/bench/colyseus/node_modules/.package-lock.json

# What to simulate: make scale SCALE="-relays 200 -tabs 20000 -types 400". See native/internal/scale, TestScale, for the flags.
SCALE ?= -relays 20 -tabs 600 -types 6 -watching 0

.PHONY: scale
scale: ## many relays and very many tabs, simulated in one process: see docs/scale.md; SCALE="-relays 100 -tabs 2000 -types 40"
	$(GO) test -count=1 -timeout 3h -run 'TestScale$$' ./native/internal/scale -v -args $(SCALE)

.PHONY: lint
lint: bin/staticcheck bin/actionlint web/node_modules/.package-lock.json docs ## formatting, vetting for every platform, wording, links, the public APIs, the workflows; the documents can be made
	@bad=$$(gofmt -l core native relay wasm web/*.go); test -z "$$bad" || { echo "run gofmt -w on: $$bad"; exit 1; }
	$(GO) vet ./...
	cd native/bench && $(GO) vet .
	$(JS) $(GO) vet ./core/... ./wasm/...
	bin/staticcheck ./...
	$(JS) bin/staticcheck ./core/... ./wasm/...
	@for os in $(OTHERS); do echo "vet for $$os"; GOOS=$${os%/*} GOARCH=$${os#*/} CGO_ENABLED=0 $(GO) vet ./core/... ./native/... ./relay/... ./web || exit 1; done
	$(GO) build -o bin/goapi ./$(GO_API)
	bin/goapi $(GO_API)/native.txt $(addprefix ./,$(PUBLIC))
	$(JS) bin/goapi $(GO_API)/js.txt $(addprefix ./,$(PUBLIC_JS))
	bin/actionlint
	node web/scripts/prose.mjs
	cd web && npm run --silent lint && npm run --silent api

# Where the programs are not tested, they are vetted, tests included.
OTHERS := windows/amd64 darwin/arm64

bin/staticcheck: Makefile
	GOBIN=$(CURDIR)/bin $(GO) install $(STATICCHECK)
	@touch $@

bin/actionlint: Makefile
	GOBIN=$(CURDIR)/bin $(GO) install $(ACTIONLINT)
	@touch $@

##@ Release

PLATFORMS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64

.PHONY: release
release: ## the files of a release, in bin/release: make release VERSION=0.1.0
	@test -n "$(VERSION)" || { echo "which version? make release VERSION=0.1.0"; exit 2; }
	$(MAKE) --no-print-directory site VERSION=$(VERSION)
	@rm -rf bin/npm && mkdir -p bin/npm
	cd web/dist/npm && npm pack --silent --pack-destination $(CURDIR)/bin/npm
	$(GO) run ./native/internal/release -version $(VERSION) -platforms $(PLATFORMS) -add "$$(echo bin/npm/*.tgz)"

.PHONY: release-check
release-check: web/node_modules/.package-lock.json ## a release, and this machine's part of it once more: the same bytes, and one version in all parts; many minutes; PLATFORMS=linux/amd64 for that one alone
	PLATFORMS=$(PLATFORMS) native/internal/release/check.sh

.PHONY: clean
clean: ## what was built
	rm -rf bin web/build web/dist/npm web/dist/examples web/dist/docs web/test-results
	find web/dist/site -mindepth 1 ! -name .gitignore -delete
