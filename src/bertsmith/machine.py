"""What the machine can do, and how the process is set up for it."""

import ctypes
import functools
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import safetensors
import tokenizers
import torch

from bertsmith import __version__
from bertsmith.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

# What matters to matrix products, as the system names it, and as people do.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX-BF16",
    "amx_int8": "AMX-INT8",
    "asimd": "NEON",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "sve": "SVE",
    "bf16": "ARM BF16",
}
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


def keep_pages() -> None:
    """Make the C allocator keep freed memory for the next tensor instead of returning it to the system.

    A training step frees and allocates the same large tensors again and again; by default each of them is fresh memory
    that the system has to clear, page by page, which takes a third of a step on a CPU; a pipeline's batches likewise. It
    holds for the whole process, which stays as large as it once was. Does nothing where the C library is not glibc.
    """
    if not can_keep_pages():
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_M_TOP_PAD, 64 << 20)


def return_pages() -> None:
    """Give the memory that is free in the C allocator back to the system, also between what is in use.

    For between two phases of a process that keeps its pages: what one has freed is in pieces that the next may not fit into.
    Does nothing where the C library is not glibc.
    """
    if can_keep_pages():
        ctypes.CDLL(None).malloc_trim(0)


def keep_few_kernels() -> None:
    """Make oneDNN, which multiplies half-precision matrices on a CPU, keep the code of few shapes of matrices.

    It compiles code for each shape, 3 MB or more, and keeps that of 1,024 shapes, and PyTorch of 1,024 as well; but every batch
    without padding has a shape of its own, which seldom comes again. What a training step uses in several layers is fewer than
    16. It holds for the whole process, if set before its first such product; the environment's own values stay.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16")


def can_keep_pages() -> bool:
    """Say whether :func:`keep_pages` has something to do it with."""
    return platform.libc_ver()[0] == "glibc"


def choose_device(wanted: str, local_rank: int) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``; :class:`UsageError` when there is no such device."""
    if wanted not in DEVICES:
        raise UsageError(
            f"device {wanted!r} is not one of {', '.join(DEVICES)}; of several GPUs CUDA_VISIBLE_DEVICES says which is used"
        )
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
    return not cpu_flags().isdisjoint(BF16_INSTRUCTIONS)


def has_int8(device: torch.device) -> bool:
    """Say whether the device is a CPU that multiplies 8-bit matrices in hardware."""
    return device.type == "cpu" and not cpu_flags().isdisjoint(("avx512_vnni", "avx_vnni", "amx_int8"))


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the processor's features by the system's names for them; none where the system does not tell."""
    lines = (line for line in _text("/proc/cpuinfo").splitlines() if line.lower().startswith(("flags", "features")))
    return frozenset(next(lines, ":").split(":", 1)[1].split())


@dataclass(frozen=True, slots=True)
class Cores:
    """How much of the processor there is, and how much of it this process may use.

    logical   what the system schedules on, two a core where there is hyper-threading
    physical  cores, None where the system does not tell
    allowed   logical ones that the process is not kept from (taskset, cpuset)
    quota     processor time a second that a control group allows (docker --cpus), None where it is not limited
    """

    logical: int
    physical: int | None
    allowed: int
    quota: float | None

    @property
    def usable(self) -> int:
        """The threads that can be at work at a time."""
        return self.allowed if self.quota is None else min(self.allowed, max(1, math.ceil(self.quota)))


def cores() -> Cores:
    """Return what there is of the processor for this process."""
    logical = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    places = {
        tuple(line.partition(":")[2].strip() for line in part.splitlines() if line.startswith(("physical id", "core id")))
        for part in _text("/proc/cpuinfo").split("\n\n")
    } - {()}
    return Cores(logical, len(places) or None, allowed, _quota())


def _quota() -> float | None:
    """Return the tightest limit of processor time among this process's control groups, of version 2 or 1."""
    limits = [_text(path / "cpu.max").split() for path in _control_groups("")]
    limits += [
        [_text(path / "cpu.cfs_quota_us").strip(), _text(path / "cpu.cfs_period_us").strip()] for path in _control_groups("cpu")
    ]
    shares = [int(limit[0]) / int(limit[1]) for limit in limits if len(limit) == 2 and limit[0].isdigit()]
    return min(shares, default=None)


def memory() -> tuple[int, int]:
    """Return the bytes of memory in all and those available, as far as a control group lets this process have them."""
    if not (lines := _text("/proc/meminfo").splitlines()):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total, total
    sizes = {name: int(size.split()[0]) << 10 for name, _, size in (line.partition(":") for line in lines)}
    total, available = sizes["MemTotal"], sizes["MemAvailable"]
    for controller, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        for path in _control_groups(controller):
            most, taken = _text(path / limit).strip(), _text(path / used).strip()
            if most.isdigit() and taken.isdigit() and int(most) < total:
                total, available = int(most), min(available, int(most) - int(taken))
    return total, available


def _control_groups(controller: str) -> list[Path]:
    """Return the directories of this process's control group and those above it: of version 2, or of a controller of 1."""
    entries = (line.split(":", 2) for line in _text("/proc/self/cgroup").splitlines())
    own = next((path for _, names, path in entries if controller in names.split(",")), "/")
    root = Path("/sys/fs/cgroup") / controller
    group = root / own.lstrip("/")
    return [group, *group.parents][: len(group.parents) - len(root.parents) + 1]


def _text(path: str | Path) -> str:
    """Return the text of a file of the system's, empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that PyTorch finds; memory in bytes."""

    name: str
    memory: int
    free: int
    capability: str
    has_bf16: bool


def gpus() -> list[Gpu]:
    """Return the GPUs that PyTorch finds."""
    found = []
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        free, total = torch.cuda.mem_get_info(device)
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        found.append(Gpu(torch.cuda.get_device_name(device), total, free, capability, has_bf16(device)))
    return found


# BERT-base's feed-forward; a GPU needs more rows to be busy for longer than it takes to set it to work.
_WIDTH, _INNER = 768, 3072
_ROWS = {"cpu": 2048, "cuda": 65536}


def matrix_product_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Measure the device's matrix-product rate in floating-point operations a second, on BERT-base's feed-forward shape."""
    rows = _ROWS[device.type]
    left = torch.randn(rows, _WIDTH, device=device, dtype=dtype)
    right = torch.randn(_WIDTH, _INNER, device=device, dtype=dtype)
    return 2 * rows * _WIDTH * _INNER / _fastest(lambda: left @ right, device, seconds)


def int8_product_rate(seconds: float = 0.3) -> float:
    """Measure the CPU's rate of products of 8-bit matrices as :func:`matrix_product_rate` does; it must have instructions."""
    rows = _ROWS["cpu"]
    left = torch.randint(0, 255, (rows, _WIDTH), dtype=torch.uint8)
    right = torch.ops.onednn.qlinear_prepack(torch.randint(-127, 127, (_INNER, _WIDTH), dtype=torch.int8), [rows, _WIDTH])
    scales, zeros = torch.ones(_INNER), torch.zeros(_INNER, dtype=torch.int64)

    def product() -> object:
        return torch.ops.onednn.qlinear_pointwise(
            left, 1.0, 128, right, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )

    return 2 * rows * _WIDTH * _INNER / _fastest(product, torch.device("cpu"), seconds)


def memory_bandwidth(device: torch.device, seconds: float = 0.3) -> float:
    """Measure the bytes a second that the device reads and writes when it copies what no cache holds."""
    source = torch.ones(32 << 20, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), device, seconds)


def _fastest(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the seconds of the fastest of the repetitions that fit into the time."""
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def environment(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """Return what a run's results may depend on: versions and machine."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "bertsmith": __version__,
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
