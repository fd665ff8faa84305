"""Fixtures and settings for all tests."""

import os
from types import ModuleType

import hypothesis
import pytest

from deepscan.detectors import DETECTORS
from deepscan.offline import turn_reports_off
from tests.covered import let_decoders_end
from tests.storage.moto import moto_server, s3, s3_requests

__all__ = ["moto_server", "s3", "s3_requests"]

# Each core runs a pytest process, so more torch threads per process would only wait. Set before torch is
# imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test, and no command started by a test, sends usage reports.
turn_reports_off()
let_decoders_end()

# Every run uses the same examples, so that only a code change can make a test fail. Examples have no time
# limit, because the machine may be busy. `make test-all` generates new and more examples.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("search", max_examples=2000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")


#: Modules whose functions start processes; fixtures that start processes, train or export.
STARTING = {"subprocess", "tests.command", "tests.terminal", "deepscan.media.pool"}
SLOW_FIXTURES = {"published", "published_folder", "stubbed", "pools", "moto_server", "s3", "ray_machines"}


def pytest_collection_modifyitems(items):
    """Mark tests as slow if their module starts processes, or if they use a slow fixture."""
    starting = {}
    for item in items:
        module = item.module
        if module not in starting:
            owners = {
                getattr(value, "__module__", None) or getattr(value, "__name__", "")
                for value in vars(module).values()
                if callable(value)
            }
            owners |= {value.__name__ for value in vars(module).values() if isinstance(value, ModuleType)}
            starting[module] = bool(owners & STARTING)
        if starting[module] or SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def published_folder(tmp_path_factory):
    """The folder of published models, shared by all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "published"


@pytest.fixture(scope="session", params=DETECTORS.names)
def published(request, published_folder):
    """A published model of each method; creating one takes seconds."""
    from tests.tiny import published

    return published(request.param, published_folder / request.param)
