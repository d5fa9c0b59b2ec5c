"""Unsloth's trainer is refused where it would leave a method without effect."""

import sys
import warnings

import pytest

from tests.conftest import tiny_model
from trl_entropy import EntropyGRPOConfig
from trl_entropy.reliability.foreign_engine import ForeignEngineError, check_engine


class GRPOTrainer:
    """TRL's, as far as the check looks at it."""

    model = None

    def __init__(self, **given):
        self.args = EntropyGRPOConfig("out", use_cpu=True, bf16=False, **given)

    def _compute_loss(self):
        return "TRL's"


def compiled(code: str, file: str) -> dict:
    """A module as Unsloth makes one: the text of a trainer, run under a file name of its own."""
    names: dict = {"GRPOTrainer": GRPOTrainer, "__name__": "UnslothGRPOTrainer" if "unsloth" in file else "mine"}
    exec(compile(code, file, "exec"), names)
    return names


UNSLOTH = "class UnslothGRPOTrainer(GRPOTrainer):\n def _compute_loss(self): return None\n"
PATCHED = "def compute_loss(self, *_): return None\n"


def unsloths() -> type:
    return type("Ours", (compiled(UNSLOTH, "unsloth_compiled_cache/UnslothGRPOTrainer.py")["UnslothGRPOTrainer"],), {})


def patched() -> type:
    function = compiled(PATCHED, "/x/unsloth_zoo/patches.py")["compute_loss"]
    return type("Ours", (GRPOTrainer,), {"compute_loss": function})


@pytest.mark.parametrize("make", [unsloths, patched])
@pytest.mark.parametrize(
    "given", [{"siren_coef": 0.1}, {"entropy_coef": 0.1}, {"top_entropy_quantile": 0.2}, {"clip_cov_ratio": 0.1}]
)
def test_a_method_under_unsloth_is_refused(make, given):
    trainer = make()(**given)
    with pytest.raises(ForeignEngineError):
        check_engine(trainer)


def test_plain_grpo_under_unsloth_is_a_warning():
    with pytest.warns(UserWarning, match="Unsloth computes the loss"):
        check_engine(unsloths()())


def test_a_model_of_unsloths_under_trls_trainer_is_a_warning():
    trainer = GRPOTrainer(siren_coef=0.1)
    trainer.model = type("FastQwen2", (), {"__module__": "unsloth.models.qwen2"})()
    with pytest.warns(UserWarning, match="loaded by Unsloth"):
        check_engine(trainer)


def test_trls_own_trainer_passes(tmp_path):
    from trl_entropy import EntropyGRPOTrainer

    mine = type("MyTrainer", (EntropyGRPOTrainer,), {"_compute_loss": lambda self, *_: None})
    trainer = mine.__new__(mine)
    trainer.args, trainer.model = (
        EntropyGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, siren_coef=1),
        tiny_model(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_engine(trainer)
    assert "unsloth" not in sys.modules
