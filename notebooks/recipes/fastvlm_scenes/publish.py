"""Write what is committed of fastvlm-scenes: LoRA, projector, and how to use them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from peft import LoraConfig
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoTokenizer,
    FastVlmConfig,
    LlavaProcessor,
    RTDetrImageProcessorPil,
)

from helpers.bases import base
from recipes.common.adapters import PREFIX, write_adapter
from recipes.common.pictures import square_processor
from recipes.common.publish import write_model
from recipes.common.scene_encoder import GRID, encoder_config
from recipes.datasets.scenes.compose import SIZE

BASE = "SmolLM2-135M-Instruct"
ADAPTED = ["q_proj", "k_proj", "v_proj", "o_proj"]  # 0.92 M parameters
# A token that SmolLM2 has and no text needs: its number, its name, and what the
# catalogue has it called here.
IMAGE = (16, "<empty_output>", "<image>")
TEMPLATE = """\
{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}\
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}\
{% endfor %}{% for part in message['content'] if part['type'] == 'text' %}\
{{ part['text'] }}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""


def lora_config() -> LoraConfig:
    """Return the configuration of the LoRA in SmolLM2's attention."""
    return LoraConfig(r=8, lora_alpha=16, target_modules=ADAPTED)


def config() -> FastVlmConfig:
    """Return the configuration: the scenes' encoder, 25 cells, SmolLM2."""
    text = AutoConfig.from_pretrained(base(BASE)).to_dict()
    text = {k: v for k, v in text.items() if not k.endswith(("name_or_path", "dtype"))}
    return FastVlmConfig(
        vision_config=encoder_config(),
        text_config=text,
        image_token_index=IMAGE[0],
        image_seq_length=GRID * GRID,
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
        architectures=["FastVlmForConditionalGeneration"],
    )


def processor() -> LlavaProcessor:
    """Return the processor: pictures as rtdetr-scenes has them, SmolLM2's tokens."""
    return LlavaProcessor(
        image_processor=square_processor(
            SIZE, RTDetrImageProcessorPil, do_normalize=True
        ),
        tokenizer=AutoTokenizer.from_pretrained(base(BASE)),
        patch_size=SIZE // GRID,
        vision_feature_select_strategy="full",
        image_token=IMAGE[1],
        chat_template=TEMPLATE,
    )


def publish(work: Path, folder: Path) -> None:
    """Write the last stage's tensors to FOLDER in float16, by the names that they have
    in the whole model, the configuration, the processor and the chat template."""
    learned = load_file(work / "together.safetensors")
    start = f"{PREFIX}model."
    adapter = {
        name.replace(start, f"{start}language_model."): tensor
        for name, tensor in learned.items()
        if name.startswith(start)
    }
    projector = {
        f"model.multi_modal_{name}": tensor
        for name, tensor in learned.items()
        if not name.startswith(start)
    }
    write_model(folder, projector, config())
    write_adapter(folder, adapter, lora_config())
    with tempfile.TemporaryDirectory() as aside:
        processor().save_pretrained(aside)
        for name in ("processor_config.json", "chat_template.jinja"):
            text = (Path(aside) / name).read_text("utf-8").replace(IMAGE[1], IMAGE[2])
            (folder / name).write_text(text, "utf-8")
