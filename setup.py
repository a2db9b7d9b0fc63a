"""What pyproject.toml cannot say: the compiled part, which is optional (docs/decisions/0030-a-compiled-row.md)."""

import os

from setuptools import Extension, setup

# Without a compiler the build goes on without it, and rows are recorded in Python. ROLLTAPE_PURE=1 leaves it out on
# purpose: such a wheel is one for all platforms.
pure = os.environ.get("ROLLTAPE_PURE", "") not in ("", "0")
row = Extension(
    "rolltape.actors._row",
    ["actors/_row.c"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    py_limited_api=True,
    optional=True,
)
setup(
    ext_modules=[] if pure else [row],
    options={} if pure else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
