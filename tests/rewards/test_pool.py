import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from trl_entropy.rewards import GradingPool, nursery


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool():
    with GradingPool(timeout=2.0, workers=2) as pool:
        yield pool


def workers_of(pool):
    return psutil.Process(pool._nursery.process.pid).children()


def test_results_keep_their_order(pool):
    pairs = [(str(i), rf"\sqrt{{{i * i}}}" if i % 3 else f"{i}+1") for i in range(1, 40)]
    assert [v.status for v in pool.compare(pairs)] == ["equal" if i % 3 else "different" for i in range(1, 40)]


def test_any_thread_and_several_at_once(pool):
    def grade(i):
        assert threading.current_thread() is not threading.main_thread()
        return [v.status for v in pool.compare([(str(i), f"{i}.0"), (str(i), f"{i + 1}.0")])]

    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(grade, range(16))) == [["equal", "different"]] * 16


def test_a_killed_worker_is_replaced_and_its_pair_graded(pool):
    pool.compare([("1/2", "0.5"), ("1/3", "0.5")])
    for worker in workers_of(pool):
        worker.kill()
    assert [v.status for v in pool.compare([("1/2", "0.5"), ("1/3", "0.5")])] == ["equal", "different"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_nursery_is_restarted_in_the_middle_of_a_batch(workers):
    with GradingPool(timeout=1.0, workers=workers) as pool:
        pool.compare([("1", "1.0")])
        threading.Timer(0.3, os.kill, (pool._nursery.process.pid, signal.SIGKILL)).start()
        pairs = [("3", "9^{9^{9^{9}}}"), ("1/2", "0.5"), ("5", "8^{8^{8^{8}}}"), ("1/3", "0.5")]
        assert [v.status for v in pool.compare(pairs)] == ["timeout", "equal", "timeout", "different"]


@pytest.fixture
def kill_while_starting(monkeypatch):
    """Kill the next nurseries as the kernel does when memory is short; the list of all that start."""
    start, started = nursery.Nursery.__init__, []

    def kill(times):
        def start_and_kill(self, memory_mb):
            start(self, memory_mb)
            started.append(self.process.pid)
            if len(started) <= times:
                self.process.kill()

        monkeypatch.setattr(nursery.Nursery, "__init__", start_and_kill)
        return started

    return kill


def test_a_nursery_killed_while_starting_is_tried_again(kill_while_starting):
    started = kill_while_starting(times=2)
    with GradingPool(workers=1) as pool:
        assert pool.compare([("1/2", "0.5")])[0].status == "equal"
    assert len(started) == 3


def test_a_successor_killed_while_starting_is_tried_again(kill_while_starting):
    with GradingPool(workers=1) as pool:
        pool.compare([("1/2", "0.5")])
        started = kill_while_starting(times=1)
        processes = [psutil.Process(pool._nursery.process.pid), *workers_of(pool)]
        pool._nursery.process.kill()
        assert not psutil.wait_procs(processes, timeout=5)[1]
        assert pool.compare([("1/3", "0.5")])[0].status == "different"
    assert len(started) == 2


def test_a_nursery_killed_every_time_says_so_at_once(kill_while_starting):
    started = kill_while_starting(times=99)
    with pytest.raises(RuntimeError, match="exit status -9"):
        GradingPool(workers=1).compare([("1/2", "0.5")])
    assert len(started) == 3


def test_a_silent_nursery_is_not_waited_for_twice(monkeypatch, kill_while_starting):
    monkeypatch.setattr(nursery, "_START_SECONDS", 0.3)
    monkeypatch.setattr(nursery, "_PROGRAM", "import time; time.sleep(60) or {}")
    started = kill_while_starting(times=0)
    with pytest.raises(RuntimeError, match=r"nothing for 0\.3 s"):
        GradingPool(workers=1).compare([("1/2", "0.5")])
    assert len(started) == 1
    assert not psutil.pid_exists(started[0])


@pytest.mark.parametrize(("ranks", "workers"), [("", 8), ("0", 8), ("8", 4), ("64", 1), ("no", 8)])
def test_a_share_of_the_cores_for_each_rank(monkeypatch, ranks, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert GradingPool().workers == workers


def test_equal_pairs_are_compared_once():
    with GradingPool(timeout=0.5, workers=1) as pool:
        pool.compare([("1", "1.0")])
        started = time.monotonic()
        assert {v.status for v in pool.compare([("3", "9^{9^{9^{9}}}")] * 100)} == {"timeout"}
        assert time.monotonic() - started < 3


def test_a_worker_cannot_allocate_more_than_its_limit_nor_write_a_file(tmp_path):
    code = f"""
        from trl_entropy.rewards.nursery import limit_process
        limit_process(256)
        bytearray(64 << 20)
        try:
            bytearray(256 << 20)
        except MemoryError:
            print("memory")
        try:
            with open({str(tmp_path / "file")!r}, "w") as file:
                file.write("x")
        except OSError:
            print("file")
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert result.stdout.split() == ["memory", "file"], result.stderr


def test_workers_do_not_load_torch_and_stop_with_the_pool():
    pool = GradingPool(workers=2)
    pool.compare([("1/2", "0.5"), ("1/3", "0.5")])
    processes = [psutil.Process(pool._nursery.process.pid), *workers_of(pool)]
    assert len(processes) == 3
    for process in processes:
        assert not any("torch" in entry.path for entry in process.memory_maps())
    pool.close()
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


def test_nothing_is_left_when_the_trainer_is_killed():
    code = """
        import os, signal, time, psutil
        from trl_entropy.rewards import GradingPool
        pool = GradingPool(timeout=60, workers=1)
        pool.compare([("1/2", "0.5")])
        nursery = psutil.Process(pool._nursery.process.pid)
        print(nursery.pid, *[child.pid for child in nursery.children()], flush=True)
        if os.fork() == 0:  # a DataLoader's worker, say, which outlives the trainer
            time.sleep(20)
            os._exit(0)
        pool.compare([("3", "9^{9^{9^{9}}}")])
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as trainer:
        pids = [int(pid) for pid in trainer.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.2)
        trainer.kill()
    deadline = time.monotonic() + 5
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_fork_of_the_trainer_gets_its_own_workers(pool):
    pool.compare([("1/2", "0.5")])
    nursery = pool._nursery.process.pid
    pid = os.fork()
    if pid == 0:  # pragma: no cover: runs in the child
        ok = pool._lock.acquire(timeout=1) and (pool._lock.release() or True)
        ok = ok and pool.compare([("1/2", "0.5")])[0].status == "equal" and pool._nursery.process.pid != nursery
        pool.close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert psutil.Process(nursery).status() != psutil.STATUS_ZOMBIE
    assert pool.compare([("1/2", "0.5")])[0].status == "equal"
    assert pool._nursery.process.pid == nursery


def test_a_fork_while_another_thread_grades_can_grade(pool):
    """The child gets the lock as it was: held by a thread that does not exist in it."""
    pool.compare([("1/2", "0.5")])
    grading = threading.Thread(target=pool.compare, args=([("3", "9^{9^{9^{9}}}")],))
    grading.start()
    while not pool._lock.locked():
        time.sleep(0.01)
    pid = os.fork()
    if pid == 0:  # pragma: no cover: runs in the child
        ok = pool.compare([("1/2", "0.5")])[0].status == "equal"
        pool.close()
        os._exit(0 if ok else 1)
    deadline, done = time.monotonic() + 20, (0, 0)
    while done[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
        done = os.waitpid(pid, os.WNOHANG)
    if done[0] == 0:  # it waits for ever
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    grading.join()
    assert done == (pid, 0)
    assert pool.compare([("1/2", "0.5")])[0].status == "equal"


def test_pickles_without_its_processes(pool):
    pool.compare([("1/2", "0.5")])
    copy = pickle.loads(pickle.dumps(pool))
    assert copy._nursery is None
    assert (copy.timeout, copy.memory_mb, copy.workers) == (2.0, 1024, 2)


def test_failing_to_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(RuntimeError, match=r"did not start[\s\S]*ModuleNotFoundError"):
        GradingPool(workers=1).compare([("1/2", "0.5")])


@pytest.mark.parametrize(
    ("setting", "word"), [({"timeout": 0}, "timeout"), ({"memory_mb": 10}, "memory_mb"), ({"workers": 0}, "workers")]
)
def test_bad_settings_are_refused(setting, word):
    with pytest.raises(ValueError, match=word):
        GradingPool(**setting)
