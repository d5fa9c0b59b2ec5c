"""Folders of made-up runs for the report's tests, hostile text included."""

import json
from pathlib import Path

import numpy as np


HOSTILE = '</script><script>document.title="hacked"</script>'
WORDS = ["Let", " x", " =", " 3", "\n", " <b>", " &amp;", ' "so"', " é", "", " 🙂", HOSTILE]


def make_run(folder: Path, method: str, seed: int, steps: int = 60, tokens: int = 40, snapshots: int = 3) -> Path:
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    time = np.linspace(0, 1, steps)
    entropy = (0.5 if method == "siren" else 0.1) + 0.8 * np.exp(-5 * time) + draws.normal(0, 0.01, steps)
    reward = 0.6 - 0.17 * np.exp(entropy) + draws.normal(0, 0.01, steps)
    rows = [
        {"step": i + 1, "entropy": h, "reward": r, "cov/mean": 0.1 * h, "completions/mean_length": 300.0}
        for i, (h, r) in enumerate(zip(entropy, reward, strict=True))
    ]
    write_lines(folder / "metrics.jsonl", rows)
    arguments = {"learning_rate": 1e-4, "seed": seed, "note": "<i>$x_1$</i>"}
    arguments |= {"siren_coef": 0.5} if method == "siren" else {}
    settings = {"method": method, "seed": seed, "model": "<tiny>", "arguments": arguments, "versions": {"trl": "1.16"}}
    (folder / "settings.json").write_text(json.dumps(settings))
    write_lines(
        folder / "entropy_dynamics.jsonl",
        [
            {"step": s, "covariance": c, "state_covariance": c, "entropy_change": -c / 10, "tokens": 9,
             "drivers": [{"sign": sign, "logp": [None, -1.0], "share": 0.5, "covariance": c, "change": -c / 20}
                         for sign in "+-"]}
            for s, c in zip(range(1, steps, 6), draws.normal(0.1, 0.05, steps), strict=False)
        ],
    )  # fmt: skip
    steps_kept = np.linspace(1, steps, snapshots).astype(int).tolist()
    write_lines(
        folder / "token_map.jsonl", [token_row(draws, method, step, tokens) for step in steps_kept for _ in "ab"]
    )
    return folder


def token_row(draws, method, step, tokens):
    figures = draws.gamma(0.6, 0.6, tokens).round(4)
    row = {
        "step": step,
        "method": method,
        "prompt": f"Solve {HOSTILE}",
        "tokens": [WORDS[i % len(WORDS)] for i in range(tokens)],
        "left_out": 0,
        "entropy": figures.tolist(),
        "logp": (-figures).tolist(),
        "advantage": 0.5,
        "covariance": draws.normal(0, 1, tokens).round(4).tolist(),
    }
    if method == "siren":
        row |= {"nucleus_entropy": figures.tolist(), "nucleus_size": [2] * tokens, "kept": [1, 3, 5]}
    else:
        row |= {"clipped": [2], "penalised": [4]}
    return row


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
