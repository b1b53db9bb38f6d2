"""What every test folder shares: the project's folder, BioNetGen and the published files beside the checkout."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent
REQUIRE_BNG = "RESIDUUM_REQUIRE_BNG"

# A job in the background of a shell begins with Ctrl-C ignored, and tests that press it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the folder that holds tests/: the checkout, or what was copied of it."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def bionetgen() -> str:
    """Return the path of BNG2.pl; skip where BioNetGen or Perl is absent, or fail if RESIDUUM_REQUIRE_BNG=1."""
    from residuum.simulator.bngl import find_bionetgen

    found = find_bionetgen()
    if found is not None:
        return found
    reason = "BioNetGen cannot run here: it needs Perl on the PATH and `pip install 'residuum[bng]'`"
    if os.environ.get(REQUIRE_BNG) == "1":
        pytest.fail(f"{reason} ({REQUIRE_BNG}=1 forbids the skip)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return `../shared` beside the checkout, published data and models; skip where it is absent."""
    folder = PROJECT_ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the published files are not here: no folder `shared` beside the checkout")
    return folder
