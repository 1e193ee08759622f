"""The build, and nothing else: metadata is in pyproject.toml.

src_c/kernels.c is compiled once for each instruction set of the target, into objects of their own with flags of their
own; src_c/dispatch.c picks one of them at import. All of src_c is linked into one extension.
"""

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

# Loops begin cache lines: else a change of one kernel moves the others, which gain or lose some percent by it.
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-falign-loops=64", "-g0"]
SYMBOLS = ["-include", "src_c/glibc.h"]
KERNELS = "src_c/kernels.c"
HEADERS = [str(path) for pattern in ("*.h", "*.def") for path in sorted(Path("src_c").rglob(pattern))]
# name: (vector width in bytes, compiler flags); a tenth of the baseline would be products copied for single calls
BASELINE = {"baseline": (16, ["-fno-ipa-cp-clone"])}
X86 = {
    "avx2": (32, ["-mavx2", "-mfma"]),
    "avx512": (64, ["-mavx512f", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"]),
}


def instruction_sets():
    machine = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower()
    is_x86 = machine.endswith(("x86_64", "amd64"))
    return {**BASELINE, **X86} if is_x86 else BASELINE


class BuildExt(build_ext):
    """Compiles the core's sources side by side, the kernels once per instruction set, and links the objects."""

    def build_extension(self, ext):
        if ext is core:
            isas = instruction_sets()
            ext.define_macros += [(f"HAVE_{isa.upper()}", None) for isa in isas]
            sources, ext.sources = ext.sources, []
            ext.depends += sources
            # those that take longest first
            kernels = [(KERNELS, isa, [("ISA", isa), ("VEC_BYTES", str(width))], FLAGS + flags)
                       for isa, (width, flags) in reversed(isas.items())]  # fmt: skip
            others = [(source, "", ext.define_macros, ext.extra_compile_args) for source in sources]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                ext.extra_objects = list(pool.map(lambda job: self.compile(ext, *job), kernels + others))
        super().build_extension(ext)

    def compile(self, ext, source, folder, macros, flags):
        """The object file, made anew unless it is newer than what it is made of."""
        folder = os.path.join(self.build_temp, folder)
        (compiled,) = self.compiler.object_filenames([source], output_dir=folder)
        if self.force or newer_group([source, "setup.py", *HEADERS], compiled, "newer"):
            self.compiler.compile([source], folder, macros, ext.include_dirs, extra_postargs=SYMBOLS + flags)
        return compiled


core = Extension(
    "fastbp._core",
    ["fastbp/_core.pyx", *sorted(str(path) for path in Path("src_c").glob("*.c") if str(path) != KERNELS)],
    include_dirs=["src_c", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    depends=[KERNELS, "setup.py", *HEADERS],
    libraries=["m"],
    extra_compile_args=["-O2", "-g0"],
    extra_link_args=["-pthread"],
)

arrays = Extension(
    "fastbp._arrays", ["fastbp/_arrays.pyx"], include_dirs=["src_c"], depends=["src_c/kernels.h"],
    extra_compile_args=["-O2", "-g0"],
)  # fmt: skip
usage = Extension("fastbp._usage", ["fastbp/_usage.pyx"], extra_compile_args=["-O2", "-g0"])

core, *others = cythonize([core, arrays, usage], language_level=3, build_dir="build/cython")
setup(
    ext_modules=[core, *others],
    cmdclass={"build_ext": BuildExt},
)
