"""The tasks of this series: a table read off the library, and those that it retired.

`pipeline("summarization")` and `pipeline("translation")` stop with KeyError on
transformers 5; both were a prompt around text generation. Here they are again, in
that shape, as `summarize` and `translate`, with the results of transformers 4;
`describe-image` does what `image-to-text` did.
Notebook 02 shows the table and teaches how to write such a pipeline.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import pandas as pd
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    ImageTextToTextPipeline,
    Pipeline,
    pipelines,
)
from transformers.image_utils import load_image
from transformers.pipelines import PIPELINE_REGISTRY

from .catalogue import catalogue
from .models import RETIRED

# The tasks that the best-known course on the library names.
THIRTEEN = (
    "text-generation",
    "text-classification",
    "summarization",
    "translation",
    "zero-shot-classification",
    "feature-extraction",
    "image-to-text",
    "image-classification",
    "object-detection",
    "automatic-speech-recognition",
    "audio-classification",
    "text-to-speech",
    "image-text-to-text",
)
READS = {"tokenizer": "text", "image_processor": "image", "feature_extractor": "sound"}
MAKES = {"classification": "labels", "detection": "boxes", "extraction": "vectors"}


class TextToTextPipeline(Pipeline):
    """Text in, text out: a prompt for a chat model, the bare text for a translator.

    Options of a call are those of `generate`. Greedy unless told otherwise, so that
    the same text gives the same answer.
    """

    _load_tokenizer = True
    _load_processor = _load_image_processor = _load_feature_extractor = False
    result = "generated_text"
    prompt = "{text}"  # for a chat model
    # T5 knows its tasks by what stands in front; `prefix` is the library's own.
    task_prefix = ""

    def __call__(self, texts, **options):
        """Return [{result: …}], a dictionary for each text, one text or many."""
        answer = super().__call__(texts, **options)
        return [answer] if isinstance(answer, dict) else answer

    def _sanitize_parameters(self, **options):
        return {}, options, {}

    def preprocess(self, text):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                f"{type(self).__name__} was given {text!r}, not a text. "
                "Pass a string, or a list of strings, that are not empty."
            )
        if self.model.config.is_encoder_decoder:
            if self.model.config.model_type == "t5":
                text = self.task_prefix + text
            inputs = self.tokenizer(text, return_tensors="pt")
        else:
            chat = [{"role": "user", "content": self.prompt.format(text=text)}]
            inputs = self.tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        room = longest_input(self.model, self.tokenizer)
        if (given := inputs["input_ids"].shape[1]) > room:
            raise ValueError(
                f"The text has {given:,} tokens; {type(self).__name__} takes at most "
                f"{room:,}. Cut it into paragraphs and pass them as a list."
            )
        return inputs

    def _forward(self, inputs, **options):
        if "generation_config" not in options:
            pad = self.tokenizer.pad_token_id
            ours = {"max_new_tokens": 256, "do_sample": False, "pad_token_id": pad}
            if "max_length" in options:
                del ours["max_new_tokens"]
            options = ours | options
        made = self.model.generate(**inputs, **options)
        if not self.model.config.is_encoder_decoder:
            made = made[:, inputs["input_ids"].shape[1] :]
        return made

    def postprocess(self, made):
        text = self.tokenizer.decode(made[0], skip_special_tokens=True)
        return {self.result: text.strip()}


class SummarizePipeline(TextToTextPipeline):
    """A shorter text that says the same: [{"summary_text": …}]."""

    result = "summary_text"
    prompt = "Summarize the following text in one or two sentences.\n\n{text}"
    task_prefix = "summarize: "


class TranslatePipeline(TextToTextPipeline):
    """English to French: [{"translation_text": …}]."""

    result = "translation_text"
    prompt = "Translate into French.\n\n{text}"
    task_prefix = "translate English to French: "


class DescribeImagePipeline(ImageTextToTextPipeline):
    """A sentence about a picture: [{"generated_text": …}], a dictionary a picture."""

    _default_generation_config = GenerationConfig(max_new_tokens=64, do_sample=False)
    prompt = "Describe the picture."

    def __call__(self, pictures, **options):
        many = pictures if isinstance(pictures, (list, tuple)) else [pictures]
        ask = {"type": "text", "text": self.prompt}
        chats = [
            [{"role": "user", "content": [{"type": "image", "image": picture}, ask]}]
            for picture in map(load_image, many)
        ]
        answers = super().__call__(text=chats, return_full_text=False, **options)
        return [{"generated_text": a["generated_text"].strip()} for (a,) in answers]


def longest_input(model, tokenizer) -> int:
    """Return how many tokens a model reads at once, room for the answer set aside."""
    config = model.config
    # T5, whose positions are relative, writes down what it was trained on.
    positions = getattr(config, "max_position_embeddings", None)
    positions = positions or getattr(config, "n_positions", None)
    room = positions or tokenizer.model_max_length
    return room if config.is_encoder_decoder else room - 256


def register() -> None:
    """Register all three; calling it again changes nothing."""
    text = {"pt_model": (AutoModelForSeq2SeqLM, AutoModelForCausalLM), "type": "text"}
    picture = {"pt_model": (AutoModelForImageTextToText,), "type": "multimodal"}
    own = {
        "summarize": {"pipeline_class": SummarizePipeline} | text,
        "translate": {"pipeline_class": TranslatePipeline} | text,
        "describe-image": {"pipeline_class": DescribeImagePipeline} | picture,
    }
    for name, kind in own.items():
        if name not in PIPELINE_REGISTRY.supported_tasks:
            PIPELINE_REGISTRY.register_pipeline(name, **kind)


def ends(task: str, kind: type | str | None = None) -> tuple[str, str]:
    """Return what goes into a task and what comes out, such as ("text", "labels").

    A name with "to" in it says both. Otherwise its class `kind` says which parts it
    loads (a tokenizer reads text), and the last word of the name what it makes.
    """
    task = {own: old for old, own in RETIRED.items()}.get(task, task)
    if "-to-" in task:
        first, out = task.replace("-", ", ").split(", to, ", 1)
        return first, out
    if task in RETIRED:
        return "text", "text"
    if isinstance(kind, str):  # the library names its classes by their path
        module, name = kind.rsplit(".", 1)
        kind = getattr(importlib.import_module(module), name)
    reads = [READS[part] for part in READS if getattr(kind, f"_load_{part}", False)]
    first, _, last = task.rpartition("-")
    if last == "recognition":  # here the tokenizer writes the answer
        return ", ".join(read for read in reads if read != "text"), "text"
    out = first if last == "generation" else MAKES.get(last, last)
    return ", ".join(reads) or first.split("-")[0], out


def task_row(task: str) -> tuple[str, str, str, str, str]:
    """Return a task's name, what goes in, what comes out, what the installed library
    says of it, and the embedded model that does it here ("" where there is none)."""
    goes_in, out = ends(task)
    try:
        real, entry, _ = pipelines.check_task(task)
        goes_in, out = ends(task, entry["impl"])
        state = "available" if real == task else f"redirected to {real}"
    except KeyError:
        gone = task in getattr(pipelines, "REMOVED_TASKS", {})
        state = "removed" if gone else "not the library's"
    if task in pipelines.TASK_ALIASES:
        state = f"another name of {real}"
    chosen = catalogue()["tasks"].get(RETIRED.get(task, task), {})
    return task, goes_in, out, state, chosen.get("embedded", "")


def task_table(tasks: Sequence[str] = THIRTEEN) -> pd.DataFrame:
    """Return a table of tasks, a row for each, as the installed library has them.

    Nothing in it lists what the library has, so it is right for the next release too.
    Shown in notebook 02.
    """
    columns = ["task", "in", "out", "in the library", "embedded model"]
    return pd.DataFrame(map(task_row, tasks), columns=columns).set_index("task")
