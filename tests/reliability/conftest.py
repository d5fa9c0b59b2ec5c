from tests.distributed.conftest import processes  # noqa: F401
