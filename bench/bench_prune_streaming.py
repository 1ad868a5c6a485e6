"""Cutting layers out of a checkpoint on disk: beside ``cp`` of the bytes that stay, and beside mergekit.

``python bench/bench_prune_streaming.py [--gigabytes 4] [--mergekit BIN/mergekit-yaml] [--quick] [--json PATH]``

A llama of random bfloat16 weights in eight shards is cut by a quarter of its layers in a process of its own, in turn
with ``cp`` of a file as large as what stays; both end on the disk (``fsync``). The peak memory is that process's.
mergekit needs an environment of its own: ``python -m venv M && M/bin/pip install mergekit``, then
``--mergekit M/bin/mergekit-yaml``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tables import Report, at_most, begin, not_judged, parser, reported

LAYERS, SHARDS = 32, 8
KEPT = tuple(range(22)) + tuple(range(30, 32))
MAX_OVER_COPY, MAX_EXTRA_MB = 1.3, 300
CHILD = r"""
import json, re, sys, time
from pathlib import Path
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.streaming import write_cut
source, target, kept = Path(sys.argv[1]), Path(sys.argv[2]), tuple(json.loads(sys.argv[3]))
started = time.perf_counter()
checkpoint = Checkpoint.open(source)
config = {**checkpoint.config, "num_hidden_layers": len(kept)}
write_cut(checkpoint, kept, target, config=config, card="")
seconds = time.perf_counter() - started
# not ru_maxrss, which begins with the peak of the process that started this one
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(json.dumps({"seconds": seconds, "peak MB": int(peak[1]) * 1024 / 1e6}))
"""


def checkpoint_of(folder: Path, gigabytes: float) -> int:
    """Write a llama of random weights in eight shards; return the bytes of its largest tensor."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    width = int(round((gigabytes * 1e9 / 2 / LAYERS / 16) ** 0.5 / 64) * 64)  # a layer has about 16 width^2 weights
    wide, vocabulary = 4 * width, 32_000
    config = LlamaConfig(hidden_size=width, intermediate_size=wide, num_hidden_layers=LAYERS, vocab_size=vocabulary,
                         num_attention_heads=width // 64, num_key_value_heads=width // 64, dtype="bfloat16",
                         architectures=["LlamaForCausalLM"])  # fmt: skip
    config.save_pretrained(folder)
    shapes = {f"self_attn.{name}_proj": (width, width) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (wide, width), "mlp.up_proj": (wide, width), "mlp.down_proj": (width, wide)}
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(LAYERS):
        names |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in shapes.items()}
        names |= {f"model.layers.{layer}.{norm}.weight": (width,) for norm in
                  ("input_layernorm", "post_attention_layernorm")}  # fmt: skip
    names |= {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}
    order = list(names)
    per_shard = -(-len(order) // SHARDS)
    where, generator = {}, torch.Generator().manual_seed(0)
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        own = order[shard * per_shard : (shard + 1) * per_shard]
        save_file({name: torch.randn(names[name], generator=generator, dtype=torch.bfloat16) for name in own},
                  folder / file, metadata={"format": "pt"})  # fmt: skip
        where |= dict.fromkeys(own, file)
    total = sum(2 * int(np.prod(shape)) for shape in names.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return max(2 * int(np.prod(shape)) for shape in names.values())


def streamed(source: Path, target: Path) -> dict[str, Any]:
    """Cut in a process of its own."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-c", CHILD, str(source), str(target), json.dumps(KEPT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def copied(source: Path, target: Path) -> float:
    """Seconds of ``cp`` and ``fsync``."""
    target.unlink(missing_ok=True)
    started = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - started


def merged(program: str, source: Path, target: Path) -> dict[str, Any]:
    """Seconds and peak memory of mergekit's passthrough of the same layers."""
    from tamis.prune.surgery.mergekit import mergekit_yaml

    shutil.rmtree(target, ignore_errors=True)
    recipe = target.with_suffix(".yaml")
    recipe.write_text(mergekit_yaml(str(source), KEPT, dtype="bfloat16"))
    command = ["/usr/bin/time", "-f", "%e %M", program, str(recipe), str(target), "--lazy-unpickle"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"mergekit failed: {done.stderr[-2000:]}")
    seconds, kilobytes = done.stderr.split()[-2:]
    return {"seconds": float(seconds), "peak MB": int(kilobytes) * 1024 / 1e6}


def measure(report: Report, folder: Path, options: Any) -> None:
    source, target = folder / "source", folder / "target"
    source.mkdir()
    largest = checkpoint_of(source, options.gigabytes)
    first = streamed(source, target)  # also warms the cache of the disk
    kept = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    one = folder / "kept"
    with one.open("wb") as out:
        for path in sorted(target.glob("*.safetensors")):
            with path.open("rb") as part:
                shutil.copyfileobj(part, out, 1 << 24)
    copied(one, folder / "copy")
    rows = []
    for number in range(1 if options.quick else 3):
        rows.append({"round": number, "what": "cp", "seconds": copied(one, folder / "copy"), "peak MB": None})
        (folder / "copy").unlink()
        rows.append({"round": number, "what": "tamis", **streamed(source, target)})
    report.table(f"Cutting {LAYERS - len(KEPT)} of {LAYERS} layers: {kept / 1e9:.2f} GB stay", rows)
    best = {what: min(row["seconds"] for row in rows if row["what"] == what) for what in ("cp", "tamis")}
    peak = max(row["peak MB"] for row in rows if row["what"] == "tamis")
    bars = [
        at_most("prune: streaming / cp of the kept bytes", best["tamis"] / best["cp"], MAX_OVER_COPY, unit="x",
                digits=2, note=f"{best['tamis']:.2f} s and {best['cp']:.2f} s for {kept / 1e9:.2f} GB; the first "
                f"pass took {first['seconds']:.2f} s"),
        at_most("prune: peak memory of streaming", peak, largest / 1e6 + MAX_EXTRA_MB, unit=" MB", digits=0,
                note=f"the largest tensor has {largest / 1e6:.0f} MB"),
    ]  # fmt: skip
    report.bars += [not_judged(bar, "a small checkpoint") for bar in bars] if options.quick else bars
    if options.mergekit:
        found = merged(options.mergekit, source, target)
        report.bars.append(
            reported("prune: mergekit / tamis, same cut", f"{found['seconds'] / best['tamis']:.1f}x",
                     f"{found['seconds']:.1f} s with its imports, peak {found['peak MB']:.0f} MB")
        )  # fmt: skip
    else:
        report.say("mergekit was not measured: give --mergekit BIN/mergekit-yaml")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--gigabytes", type=float, default=4.4)
    made.add_argument("--mergekit", help="mergekit-yaml of an environment of its own")
    options = made.parse_args()
    if options.quick:
        options.gigabytes = 0.2
    report = begin("prune streaming", options)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        measure(report, Path(folder), options)
    report.finish()


if __name__ == "__main__":
    main()
