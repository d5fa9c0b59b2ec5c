"""lm-eval tasks on this package's grader.

`lm_eval --include_path $(python -m trl_entropy.evaluate.lm_eval_tasks) --tasks trl_entropy_math500 ...`
"""
