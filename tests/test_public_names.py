"""What `import trl_entropy` offers: every name is listed, is there, and costs nothing until it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

import trl_entropy


@pytest.mark.parametrize("name", trl_entropy.__all__)
def test_every_name_is_there(name):
    assert getattr(trl_entropy, name) is not None


def test_names_are_listed_before_anything_is_imported():
    code = (
        "import sys, trl_entropy; names = dir(trl_entropy); assert set(trl_entropy.__all__) <= set(names), names; "
        "assert len(names) == len(set(names)); assert not {'torch', 'trl', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_star_import_takes_exactly_these():
    found: dict = {}
    exec("from trl_entropy import *", found)
    assert found.keys() - {"__builtins__"} == set(trl_entropy.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError):
        trl_entropy.EntropyTrainer  # noqa: B018
