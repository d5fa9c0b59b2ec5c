"""What the `configs/example_*.yaml` need besides the package: a reward that runs tests, and a tool."""
