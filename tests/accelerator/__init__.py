"""A pretended accelerator for a process, from the moment at which it imports torch.

    install()   waits for torch, then registers the device (device.py)
    pages.py    runs a notebook on it and says which cells fail

A kernel gets it by PRETEND_ACCELERATOR=1 and by tests/ on its PYTHONPATH: the suite's
sitecustomize then calls `install()`. Importing torch costs seconds, so nothing is
imported here but Python's own.

The library's `pipeline()` looks for a list of known makers and has no public way to
add one, so `Pipeline.__init__` is told the device where its caller named none. The
Trainer has a public way, accelerate's variable ACCELERATE_TORCH_DEVICE; only that it
lets a Trainer with `use_cpu` go to the device too, which is put right.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType

TRAINER = "ACCELERATE_TORCH_DEVICE"  # what accelerate calls it


def _with_torch(module: ModuleType) -> None:
    """Register the device as soon as torch is there."""
    from accelerator import device as pretended

    pretended.register()
    os.environ[TRAINER] = str(pretended.DEVICE)


def _with_pipelines(module: ModuleType) -> None:
    """Let a pipeline without a device take the accelerator, as one does on CUDA."""
    from accelerator import device as pretended

    first = module.Pipeline.__init__

    @functools.wraps(first)
    def init(self, *args, device=None, **kwargs):
        model = args[0] if args else kwargs.get("model")
        mapped = getattr(model, "hf_device_map", None) is not None
        if (device is None and not mapped) or (type(device) is int and device >= 0):
            device = pretended.DEVICE
        return first(self, *args, device=device, **kwargs)

    module.Pipeline.__init__ = init


def _with_accelerate(module: ModuleType) -> None:
    """Let `cpu=True` win over the variable, as it wins over CUDA."""
    first = module.PartialState.__init__

    @functools.wraps(first)
    def init(self, cpu=False, **kwargs):
        named = os.environ.pop(TRAINER, None) if cpu else None
        try:
            first(self, cpu, **kwargs)
        finally:
            if named:
                os.environ[TRAINER] = named

    module.PartialState.__init__ = init


AFTER: dict[str, Callable[[ModuleType], None]] = {
    "torch": _with_torch,
    "accelerate.state": _with_accelerate,
    "transformers.pipelines.base": _with_pipelines,
}


class _After(MetaPathFinder, Loader):
    """Finds the modules of AFTER as ever, and calls its function once one is there."""

    def __init__(self) -> None:
        self.looking: set[str] = set()
        self.loaders: dict[str, Loader] = {}

    def find_spec(self, name, path=None, target=None):
        if name not in AFTER or name in self.looking:
            return None
        self.looking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.looking.discard(name)
        if spec is not None and spec.loader is not None:
            self.loaders[name], spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loaders[spec.name].create_module(spec)

    def exec_module(self, module):
        name = module.__name__
        # A module may ask its loader for its source or its files later on.
        module.__loader__ = module.__spec__.loader = self.loaders[name]
        self.loaders[name].exec_module(module)
        AFTER[name](module)


def install() -> None:
    """Wait for torch and for the pipelines; at once where they are there already."""
    for name, function in AFTER.items():
        if name in sys.modules:
            function(sys.modules[name])
    if not any(isinstance(finder, _After) for finder in sys.meta_path):
        sys.meta_path.insert(0, _After())
