"""A folder has one owner, which is found out to be alive or dead, and which names its own checkpoints."""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from trl_entropy import TrlEntropyError
from trl_entropy.reliability.checkpoints import newest_complete
from trl_entropy.reliability.run_folder import (
    OWNER_FILE,
    FolderInUseError,
    RunId,
    locked,
    new_run,
    own,
    owner_of,
    run_of,
)


_kept = ExitStack()


@contextmanager
def child(work: Callable[[], None]) -> Iterator[int]:
    """A process that does `work` and then waits to be killed; its id."""
    ready, told = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            os.write(told, b"x")
            time.sleep(60)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(told)  # so that the read ends if the child dies
    try:
        assert os.read(ready, 1) == b"x"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def hold(folder: Path, run: RunId) -> None:
    _kept.enter_context(locked(folder))
    own(folder, run)
    assert owner_of(folder) == run  # reading the file again does not give up its lock
    assert newest_complete(folder) == (None, {})


def test_a_live_run_is_named_and_refused_and_a_dead_one_is_not(tmp_path):
    run = new_run()
    with child(lambda: hold(tmp_path, run)) as pid:
        with pytest.raises(FolderInUseError) as refused, locked(tmp_path):
            pass
        for fact in (str(run.id), run.started, f"process {pid} on {os.uname().nodename}", str(tmp_path)):
            assert fact in str(refused.value)
        assert isinstance(refused.value, TrlEntropyError)
    with locked(tmp_path):
        assert owner_of(tmp_path) == run  # its name outlives it
        other = new_run()
        own(tmp_path, other)
    assert owner_of(tmp_path) == other


def test_a_child_that_outlives_its_run_does_not_hold_the_folder(tmp_path):
    """Such as a data loader's worker."""
    grandchild = tmp_path / "pid"

    def work():
        hold(tmp_path, new_run())
        pid = os.fork()
        if not pid:
            time.sleep(60)
            os._exit(0)
        grandchild.write_text(str(pid))

    with child(work):
        pass
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(int(grandchild.read_text()), signal.SIGKILL)


def test_one_process_may_train_in_a_folder_again_and_again(tmp_path):
    for _ in range(2):
        with locked(tmp_path), locked(tmp_path):
            own(tmp_path, new_run())


def test_a_shorter_name_leaves_nothing_of_a_longer_one(tmp_path):
    with locked(tmp_path):
        own(tmp_path, RunId("a" * 8, "x", ((None, 2), ("b", 4))))
        own(tmp_path, RunId("c", "y"))
    content = json.loads((tmp_path / OWNER_FILE).read_text())
    assert (content["id"], content["ancestors"], content["pid"]) == ("c", [], os.getpid())


@pytest.mark.parametrize("text", ["", "[]", '{"id": ', '{"id": null}', '{"id": "a"}'])
def test_an_owner_that_cannot_be_read_is_nobody(tmp_path, text):
    (tmp_path / OWNER_FILE).write_text(text)
    assert owner_of(tmp_path) is None
    with locked(tmp_path):
        assert owner_of(tmp_path) is None


def test_nobody_owns_a_folder_that_is_not_there(tmp_path):
    assert owner_of(tmp_path / "none") is None
    assert run_of(None) == RunId()


def test_a_branch_owns_what_it_goes_on_from_and_nothing_beyond():
    first = RunId("first", "x")
    second = first.branch(4)
    third = second.branch(6)
    assert second.ancestors == (("first", 4),)
    assert third.ancestors == (("first", 4), (second.id, 6))
    owned = [(run, step) for run in ("first", second.id, third.id, "other", None) for step in (2, 4, 6, 8)]
    assert [pair for pair in owned if third.owns(*pair)] == [
        ("first", 2), ("first", 4), (second.id, 2), (second.id, 4), (second.id, 6),
        *((third.id, step) for step in (2, 4, 6, 8)),
    ]  # fmt: skip
    assert len({first.id, second.id, third.id}) == 3
