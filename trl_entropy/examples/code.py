"""A reward that runs tests: 1 if the code of a completion passes all of its problem's tests, else 0."""

import contextlib
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..rewards import completion_text


SECONDS = 4.0
MEGABYTES = 512
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
# Reads the task before the code runs, and reports through a word that the code is not told
_HARNESS = """
import json, sys
task = json.load(sys.stdin)
namespace = {"__name__": "solution"}
report, word = sys.stdout, task.pop("word")
sys.stdout = sys.stderr
exec(compile(task["code"], "solution", "exec"), namespace)
for test in task["tests"]:
    exec(compile(test, "test", "exec"), namespace)
print(word, file=report)
"""


def extract_code(completion: str) -> str | None:
    r"""The last fenced block of a completion, or `None`.

    Example:
        >>> extract_code("Like this:\n```python\nx = 1\n```")
        'x = 1\n'
    """
    blocks = _BLOCK.findall(completion)
    return blocks[-1] if blocks else None


def passes(code: str, tests: Sequence[str], seconds: float = SECONDS, megabytes: int = MEGABYTES) -> bool:
    """Run `code`, then every test, in a process of its own; whether all went through.

    The process has limits of time, memory and file size, an empty folder and an empty environment, and is killed with
    its children. That protects the run from mistakes, not the machine from malice: train on code in a container.

    Args:
        code: Python source.
        tests: statements such as `assert add(1, 2) == 3`.
        seconds: limit of wall clock and processor time.
        megabytes: limit of memory.
    """
    word = secrets.token_hex(16)
    task = json.dumps({"code": code, "tests": list(tests), "word": word})

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, megabytes * 2**20))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _HARNESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
            preexec_fn=limit,
        )
        try:
            said, _ = process.communicate(task.encode(errors="replace"), timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself and left no children
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return said.decode(errors="replace").strip() == word


def passes_tests(completions: Sequence, tests: Sequence[Sequence[str]], **columns) -> list[float]:
    """The reward, in TRL's calling convention.

    Args:
        completions: strings or conversations; the last fenced block of the last message is the code.
        tests: the dataset's column of tests, a list of statements a problem.
        **columns: TRL's other columns, ignored.

    Example:
        >>> passes_tests(["```python\\ndef add(a, b): return a + b\\n```"], tests=[["assert add(1, 2) == 3"]])
        [1.0]
    """
    codes = [extract_code(completion_text(completion)) for completion in completions]
    pairs = {(code, tuple(given)) for code, given in zip(codes, tests, strict=True) if code is not None}
    with ThreadPoolExecutor(max(1, min(16, os.cpu_count() or 1))) as pool:
        passed = dict(zip(pairs, pool.map(lambda pair: passes(*pair), pairs), strict=True))
    return [float(code is not None and passed[code, tuple(given)]) for code, given in zip(codes, tests, strict=True)]
