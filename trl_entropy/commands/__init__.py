"""The subcommands of `trl-entropy`, one module each: `register(subparsers)` and `run(args) -> int`."""
