"""Before a run: what a configuration will do, and configurations to start from."""
