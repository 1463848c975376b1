"""The pool: admission without deadlock, fair shares, honest sizes."""

import threading
import time

import pyarrow as pa
import pytest

from sqlengine.errors import Interrupted, MemoryLimitError, SpillError
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.memory import MemoryPool, compact, pinned_bytes

MB = 1 << 20


def test_many_tasks_in_a_small_pool_all_finish_and_give_all_back():
    pool = MemoryPool(10 * MB)
    done, wrong = [], []

    def work(number):
        for _ in range(20):
            with pool.admit(f"task {number}", 4 * MB) as task:
                one, two = task.reservation("A", 2 * MB, True), task.reservation("B", 2 * MB, True)
                if not (one.try_grow(2 * MB) and two.try_grow(2 * MB)):
                    wrong.append("a floor was refused")
                one.try_grow(MB)
                if pool.used > pool.capacity:
                    wrong.append("over capacity")
        done.append(number)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == list(range(6)) and not wrong
    assert pool.used == 0 and pool.peak <= 10 * MB and pool.holders() == []


def test_admission_is_first_come_first_served():
    pool = MemoryPool(10)
    first = pool.admit("first", 6)
    order = []

    def wait_for(name, floor):
        with pool.admit(name, floor):
            order.append(name)

    threads = []
    for name, floor in (("large", 8), ("small", 3)):  # the small one would fit now, but came later
        threads.append(threading.Thread(target=wait_for, args=(name, floor), daemon=True))
        threads[-1].start()
        time.sleep(0.05)
    assert order == []
    pool.admit("stage output", 0).close()  # takes nothing, does not queue
    first.close()
    for thread in threads:
        thread.join(5)
    assert order == ["large", "small"]


def test_waiting_ends_with_a_cancellation_and_leaves_no_trace():
    pool = MemoryPool(10)
    held = pool.admit("holder", 10)
    cancel = Cancel()
    threading.Timer(0.05, cancel.cancel).start()
    with pytest.raises(Interrupted):
        pool.admit("waiter", 5, cancel)
    held.close()
    pool.admit("next", 10).close()
    assert pool.used == 0


def test_fair_share_leaves_room_for_the_late_and_counts_out_what_cannot_spill():
    pool = MemoryPool(100)
    task = pool.admit("t", 0)
    fixed = task.reservation("fixed", 0, False)
    assert fixed.try_grow(20)
    early, late = task.reservation("early", 0, True), task.reservation("late", 0, True)
    assert early.try_grow(40)
    assert not late.try_grow(41)  # half of 80
    assert late.try_grow(30)
    assert not early.try_grow(1)
    late.close()
    assert early.try_grow(40) and not early.try_grow(1)
    early.shrink(80)
    fixed.close()
    assert pool.used == 0 and early.peak == 80
    assert late.try_grow(100)


def test_errors_name_the_holders_and_real_settings():
    pool = MemoryPool(MB)
    with pytest.raises(MemoryLimitError, match="needs at least"):
        pool.admit("query 1", 2 * MB)
    task = pool.admit("query 1", 0)
    task.reservation("HashJoin", 0, True).grow(MB // 2)
    with pytest.raises(MemoryLimitError) as caught:
        task.reservation("Writer", 0, False).grow(MB)
    text = caught.value.render()
    assert "HashJoin  512 KiB  floor 0 B  spills" in text and "memory_limit" in text and "Writer of query 1" in text


def test_a_waiting_task_evicts_finished_outputs_but_not_through_an_error():
    pool = MemoryPool(10)
    output = pool.admit("stage", 0).reservation("Exchange", 0, True)
    assert output.try_grow(8)

    def full_disk(wanted):
        raise SpillError("disk full")

    def evict(wanted):
        size = output.size
        output.shrink(size)
        return size

    pool.register_evictable("a", full_disk)
    pool.register_evictable("b", evict)
    pool.admit("next", 5).close()
    assert output.size == 0


def test_finished_outputs_take_no_share_and_give_way_piece_by_piece():
    pool = MemoryPool(160)
    output = pool.admit("stage", 0).reservation("Exchange", 0, True)
    join = pool.admit("join", 0).reservation("HashJoin", 0, True)
    assert output.try_grow(120)
    assert not join.try_grow(90)
    output.settle()
    asked = []

    def evict(wanted):
        asked.append(wanted)
        before = output.size
        output.shrink(30)
        return before - output.size

    pool.register_evictable("stage", evict)
    assert not join.try_grow(90)
    assert join.try_grow_first(90) and asked == [90, 90] and output.size == 60
    assert not join.try_grow_first(71) and output.size == 0  # more than there is
    assert join.try_grow(70)
    join.shrink(160)
    output.shrink(0)
    assert pool.used == 0 and output.try_grow(80) and not join.try_grow(90)


NESTED = pa.record_batch(
    {
        "n": pa.array(range(50_000), pa.int64()),
        "t": pa.array([f"text {i}" for i in range(50_000)]),
        "l": pa.array([[i, i] for i in range(50_000)]),
        "s": pa.array([{"a": "x" * 10, "b": [i]} for i in range(50_000)]),
        "b": pa.array([i % 3 == 0 or None for i in range(50_000)]),
        "d": pa.array(["x", "y"] * 25_000).dictionary_encode(),
    }
)


@pytest.mark.parametrize("name", NESTED.schema.names)
def test_compaction_is_honest_for_every_type(name):
    part = NESTED.select([name]).slice(12_345, 10)
    small = compact(part)
    assert small.equals(part)
    assert pinned_bytes(small) <= 4096 + 2 * part.nbytes
    assert compact(small) is small


def test_shared_buffers_count_once():
    column = pa.array(range(100_000))
    batch = pa.record_batch({"a": column, "b": column})
    assert pinned_bytes(batch) == pinned_bytes(batch.select(["a"]))


def test_admission_does_not_wait_for_what_nobody_frees() -> None:
    """A reservation outside of running pipelines that neither spills nor is evictable: an error that names it."""
    pool = MemoryPool(1000)
    kept = pool.admit("kept", 0).reservation("Keeper", 0, False)
    assert kept.try_grow(600)
    with pytest.raises(MemoryLimitError, match="Keeper"):
        pool.admit("late", 600)
    kept.close()
    pool.admit("late", 600).close()
