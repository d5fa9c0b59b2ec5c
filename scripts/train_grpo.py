"""Train with GRPO and entropy control, under a launcher of your own.

accelerate launch --config_file configs/accelerate/multi_gpu.yaml scripts/train_grpo.py --config configs/siren.yaml
"""

from trl_entropy.script.train import main


if __name__ == "__main__":
    main()
