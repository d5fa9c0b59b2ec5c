"""What the commands leave out of the libraries' warnings, and that it is no more than that."""

import logging
import warnings

import pytest

from trl_entropy.script.quiet import hush, hush_tied_head


def heard(message: str, category: type[Warning] = FutureWarning) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hush()
        warnings.warn(message, category, stacklevel=1)
    return bool(caught)


@pytest.mark.parametrize(
    "name",
    [
        "gradient_checkpointing",
        "is_gradient_checkpointing",
        "gradient_checkpointing_enable",
        "gradient_checkpointing_disable",
    ],
)
def test_names_that_trl_uses_are_not_warned_of(name):
    message = f"`{name}` is deprecated and will be removed in v6. Use `x` instead."
    assert not heard(message)
    assert heard(message, UserWarning)


def test_every_other_deprecation_is():
    assert heard("`torch_dtype` is deprecated and will be removed in v6. Use `dtype` instead.")
    assert heard("`gradient_checkpointing_kwargs` is deprecated and will be removed in v6. Use `x` instead.")
    assert heard("`gradient_checkpointing` has no effect")


def test_the_launcher_does_not_list_its_defaults_but_warns(caplog):
    hush()
    logger = logging.getLogger("accelerate.commands.launch")
    logger.warning("The following values were not passed to `accelerate launch` and had defaults used instead:\n\t`x`")
    logger.warning("another")
    assert [record.getMessage() for record in caplog.records] == ["another"]


def test_a_tied_head_is_not_missing_but_other_weights_are(caplog):
    hush_tied_head()
    logger = logging.getLogger("transformers.trainer")
    for keys in (["lm_head.weight"], ["lm_head.weight", "model.norm.weight"], ["model.norm.weight"]):
        logger.warning(f"There were missing keys in the checkpoint model loaded: {keys}.")
    assert len(caplog.records) == 2
