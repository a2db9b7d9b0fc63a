"""The pages are true: links lead somewhere, examples run.

All Python blocks of a page run as one script, in an empty folder. A block that cannot run there has the
comment `<!-- not run: why -->` on the line before it.
"""

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"(?P<skip><!-- not run: .+? -->\n)?^```python\n(?P<code>.*?)^```$", re.M | re.S)
PACKAGES = {"rolltape": "rolltape"} | {
    f"rolltape.{folder}": folder for folder in ("schema", "storage", "actors", "dashboards", "scripts")
}


def title(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def examples(page: Path) -> str:
    """The page's blocks as one script, on the lines they have in the page, for tracebacks to name."""
    text, script = page.read_text(), ""
    for block in BLOCK.finditer(text):
        if not block["skip"]:
            script += "\n" * (text.count("\n", 0, block.start("code")) - script.count("\n")) + block["code"]
    return script


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    targets = [target for target in LINK.findall(prose) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


# The reference has signatures, not examples.
RUNNABLE = [page for page in PAGES if page.name != "reference.md" and examples(page).strip()]


IN_TURN = """
import json, os, runpy, sys, traceback
for place, folder, script in json.loads(sys.argv[1]):
    os.chdir(folder)
    try:
        runpy.run_path(script, run_name="__main__")
    except BaseException:
        print(f"line numbers are those of {place}", file=sys.stderr)
        traceback.print_exc()
        sys.exit(1)
"""


@pytest.mark.ray
@pytest.mark.parametrize("half", [0, 1])
def test_examples_run(half: int, tmp_path: Path) -> None:
    """Each page in a folder of its own; half of them in one process, because a Ray a page costs more than the examples."""
    scripts: list[tuple[str, str, str]] = []
    for page in RUNNABLE[half::2]:
        folder = tmp_path / title(page).replace("/", "-")
        folder.mkdir()
        (folder / f"{page.stem}.py").write_text(examples(page))
        scripts.append((title(page), str(folder), f"{page.stem}.py"))
    command = [sys.executable, "-c", IN_TURN, json.dumps(scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-4000:]}"


WITH_DOCTESTS = [
    ".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts)).removesuffix(".__init__")
    for package, folder in PACKAGES.items()
    for path in sorted((ROOT / folder).rglob("*.py"))
    if re.search(r"^\s*>>> ", path.read_text(), re.M)
]


@pytest.mark.parametrize("name", WITH_DOCTESTS)
def test_docstrings_tell_the_truth(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0
