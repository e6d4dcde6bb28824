"""What the machine can do, and how the process is set up for it."""

import ctypes
import functools
import os
import platform
import time
from pathlib import Path

import torch

from bertsmith.errors import UsageError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_pages() -> None:
    """Make the C allocator keep freed memory for the next tensor instead of returning it to the system.

    A training step frees and allocates the same large tensors again and again; by default each of them is fresh memory
    that the system has to clear, page by page, which takes a third of a step on a CPU. Does nothing where the C library
    is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_M_TOP_PAD, 64 << 20)


def choose_device(wanted: str, local_rank: int) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``; :class:`UsageError` when there is no such device."""
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise UsageError("--device cuda: PyTorch finds no GPU here; use --device cpu")
    if wanted == "cpu" or not has_gpu:
        return torch.device("cpu")
    return torch.device("cuda", local_rank)


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the matrix products for ``auto``, ``float32`` or ``bf16``."""
    if wanted == "auto":
        wanted = "bf16" if has_bf16(device) else "float32"
    return torch.bfloat16 if wanted == "bf16" else torch.float32


def has_bf16(device: torch.device) -> bool:
    """Say whether the device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _cpu_flags())


def has_int8(device: torch.device) -> bool:
    """Say whether the device is a CPU that multiplies 8-bit matrices in hardware."""
    return device.type == "cpu" and bool({"avx512_vnni", "avx_vnni", "amx_int8"} & _cpu_flags())


@functools.cache
def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return frozenset(next(lines, ":").split(":", 1)[1].split())


def matrix_product_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Measure the device's matrix-product rate in floating-point operations a second, on BERT-base's feed-forward shape."""
    tokens, width, inner = 2048, 768, 3072
    left, right = torch.randn(tokens, width, device=device, dtype=dtype), torch.randn(width, inner, device=device, dtype=dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2 * tokens * width * inner / (time.perf_counter() - start))
    return best


def environment(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """Return what a run's results may depend on: versions and machine."""
    import numpy
    import safetensors
    import tokenizers

    import bertsmith

    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "bertsmith": bertsmith.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "tokenizers": tokenizers.__version__,
        "safetensors": safetensors.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "device": str(device),
        **gpu,
        "precision": str(dtype).removeprefix("torch."),
    }
