"""The memory limit of a container, from files as the kernel has them."""

from pathlib import Path

from sightline.hosts.cgroup import Memory, memory

GB = 1 << 30


def group(folder: Path, *, limit: str, used: int, cache: int = 0, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\nfile 7\n")


def of(tmp_path: Path, membership: str) -> Memory | None:
    (tmp_path / "membership").write_text(membership)
    return memory(tmp_path / "fs", tmp_path / "membership")


def test_version_2_inside_a_container(tmp_path: Path) -> None:
    """Its group is the root of what it sees; file cache that can be dropped at once is not used memory."""
    group(tmp_path / "fs", limit=str(8 * GB), used=5 * GB, cache=2 * GB)
    assert of(tmp_path, "0::/\n") == Memory(3 * GB, 8 * GB)


def test_version_2_the_tightest_limit_counts(tmp_path: Path) -> None:
    """That of a slice around the service, if it is below the service's."""
    (tmp_path / "fs").mkdir()
    group(tmp_path / "fs/a.slice", limit=str(4 * GB), used=3 * GB)
    group(tmp_path / "fs/a.slice/job", limit=str(8 * GB), used=GB)
    group(tmp_path / "fs/a.slice/job/step", limit="max", used=GB)
    assert of(tmp_path, "0::/a.slice/job/step\n") == Memory(3 * GB, 4 * GB)


def test_version_1_with_the_machines_path(tmp_path: Path) -> None:
    """A container sees its own group at the mount, and the machine's path of it in its membership."""
    group(tmp_path / "fs/memory", limit=str(2 * GB), used=GB, cache=GB // 2, version=1)
    lines = "9:name=systemd:/docker/1f\n4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n0::/docker/1f\n"
    assert of(tmp_path, lines) == Memory(GB // 2, 2 * GB)


def test_version_1_has_a_number_for_no_limit(tmp_path: Path) -> None:
    group(tmp_path / "fs/memory/job", limit="9223372036854771712", used=GB, version=1)
    assert of(tmp_path, "4:memory:/job\n0::/\n") is None


def test_no_limit_no_files_no_sense(tmp_path: Path) -> None:
    """Whatever stands there, or does not."""
    group(tmp_path / "fs", limit="max", used=GB)
    assert of(tmp_path, "0::/\n") is None
    assert of(tmp_path, "") is None
    assert of(tmp_path, "rubbish\n\n:::\n0::/../../etc\n") is None
    group(tmp_path / "fs", limit="many", used=GB)
    assert of(tmp_path, "0::/\n") is None
    assert memory(tmp_path / "fs", tmp_path / "nowhere") is None
