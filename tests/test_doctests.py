"""Every example in a docstring runs and gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

import trl_entropy


PACKAGE = Path(trl_entropy.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(("trl_entropy", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str):
    module = importlib.import_module(name)
    names = {"np": importlib.import_module("numpy"), "torch": importlib.import_module("torch")}
    failed, tried = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried and not failed
