import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bertsmith import machine
from bertsmith.errors import UsageError
from bertsmith.machine import (
    can_keep_pages,
    choose_device,
    choose_dtype,
    cores,
    has_bf16,
    has_int8,
    int8_product_rate,
    matrix_product_rate,
    memory,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu sse avx512f avx512_bf16\n", True),
        ("flags : fpu amx_tile amx_bf16\n", True),
        ("processor : 0\nFeatures : fp asimd bf16\n", True),
        ("model name : bf16 in name only\nflags : fpu avx512f\n", False),
        ("no flags here\n", False),
    ],
)
def test_bf16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, expected: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "cpuinfo")
    machine.cpu_flags.cache_clear()
    try:
        assert has_bf16(CPU) == expected
        assert choose_dtype("auto", CPU) == (torch.bfloat16 if expected else torch.float32)
    finally:
        machine.cpu_flags.cache_clear()


def test_precision_and_device_as_told() -> None:
    assert choose_dtype("bf16", CPU) == torch.bfloat16
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_device("cpu", local_rank=3) == CPU


def test_a_gpu_has_the_number_of_its_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto", local_rank=3) == torch.device("cuda", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", local_rank=3) == CPU
    with pytest.raises(UsageError, match="finds no GPU here"):
        choose_device("cuda", local_rank=0)


CPUINFO = """processor : 0
physical id : 0
core id : 0
flags : avx2

processor : 1
physical id : 0
core id : 0
flags : avx2

processor : 2
physical id : 0
core id : 1
flags : avx2
"""


@pytest.mark.parametrize(
    ("files", "quota", "usable"),
    [
        ({}, None, 3),
        ({"self": "0::/jobs/one\n", "/sys/fs/cgroup/jobs/one/cpu.max": "150000 100000\n"}, 1.5, 2),
        ({"self": "0::/jobs/one\n", "/sys/fs/cgroup/jobs/cpu.max": "50000 100000\n"}, 0.5, 1),
        ({"self": "0::/jobs/one\n", "/sys/fs/cgroup/jobs/one/cpu.max": "max 100000\n"}, None, 3),
        (
            {
                "self": "4:memory:/a\n2:cpuacct,cpu:/b\n",
                "/sys/fs/cgroup/cpu/b/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu/b/cpu.cfs_period_us": "100000\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2.0,
            2,
        ),
    ],
)
def test_cores_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float | None, usable: int
) -> None:
    known = {"/proc/cpuinfo": CPUINFO, "/proc/self/cgroup": files.get("self", ""), **files}
    monkeypatch.setattr(machine, "_text", lambda path: known.get(str(path), ""))
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    found = cores()
    assert (found.physical, found.quota, found.usable) == (2, quota, usable)


def test_memory_is_what_a_control_group_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"/proc/meminfo": "MemTotal:  1000 kB\nMemFree: 5 kB\nMemAvailable:  900 kB\nHugePages_Total:       0\n"}
    monkeypatch.setattr(machine, "_text", lambda path: known.get(str(path), ""))
    assert memory() == (1000 << 10, 900 << 10)
    known["/proc/self/cgroup"] = "0::/box\n"
    known |= {"/sys/fs/cgroup/box/memory.max": "500000\n", "/sys/fs/cgroup/box/memory.current": "200000\n"}
    assert memory() == (500_000, 300_000)


@pytest.mark.parametrize(("flags", "expected"), [({"avx2"}, False), ({"avx512_vnni"}, True), ({"avx_vnni"}, True)])
def test_int8_where_there_are_instructions(monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: bool) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    assert has_int8(CPU) == expected
    assert not has_int8(torch.device("cuda"))


@pytest.mark.skipif(not has_int8(CPU), reason="no instructions for 8-bit matrices here")
def test_the_rate_of_8_bit_products_is_positive() -> None:
    assert int8_product_rate(seconds=0.001) > 0


def test_the_rate_of_matrix_products_is_positive() -> None:
    assert matrix_product_rate(CPU, torch.float32, seconds=0.001) > 0


def test_kept_pages_are_not_cleared_again() -> None:
    """Freed and allocated again, a large tensor costs no page faults; by default every page of it would."""
    script = """
import resource, torch, bertsmith
bertsmith.keep_pages()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):  # until the heap has grown to where it stays
    torch.ones(4 << 20)
before = faults()
for _ in range(10):
    torch.ones(4 << 20)
print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10 * (16 << 20) / 4096 / 4


_MEGABYTES = """
def megabytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
"""


@pytest.mark.skipif(not can_keep_pages(), reason="another allocator than glibc's")
def test_pages_between_what_is_in_use_are_returned() -> None:
    script = f"""
import torch
from bertsmith.machine import keep_pages, return_pages
{_MEGABYTES}
keep_pages()
tensors = [torch.ones(1 << 18) for _ in range(200)]
tensors[::2] = [None] * 100
before = megabytes()
return_pages()
print(before - megabytes())
assert all(tensor.eq(1).all() for tensor in tensors[1::2])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 80  # of 100 that are free


@pytest.mark.skipif(not has_bf16(CPU) or not can_keep_pages(), reason="half-precision products in software take no kernels")
def test_matrices_of_ever_new_shapes_take_no_more_memory() -> None:
    script = f"""
import torch
from bertsmith.machine import keep_few_kernels
{_MEGABYTES}
keep_few_kernels()
weight = torch.ones(256, 256, dtype=torch.bfloat16)
def multiply(lengths):
    for length in lengths:
        torch.ones(length, 256, dtype=torch.bfloat16) @ weight
multiply(range(100, 150))
before = megabytes()
multiply(range(150, 350))
print(megabytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30  # the kernels of 200 shapes take more than a hundred


def test_the_environment_says_how_many_kernels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "500")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "")  # so that it is put back
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    machine.keep_few_kernels()
    assert os.environ["LRU_CACHE_CAPACITY"] == "500"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "16"
