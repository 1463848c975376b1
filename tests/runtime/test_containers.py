"""PartitionedBuffer and Shuffle: the same rows whether they spill or not, honest accounts, replay and consumption."""

import random
import threading
from dataclasses import replace

import pyarrow as pa
import pytest

from sqlengine.errors import SpillError
from sqlengine.runtime.memory import MemoryPool, pinned_bytes
from sqlengine.runtime.partitioned_buffer import PartitionedBuffer
from sqlengine.runtime.shuffle import Shuffle
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return replace(Settings(), spill_dir=(str(tmp_path),), batch_bytes=64 << 10, batch_rows=5000)


@pytest.fixture
def spill(settings):
    directory = SpillDirectory.open(settings)
    yield directory
    directory.close()


def batches(count=60, skew=False):
    made = random.Random(7)
    position = 0
    for _ in range(count):
        rows = made.choice([1, 3, 50, 2000])
        keys = [0 if skew and made.random() < 0.95 else made.randrange(1000) for _ in range(rows)]
        yield pa.record_batch(
            {
                "k": pa.array(keys, pa.int64()),
                "p": pa.array(range(position, position + rows), pa.int64()),
                "t": pa.array([None if k % 5 == 0 else f"value {k}" for k in keys], pa.string()),
            }
        )
        position += rows


def positions(stream, settings):
    result = []
    for batch in stream:
        assert 0 < batch.num_rows <= settings.batch_rows and batch.nbytes <= 2 * settings.batch_bytes
        result += batch["p"].to_pylist()
    return result


@pytest.mark.parametrize("partitions", [1, 13])
@pytest.mark.parametrize("skew", [False, True])
@pytest.mark.parametrize("capacity", [0, 50_000, 400_000, 1 << 30])
def test_same_rows_in_the_same_order_at_every_budget(settings, spill, partitions, skew, capacity):
    pool = MemoryPool(capacity)
    reservation = pool.admit("t", 0).reservation("x", 0, True)
    buffer = PartitionedBuffer(next(batches()).schema, partitions, reservation, spill, settings, "x")
    given = list(batches(skew=skew))
    for batch in given:
        buffer.add(batch, ("k",))
    buffer.finish()
    total = sum(batch.num_rows for batch in given)
    assert buffer.total_rows == total
    assert (buffer.spilled_bytes > 0) == (capacity < 1 << 30)
    homes = {}
    seen = []
    for number in range(partitions):
        rows = positions(buffer.read(number), settings)
        assert rows == sorted(rows) and len(rows) == buffer.rows(number)
        assert positions(buffer.read(number), settings) == rows  # replay
        for batch in buffer.read(number):
            for key in batch["k"].to_pylist():
                assert homes.setdefault(key, number) == number
        seen += positions(buffer.read(number, consume=True), settings)
        assert buffer.held(number) == 0
    assert sorted(seen) == list(range(total))
    assert reservation.size == 0
    buffer.close()
    assert spill.bytes == 0 and pool.used == 0


def test_partial_spill_takes_the_largest_and_unpins_the_rest(settings, spill):
    reservation = MemoryPool(1 << 30).admit("t", 0).reservation("x", 0, True)
    buffer = PartitionedBuffer(next(batches()).schema, 8, reservation, spill, settings, "x")
    for batch in batches(skew=True):
        buffer.add(batch, ("k",))
    before = reservation.size
    assert buffer.spill(keep=0.5) > before / 2
    left = [number for number in range(8) if buffer.held(number)]
    assert len(left) == 7 and reservation.size == sum(map(buffer.held, left)) <= before / 2
    for number in left:
        assert buffer.in_memory(number)
        assert sum(pinned_bytes(b) for b in buffer._blocks[number]) <= 2 * buffer.held(number)


def test_tiny_batches_cost_what_they_hold_and_are_gathered(settings, spill):
    reservation = MemoryPool(1 << 30).admit("t", 0).reservation("x", 0, True)
    buffer = PartitionedBuffer(pa.schema({"p": pa.int64()}), 1, reservation, spill, settings, "x")
    for i in range(5000):
        buffer.add(pa.record_batch({"p": pa.array([i])}))
    buffer.finish()
    assert len(buffer._blocks[0]) <= 12 and reservation.size < 3 * 40_000
    found = list(buffer.read(0))
    assert len(found) <= 3 and [v for b in found for v in b["p"].to_pylist()] == list(range(5000))


def test_rows_without_columns_are_counted(settings, spill):
    reservation = MemoryPool(0).admit("t", 0).reservation("x", 0, True)
    buffer = PartitionedBuffer(pa.schema([]), 1, reservation, spill, settings, "x")
    empty = pa.RecordBatch.from_struct_array(pa.array([{}] * 7000, pa.struct([])))
    buffer.add(empty)
    buffer.add(empty)
    assert sum(batch.num_rows for batch in buffer.read(0)) == buffer.total_rows == 14_000


def test_a_failed_spill_loses_nothing(settings, spill):
    reservation = MemoryPool(1 << 30).admit("t", 0).reservation("x", 0, True)
    small = SpillDirectory.open(replace(settings, spill_limit=40_000))
    buffer = PartitionedBuffer(next(batches()).schema, 1, reservation, small, settings, "x")
    given = list(batches())
    for batch in given:
        buffer.add(batch)
    with pytest.raises(SpillError):
        buffer.spill()
    assert positions(buffer.read(0), settings) == list(range(sum(b.num_rows for b in given)))
    buffer.close()


def test_a_finished_shuffle_makes_room_for_a_waiting_task(settings, spill):
    pool = MemoryPool(2 << 20)
    shuffle = Shuffle(next(batches()).schema, 4, pool, spill, settings, "Exchange")
    given = list(batches())

    def task(part):
        writer = shuffle.writer()
        for batch in part:
            writer.add(batch, ("k",))
        writer.finish()

    threads = [threading.Thread(target=task, args=(given[n::3],)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shuffle.finish()
    total = sum(batch.num_rows for batch in given)
    assert shuffle.total_rows == total and pool.used > 0
    reading = shuffle.read(2)
    first = next(reading)  # a reader that pauses keeps its own partition only
    with pool.admit("next", (2 << 20) - 600_000):
        assert pool.used <= pool.capacity and shuffle.spilled_bytes > 0
        rest = [first, *reading]
        assert sum(b.num_rows for b in rest) == shuffle.rows(2)
        got = [v for n in range(4) for v in positions(shuffle.read(n, consume=True), settings)]
        assert sorted(got) == list(range(total))
    shuffle.close()
    assert pool.used == 0 and spill.bytes == 0
