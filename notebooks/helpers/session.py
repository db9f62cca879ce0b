"""How a notebook begins: which models, which seed, how quiet, how plots look."""

from __future__ import annotations

import os
import warnings
from logging import LogRecord, getLogger

from .errors import HelperError

MODE_VARIABLE = "MODELS"
STATIC_VARIABLE = "LEARN_TRANSFORMERS_STATIC"
SAYS = {
    "embedded": "embedded models, nothing comes from the Hub",
    "hub": "full-size models from the Hub",
}
# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000"]


def mode() -> str:
    """Return "embedded" or "hub", from the environment variable MODELS."""
    chosen = os.environ.get(MODE_VARIABLE) or "embedded"
    if chosen not in SAYS:
        raise HelperError(
            f"{MODE_VARIABLE}={chosen} is not a mode. "
            f"Expected one of: {', '.join(SAYS)}. Set it and restart the kernel."
        )
    return chosen


def interactive() -> bool:
    """Return whether somebody is there to use a widget: not in `make run`,
    `make update` and the tests, which set LEARN_TRANSFORMERS_STATIC."""
    return not os.environ.get(STATIC_VARIABLE)


def _unless_untrue(record: LogRecord) -> bool:
    return "'VisionTextDualEncoderModel' is not supported" not in record.getMessage()


def setup(seed: int = 0) -> None:
    """Begin a notebook: seed the random numbers, quiet the logs, style the plots,
    and say in one line where the models come from.

    Raises HelperError where MODELS is neither `embedded` nor `hub`.
    """
    chosen = mode()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from transformers import logging, set_seed

    set_seed(seed)
    logging.set_verbosity_error()
    # The library's list for zero-shot pictures lacks a class that works there.
    getLogger("transformers.pipelines.base").addFilter(_unless_untrue)
    if not interactive():
        logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)

    from cycler import cycler
    from matplotlib import rcParams

    rcParams.update(
        {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "figure.figsize": (6.5, 3),
            "figure.dpi": 100,
            # A white ground of its own keeps a plot legible on a dark page.
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        }
    )
    print(f"Mode {chosen}: {SAYS[chosen]}. Seed {seed}.")
    if chosen == "hub":
        print("The text speaks of the embedded models: your numbers will differ.")
