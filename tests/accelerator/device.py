"""A device that pretends to be an accelerator: torch's arithmetic, CUDA's manners.

A tensor on the device `pretend` (`pretend:0`) holds a CPU tensor and computes with
it, so that results are the CPU's. What it does not do is meet tensors of the CPU:
an operation that mixes the two raises a RuntimeError, and numpy refuses it with a
TypeError, where a tensor of CUDA would. What CUDA lets pass, passes: a CPU scalar
(0-dimensional) in arithmetic, CPU indices, copies, `.item()`, `.tolist()`, printing,
`torch.save`.

How: torch reserves the backend "PrivateUse1" for devices that it does not know, and
lets Python register one. Tensors are wrapper subclasses that see each operation
below autograd (`__torch_dispatch__`); operations that are given the device and no
tensor (`torch.zeros(2, device="pretend")`) arrive at a fallback of that backend.

What it does not stand in for: speed, memory, float16 arithmetic, TF32,
`torch.compile`, `torch.Generator(device=...)`, LSTM and GRU (torch asks an
accelerator for fused ones), asynchronous execution, operators that an accelerator
lacks, and `device_map="auto"`, which puts a model on the CPU here.

This module needs torch; the package imports it once torch is imported.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch._C import DispatchKey
from torch.utils import backend_registration

NAME = "pretend"
DEVICE: torch.device | None = None  # `pretend:0`, once `register` was called
CPU = torch.device("cpu")
ROOM = 1 << 60  # bytes that a tensor's empty storage claims: any shape fits into it

aten = torch.ops.aten

# Operations whose tensors may lie on different devices, on CUDA as well.
ANY_DEVICE = {
    aten.copy_.default,
    aten._to_copy.default,
    aten._copy_from.default,
    aten._copy_from_and_resize.default,
    aten.set_.source_Tensor,
}
# An index may be on the CPU though the indexed tensor is on the accelerator. The
# other way round is refused. {operation: whether it has `values`, third}
INDEXING = {
    aten.index.Tensor: False,
    aten._unsafe_index.Tensor: False,
    aten.index_put.default: True,
    aten.index_put_.default: True,
    aten._index_put_impl_.default: True,
    aten._unsafe_index_put.default: True,
}
# Operations that take a CPU scalar in this place only: {operation: position}.
SCALAR_AT = {
    aten.masked_fill.Tensor: 2,
    aten.masked_fill_.Tensor: 2,
    aten.fill.Tensor: 1,
    aten.fill_.Tensor: 1,
    aten.index_fill.int_Tensor: 3,
    aten.index_fill_.int_Tensor: 3,
}


class PretendTensor(torch.Tensor):
    """A tensor of the device `pretend`; `inner` is the CPU tensor that it holds."""

    inner: torch.Tensor
    # Subclasses' functions stay torch's own: what is not said below is as ever.
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Self:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            storage_size=ROOM,
        )
        made.inner = inner
        return made

    def __init__(self, inner: torch.Tensor) -> None:
        super().__init__()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    # For these, torch asks whether the type is Tensor itself, as a tensor of CUDA is.

    def __format__(self, spec: str) -> str:
        if self.dim() == 0 and not self.is_complex():
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __repr__(self, *, tensor_contents=None) -> str:
        shown = repr(self.detach().cpu())
        parts = [f", device='{DEVICE}'"]
        if self.grad_fn is not None:
            parts.append(f", grad_fn=<{self.grad_fn.name()}>")
        elif self.requires_grad:
            parts.append(", requires_grad=True")
        shown = f"{shown.removesuffix(')')}{''.join(parts)})"
        return f"Parameter containing:\n{shown}" if _is_parameter(self) else shown

    def __deepcopy__(self, memo: dict) -> PretendTensor:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError("only leaves of a graph can be deep-copied")
        with torch.no_grad():
            copied = self.detach().clone()
        if _is_parameter(self):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        else:
            copied.requires_grad_(self.requires_grad)
        if self.grad is not None:
            copied.grad = self.grad.__deepcopy__(memo)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: int):
        rebuild = torch._utils._rebuild_device_tensor_from_cpu_tensor
        cpu = self.detach().cpu()
        return rebuild, (cpu, self.dtype, str(self.device), self.requires_grad)

    def numpy(self, *, force: bool = False):
        if force:
            return self.detach().cpu().resolve_conj().resolve_neg().numpy()
        raise TypeError(
            f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to "
            "copy the tensor to host memory first."
        )

    def tolist(self) -> Any:
        return self.inner.tolist()

    # safetensors and the library ask which tensors share their memory.

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()


def _is_parameter(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "_is_param", False)


# --- one operation ---------------------------------------------------------------


class Plan:
    """What there is to know about an operation before it runs; made once for each."""

    def __init__(self, func) -> None:
        # May its tensors lie on different devices? None: yes, anywhere.
        self.check: Callable | None = _check_all
        if func in ANY_DEVICE:
            self.check = None
        elif func in INDEXING:
            self.check = _check_indexing
        elif func in SCALAR_AT:
            self.check = _check_scalar_at
        elif torch.Tag.pointwise in func.tags:
            self.check = _check_pointwise
        # Is it made of other operations, which are to be looked at one by one?
        self.composite = torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), DispatchKey.CompositeImplicitAutograd
        )
        # The arguments that it writes to: (place, name).
        self.writes = [
            (place, argument.name)
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        # For each result, whether it is such an argument.
        self.returns = [
            bool(self.writes) and said.alias_info is not None
            for said in func._schema.returns
        ]
        # Does it change the shape of what it writes to?
        self.shapes = torch.Tag.inplace_view in func.tags


_PLANS: dict[Any, Plan] = {}


def _run(func, args: tuple, kwargs: dict) -> Any:
    """Run an operation on the CPU tensors inside; refuse to mix devices."""
    plan = _PLANS.get(func)
    if plan is None:
        plan = _PLANS[func] = Plan(func)
    if plan.composite:
        return func.decompose(*args, **kwargs)
    found = [False, False]  # a tensor of the device, a tensor of the CPU
    inner = [_unwrap(value, found) for value in args]
    options = kwargs
    if kwargs:
        options = {key: _unwrap(value, found) for key, value in kwargs.items()}
    if plan.check is not None and found[0] and found[1]:
        plan.check(func, args, kwargs)
    made = func(*inner, **options)
    if plan.writes:
        return _give_back(plan, args, kwargs, made)
    if kwargs:
        device = kwargs.get("device")
        if device is not None and torch.device(device).type != NAME:
            return made
    return _wrap(made)


PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.layout}


def _unwrap(value: Any, found: list[bool]) -> Any:
    """Return a value with the CPU tensors in place of the device's; note both."""
    kind = type(value)
    if kind is PretendTensor:
        found[0] = True
        return value.inner
    if kind in PLAIN:
        return value
    if kind is tuple or kind is list:
        return kind([_unwrap(one, found) for one in value])
    if kind is torch.device:
        return CPU if value.type == NAME else value
    if isinstance(value, torch.Tensor):
        found[1] = True
    return value


def _wrap(value: Any) -> Any:
    """Return a result of the CPU as one of the device."""
    if isinstance(value, torch.Tensor):
        return PretendTensor(value)
    if type(value) is tuple or type(value) is list:
        return type(value)([_wrap(one) for one in value])
    return value


def _give_back(plan: Plan, args: tuple, kwargs: dict, made: Any) -> Any:
    """Return what an operation in place returns: the arguments that it wrote to."""
    written = [
        args[place] if place < len(args) else kwargs.get(name)
        for place, name in plan.writes
    ]
    for tensor in _tensors(written):
        if type(tensor) is PretendTensor:
            inner = tensor.inner
            if plan.shapes or tensor.shape != inner.shape:
                _reshape(tensor)
    if not plan.returns:
        return None
    if len(plan.returns) == 1:
        return written[0] if plan.returns[0] else _wrap(made)
    targets = iter(written)
    return tuple(
        next(targets) if given else _wrap(one)
        for given, one in zip(plan.returns, made, strict=True)
    )


def _reshape(tensor: PretendTensor) -> None:
    """Bring the shape that a tensor tells up to that of the CPU tensor inside."""
    inner = tensor.inner
    with torch.utils._mode_utils.no_dispatch():
        before = torch._C._meta_in_tls_dispatch_include()
        torch._C._set_meta_in_tls_dispatch_include(True)
        try:
            aten.as_strided_.default(
                tensor, inner.shape, inner.stride(), inner.storage_offset()
            )
        finally:
            torch._C._set_meta_in_tls_dispatch_include(before)


# --- may these tensors meet? -----------------------------------------------------


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _refuse(func) -> None:
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two "
        f"devices, {DEVICE} and cpu! (in the operation {func.name()})"
    )


def _check_all(func, args: tuple, kwargs: dict) -> None:
    """Refuse any mixture; the caller has found one."""
    _refuse(func)


def _check_pointwise(func, args: tuple, kwargs: dict) -> None:
    """Let CPU scalars pass, except one that would be written to."""
    written = func._schema.is_mutable
    for place, tensor in enumerate(_tensors([*args, *kwargs.values()])):
        if type(tensor) is not PretendTensor and (
            tensor.dim() > 0 or (written and (place == 0 or "out" in kwargs))
        ):
            _refuse(func)


def _check_scalar_at(func, args: tuple, kwargs: dict) -> None:
    """Let a CPU scalar pass in the one place where it may stand."""
    for place, value in enumerate(args):
        on_cpu = isinstance(value, torch.Tensor) and type(value) is not PretendTensor
        if on_cpu and (place != SCALAR_AT[func] or value.dim() > 0):
            _refuse(func)


def _check_indexing(func, args: tuple, kwargs: dict) -> None:
    """Let CPU indices pass into a tensor of the device, and a CPU scalar as value."""
    indexed, indices = args[0], args[1]
    if type(indexed) is not PretendTensor and any(
        type(index) is PretendTensor for index in _tensors(indices)
    ):
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed "
            "tensor (cpu)"
        )
    if INDEXING[func]:
        values = args[2]
        same = (type(values) is PretendTensor) == (type(indexed) is PretendTensor)
        on_cpu = type(values) is not PretendTensor
        if not same and not (on_cpu and values.dim() == 0):
            _refuse(func)


# --- moving a module -------------------------------------------------------------


def _keep_parameters(apply: Callable) -> Callable:
    """Let a module that moves keep its parameters, as one that moves to CUDA does.

    torch changes a parameter's data where the two devices' tensors are of one kind.
    Here they are not, and it makes new parameters: weights that two layers share
    would be shared no more, and an optimizer would hold the old ones.
    """

    @functools.wraps(apply)
    def keeping(self, fn, recurse=True):
        if not hasattr(fn, "made"):  # the outermost call

            def move(tensor):
                return fn(tensor)

            move.made = {}  # {id of the old parameter: (old, what now is it)}
        else:
            move = fn
        before = dict(self._parameters)
        result = apply(self, move, recurse)
        for name, old in before.items():
            new = self._parameters[name]
            if new is not old:
                if id(old) not in move.made:
                    move.made[id(old)] = old, _put_into(old, new)
                self._parameters[name] = move.made[id(old)][1]
        return result

    return keeping


def _put_into(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Return `old` with the contents of `new`; or `new`, where a graph holds `old`."""
    if old._use_count() > 1 or weakref.getweakrefs(old):
        return new
    torch.utils.swap_tensors(old, new)
    return old


# --- the backend -----------------------------------------------------------------


class Backend:
    """What torch asks of `torch.pretend`: one device, which is always there."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def set_device(device: Any) -> None:
        """Nothing to set: there is one."""

    @staticmethod
    def synchronize(device: Any = None) -> None:
        """Nothing to wait for: the CPU has done it."""

    @staticmethod
    def empty_cache() -> None:
        """Nothing is kept."""

    @staticmethod
    def manual_seed(seed: int) -> None:
        """The random numbers are the CPU's, which torch seeds itself."""

    manual_seed_all = manual_seed

    @staticmethod
    def get_rng_state(device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def _fallback(func, *args: Any, **kwargs: Any) -> Any:
    """Run what names the device and gives no tensor: zeros, arange, rand, ..."""
    return _run(func, args, kwargs)


def _register_operations() -> None:
    """Tell torch's dispatcher what to do where no wrapper is asked."""
    _LIBRARIES.extend(torch.library.Library(name, "IMPL") for name in ("_", "aten"))
    everything, named = _LIBRARIES
    everything.fallback(_fallback, "PrivateUse1")
    # `torch.tensor([1, 2], device=...)` copies with the wrappers' say switched off.
    for func in (aten.copy_.default, aten._local_scalar_dense.default):
        named.impl(func, functools.partial(_fallback, func), "PrivateUse1")
    # A DataLoader pins its batches where there is an accelerator, through hooks that
    # cannot be written in Python; the batches stay on the CPU, as they are.
    named.impl("_pin_memory", lambda tensor, device=None: tensor, "CPU")
    named.impl("is_pinned", lambda tensor, device=None: False, "CPU")


_LIBRARIES: list[torch.library.Library] = []  # what they register dies with them


def register() -> None:
    """Make `pretend` a device of torch, and the accelerator that torch finds.

    Holds for the whole process and cannot be taken back. Raises RuntimeError where
    torch is too old to have a backend written in Python, or has an accelerator.
    """
    global DEVICE
    if DEVICE is not None:
        return
    setup = getattr(
        backend_registration, "_setup_privateuseone_for_python_backend", None
    )
    if setup is None:
        raise RuntimeError(
            f"torch {torch.__version__} has no backends in Python: the pretended "
            "accelerator needs a newer one"
        )
    if torch.accelerator.is_available():
        there = torch.accelerator.current_accelerator()
        raise RuntimeError(f"there is an accelerator, {there}: no need to pretend one")
    setup(NAME, Backend())
    DEVICE = torch.device(NAME, 0)
    _register_operations()
    # These ask for hooks that cannot be written in Python either.
    torch.accelerator.synchronize = Backend.synchronize
    torch.accelerator.empty_cache = Backend.empty_cache
    torch.nn.Module._apply = _keep_parameters(torch.nn.Module._apply)
