"""The tests of this folder need a GPU: they run only where it is named, as by make test-gpu."""


def pytest_ignore_collect(config):
    named = any("tests/gpu" in word for word in config.args)
    return None if named else True  # None asks the other hooks
