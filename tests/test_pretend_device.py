"""The pretended accelerator behaves as CUDA does where devices meet.

Two proofs: what would stop on an accelerator stops here, and what CUDA lets pass
passes with the CPU's result. A process can register the device once and never take it
back, so each test runs in a process of its own kind, apart from the suite's.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import io
import multiprocessing
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor

import accelerator
import pytest

MIXED = "Expected all tensors to be on the same device, but found at least two devices"
NUMPY = "can't convert pretend:0 device type tensor to numpy. Use Tensor.cpu()"


def begin() -> None:
    """Give the child process its accelerator, as the suite gives one to a kernel."""
    accelerator.install()
    assert "torch" not in sys.modules  # the hook is there first, and costs nothing


def run(module: str, name: str, arguments: dict) -> None:
    """Run the body of a test in the child process; its failure travels back as text."""
    try:
        getattr(importlib.import_module(module), name).__wrapped__(**arguments)
    except BaseException as error:  # pytest's own do not travel between processes
        raise AssertionError(traceback.format_exc()) from error


@pytest.fixture(scope="module")
def child():
    """A process whose torch has the pretended accelerator; `child(test, ...)`."""
    import torch

    if torch.accelerator.is_available():
        pytest.skip("there is a real accelerator, which the pages are run on")
    if not hasattr(
        torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"
    ):
        pytest.skip(f"torch {torch.__version__} takes no backend written in Python")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=begin) as pool:
        yield lambda name, arguments: pool.submit(
            run, __name__, name, arguments
        ).result(timeout=120)


def apart(test):
    """Run the body of a test in the child process."""

    @functools.wraps(test)
    def sent(child, **arguments):
        child(test.__name__, arguments)

    # pytest reads the arguments of `sent`: the fixture and the test's own.
    own = list(inspect.signature(test).parameters.values())
    fixture = inspect.Parameter("child", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    sent.__signature__ = inspect.Signature([fixture, *own])
    return sent


# --- what stops -------------------------------------------------------------------

MIXTURES = {
    "sum": "t + torch.ones(3)",
    "sum, CPU first": "torch.ones(3) + t",
    "a scalar of the device and a vector of the CPU": "torch.ones(3) * t[0]",
    "in place into the CPU": "torch.ones(3).add_(t)",
    "in place into a scalar of the CPU": "torch.tensor(1.0).add_(t[0])",
    "out": "torch.add(t, t, out=torch.ones(3))",
    "product": "torch.ones(2, 3) @ t",
    "linear": "torch.nn.functional.linear(t, torch.ones(2, 3))",
    "module": "torch.nn.Linear(3, 2)(t)",
    "module moved": "torch.nn.Linear(3, 2).to(t.device)(torch.ones(3))",
    "convolution": "torch.nn.Conv1d(1, 1, 1).to(t.device)(torch.ones(1, 1, 3))",
    "embedding": "torch.nn.Embedding(3, 2).to(t.device)(torch.tensor([1]))",
    "cat": "torch.cat([t, torch.ones(1)])",
    "stack, even of scalars": "torch.stack([t[0], torch.tensor(1.0)])",
    "where, by a mask of the CPU": "t.where(torch.ones(3) > 0, 0)",
    "where, the other of the CPU": "torch.where(t > 1, t, torch.ones(3))",
    "masked_fill": "t.masked_fill(torch.ones(3) > 0, 0)",
    "gather": "t.gather(0, torch.tensor([0]))",
    "index_select": "t.index_select(0, torch.tensor([0]))",
    "scatter": "t.scatter(0, torch.tensor([0]), 1.0)",
    "a vector set at indices": "t.__setitem__(torch.tensor([0, 1]), torch.ones(2))",
    "attention": "torch.nn.functional.scaled_dot_product_attention("
    "*[t.view(1, 1, 3, 1)] * 3, attn_mask=torch.ones(3, 3) > 0)",
    "loss": "torch.nn.functional.cross_entropy(t[None], torch.tensor([1]))",
    "compared": "torch.equal(t, torch.ones(3))",
    "allclose": "torch.allclose(t, torch.ones(3))",
}


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
@pytest.mark.parametrize("code", MIXTURES.values(), ids=MIXTURES)
@apart
def test_tensors_of_two_devices_do_not_meet(code, grad):
    import torch

    with torch.set_grad_enabled(grad), pytest.raises(RuntimeError, match=MIXED) as said:
        eval(code, {"torch": torch, "t": torch.arange(3.0).to("pretend")})
    assert "pretend:0 and cpu" in str(said.value)


@apart
def test_the_cpu_takes_no_index_of_the_device():
    import torch

    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the"):
        torch.ones(3)[torch.tensor([1]).to("pretend")]


@pytest.mark.parametrize(
    "code",
    [
        "t.numpy()",
        "np.asarray(t)",
        "np.array([t[0], t[1]])",
        "plt.plot(t)",
        "plt.imshow(t[None])",
        "pd.DataFrame(t[None])",
        "np.dot(np.ones(3), t)",
    ],
)
@apart
def test_numpy_pandas_and_plots_take_no_tensor_of_the_device(code):
    import matplotlib
    import numpy as np
    import pandas as pd
    import torch

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = {"np": np, "pd": pd, "plt": plt, "t": torch.arange(3.0).to("pretend")}
    with pytest.raises(TypeError) as said:
        eval(code, names)
    assert NUMPY in str(said.value)


# --- what passes ------------------------------------------------------------------

ALLOWED = {
    "a scalar of the CPU": ("t + torch.tensor(1.0)", [1, 2, 3]),
    "a scalar of the CPU first": ("torch.tensor(2.0) * t", [0, 2, 4]),
    "where with a scalar of the CPU": (
        "torch.where(t > 1, t, torch.tensor(-1.0))",
        [-1, -1, 2],
    ),
    "indices of the CPU": ("t[torch.tensor([2, 0])]", [2, 0]),
    "a mask of the CPU": ("t[torch.tensor([True, False, True])]", [0, 2]),
    "a list": ("t[[2, 0]]", [2, 0]),
    "an array": ("t[np.array([2, 0])]", [2, 0]),
    "copied into a slice": ("put(t, slice(1, 3), torch.ones(2))", [0, 1, 1]),
    "a scalar set at indices": (
        "put(t, torch.tensor([0]), torch.tensor(5.0))",
        [5, 1, 2],
    ),
    "copied onto the CPU": ("torch.zeros(3).copy_(t)", [0, 1, 2]),
    "into a slice of the CPU": ("put(torch.zeros(3), slice(0, 3), t)", [0, 1, 2]),
    "made on the device": ("torch.ones(3, device=t.device) + t", [1, 2, 3]),
    "made as another": ("torch.zeros_like(t) + t.new_ones(3)", [1, 1, 1]),
    "counted on the device": ("torch.arange(3, device='pretend') + t", [0, 2, 4]),
    "from a list": ("torch.tensor([1.0, 2, 3], device='pretend') + t", [1, 3, 5]),
    "the device as default": ("default()", [1, 1]),
    "moved and back": ("(t.cpu() + torch.ones(3)).to(t) + t", [1, 3, 5]),
    "back and numpy": ("torch.from_numpy(t.cpu().numpy() + 1)", [1, 2, 3]),
    "forced numpy": ("torch.from_numpy(t.numpy(force=True))", [0, 1, 2]),
    "inference mode": ("inference(t)", [0, 2, 4]),
    "of scalars": ("torch.tensor([t[1], t[2]])", [1, 2]),
    "a shape in place": ("t.clone().unsqueeze_(0).t_().squeeze_(1) + t", [0, 2, 4]),
    "a view written to": ("written(t)", [9, 1, 2]),
    "sorted": ("t.sort(descending=True).values + t", [2, 2, 2]),
    "autocast": ("cast(t)", [0, 1, 2]),
    "repeated": ("t.repeat_interleave(2)[:3]", [0, 0, 1]),
    "the device's scalar as index": ("torch.arange(3)[t[1].long().item():]", [1, 2]),
}


@pytest.mark.parametrize("code, wanted", ALLOWED.values(), ids=ALLOWED)
@apart
def test_what_cuda_lets_pass_passes(code, wanted):
    import numpy as np
    import torch

    def put(tensor, where, value):
        tensor[where] = value
        return tensor

    def default():
        with torch.device("pretend"):
            return torch.ones(2) * torch.tensor([1.0, 1.0])

    def inference(tensor):
        with torch.inference_mode():
            return torch.nn.functional.linear(tensor, 2 * torch.eye(3).to(tensor))

    def written(tensor):
        tensor.view(3, 1)[0].fill_(9)
        return tensor

    def cast(tensor):
        with torch.autocast("pretend", enabled=False):
            return tensor.clone()

    names = locals() | {"np": np, "torch": torch}
    made = eval(code, names | {"t": torch.arange(3.0).to("pretend")})
    assert made.tolist() == wanted


@apart
def test_a_tensor_says_where_it_is_and_what_it_holds():
    import torch

    t = torch.arange(3.0).to("pretend")
    assert torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator().type == t.device.type == "pretend"
    assert (t.get_device(), t.is_cpu, t.is_cuda, t.cpu().is_cpu) == (0, 0, 0, 1)
    assert t.to("pretend:0") is t.to(t.device) is t
    assert str(t) == "tensor([0., 1., 2.], device='pretend:0')"
    assert (
        f"{t[1]:.2f} {float(t[2])} {t[2].item()} {bool(t[0])}" == "1.00 2.0 2.0 False"
    )
    assert t.tolist() == [0, 1, 2] and t.argmax() == 2 and list(range(5))[t.long()[1]]
    torch.accelerator.synchronize()


@apart
def test_the_random_numbers_are_the_cpus():
    import torch

    torch.manual_seed(1)
    here = torch.rand(4)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(4, device="pretend").cpu(), here)
    chances = torch.ones(1, 9)
    torch.manual_seed(1)
    drawn = torch.multinomial(chances, 3)
    torch.manual_seed(1)
    assert torch.multinomial(chances.to("pretend"), 3).tolist() == drawn.tolist()


@apart
def test_saved_files_come_back_on_the_device_or_on_the_cpu():
    import torch
    from safetensors.torch import load, save

    t, file = torch.arange(3.0).to("pretend"), io.BytesIO()
    torch.save({"t": t}, file)
    for where, device in [(None, "pretend"), ("cpu", "cpu")]:
        file.seek(0)
        back = torch.load(file, weights_only=True, map_location=where)["t"]
        assert (back.device.type, back.tolist()) == (device, [0, 1, 2])
    assert load(save({"t": t}))["t"].tolist() == [0, 1, 2]
    copied = copy.deepcopy(t)
    copied[0] = 9
    assert (copied.device, t.tolist()) == (t.device, [0, 1, 2])


@apart
def test_training_gives_the_cpus_losses_and_shared_weights_stay_shared():
    import torch

    def losses(device):
        torch.manual_seed(0)
        words, out = torch.nn.Embedding(7, 8), torch.nn.Linear(8, 7, bias=False)
        out.weight = words.weight
        model = torch.nn.Sequential(words, torch.nn.LayerNorm(8), out).to(device)
        assert model[0].weight is model[2].weight
        assert isinstance(model[0].weight, torch.nn.Parameter)
        ids = torch.tensor([1, 2, 3, 4], device=device)
        optimizer, made = torch.optim.AdamW(model.parameters(), lr=0.1), []
        for _ in range(4):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(ids[:-1]), ids[1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            made.append(loss.item())
        twin = copy.deepcopy(model)
        assert twin[0].weight is twin[2].weight and twin[0].weight.device == ids.device
        twin.load_state_dict(model.cpu().state_dict())
        assert model[0].weight is model[2].weight and model[0].weight.is_cpu
        return made

    assert losses("pretend") == losses("cpu")


@apart
def test_a_module_moves_while_a_graph_holds_its_weights():
    import torch

    def both():
        one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        two.weight = one.weight
        return torch.nn.Sequential(one, two)

    model, held = both(), both()
    weight, optimizer = model[0].weight, torch.optim.SGD(model.parameters(), lr=1)
    outputs = held(torch.ones(2))  # its graph needs the weights as they are
    for one in (model, held):
        one.to("pretend")(torch.ones(2, device="pretend")).sum().backward()
        assert one[0].weight is one[1].weight and one[0].weight.grad is not None
    assert weight is model[0].weight  # who has it and moves the model has it still
    before = weight.tolist()
    optimizer.step()
    assert weight.tolist() != before
    outputs.sum().backward()


# --- the library on it ------------------------------------------------------------


def tiny():
    """A text generator with random weights, and a tokenizer of three words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="c"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="c")
    config = LlamaConfig(
        vocab_size=3,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


@apart
def test_a_pipeline_takes_the_accelerator_unless_told_otherwise():
    from transformers import pipeline

    model, tokenizer = tiny()
    assert model.device.type == "cpu"
    parts = {"model": model, "tokenizer": tokenizer}
    calm = {"max_new_tokens": 4, "do_sample": False}
    said = {}
    for asked, device in [
        ("cpu", "cpu"),
        (None, "pretend"),
        (-1, "pretend"),  # stays where the model is
        (0, "pretend"),
        ("cpu", "cpu"),
        ("pretend", "pretend"),
    ]:
        generator = pipeline("text-generation", **parts, device=asked)
        assert (generator.device.type, model.device.type) == (device, device)
        said[device] = generator("a b", **calm)
    assert said["cpu"] == said["pretend"]


@apart
def test_a_model_by_hand_needs_its_inputs_on_its_device(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    model, tokenizer = tiny()
    inputs = tokenizer("a b", return_tensors="pt")
    there = inputs["input_ids"]
    before = model(there).logits
    model.to("pretend").save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=MIXED):
        model(**inputs)
    after = model(**inputs.to(model.device)).logits
    assert after.device == model.device
    assert torch.allclose(before, after.cpu(), atol=1e-6)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.device.type == "cpu"  # as on CUDA, until somebody moves it
    assert torch.equal(loaded(there.cpu()).logits, before)


@apart
def test_the_trainer_takes_the_accelerator(tmp_path):
    from transformers import Trainer, TrainingArguments

    model, _ = tiny()
    rows = [{"input_ids": [0, 1, 2], "labels": [0, 1, 2]}] * 8
    arguments = TrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=4, report_to=[]
    )
    assert arguments.device.type == "pretend"
    Trainer(model, arguments, train_dataset=rows).train()
    assert model.device.type == "pretend"
    arguments = TrainingArguments(tmp_path, max_steps=1, use_cpu=True, report_to=[])
    assert arguments.device.type == "cpu"
    model.cpu()
    Trainer(model, arguments, train_dataset=rows).train()
    assert model.device.type == "cpu"
