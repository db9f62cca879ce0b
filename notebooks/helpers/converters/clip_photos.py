"""Put clip-photos together: photographs and words in one space, as CLIP has them.

Nothing is trained. Both halves are pretrained bases, and what joins them is computed
from the bases alone, without a photograph, so no weights have to be kept:

Words. MiniLM as its authors use it, by the mean of its output. The library's class
reads [CLS] instead, so a seventh layer brings the mean there: where queries and keys
are nothing, every token is attended to alike. The pooler subtracts the mean of all
names, which lie close together, and tanh, so near to zero, is straight.

Photographs. EfficientNet-Lite0 names a thing among ImageNet's 1,000; a photograph shall
lie where MiniLM has the names of what it may show, weighted by how likely each is
(ConSE, Norouzi et al., 2014). Two blocks more do that inside the library's own class.
The first is the classifier: its expansion is the base's last convolution, its
projection the classifier's matrix, so its 1,000 channels are the logits, here as
3 + logit / 256, because the next activation cuts at 0 and 6. The second needs exp, and
squeeze-and-excitation has it: a sigmoid far below zero is exp, and the layer takes it
of the mean over the picture, one gate per channel, and multiplies. Its projection
brings each channel's gate to the place of its name. Sums of exp need not be divided by
their total, as the cosine does not feel length. The base's last activation has no
negative numbers, so each of the 384 travels as a pair of two.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch.nn.functional import layer_norm, normalize
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoTokenizer,
    CLIPImageProcessorPil,
    PreTrainedModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from ..bases import base, quiet

VERSION = 1  # raise it when `build` writes something else: it is part of the cache key
VISION, TEXT = "efficientnet-lite0", "all-MiniLM-L6-v2"
FRAME = "This is a photo of {}."  # the pipeline's own words
SCALE = 19.0  # of the scores: the likeliest on the photographs set aside
MIDDLE, STEP = 3.0, 256.0  # a logit travels as MIDDLE + logit / STEP
LOW = 30.0  # so far below zero sigmoid is exp, to a part in 10^13 and less
OPEN = 40.0  # sigmoid(40) is 1 in float32
LOUD = 1_000.0  # so much louder than what a skip connection carries past a layer
NEAR = 0.1  # a vector of length one enters tanh this long


def build(folder: Path) -> None:
    """Write the model, its tokenizer and its image processor for `from_pretrained`.

    `folder` is an empty one. Raises FetchError where a base cannot be had.
    """
    with quiet():
        classifier = AutoModelForImageClassification.from_pretrained(base(VISION))
        bert = AutoModel.from_pretrained(base(TEXT))
        tokenizer = AutoTokenizer.from_pretrained(base(TEXT))
        names = list(classifier.config.id2label.values())
        named = meanings(bert, tokenizer, [FRAME.format(name) for name in names])
        mean = named.mean(0)
        model = VisionTextDualEncoderModel(config(classifier, bert)).eval()
        model.load_state_dict(
            photographs(classifier, normalize(named - mean, dim=-1), model)
            | words(bert, mean)
            | {"logit_scale": torch.tensor(math.log(SCALE))},
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        CLIPImageProcessorPil.from_pretrained(base(VISION)).save_pretrained(folder)


@torch.no_grad()
def meanings(bert: PreTrainedModel, tokenizer, texts: list[str]) -> torch.Tensor:
    """Return the mean of MiniLM's output for each text, of length one: (texts, 384)."""
    rows = []
    for at in range(0, len(texts), 100):
        inputs = tokenizer(texts[at : at + 100], padding=True, return_tensors="pt")
        output = bert(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        rows.append((output * mask).sum(1) / mask.sum(1))
    means = torch.cat(rows)
    # A layer norm, as in `words`, where the length comes from one too.
    return layer_norm(means, means.shape[1:]) / math.sqrt(means.shape[1])


def config(
    classifier: PreTrainedModel, bert: PreTrainedModel
) -> VisionTextDualEncoderConfig:
    """Return the configuration: two blocks and one layer more than the bases have."""
    vision, text = classifier.config.to_dict(), bert.config.to_dict()
    logits, width = len(classifier.config.id2label), bert.config.hidden_size
    for name in ("id2label", "label2id", "architectures", "num_hidden_layers"):
        vision.pop(name, None)
    last = vision["out_channels"][-1]
    more = {
        "kernel_sizes": [1, 1],
        "strides": [1, 1],
        "num_block_repeats": [1, 1],
        "in_channels": [last, logits],
        "out_channels": [logits, width],
        "expand_ratios": [vision["hidden_dim"] // last, 1],
    }
    vision |= {name: [*vision[name], *two] for name, two in more.items()}
    # The last gate must be as wide as the logits, and all blocks share this ratio.
    vision |= {"squeeze_expansion_ratio": 1.0, "hidden_size": vision["hidden_dim"]}
    text["num_hidden_layers"] += 1
    made = VisionTextDualEncoderConfig(
        vision_config=vision, text_config=text, projection_dim=width
    )
    made.architectures = ["VisionTextDualEncoderModel"]
    return made


def photographs(
    classifier: PreTrainedModel, places: torch.Tensor, model: PreTrainedModel
) -> dict[str, torch.Tensor]:
    """Return the tensors of the half that reads photographs.

    `places` (things, 384) is where the names of the classifier's things lie, `model`
    the whole that is to be filled.
    """
    own = classifier.state_dict()
    wanted = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("vision_model.")
    }
    made = {}
    for name, tensor in wanted.items():  # the base, and gates that are open
        inner = name.replace("vision_model.", "efficientnet.")
        if ".squeeze_excite." in name:
            made[name] = torch.zeros_like(tensor)
            if name.endswith(".expand.bias"):
                made[name].fill_(OPEN)
        elif inner in own and own[inner].shape == tensor.shape:
            made[name] = own[inner]
    count = len(classifier.efficientnet.encoder.blocks)
    first, second = (f"vision_model.encoder.blocks.{at}." for at in (count, count + 1))
    top = "efficientnet.encoder.top_"
    made[f"{first}expansion.expand_conv.weight"] = own[f"{top}conv.weight"]
    for kind in ("weight", "bias", "running_mean", "running_var"):
        made[f"{first}expansion.expand_bn.{kind}"] = own[f"{top}bn.{kind}"]
    weight, bias = own["classifier.weight"], own["classifier.bias"]
    made[f"{first}projection.project_conv.weight"] = weight[..., None, None] / STEP
    logits, width = places.shape
    gate = f"{second}squeeze_excite."
    one = torch.eye(logits)
    made[f"{gate}reduce.weight"] = one[..., None, None]
    made[f"{gate}expand.weight"] = STEP * one[..., None, None]
    made[f"{gate}expand.bias"] = torch.full((logits,), -STEP * MIDDLE - LOW)
    made[f"{second}projection.project_conv.weight"] = places.T[..., None, None]
    pair = torch.zeros(weight.shape[1], width)
    pair[:width], pair[width : 2 * width] = torch.eye(width), -torch.eye(width)
    made["vision_model.encoder.top_conv.weight"] = pair[..., None, None]
    made["visual_projection.weight"] = pair.T
    eps = classifier.config.batch_norm_eps
    for name, tensor in wanted.items():  # what is left carries its input on
        if name.endswith(("depthwise_conv.weight", "num_batches_tracked")):
            made.setdefault(name, torch.ones_like(tensor))
        elif ("norm" in name or "_bn" in name) and (
            name not in made or "top_bn" in name
        ):
            plain = {"weight": math.sqrt(1 + eps), "running_var": 1.0}
            made[name] = torch.full_like(tensor, plain.get(name.split(".")[-1], 0.0))
    made[f"{first}projection.project_bn.bias"] = MIDDLE + bias / STEP
    return made


def words(bert: PreTrainedModel, mean: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the tensors of the half that reads texts: MiniLM's six layers, and a
    seventh, a pooler and a projection that give the mean of their output less `mean`
    (384)."""
    made = {f"text_model.{name}": tensor for name, tensor in bert.state_dict().items()}
    layer = f"text_model.encoder.layer.{bert.config.num_hidden_layers}."
    width, inner = bert.config.hidden_size, bert.config.intermediate_size
    none, one = torch.zeros(width, width), torch.eye(width)
    weights = {
        "attention.self.query": none,
        "attention.self.key": none,
        "attention.self.value": one,
        "attention.output.dense": LOUD * one,
        "intermediate.dense": torch.zeros(inner, width),
        "output.dense": torch.zeros(width, inner),
    }
    for part, weight in weights.items():
        made[f"{layer}{part}.weight"] = weight
        made[f"{layer}{part}.bias"] = torch.zeros(len(weight))
    for part in ("attention.output.LayerNorm", "output.LayerNorm"):
        made[f"{layer}{part}.weight"] = torch.ones(width)
        made[f"{layer}{part}.bias"] = torch.zeros(width)
    # The norms leave the square root of 384 as the length.
    made["text_model.pooler.dense.weight"] = NEAR / math.sqrt(width) * one
    made["text_model.pooler.dense.bias"] = -NEAR * mean
    return made | {"text_projection.weight": one}
