from pathlib import Path

import pytest

from arks.kit import machine


def _files(directory: Path, **files: str) -> Path:
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content)
    return directory


def test_available_memory_is_that_of_the_machine_without_a_cgroup(tmp_path: Path) -> None:
    proc = _files(tmp_path, meminfo="MemTotal: 100 kB\nMemAvailable:     64 kB\n")
    assert 64 * 1024 == machine.available_memory_bytes(proc, tmp_path / "none")


def test_a_cgroup_with_less_decides_and_its_page_cache_counts_as_free(tmp_path: Path) -> None:
    files = _files(
        tmp_path,
        meminfo="MemAvailable: 64 kB\n",
        memory__max="10000\n",
        memory__current="9000\n",
        memory__stat="anon 5\ninactive_file 500\n",
    )
    assert 1500 == machine.available_memory_bytes(files, files)


def test_a_cgroup_without_a_limit_changes_nothing(tmp_path: Path) -> None:
    files = _files(tmp_path, meminfo="MemAvailable: 64 kB\n", memory__max="max\n", memory__current="9000\n")
    assert 64 * 1024 == machine.available_memory_bytes(files, files)


def test_a_cpu_quota_limits_the_processors(tmp_path: Path) -> None:
    assert 1 == machine.usable_cpus(_files(tmp_path, cpu__max="100000 100000"))
    assert machine.usable_cpus(tmp_path / "none") == machine.usable_cpus(_files(tmp_path, cpu__max="max 100000"))


@pytest.mark.parametrize(
    ("cpus", "engines", "threads"), [(1, 1, 1), (2, 1, 1), (2, 2, 1), (8, 1, 7), (8, 2, 3), (8, 100, 1), (4, 0, 3)]
)
def test_engines_share_all_processors_but_one(cpus: int, engines: int, threads: int) -> None:
    assert threads == machine.engine_threads(cpus, engines)


def test_a_driver_s_device_means_a_gpu(tmp_path: Path) -> None:
    assert not machine.has_gpu(tmp_path)
    assert machine.has_gpu(_files(tmp_path, nvidiactl=""))
