.PHONY: install check test oracles parity-full coreml-full frame-full host endurance streaming swapped conformance \
	quantize quantize-full judge clicks devices peers replay tensorrt tensorrt-full shapes keeps-up wheel

install:
	pip install -e '.[dev]'

check:
	ruff format --check .
	ruff check .
	mypy

test:
	pytest

# Record again what Meta's own package answers, in an environment of its own; must reproduce the recordings.
oracles:
	tests/oracles/run.sh

# Full size with random weights, 336 and 1008 px: about 30 processor minutes, 9 GB. The bundles stay in runs/full.
parity-full:
	python -m sam3_edge.benchmarks.parity_full --bundles runs/full --output benchmarks/results/parity_full.json

# Frames of the full-size bundles of parity-full with 1, 5 and 10 objects, part by part: about 40 processor minutes, 10 GB.
frame-full:
	sam3-edge benchmark runs/full/random-r336 --quick -o benchmarks/results/devices/full-r336 --overwrite
	sam3-edge benchmark runs/full/random-r1008 --quick -o benchmarks/results/devices/full-r1008 --overwrite

# Processor time of the loop's host code, graphs replayed: seconds. Exits 1 above 25 ms a frame.
host:
	python -m sam3_edge.benchmarks.host --output benchmarks/results/host.json

# Ours against `transformers` in turns: about 25 processor minutes at 336 px; at 1008 px about three hours, and 11 GB.
.PHONY: speed
speed:
	python -m sam3_edge.benchmarks.speed --kind plain --kind fused --output benchmarks/results/speed.json
	python -m sam3_edge.benchmarks.speed --size 1008 --kind fused --kind w8 --kind pooled --kind w8-pooled \
		--output benchmarks/results/speed.json

# What each way to be faster buys and costs, on the built-in model: about 25 processor minutes.
.PHONY: tiers
tiers:
	python -m sam3_edge.benchmarks.tiers --output benchmarks/results/tiers.json

# Memory of the loop over 200 000 scripted steps: about 8 processor minutes. Exits 1 if it grows.
endurance:
	python -m sam3_edge.benchmarks.endurance --output benchmarks/results/endurance_steps.json

# Memory over 3000 real frames of the built-in model, and the plot beside those steps and beside `transformers` with the
# same weights on the same clip: about 15 processor minutes, and 6 GB for `transformers`.
streaming:
	python -m sam3_edge.benchmarks.streaming_peer --output benchmarks/results/streaming_peer.json
	python -m sam3_edge.benchmarks.streaming sam3_edge/data/shapes --phrase circle \
		--steps benchmarks/results/endurance_steps.json --beside benchmarks/results/streaming_peer.json \
		--output benchmarks/results/streaming.json

# Whose masks follow whose memories: after each crossing of the frozen clips, two objects' memories change places.
swapped:
	python -m sam3_edge.benchmarks.swapped --output benchmarks/results/swapped.json

# The published vectors that another loop can be checked with, out of the recording: about a processor minute.
conformance:
	cd tests && python -m write_conformance

# Every graph as a Core ML package at full size, 336 and 1008 px: about 15 processor minutes.
coreml-full:
	python -m sam3_edge.benchmarks.coreml_full --output benchmarks/results/coreml_full.json

# The trunk of the full-size model in every scheme: sizes, speed and memory. An hour and more of processor time, 14 GB.
quantize-full:
	python -m sam3_edge.benchmarks.quantize_full --folder runs/quantize_full \
		--output benchmarks/results/quantize_full.json

# The built-in model in every scheme of every target, judged: about 50 processor minutes.
quantize:
	python -m sam3_edge.benchmarks.quantize_builtin --output benchmarks/results/quantize_builtin.json

# The built-in model in PyTorch and ONNX Runtime, and the baselines, on the frozen pictures and on the first 16 clips, one of
# each plot: about 15 processor minutes. All 64 clips, `make judge CLIPS=64`: about 35.
CLIPS ?= 16
judge:
	python -m sam3_edge.benchmarks.judge --clips $(CLIPS) --output benchmarks/results/judge.json

# Simulated clicks on frozen pictures, corrections on all frozen clips: about 9 processor minutes.
clicks:
	python -m sam3_edge.benchmarks.clicks --output benchmarks/results/clicks.json

# Our loop against the recorded official session, all clips: about 7 processor minutes. Exits 1 for the two rounding
# ties of one clip, which docs/loop.md names.
replay:
	cd tests && python -m replay_all --output ../benchmarks/results/loop_equality.json

# The built-in model typed for TensorRT and judged: to be run again when its weights change.
tensorrt:
	python -m sam3_edge.benchmarks.tensorrt_judge --output benchmarks/results/tensorrt_builtin.json

# SAM 3's own size: the two large graphs built, 6 GB, and what all graphs need on a board, 6 processor minutes and 4 GB.
tensorrt-full:
	python -m sam3_edge.benchmarks.tensorrt_fit --output benchmarks/results/tensorrt_fit.json
	python -m sam3_edge.benchmarks.tensorrt_full --graph detector --output benchmarks/results/tensorrt_full_detector.json
	python -m sam3_edge.benchmarks.tensorrt_full --graph backbone --output benchmarks/results/tensorrt_full_backbone.json

# The built-in bundle in all four modes, and the README's tables: about 40 minutes, one thread.
devices:
	for mode in frame component sustained; do sam3-edge benchmark --mode $$mode --threads 1 \
		-o benchmarks/results/devices/shapes-$$mode --overwrite || exit $$?; done
	sam3-edge benchmark --mode cold --processes 12 --threads 1 -o benchmarks/results/devices/shapes-cold --overwrite
	python -m sam3_edge.benchmarks.readme

# Beside `transformers`, eager and compiled, full size, two models at a time: the bundles of parity-full, a C++ compiler.
peers:
	python -m sam3_edge.benchmarks.peers runs/full/random-r336 --rounds 8 --output benchmarks/results/peers.json
	python -m sam3_edge.benchmarks.readme

# What decoding, the host's code and encoding add to the model's time: about 1 processor minute.
keeps-up:
	python -m sam3_edge.benchmarks.keeps_up --output benchmarks/results/keeps_up.json

# All that is said of the built-in model, again, after its weights changed: about three processor hours. What Meta's code
# says of them is recorded apart, by `tests/oracles/run.sh --write`.
.PHONY: renew
renew: clicks swapped keeps-up tensorrt streaming tiers quantize devices gif
	$(MAKE) judge CLIPS=64
	python -m sam3_edge.benchmarks.readme

# Train the built-in model from scratch (hours on two cores, resumable), teach it to track, and make its bundle.
shapes:
	python -m sam3_edge.export.train_shapes runs/shapes
	python -m sam3_edge.export.train_tracking runs/tracking --weights runs/shapes/model.safetensors
	python -m sam3_edge.export.install_shapes runs/tracking/model.safetensors

# A live run for an hour through 120 faults, the RTSP server killed 100 times, live runs stopped at 100 random
# moments: about an hour, a fifth of a core. Exits 5 for what is not taken up again within 5 s, or a memory that grows.
.PHONY: soak rtsp-kills stops camera-load
soak:
	python -m sam3_edge.benchmarks.soak --output benchmarks/results/camera_soak.json
rtsp-kills:
	cd tests && python -m rtsp_kills --output ../benchmarks/results/camera_rtsp_kills.log
stops:
	cd tests && python -m stop_runs --output ../benchmarks/results/camera_stops.log

# A model ten times slower than its camera for five minutes, then bad clients beside a live run: about 8 minutes.
camera-load:
	python -m sam3_edge.benchmarks.camera_load --output benchmarks/results/camera_load.json

wheel:
	rm -rf build dist
	python -m build

# The animation of the README, from the built-in model.
.PHONY: gif
gif:
	sam3-edge demo --run-only --output build/demo
	cp build/demo/clip.gif docs/clip.gif
