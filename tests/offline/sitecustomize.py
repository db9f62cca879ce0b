"""Imported by every Python that the suite starts: refuses all but this machine.

With PRETEND_ACCELERATOR it gives the process an accelerator too (tests/accelerator).
"""

import os

import network_guard  # noqa: F401 (importing it closes the network)

if os.environ.get("PRETEND_ACCELERATOR"):
    # tests/ is on PYTHONPATH too: who imports torch will find an accelerator.
    from accelerator import install

    install()
