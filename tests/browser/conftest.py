"""The tests of this folder drive a browser: they run only where it, or their marker, is named."""


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: drives JupyterLab in a browser")


def pytest_ignore_collect(config):
    named = any("browser" in word for word in [*config.args, config.option.markexpr])
    return None if named else True  # None asks the other hooks
