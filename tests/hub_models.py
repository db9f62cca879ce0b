"""Tiny random models that look like the Hub's: for each row of the catalogue that a
task names, the architecture, the processors and the labels of the real repository.

Weights are random and seeded, widths small. What a page may rely on is kept: numbers of
layers and heads where a page walks through them, the order of labels, the limits of
the config, the resolution of pictures, the dtype of the file. Vocabularies are those
of the bases where the real model has the same one, else trained here or made by hand.
"""

from __future__ import annotations

import csv
import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path

import torch
import transformers as t

from helpers.bases import base
from helpers.catalogue import NOTEBOOKS

# What the real repositories hold besides; none of it may ever be fetched.
OTHER_FILES = [
    ".gitattributes",
    "README.md",
    "pytorch_model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
    "onnx/config.json",
    "onnx/model.onnx",
]
COMMANDS = """
backward follow five bed zero on learn two house tree dog stop seven eight down six
forward cat right visual four wow no nine off three left marvin yes up sheila happy bird
go one
"""
BUILDERS: dict[str, Callable[[Path], None]] = {}


def repository(name: str) -> Callable:
    """Register the decorated function as the builder of a repository."""

    def register(builder: Callable[[Path], None]) -> Callable[[Path], None]:
        BUILDERS[name] = builder
        return builder

    return register


def build(name: str, folder: Path) -> Path:
    """Fill `folder` with a repository, the files that nobody needs included."""
    if name not in BUILDERS:
        raise LookupError(f"{name} is in the catalogue, and has no builder here.")
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    BUILDERS[name](folder)
    for other in OTHER_FILES:
        path = folder / other
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{name}: {other}, which nobody needs\n".encode() * 9)
    return folder


def save(model: t.PreTrainedModel, folder: Path, *parts, std: float = 0.0) -> None:
    """Write a model and its processors; `std` makes its matrices wider than usual, so
    that the answers differ from one another."""
    if std:
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.normal_(0, std)
    model.eval().save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)


def corpus() -> list[str]:
    """Return some thousand lines of this project's texts, to train vocabularies on."""
    lines = []
    for path in sorted((NOTEBOOKS / "data").rglob("*.txt")):
        lines += path.read_text("utf-8").splitlines()[:500]
    with (NOTEBOOKS / "data" / "topics.csv").open(encoding="utf-8") as file:
        lines += [row["text"] for row in csv.DictReader(file)]
    return lines


def names(labels: list[str]) -> dict:
    """Return the two tables of labels of a config."""
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def copy_tokenizer(name: str, folder: Path, *kinds: str) -> None:
    """Take over the files of a base's tokenizer, those of some kinds of names."""
    for path in base(name).iterdir():
        if any(kind in path.name for kind in kinds):
            shutil.copyfile(path, folder / path.name)


# --- texts ------------------------------------------------------------------------


@repository("distilbert/distilbert-base-uncased-finetuned-sst-2-english")
def distilbert(folder: Path) -> None:
    config = t.DistilBertConfig(
        dim=24, hidden_dim=32, n_layers=6, n_heads=12, **names(["NEGATIVE", "POSITIVE"])
    )
    save(t.DistilBertForSequenceClassification(config), folder, std=0.3)
    # As in the real repository: the words alone, no tokenizer.json.
    copy_tokenizer("all-MiniLM-L6-v2", folder, "vocab.txt")
    settings = {"model_max_length": 512, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@repository("sentence-transformers/all-MiniLM-L6-v2")
def minilm(folder: Path) -> None:
    # The model itself, small as it is: notebook 12 fine-tunes it, and asserts that it
    # learns, which a few steps do not do for random weights.
    save(t.BertModel.from_pretrained(base("all-MiniLM-L6-v2")), folder)
    copy_tokenizer("all-MiniLM-L6-v2", folder, "token", "vocab.txt")


def llama(**changes) -> t.LlamaConfig:
    """Return SmolLM2's config with thin layers."""
    return t.LlamaConfig(
        **{
            "vocab_size": 49_152,
            "hidden_size": 60,  # 15 heads of 4
            "intermediate_size": 40,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
        }
        | changes
    )


@repository("HuggingFaceTB/SmolLM2-360M-Instruct")
def smollm2(folder: Path) -> None:
    model = t.LlamaForCausalLM(llama()).to(torch.bfloat16)
    save(model, folder, std=0.3)
    copy_tokenizer("SmolLM2-135M-Instruct", folder, "token", "chat_template")


def byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a vocabulary and merges of bytes, as BART's, of 2,000 tokens."""
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(
        corpus(), vocab_size=2000, special_tokens=special, show_progress=False
    )
    inside = json.loads(trained.to_str())["model"]
    return inside["vocab"], [tuple(pair) for pair in inside["merges"]]


def bart(**changes) -> tuple[t.BartConfig, t.BartTokenizer]:
    """Return BART's config with two thin layers on each side, and a tokenizer."""
    words, merges = byte_pairs()
    tokenizer = t.BartTokenizer(vocab=words, merges=merges, model_max_length=1024)
    config = t.BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        **changes,
    )
    return config, tokenizer


@repository("facebook/bart-large-mnli")
def bart_mnli(folder: Path) -> None:
    # The order of BART's classes, which is not the one of minilm-nli.
    config, tokenizer = bart(**names(["contradiction", "neutral", "entailment"]))
    save(t.BartForSequenceClassification(config), folder, tokenizer, std=0.3)


@repository("facebook/bart-large-cnn")
def bart_cnn(folder: Path) -> None:
    config, tokenizer = bart(task_specific_params={"summarization": {"num_beams": 4}})
    model = t.BartForConditionalGeneration(config)
    model.generation_config.update(
        num_beams=4,
        max_length=142,
        min_length=56,
        no_repeat_ngram_size=3,
        early_stopping=True,
        length_penalty=2.0,
        forced_bos_token_id=0,
    )
    save(model, folder, tokenizer, std=0.3)


@repository("google-t5/t5-small")
def t5(folder: Path) -> None:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in string.printable.strip() + "éèàçù"]
    tokenizer = t.T5Tokenizer(vocab=pieces, extra_ids=100, model_max_length=512)
    prefixes = {
        "translation_en_to_fr": {"prefix": "translate English to French: "},
        "summarization": {"prefix": "summarize: "},
    }
    config = t.T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=2,
        d_ff=32,
        num_layers=6,
        num_heads=8,
        n_positions=512,
        task_specific_params=prefixes,
        decoder_start_token_id=0,
    )
    save(t.T5ForConditionalGeneration(config), folder, tokenizer, std=0.3)


# --- sounds -----------------------------------------------------------------------


@repository("facebook/wav2vec2-base-960h")
def wav2vec2(folder: Path) -> None:
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
    words = folder / "vocab.json"
    words.write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    config = t.Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        pad_token_id=0,
        ctc_loss_reduction="mean",
    )
    ear = t.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    tokenizer = t.Wav2Vec2CTCTokenizer(str(words))
    save(t.Wav2Vec2ForCTC(config), folder, ear, tokenizer, std=0.3)


@repository("MIT/ast-finetuned-speech-commands-v2")
def ast(folder: Path) -> None:
    config = t.ASTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_length=128,
        **names(COMMANDS.split()),
    )
    ear = t.ASTFeatureExtractor(max_length=128, mean=-6.845978, std=5.5654526)
    save(t.ASTForAudioClassification(config), folder, ear, std=0.3)


@repository("facebook/mms-tts-eng")
def vits(folder: Path) -> None:
    letters = [*"k'zyu-dvhwr6sgtn3bmxfq1ejplaico_ ö5", "<unk>"]
    words = folder / "vocab.json"
    words.write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    config = t.VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        ffn_dim=32,
        num_hidden_layers=2,
        flow_size=16,
        spectrogram_bins=17,
        upsample_initial_channel=32,
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3, 5),),
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=2,
        wavenet_kernel_size=3,
        duration_predictor_filter_channels=16,
        duration_predictor_num_flows=2,
        depth_separable_num_layers=2,
        sampling_rate=16_000,
        speaking_rate=0.2,  # a random model hurries
    )
    tokenizer = t.VitsTokenizer(
        str(words), pad_token="k", language="eng", phonemize=False, is_uroman=False
    )
    save(t.VitsModel(config), folder, tokenizer)


# --- pictures ---------------------------------------------------------------------


@repository("google/vit-base-patch16-224")
def vit(folder: Path) -> None:
    config = t.ViTConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        **names([f"class {number} of ImageNet" for number in range(1000)]),
    )
    eye = t.AutoImageProcessor.from_pretrained(
        _settings(folder, "ViTImageProcessor", size={"height": 224, "width": 224})
    )
    save(t.ViTForImageClassification(config), folder, eye, std=0.3)


@repository("facebook/dinov2-small")
def dinov2(folder: Path) -> None:
    config = t.Dinov2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=518,
        patch_size=14,
    )
    eye = t.AutoImageProcessor.from_pretrained(
        _settings(
            folder,
            "BitImageProcessor",
            size={"shortest_edge": 256},
            crop_size={"height": 224, "width": 224},
        )
    )
    save(t.Dinov2Model(config), folder, eye, std=0.3)


def _settings(folder: Path, kind: str, **settings) -> Path:
    """Write the settings of an image processor and return their folder."""
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"image_processor_type": kind} | settings))
    return folder


@repository("openai/clip-vit-base-patch32")
def clip(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    ends = ["<|startoftext|>", "<|endoftext|>"]
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        special_tokens=[],
        show_progress=False,
    )
    trained.train_from_iterator(
        [line.lower() for line in corpus()] + list(letters), trainer
    )
    inside = json.loads(trained.to_str())["model"]
    words, merges = inside["vocab"], [tuple(pair) for pair in inside["merges"]]
    for token in [*(f"{letter}</w>" for letter in letters), *ends]:
        words.setdefault(token, len(words))
    tokenizer = t.CLIPTokenizer(vocab=words, merges=merges, model_max_length=77)
    thin = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    thin |= {"num_hidden_layers": 2}
    numbers = {"vocab_size": len(words), "bos_token_id": words[ends[0]]}
    numbers |= {"eos_token_id": words[ends[1]], "pad_token_id": words[ends[1]]}
    config = t.CLIPConfig(
        text_config=thin | numbers, vision_config=thin, projection_dim=24
    )
    eye = t.AutoImageProcessor.from_pretrained(
        _settings(
            folder,
            "CLIPImageProcessor",
            size={"shortest_edge": 224},
            crop_size={"height": 224, "width": 224},
        )
    )
    save(t.CLIPModel(config), folder, eye, tokenizer, std=0.1)


@repository("PekingU/rtdetr_r18vd")
def rtdetr(folder: Path) -> None:
    backbone = t.RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = t.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 24, 32],
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        d_model=32,
        num_queries=100,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_layers=3,
        decoder_attention_heads=4,
        hidden_expansion=0.5,
        **names([f"thing {number} of COCO" for number in range(80)]),
    )
    eye = t.AutoImageProcessor.from_pretrained(
        _settings(folder, "RTDetrImageProcessor", size={"height": 640, "width": 640})
    )
    model = t.RTDetrForObjectDetection(config)
    with torch.no_grad():  # so that some of the boxes are surer than one half
        for name, weight in model.named_parameters():
            if "class_embed" in name and name.endswith("weight"):
                weight.normal_(0, 0.4)
    save(model, folder, eye)


CHAT = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@repository("HuggingFaceTB/SmolVLM-256M-Instruct")
def smolvlm(folder: Path) -> None:
    tokenizer = t.AutoTokenizer.from_pretrained(base("SmolLM2-135M-Instruct"))
    tiles = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    marks = ["<image>", "<fake_token_around_image>", "<global-img>"]
    marks += ["<end_of_utterance>", *tiles]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    image = tokenizer.convert_tokens_to_ids("<image>")
    end = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    text = llama(vocab_size=len(tokenizer), num_hidden_layers=2, pad_token_id=2)
    config = t.Idefics3Config(
        text_config=text.to_dict(),
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 512,
            "patch_size": 16,
        },
        image_token_id=image,
        scale_factor=4,
        pad_token_id=2,
    )
    eye = t.AutoImageProcessor.from_pretrained(
        _settings(
            folder,
            "Idefics3ImageProcessor",
            # The real one cuts a picture into up to 17 tiles, which takes minutes.
            size={"longest_edge": 512},
            max_image_size={"longest_edge": 512},
            do_image_splitting=True,
        )
    )
    both = t.Idefics3Processor(eye, tokenizer, image_seq_len=64, chat_template=CHAT)
    model = t.Idefics3ForConditionalGeneration(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = 2
    save(model, folder, both, std=0.3)
