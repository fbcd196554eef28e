import errno
import fcntl
import threading

import pytest

from clearml_access import locks


def test_only_one_is_in_the_block(tmp_path):
    path = tmp_path / "folder" / "lock"
    waits, order = threading.Event(), []

    def second():
        with locks.alone(path, waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locks.alone(path, lambda: order.append("waited")):
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_an_error_in_the_block_frees_the_lock(tmp_path):
    with pytest.raises(ValueError, match="mine"), locks.alone(tmp_path / "lock", lambda: None):
        raise ValueError("mine")
    waited = []
    with locks.alone(tmp_path / "lock", lambda: waited.append(1)):
        assert waited == []


def test_a_file_system_without_locks_does_not_keep_the_block_from_running(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    ran = []
    with locks.alone(tmp_path / "lock", lambda: ran.append("waited")):
        ran.append("block")
    assert ran == ["block"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_wait_for_a_lock_ends_with_it_or_in_time(tmp_path, kind):
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    with locks.within(path, 0.0) as first, locks.within(path, 0.0) as second:
        assert (first, second) == (True, False)
    with locks.within(path, 0.0) as third:
        assert third
    assert path.exists()
