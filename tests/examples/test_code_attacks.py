"""Code that wants the reward, the machine or the run rather than the answer; and right code of every usual form."""

import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from trl_entropy.examples import code as module
from trl_entropy.examples.code import passes, passes_tests
from trl_entropy.examples.confine import unavailable


ADD = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
confined = pytest.mark.skipif(unavailable() is not None, reason=f"no confinement here: {unavailable()}")

WRONG = "\ndef add(a, b): return 7\n"
CHEATS = {
    "main": "import __main__, sys\n__main__.__dict__.clear()\n__main__.names = __main__.task = {'tests': []}",
    "frames": """
        import sys
        frame = sys._getframe()
        while frame:
            for name, value in {**frame.f_globals, **frame.f_locals}.items():
                if isinstance(value, dict) and 'tests' in value:
                    value['tests'].clear()
                if isinstance(value, list):
                    value.clear()
                if name in ('FAILED', 'PASSED'):
                    frame.f_globals[name] = 0
            frame = frame.f_back
    """,
    "every object": """
        import gc
        for thing in gc.get_objects():
            if type(thing) is dict and 'tests' in thing:
                thing['tests'].clear()
            if type(thing) is dict and 'FAILED' in thing:
                thing.update(FAILED=0)
    """,
    "patched": "import builtins, operator, json\noperator.eq = operator.call = lambda *a: True\nbuiltins.all = bool",
    "exit": "import os; os._exit(0)",
    "SystemExit": "raise SystemExit(0)",
    "exit when asked": "import os\ndef add(a, b): os._exit(0)",
    "KeyboardInterrupt": "def add(a, b): raise KeyboardInterrupt",
    "atexit": "import atexit, os; atexit.register(os._exit, 0); raise ValueError",
    "equal to all": """
        class All:
            __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = lambda *a: True
            __class__ = property(lambda self: int)
            __hash__ = lambda self: 3
            __bool__ = lambda self: True
        def add(a, b): return All()
    """,
    "an equal number": """
        class Number(int):
            __eq__ = lambda *a: True
            __hash__ = int.__hash__
        def add(a, b): return Number(8)
    """,
    "every pipe": """
        import json, os, struct
        data = json.dumps(['value', True]).encode()
        for descriptor in range(64):
            try:
                for _ in range(50):
                    os.write(descriptor, struct.pack('I', len(data)) + data)
            except OSError:
                pass
    """,
    "a pipe of the judge's": """
        import os
        for descriptor in range(8):
            try:
                os.write(os.open(f'/proc/{os.getppid()}/fd/{descriptor}', os.O_WRONLY), b'1' * 32)
            except OSError:
                pass
    """,
    "the judge's memory": """
        import os
        memory = open(f'/proc/{os.getppid()}/mem', 'r+b', 0)
        for line in open(f'/proc/{os.getppid()}/maps'):
            start = int(line.split('-')[0], 16)
            memory.seek(start); memory.write(b'0')
    """,
    "the judge's end": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "a foul frame": "import os\nfor d in range(3, 64):\n    try: os.write(d, b'\\xff' * 64)\n    except OSError: pass",
    "a deep frame": """
        import os, struct
        data = b'[' * 1_000_000
        for descriptor in range(3, 64):
            try: os.write(descriptor, struct.pack('I', len(data)) + data)
            except OSError: pass
    """,
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_earns_nothing(name: str):
    assert passes(textwrap.dedent(CHEATS[name]) + ("" if "def add" in CHEATS[name] else WRONG), ADD, 2.0) is False


AIMED = {  # at what a test is likely to say
    "builtins": (
        "all = any = len = abs = lambda *a: True\ndef f(n): return 0",
        "assert all([f(n) == n for n in [1, 2]])",
    ),
    "no range": ("range = lambda n: []\ndef f(n): return 0", "for n in range(1, 3):\n    assert f(n) == n"),
    "a near zero": (
        "class Z:\n    __sub__ = __rsub__ = __abs__ = lambda *a: 0.0\ndef f(n): return Z()",
        "assert abs(f(2) - 1.5) < 1e-6",
    ),
    "a false math": (
        "class math: isclose = lambda *a, **k: True\ndef f(n): return 0.0",
        "assert math.isclose(f(2), 1.5)",
    ),
    "a container": ("class C:\n    __contains__ = lambda *a: True\ndef f(n): return C()", "assert 4 in f(2)"),
    "an early stop": ("def f(n): raise StopIteration", "assert all(map(f, [1, 2]))"),
    "no argument": ("def f(xs): xs.clear(); return []", "xs = [2, 1]; assert f(xs) == sorted([x for x in xs])"),
    "an argument's method": ("def f(xs): return xs.__class__.__base__", "assert f(print) == 3"),
    "an unmade exception": (
        "class E(Exception):\n    __module__ = 'builtins'\ndef f(n): raise E",
        "try:\n    f(1)\n    assert 0\nexcept ValueError: pass",
    ),
    "gone": ("import os\ndef f(n): os._exit(0)", "try:\n    f(1)\nexcept Exception:\n    pass"),
    "a test's function": ("def f(g): return g.__defaults__[0]", "def g(x, y=41): return x + y\nassert f(g) == 41"),
}


@pytest.mark.parametrize("name", AIMED)
def test_a_cheat_aimed_at_a_test_earns_nothing(name: str):
    code, test = AIMED[name]
    assert passes(code, [test], 2.0) is False


RIGHT = {
    "class": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
        "    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)",
        [
            "s = Stack()",
            "s.push(4)\ns.push([5])",
            "assert len(s) == 2 and s.items == [4, [5]]",
            "assert s.pop() == [5]",
        ],
    ),
    "its own equality": (
        "from dataclasses import dataclass\n@dataclass\nclass V:\n    x: int\n    "
        "def __add__(self, o): return V(self.x + o.x)",
        ["assert V(1) + V(2) == V(3)", "assert not V(1) == V(2)", "assert isinstance(V(1), V)"],
    ),
    "in place": ("def f(xs): xs.sort()", ["xs = [3, 1, 2]; f(xs); assert xs == [1, 2, 3]"]),
    "generator": (
        "def f(n):\n    i = 0\n    while True:\n        yield i; i += n",
        ["import itertools\nassert list(itertools.islice(f(2), 3)) == [0, 2, 4]", "g = f(1); assert next(g) == 0"],
    ),
    "function": ("def f(g, xs): return [g(x) for x in xs]", ["assert f(lambda x: x + 1, [1, 2]) == [2, 3]"]),
    "closure": ("def f(n): return lambda x: x + n", ["assert f(2)(3) == 5"]),
    "exception": ("def f(n): raise ValueError('no')", ["try:\n    f(1)\n    assert False\nexcept ValueError: pass"]),
    "its own exception": (
        "class Mine(KeyError): pass\ndef f(n): raise Mine",
        ["try:\n    f(1)\n    assert False\nexcept KeyError: pass"],
    ),
    "collections": (
        "from collections import Counter, defaultdict, namedtuple\nP = namedtuple('P', 'x y')\n"
        "def f(text): return Counter(text)\ndef p(): return {P(1, 2): {3}, b'b': frozenset([None])}",
        ["assert f('aab') == {'a': 2, 'b': 1}", "assert p() == {(1, 2): {3}, b'b': frozenset([None])}"],
    ),
    "numbers": (
        "from fractions import Fraction\nimport datetime, math\ndef f(a, b): return Fraction(a, b)\n"
        "def g(): return 10 ** 5000, 1j, -0.0, math.inf\ndef d(x): return x + datetime.timedelta(1)",
        [
            "from fractions import Fraction\nassert f(2, 4) == Fraction(1, 2)",
            "assert g() == (10 ** 5000, 1j, 0, 1e999)",
            "import datetime\nassert d(datetime.date(2024, 2, 28)) == datetime.date(2024, 2, 29)",
        ],
    ),
    "named as one of Python's": ("def sum(a, b): return a + b", ["assert sum(10, 15) == 25"]),
    "a module that it imported": ("import math\ndef f(n): return n ** .5", ["assert math.isclose(f(4), 2.0)"]),
    "a function of the tests": ("def f(n): return n + 1", ["def check(g):\n    assert g(1) == 2", "check(f)"]),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(xs):\n    with ThreadPoolExecutor(2) as p:\n"
        "        return list(p.map(abs, xs))",
        ["assert f([-1, 2]) == [1, 2]"],
    ),
    "imports": (
        "import heapq, re, json, random, string, hashlib, asyncio, decimal\ndef f(): return 1",
        ["assert f() == 1"],
    ),
    "unicode": ("def f(s): return s[::-1]", ["assert f('a\\ud800é') == 'é\\ud800a'"]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_is_paid(name: str):
    code, tests = RIGHT[name]
    assert passes(code, tests) is True
    assert passes(code, [*tests, "assert False"]) is False  # the last one, too, is run


def judges() -> list[psutil.Process]:
    """Judges and what came from them: a fork keeps the command line."""
    return [p for p in psutil.process_iter(["cmdline"]) if "code_judge" in "".join(p.info["cmdline"] or [])]


SURVIVORS = {
    "session": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n",
    "daemon": "import os, time\nif not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(60)",
    "program": "import subprocess, sys\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\n",
    "clone": "import ctypes\nif ctypes.CDLL(None).syscall(56, 0, 0, 0, 0, 0) == 0:\n    import time; time.sleep(60)\n",
    "unbound": "import ctypes, time\nctypes.CDLL(None).prctl(1, 0)\ntime.sleep(60)\n",
    "loop": "while True: pass\n",
    "bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
    "stopped judge": "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)\n",
    "asks for ever": "def add(a, b):\n    while True: yield 1\n",
}


@confined
@pytest.mark.parametrize("name", SURVIVORS)
def test_nothing_survives_nor_outlives_its_limit(name: str):
    started = time.monotonic()
    assert passes(SURVIVORS[name], ["assert list(add(1, 2)) == 3"], seconds=1.0) is False
    assert time.monotonic() - started < 3
    deadline = time.monotonic() + 5
    while judges() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not judges()


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.write(1, b'0' * 65536)",
        "import os\nfor fd in range(64):\n    try:\n        while 1: os.write(fd, b'0' * 9999)\n    except OSError: 0",
        "def add(a, b): return '0' * (200 << 20)",
        "x = 'a' * 10 ** 10",
    ],
)
def test_a_flood_reaches_nobody(code: str):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert passes(code, ADD, seconds=1.0) is False
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@confined
def test_neither_environment_nor_files_nor_network_can_be_had(tmp_path: Path):
    secret = tmp_path / "token"
    secret.write_text("hf_secret")
    code = f"""
        import glob, os, resource, socket
        def attempt(what):
            try: return repr(what())
            except OSError: return ''
        def leak():
            found = [repr(sorted(os.environ)), repr(os.listdir('.'))]
            places = glob.glob('/proc/*/environ') + [f'/proc/{{pid}}/environ' for pid in range(1, 5000)]
            for path in [*places, {str(secret)!r}, '/etc/passwd', {module.__file__!r}]:
                found.append(attempt(lambda: open(path, 'rb').read()))
            for path in ('mine', '/tmp/mine', {str(tmp_path / "mine")!r}):
                found.append(attempt(lambda: open(path, 'w').write('x')))
            found.append(attempt(lambda: socket.socket()))
            found.append(attempt(lambda: os.kill({os.getpid()}, 0)))
            found.append(attempt(lambda: resource.prlimit({os.getpid()}, resource.RLIMIT_CPU)))
            return [text for text in found if text]
    """
    tests = ["assert leak() == [str(['LC_CTYPE']), str([])]"]  # what Python itself adds to an empty environment
    asked = "from trl_entropy.examples.code import passes\n"
    asked += f"print(passes({textwrap.dedent(code)!r}, {tests!r}))"
    environment = {**os.environ, "HF_TOKEN": "hf_secret"}  # as the process was started with: what /proc shows
    said = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, timeout=120)
    assert said.stdout == "True\n", said.stderr


def test_a_test_that_cannot_cross_is_told():
    with pytest.warns(UserWarning, match="hands the code an object"):
        assert passes("def f(node): return 1", ["class Node: pass", "assert f(Node()) == 1"]) is False


@pytest.mark.parametrize("tests", [None, [], "assert add(1, 2) == 3", [3], ["assert add(1, 2) = 3"]])
def test_tests_that_are_none_are_refused(tests: Any):
    with pytest.raises(ValueError, match="passes_tests"):
        passes_tests(["```python\nx = 1\n```"], tests=[tests])


def test_failing_to_start_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PROGRAM", "raise OSError('no room {} {} {}')")
    with pytest.raises(RuntimeError, match="no room"):
        passes("def add(a, b): return a + b", ADD)


def test_a_system_that_cannot_confine_is_told(monkeypatch: pytest.MonkeyPatch):
    module._warn_once.cache_clear()
    monkeypatch.setattr(module, "unavailable", lambda: "there is nothing")
    with pytest.warns(UserWarning, match="there is nothing"):
        assert passes("def add(a, b): return a + b", ADD) is True
    module._warn_once.cache_clear()
