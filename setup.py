"""What pyproject.toml cannot say: the compiled parts, which are optional (docs/decisions/0030, 0031)."""

import os

from setuptools import Extension, setup

# Without a compiler the build goes on without them, and Python does their work. ROLLTAPE_PURE=1 leaves them out on
# purpose: such a wheel is one for all platforms.
pure = os.environ.get("ROLLTAPE_PURE", "") not in ("", "0")
HEADERS = ["actors/_film.h", "actors/_record.h", "actors/_values.h", "schema/_changes.h"]
compiled = [
    Extension(
        f"rolltape.{folder}.{name}",
        [f"{folder}/{name}.c"],
        depends=HEADERS,
        define_macros=[("Py_LIMITED_API", "0x030B0000")],
        py_limited_api=True,
        optional=True,
    )
    for folder, name in (("actors", "_row"), ("actors", "_tape"), ("schema", "_changes"))
]
setup(
    ext_modules=[] if pure else compiled,
    options={} if pure else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
