"""A reward that runs tests: 1 if the code of a completion passes all of its problem's tests, else 0."""

import ast
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache

from ..rewards import completion_text
from ..rewards.pool import share_of_cores
from .confine import unavailable


SECONDS = 4.0
MEGABYTES = 512
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_PROGRAM = "import sys; sys.path.append({!r}); import code_judge, confine; code_judge.main(confine.confine, {}, {})"
_PASSED, _BROKEN, _UNSUITABLE = 0, 1, 3  # what `code_judge.py` ends with


def extract_code(completion: str) -> str | None:
    r"""The last fenced block of a completion, or `None`.

    Example:
        >>> extract_code("Like this:\n```python\nx = 1\n```")
        'x = 1\n'
    """
    blocks = _BLOCK.findall(completion)
    return blocks[-1] if blocks else None


def passes(code: str, tests: Sequence[str], seconds: float = SECONDS, megabytes: int = MEGABYTES) -> bool:
    """Load `code` in a process of its own, run every test in another; whether all went through.

    Both are clean interpreters without an environment, in an empty folder; `confine` says what they may not do. The
    tests' process holds the tests and decides, see `code_judge`; the verdict is its exit status.

    Args:
        code: Python source, standard library only.
        tests: statements such as `assert add(1, 2) == 3`, run in order in one namespace.
        seconds: limit of wall clock and processor time.
        megabytes: limit of memory of each of the two.

    Raises:
        RuntimeError: the processes cannot be started.
    """
    _warn_once()
    task = json.dumps({"code": code, "tests": list(tests)}).encode()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(task)
        stdin.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM.format(os.path.dirname(__file__), seconds, megabytes)],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,  # held by the judge alone and not read while it lives: it ends when the judge does
            cwd=folder,
            env={},
            start_new_session=True,
        )
        assert process.stderr is not None
        with process:
            try:
                watch = select.poll()
                watch.register(process.stderr, 0)
                ended = watch.poll(seconds * 1000)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            said = os.read(process.stderr.fileno(), 4096).decode(errors="replace") if ended else ""
    if status == _BROKEN:
        raise RuntimeError(f"The processes that test code could not start: {said.strip() or 'no message'}")
    if status == _UNSUITABLE:
        warnings.warn(
            f"A test hands the code an object of a class that it does not know, and fails: {list(tests)}. Only data "
            "and functions cross from the tests to the code.",
            stacklevel=2,
        )
    return bool(ended) and status == _PASSED


def passes_tests(completions: Sequence, tests: Sequence[Sequence[str]], **columns) -> list[float]:
    """The reward, in TRL's calling convention.

    Args:
        completions: strings or conversations; the last fenced block of the last message is the code.
        tests: the dataset's column of tests, a list of statements a problem.

    Raises:
        ValueError: a problem without tests, or a test that is not Python.

    Example:
        >>> passes_tests(["```python\\ndef add(a, b): return a + b\\n```"], tests=[["assert add(1, 2) == 3"]])
        [1.0]
    """
    given = [_checked(rows) for rows in tests]
    codes = [extract_code(completion_text(completion)) for completion in completions]
    pairs = {(code, rows) for code, rows in zip(codes, given, strict=True) if code is not None}
    with ThreadPoolExecutor(share_of_cores(most=16)) as pool:
        passed = dict(zip(pairs, pool.map(lambda pair: passes(*pair), pairs), strict=True))
    return [float(code is not None and passed[code, rows]) for code, rows in zip(codes, given, strict=True)]


def _checked(tests: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(tests, (list, tuple)) or not tests or not all(isinstance(test, str) for test in tests):
        raise ValueError(f"passes_tests needs a list of statements a problem in the column 'tests', got {tests!r}.")
    return _parsed(tuple(tests))


@lru_cache(maxsize=4096)
def _parsed(tests: tuple[str, ...]) -> tuple[str, ...]:
    for test in tests:
        try:
            ast.parse(test)
        except SyntaxError as error:
            raise ValueError(f"passes_tests: a test is not Python ({error}): {test!r}.") from None
    return tests


@cache
def _warn_once() -> None:
    lacking = unavailable()
    if lacking is not None:
        warnings.warn(
            f"The code that a model writes is tested under limits of time and memory only, since {lacking}: it can "
            "read and signal what this user can. Train in a container without secrets.",
            stacklevel=3,
        )
