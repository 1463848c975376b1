"""Limits from cgroups, the RSS of the tree, pressure levels."""

import subprocess
import sys
import threading

import psutil
import pyarrow as pa

from sqlengine.runtime.process_watch import (
    ProcessWatch,
    cgroup_limit,
    default_memory_limit,
    limit_for,
    operator_budget,
    process_rss,
    reconcile,
    release_memory,
    tree_rss,
)

MB = 1 << 20


def test_cgroup_v2_takes_the_least_on_the_way_up(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "memory.max").write_text("500000000\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    membership = tmp_path / "self"
    membership.write_text("0::/a/b\n")
    found = cgroup_limit(tmp_path, membership)
    assert found.bytes == 500_000_000 and "v2" in found.source


def test_cgroup_v1_inside_a_container_and_without_limit(tmp_path):
    (tmp_path / "memory").mkdir()
    limit = tmp_path / "memory" / "memory.limit_in_bytes"
    membership = tmp_path / "self"
    membership.write_text("5:cpu,cpuacct:/x\n4:memory:/docker/of-the-host\n")
    limit.write_text("300000000")
    assert cgroup_limit(tmp_path, membership).bytes == 300_000_000
    limit.write_text("9223372036854771712")
    assert cgroup_limit(tmp_path, membership) is None
    assert cgroup_limit(tmp_path, tmp_path / "nothing") is None


def test_default_limit_is_below_the_machine_and_says_why():
    found = default_memory_limit()
    assert 0 < found.bytes <= psutil.virtual_memory().total * 0.8 and found.source.startswith("80 % of")
    assert operator_budget(500 * MB, 100 * MB) == 348 * MB
    assert operator_budget(limit_for(77 * MB, 100 * MB), 100 * MB) - 77 * MB in range(3)
    assert operator_budget(50 * MB, 100 * MB) == MB // 16


def test_rss_counts_children():
    child = subprocess.Popen(
        [sys.executable, "-c", "x = bytearray(80 << 20); print('ready', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        child.stdout.readline()
        assert tree_rss() - process_rss() > 75 * MB
    finally:
        child.communicate(b"\n")
    assert abs(process_rss() - psutil.Process().memory_info().rss) < 20 * MB


def test_reconciliation_shows_what_nobody_accounts_for():
    base = process_rss()
    held = pa.allocate_buffer(40 * MB)
    found = reconcile(10 * MB, base, base + 100 * MB)
    assert found.arrow >= held.size and found.unattributed == 100 * MB - found.arrow
    del held
    assert release_memory() >= 0


def test_watch_samples_until_stopped_and_leaves_no_thread():
    seen = []
    arrived = threading.Event()

    def sampled(rss):
        seen.append(rss)
        arrived.set()

    values = iter([10, 90, 120, *[20] * 10_000])
    watch = ProcessWatch(sampled, 0.005, lambda: next(values))
    watch.start()
    for _ in range(3):
        arrived.clear()
        assert arrived.wait(2)
    watch.stop()
    assert seen[:2] == [90, 120] and watch.peak == 120
    assert not any(thread.name == "sqlengine-memory" for thread in threading.enumerate())
