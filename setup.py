"""What pyproject.toml cannot say: the code for some processors that is compiled where there is a compiler for it."""

import platform

from setuptools import Extension, setup

INSTRUCTIONS = ("avx512f", "avx512bw", "avx512vl", "avx512bf16", "avx512vnni", "fma")

avx512 = Extension(
    "bertsmith.engine._avx512",
    sources=["src/bertsmith/engine/avx512.cpp"],
    extra_compile_args=["-std=c++17", "-O3", "-g0", "-fopenmp", *(f"-m{name}" for name in INSTRUCTIONS)],
    extra_link_args=["-fopenmp"],
    optional=True,
)

setup(ext_modules=[avx512] if platform.machine() in ("x86_64", "AMD64") else [])
