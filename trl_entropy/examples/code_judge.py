"""Tests on one side, the tested code on the other: two processes that exchange values.

The judge runs a problem's tests. A name that they use and that is not theirs is the tested code's, and stands for an
object in the other process: to call it sends the arguments there and brings back the value. The tested code sees
arguments, never a test, an expected value or the judge, and whatever it does to its interpreter, it can only answer.

Data cross as copies: numbers, texts, dates, lists, dictionaries, sets. An object of the tested code's own class stays
there; the tests can call it, read it, walk through it and compare it with its like, but it equals no data of theirs:
it would decide that itself. Standard library only: a bare interpreter runs this, see `code.py`.
"""

import ast
import builtins
import importlib
import itertools
import json
import operator
import os
import struct
import sys
from collections.abc import Callable
from typing import Any


PASSED, BROKEN, FAILED, UNSUITABLE = 0, 1, 2, 3  # exit statuses; BROKEN is Python's own for an unforeseen error
_LARGEST = 16 << 20  # bytes of one message
_VALUES = {"fractions.Fraction", "decimal.Decimal", "builtins.range"}
_VALUES |= {f"datetime.{name}" for name in ("date", "time", "datetime", "timedelta")}
_PLAIN = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_PAIRED = ("eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_ALONE = ("len", "bool", "int", "float", "str", "repr", "abs", "neg", "getitem", "setitem", "delitem", "reversed")


class Gone(BaseException):
    """The tested code's process has ended or breaks the protocol. No test can catch this by `except Exception`."""


class Unsuitable(BaseException):
    """A test hands over an object that cannot cross."""


class Peer:
    """One end of the line: asks the other for values, and answers it while it waits."""

    def __init__(self, source: int, sink: int, answers: Callable[[str], Callable], exports: Callable[[Any], bool]):
        self.source, self.sink = os.fdopen(source, "rb"), os.fdopen(sink, "wb")
        self.answers, self.exports, self.objects = answers, exports, []

    def ask(self, wish: str, *arguments: Any, **named: Any) -> Any:
        """The value of an operation at the other end. Raises what it raises there, as Python's nearest own class."""
        self._send(["ask", wish, self.encode(arguments), self.encode(named)])
        while (reply := self._receive())[0] == "ask":
            self._answer(*reply[1:])
        kind, value, *rest = reply
        if kind == "raise":
            error = getattr(builtins, value, None)
            if not (isinstance(error, type) and issubclass(error, Exception)):
                error = RuntimeError
            # A StopIteration would end a `map` of the tests' as if it had been checked to its end
            raise RuntimeError(value) if issubclass(error, (StopIteration, StopAsyncIteration)) else error(*rest)
        if rest:  # it returned None, as what works in place does
            _update(arguments, self.decode(rest[0]))
        return self.decode(value)

    def serve(self) -> None:
        """Answer until the other end has gone."""
        while True:
            self._answer(*self._receive()[1:])

    def _answer(self, wish: str, arguments: Any, named: Any) -> None:
        try:
            given = self.decode(arguments)
            value = self.answers(wish)(*given, **self.decode(named))
            reply = ["value", self.encode(value)] + ([self.encode(given)] if value is None else [])
            self._send(reply)
        except Gone:
            raise
        except BaseException as error:
            name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")
            self._send(["raise", name, str(error)[:500]])

    def encode(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (bytes, bytearray)):
            return ["bytes", value.hex()]
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        if isinstance(value, dict):
            return ["dict", *([self.encode(k), self.encode(v)] for k, v in value.items())]
        for name, kind in _PLAIN.items():
            if isinstance(value, kind):
                return [name, *map(self.encode, value)]
        if isinstance(value, Far):
            return ["yours", value.__dict__["_far"][1]]
        if (name := f"{type(value).__module__}.{type(value).__qualname__}") in _VALUES:
            return ["value", name, *map(self.encode, value.__reduce__()[1])]
        if not self.exports(value):
            raise Unsuitable(f"{type(value).__name__}: only data and functions cross to the tested code")
        self.objects.append(value)
        return ["mine", len(self.objects) - 1]

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        name, *items = value
        if name == "bytes":
            return bytes.fromhex(items[0])
        if name == "complex":
            return complex(*items)
        if name == "dict":
            return {self.decode(k): self.decode(v) for k, v in items}
        if name == "value" and items[0] in _VALUES:
            module, kind = items[0].split(".")
            return getattr(importlib.import_module(module), kind)(*map(self.decode, items[1:]))
        if name in _PLAIN:
            return _PLAIN[name](map(self.decode, items))
        return Far(self, items[0]) if name == "mine" else self.objects[items[0]]

    def _send(self, message: list) -> None:
        data = json.dumps(message).encode()
        try:
            self.sink.write(struct.pack("I", len(data)) + data)
            self.sink.flush()
        except OSError:
            raise Gone from None

    def _receive(self) -> list:
        head = self.source.read(4)
        size = struct.unpack("I", head)[0] if len(head) == 4 else _LARGEST + 1
        data = self.source.read(size) if size <= _LARGEST else b""
        if len(data) != size:
            raise Gone
        return json.loads(data)


class Far:
    """An object that lives at the other end.

    No operator hands it an expected value: `answer - 3.14` and `answer == [1, 2]` are not asked there, since an object
    made to agree would earn the reward.
    """

    def __init__(self, peer: Peer, number: int):
        self.__dict__["_far"] = peer, number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.__dict__["_far"][0].ask("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["_far"][0].ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["_far"][0].ask("setattr", self, name, value)

    def __iter__(self) -> Any:
        walk = self.__dict__["_far"][0].ask("iter", self)
        while found := walk.__dict__["_far"][0].ask("step", walk):
            yield found[0]

    def __next__(self) -> Any:
        found = self.__dict__["_far"][0].ask("step", self)
        if not found:
            raise StopIteration
        return found[0]

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Far) and self.__dict__["_far"][0].ask("isinstance", value, self) is True


def _alone(name: str) -> Callable:
    return lambda self, *items: self.__dict__["_far"][0].ask(name, self, *items)


def _paired(name: str) -> Callable:
    ask = _alone(name)
    return lambda self, other: ask(self, other) if isinstance(other, Far) else NotImplemented


for _name in _ALONE:
    setattr(Far, f"__{_name}__", _alone(_name))
for _name in _PAIRED:
    setattr(Far, f"__{_name}__", _paired(_name))


def _update(given: tuple, changed: tuple) -> None:
    """What a call did in place to the containers it was given."""
    for mine, theirs in zip(given, changed, strict=True):
        if isinstance(mine, list):
            mine[:] = theirs
        elif isinstance(mine, (dict, set)):
            mine.clear()
            mine.update(theirs)


class Names(dict):
    """The tests' names: their own, then Python's, then the tested code's."""

    peer: Peer
    modules: frozenset[str] | set[str] = frozenset()
    theirs = False

    def run(self, test: str) -> None:
        tree = ast.parse(test)
        nodes = list(ast.walk(tree))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        # `sum(10, 15) == 6` names nothing but one of Python's own: then it is the tested code's `sum`, if it has one
        self.theirs = len(names) == 1
        roots = [node.value for node in nodes if isinstance(node, ast.Attribute)]
        self.modules = {root.id for root in roots if isinstance(root, ast.Name)} & sys.stdlib_module_names
        exec(compile(tree, "<test>", "exec", dont_inherit=True), self)

    def __missing__(self, name: str) -> Any:
        if name in vars(builtins) and not self.theirs:
            raise KeyError(name)
        if name in self.modules:  # `math.isclose` of a module that only the tested code imported
            return importlib.import_module(name)
        return self.peer.ask("name", name)


def _answers_of(namespace: dict) -> Callable[[str], Callable]:
    """What the tested code's end does when asked. Nothing here needs to be safe: it decides nothing."""
    special = {
        "load": lambda code: exec(compile(code, "<solution>", "exec"), namespace),
        "name": namespace.__getitem__,
        "step": lambda walk: list(itertools.islice(walk, 1)),
    }
    return lambda wish: special.get(wish) or getattr(builtins, wish, None) or getattr(operator, wish)


def _serve(source: int, sink: int, confine: Callable[[], None]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for other in {*range(3, 64)} - {source, sink}:
        try:
            os.close(other)
        except OSError:
            continue
    confine()
    namespace: dict = {"__name__": "solution"}
    peer = Peer(source, sink, _answers_of(namespace), lambda _: True)
    peer._send(["ready"])
    peer.serve()


def main(confine: Callable[[float, int], None], seconds: float, megabytes: int) -> None:
    """Judge the task on standard input, `{"code": text, "tests": [text, ...]}`, by the exit status."""
    sys.path.pop()  # the folder of this file: no business of the code's
    sys.set_int_max_str_digits(0)
    (mine, to_me), (theirs, to_them) = os.pipe(), os.pipe()
    if os.fork() == 0:  # before the tests are read: they are in no memory of the other process
        try:
            _serve(theirs, to_me, lambda: confine(seconds, megabytes))
        finally:
            os._exit(0)
    os.close(to_me)
    os.close(theirs)
    confine(seconds, megabytes)
    peer = Peer(mine, to_them, lambda wish: {"call": operator.call}[wish], callable)
    try:
        peer._receive()
    except Gone:
        raise OSError("the process for the tested code did not start") from None
    task = json.load(sys.stdin)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- until the process ends
    names = Names(__name__="tests")
    names.peer = peer
    try:
        peer.ask("load", task["code"])
        for test in task["tests"]:
            names.run(test)
    except Unsuitable:
        os._exit(UNSUITABLE)
    except BaseException:  # SystemExit and the end of the other process, too
        os._exit(FAILED)
    os._exit(PASSED)
