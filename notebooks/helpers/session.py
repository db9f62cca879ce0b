"""How a notebook begins: which models, which seed, how quiet, how plots look."""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib.metadata import version
from logging import LogRecord, getLogger

from .errors import HelperError

MODE_VARIABLE = "MODELS"
DEVICE_VARIABLE = "DEVICE"
STATIC_VARIABLE = "LEARN_TRANSFORMERS_STATIC"
PAGES_VARIABLE = "LEARN_TRANSFORMERS_PAGES"
_frames = None  # of the widgets that are still to come
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


def device() -> str:
    """Return where the arithmetic happens, a device of torch: "cpu", "cuda" or "mps".

    DEVICE names it, or is `auto` for the accelerator that torch finds, else the CPU.
    Without it, embedded mode takes the CPU (its models are small, and the outputs
    stored in the notebooks are a CPU's) and hub mode takes `auto`.

    Raises HelperError for a device that this machine does not have.
    """
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    here = ["cpu"] + ([found.type] if found else [])
    chosen = os.environ.get(DEVICE_VARIABLE)
    chosen = chosen or ("auto" if mode() == "hub" else "cpu")
    if chosen == "auto":
        return here[-1]
    if chosen not in here:
        raise HelperError(
            f"{DEVICE_VARIABLE}={chosen} is not a device that torch finds here. "
            f"Expected one of: {', '.join(here)}, auto. Set it and restart the kernel."
        )
    return chosen


def interactive() -> bool:
    """Return whether somebody is there to use a widget: not in `make run`,
    `make update` and the tests, which set LEARN_TRANSFORMERS_STATIC."""
    return not os.environ.get(STATIC_VARIABLE)


def frames_to_draw() -> dict[str, list]:
    """Return what the book's page offers for the next widget of this notebook, as
    `make run` says it in LEARN_TRANSFORMERS_PAGES; nothing elsewhere."""
    global _frames
    if _frames is None:
        _frames = json.loads(os.environ.get(PAGES_VARIABLE) or "[]")
    return _frames.pop(0) if _frames else {}


def _unless_untrue(record: LogRecord) -> bool:
    return "'VisionTextDualEncoderModel' is not supported" not in record.getMessage()


def stop_if_stale() -> None:
    """Raise HelperError where the library was installed anew after it was imported, as
    in Colab: its new files would ask the old ones in memory for what they lack. Every
    notebook's first cell calls it in Colab, `setup` everywhere."""
    for name in ("huggingface_hub", "transformers"):
        loaded = getattr(sys.modules.get(name), "__version__", None)
        if loaded and loaded != (installed := version(name)):
            raise HelperError(
                f"{name} {loaded} was loaded before {installed} was installed. Restart "
                "the kernel (in Colab: Runtime, Restart session) and run all cells."
            )


def _forget_the_users_settings() -> None:
    """Begin from the defaults of matplotlib, pandas and IPython, so that a page shows
    what it shows everywhere: a user's own settings change or even lose outputs."""
    import matplotlib

    matplotlib.rcdefaults()
    if "pandas" in sys.modules:  # whose settings only a start-up file can have changed
        sys.modules["pandas"].reset_option("^display")
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if hasattr(shell, "kernel"):
        shell.ast_node_interactivity = "last_expr"
        # Plots go into the page, even where MPLBACKEND names another place for them.
        shell.run_line_magic("matplotlib", "inline")
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png")


def setup(seed: int = 0) -> None:
    """Begin a notebook: seed the random numbers, quiet the logs, style the plots,
    and say in one line where the models come from and where they compute.

    Raises HelperError where MODELS or DEVICE names what there is not, and where the
    kernel has loaded another version of the library than is installed.
    """
    stop_if_stale()
    chosen, where = mode(), device()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    from transformers import logging, set_seed

    # TensorFloat-32 makes products on an NVIDIA card differ from a CPU's by 0.001.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

    set_seed(seed)
    logging.set_verbosity_error()
    # The library's list for zero-shot pictures lacks a class that works there.
    getLogger("transformers.pipelines.base").addFilter(_unless_untrue)
    if not interactive():
        logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)

    _forget_the_users_settings()
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
    print(f"Mode {chosen}: {SAYS[chosen]}. Device {where}. Seed {seed}.")
    if chosen == "hub":
        print("The text speaks of the embedded models: your numbers will differ.")
