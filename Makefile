# What people and CI run. `make help` lists the targets.

SWIFT ?= swift
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The modules that also build as Embedded Swift.
PORTABLE := Kernel SAL ATAdapter SecureTransport MQTTClient CoAPClient QCloudIoTHub
# How long `make demo` runs; empty: until Ctrl-C.
DEMO_SECONDS ?=
# What `make fuzz` feeds, and for how long.
FUZZ ?= tls
FUZZ_SECONDS ?= 60

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: install
install: ## Install the Debian packages that are missing (as root)
	@scripts/install-packages.sh

.PHONY: peers
peers: install ## Install the peers of the tests that are not Debian packages
	@scripts/install-aiocoap.sh

.PHONY: build
build: install ## Build everything for this machine
	$(SWIFT) build

.PHONY: demo
demo: install firmware ## Run seven devices against a local hub until Ctrl-C (DEMO_SECONDS=N: for N seconds)
	$(SWIFT) build -c release --product apus
	$(SWIFT) build -c release --product HubPlugin
	.build/release/apus demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

.PHONY: test
test: install peers lint embedded firmware ## Everything that must hold: lint, embedded builds, docs, tests, sanitizers, sizes
	scripts/test.sh

.PHONY: unit
unit: build peers firmware ## The test suite alone, without sanitizers
	$(SWIFT) build -c release --product mqtt-allocations
	SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=4 $(SWIFT) test

.PHONY: lint
lint: ## Check the format
	$(SWIFT) format lint --strict --parallel -r -p Package.swift Sources Tests Firmware/Package.swift Firmware/Sources

.PHONY: format
format: ## Mend the format
	$(SWIFT) format -i --parallel -r -p Package.swift Sources Tests Firmware/Package.swift Firmware/Sources

.PHONY: embedded
embedded: install ## Build the portable modules as Embedded Swift for a Cortex-M4
	scripts/fetch-mbedtls.sh
	for module in $(PORTABLE); do scripts/embedded-build.sh $$module; done

.PHONY: firmware
firmware: install ## Build the firmware images
	scripts/firmware-build.sh

.PHONY: size
size: firmware ## Print flash and RAM of each firmware image
	@scripts/firmware-size.sh

.PHONY: bench-kernel
bench-kernel: install ## Measure the kernel's primitives against pthread, Dispatch and POSIX message queues
	$(MAKE) -C Benchmarks run-kernel

.PHONY: bench-mqtt
bench-mqtt: install ## Measure MQTT against libmosquitto, Paho, and a C program without any library (MQTT_OPTIONS=--quick)
	$(MAKE) -C Benchmarks run-mqtt

.PHONY: bench-coap
bench-coap: install ## Measure CoAP, over UDP and DTLS, against libcoap, and a C program without any library (COAP_OPTIONS=--quick)
	$(MAKE) -C Benchmarks run-coap

.PHONY: bench-at
bench-at: install ## Measure what drivers of modems take per byte of the serial line
	$(MAKE) -C Benchmarks run-at

.PHONY: bench-sal
bench-sal: install ## Measure streams against a C program that has epoll, read and write only
	$(MAKE) -C Benchmarks run-sal

.PHONY: bench-tls
bench-tls: install ## Measure TLS against a C program on the same mbedTLS
	$(MAKE) -C Benchmarks run-tls

.PHONY: bench-kernel-arm
bench-kernel-arm: firmware ## Count the instructions of the bare-metal kernel beside TencentOS-tiny's and FreeRTOS's
	scripts/bench-kernel-arm.py

.PHONY: fuzz
fuzz: install ## Feed a parser with bytes that no peer would send (FUZZ=tls, mqtt, coap or at, FUZZ_SECONDS=60)
	@touch Fuzz/Package.swift # A file that was added elsewhere is not seen otherwise.
	library=$$(ls "$$(dirname "$$(readlink -f "$$(command -v $(SWIFT))")")"/../lib/clang/*/lib/linux/libclang_rt.fuzzer_no_main-$$(uname -m).a); \
	$(SWIFT) build --package-path Fuzz --product fuzz-$(FUZZ) --sanitize=address -Xswiftc -sanitize-coverage=edge,inline-8bit-counters \
		-Xswiftc -use-ld=lld -Xlinker "$$library" -Xlinker -lstdc++
	mkdir -p Fuzz/.build/corpus/$(FUZZ)
	Fuzz/.build/debug/fuzz-$(FUZZ) -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=Fuzz/.build/ Fuzz/.build/corpus/$(FUZZ)

.PHONY: model
model: install ## Ten million random events against the model of MQTT's QoS rules
	@touch Fuzz/Package.swift
	$(SWIFT) build -c release --package-path Fuzz --product model-mqtt -Xswiftc -enable-testing
	Fuzz/.build/release/model-mqtt

.PHONY: model-modem
model-modem: install ## A thousand random runs of each modem dialect under faults, in virtual time
	@touch Fuzz/Package.swift
	$(SWIFT) build -c release --package-path Fuzz --product model-modem -Xswiftc -enable-testing
	Fuzz/.build/release/model-modem

.PHONY: test-mbedtls3
test-mbedtls3: install ## Run the tests of TLS with mbedTLS 3.6, built from its source package
	scripts/test-mbedtls3.sh

.PHONY: docs
docs: install ## Build the documentation into docs-out; warnings are errors
	scripts/build-docs.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf .build Firmware/.build Benchmarks/.build Examples/.build Fuzz/.build docs-out
