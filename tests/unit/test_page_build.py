"""The page as it is shipped: built from the sources that are here, light, and complete; checked without Node."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
WEB, STATIC = DASHBOARDS / "web", DASHBOARDS / "static"
INPUTS = (
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "vite.widget.config.ts",
    "src",
    "public",
)
BUDGET = 150_000


def files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def digest(root: Path, paths: Iterable[Path]) -> str:
    """As dashboards/web/manifest.mjs counts it."""
    found = hashlib.sha256()
    for name in sorted(path.relative_to(root).as_posix() for path in paths):
        content = (root / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{found.hexdigest()}"


def test_static_is_built_from_these_sources() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_text())
    assert manifest["source"] == digest(WEB, [file for name in INPUTS for file in files(WEB / name)]), (
        "dashboards/web/ was changed: build it anew with `make page` and commit dashboards/static/"
    )
    built = [file for file in files(STATIC) if file.name != "manifest.json"]
    assert manifest["built"] == digest(STATIC, built), "dashboards/static/ was edited by hand"


def test_the_page_is_light() -> None:
    weight = sum(
        len(gzip.compress(file.read_bytes())) for file in files(STATIC) if file.suffix in (".js", ".css", ".html")
    )
    assert weight <= BUDGET, f"{weight:,} bytes gzipped"


def test_it_needs_nothing_from_elsewhere() -> None:
    page = (STATIC / "index.html").read_text()
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert names and all(name.startswith("./") for name in names)
    assert all((STATIC / name).is_file() for name in names)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|<style", page), (
        "the policy forbids inline scripts and styles"
    )
    for file in files(STATIC / "assets"):
        addresses = set(re.findall(r"https?://[\w.-]+", file.read_text()))
        assert addresses <= {"http://www.w3.org"}, file.name
