"""Calls and streams on a thread of their own."""

import threading

import pytest

from sqlengine.runtime.background import Background, ahead


def test_a_call_gives_its_result_or_its_error():
    assert Background(lambda: 7, "test-call").result() == 7
    failed = Background(lambda: 1 // 0, "test-call")
    failed.wait()
    assert failed.done
    with pytest.raises(ZeroDivisionError):
        failed.result()


def test_a_stream_is_at_most_two_items_ahead():
    made = []

    def stream():
        for number in range(100):
            made.append(number)
            yield number

    found = []
    for number in ahead(stream(), "test-ahead"):
        found.append(number)
        assert len(made) <= number + 3  # given out, waiting, being made
    assert found == list(range(100))


def test_an_error_comes_after_the_items_before_it():
    def stream():
        yield 1
        yield 2
        raise ValueError("here")

    found = []
    with pytest.raises(ValueError, match="here"):
        for number in ahead(stream(), "test-ahead"):
            found.append(number)
    assert found == [1, 2]


def test_closing_early_closes_the_stream_and_ends_the_thread():
    closed = []

    def stream():
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    items = ahead(stream(), "test-ahead")
    assert next(items) == 1
    items.close()
    assert closed == ["test-ahead"]
