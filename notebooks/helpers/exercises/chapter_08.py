"""The exercises of notebook 08: for each its solution, then its checker."""

from __future__ import annotations

import sqlite3

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from ..catalogue import NOTEBOOKS
from . import Wrong, exercise

THREE = 3


def any_of(column: str, values: list[str]) -> str:
    """The solution of 08.1: every quotation mark inside a value is doubled, and a list
    without a value lets nothing through."""
    quoted = [f"'{value.replace(chr(39), chr(39) * 2)}'" for value in values]
    return f"{column} IN ({', '.join(quoted)})" if quoted else "1 = 0"


@exercise(
    "08.1",
    "In SQL a text stands between single quotation marks: place IN ('Kyoto').",
    "A quotation mark inside a text is written twice: 'O''Hara'.",
    "IN () is no SQL: a list without a value needs a condition that is never true.",
)
def check_any_of(answer) -> None:
    places = ["Kyoto", "Cork", "O'Hara", "x' OR 1=1 --", "'", "Kraków"]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE things (place TEXT)")
    database.executemany("INSERT INTO things VALUES (?)", [(p,) for p in places])
    for wanted in (["Kyoto"], places[:2], places[2:3], places[3:4], ["'"], []):
        condition = answer("place", list(wanted))
        if not isinstance(condition, str):
            raise Wrong(f"Expected a text, the condition; got {condition!r}.")
        try:
            rows = database.execute(f"SELECT place FROM things WHERE {condition}")
            found = sorted(row[0] for row in rows)
        except sqlite3.Error as error:
            raise Wrong(f"For {wanted} it is no SQL ({error}): {condition}") from None
        if found != sorted(wanted):
            raise Wrong(f"For {wanted} the condition {condition} finds {found}.")


@torch.no_grad()
def seen(image: Image.Image, matcher) -> np.ndarray:
    """Return a picture's vector of length 1 by its dual encoder."""
    inputs = matcher.image_processor(image.convert("RGB"), return_tensors="pt")
    outputs = matcher.model.get_image_features(**inputs.to(matcher.model.device))
    return normalize(outputs.pooler_output)[0].cpu().numpy()


@torch.no_grad()
def said(words: str, matcher) -> np.ndarray:
    """Return the vector of length 1 that words have among the pictures."""
    inputs = matcher.tokenizer(words, truncation=True, return_tensors="pt")
    outputs = matcher.model.get_text_features(**inputs.to(matcher.model.device))
    return normalize(outputs.pooler_output)[0].cpu().numpy()


def nearest(vector: np.ndarray, museum) -> list[str]:
    """Return the three things whose drawings point most nearly in a direction."""
    table = museum.db.open_table("picture")
    found = table.search(vector, vector_column_name="seen").distance_type("cosine")
    rows = found.limit(table.count_rows()).to_list()
    return list(dict.fromkeys(row["thing"] for row in rows))[:THREE]


def compare(found: object, expected: list[str], about: str) -> None:
    """Raise Wrong where a list of inventory numbers is not the expected one."""
    if not isinstance(found, list) or not all(isinstance(x, str) for x in found):
        raise Wrong(f"Expected a list of inventory numbers; got {str(found)[:60]}.")
    if twice := [thing for thing in found if found.count(thing) > 1]:
        raise Wrong(f"{about}: {twice[0]} stands twice, as it has several drawings.")
    if len(found) != len(expected):
        raise Wrong(f"{about}: expected {len(expected)} things, got {len(found)}.")
    if found != expected:
        raise Wrong(f"{about}: expected {expected}, got {found}.")


def like_this(image: Image.Image, museum) -> list[str]:
    """The solution of 08.2: the picture's vector is the question."""
    return nearest(seen(image, museum.matcher), museum)


@exercise(
    "08.2",
    "embed_pictures([image.convert('RGB')], matcher)[0] is the vector to search with.",
    "table.search(vector, vector_column_name='seen') on the table of pictures.",
    "A thing may have several drawings: fetch more rows than three, then things(rows).",
)
def check_like_this(answer, museum) -> None:
    folder = NOTEBOOKS / "data" / "pictures"
    for name, kind in (
        ("guitar", "RGB"),
        ("hot-beverage", "RGB"),
        ("bicycle", "P"),
        ("umbrella", "L"),
    ):
        with Image.open(folder / f"{name}.png") as opened:
            image = opened.convert("RGB").convert(kind)
        about = f"For {name}.png"
        if kind != "RGB":
            about += f" as a picture of mode {kind!r}, which needs convert('RGB')"
        try:
            found = answer(image.copy())
        except Exception as error:
            raise Wrong(f"{about}: it stopped with {type(error).__name__}.") from error
        compare(found, like_this(image, museum), about)


@torch.no_grad()
def tokens(text: str, reader) -> torch.Tensor:
    """Return a vector of length 1 for each token of a text: (tokens, 384)."""
    inputs = reader.tokenizer(text, truncation=True, return_tensors="pt")
    states = reader.model(**inputs.to(reader.model.device)).last_hidden_state[0]
    return normalize(states.float()).cpu()


def interaction(question: str, text: str, reader) -> float:
    """Return the mean, over a question's tokens, of the best cosine in a text."""
    return (tokens(question, reader) @ tokens(text, reader).T).amax(1).mean().item()


def rerank(question: str, texts: list[str], reader) -> list[str]:
    """The solution of 08.3: late interaction, the best text first."""
    return sorted(texts, key=lambda text: -interaction(question, text, reader))


@exercise(
    "08.3",
    "np.array(reader(text)[0]) has a row for each token; divide each by its length.",
    "question_tokens @ text_tokens.T holds all cosines, a row per question token.",
    ".max(axis=1).mean() of it is a text's score; sorted(texts, key=…, reverse=True).",
)
def check_rerank(answer, reader) -> None:
    for question, texts in SHELVES.items():
        found, expected = answer(question, list(texts)), rerank(question, texts, reader)
        if not isinstance(found, list) or sorted(map(str, found)) != sorted(texts):
            raise Wrong(f"Expected the {len(texts)} texts in another order.")
        if found != expected:
            pairs = enumerate(zip(expected, found, strict=True))
            place, pair = next(row for row in pairs if row[1][0] != row[1][1])
            scores = [interaction(question, text, reader) for text in pair]
            raise Wrong(
                f"{question!r}: number {place + 1} should be {pair[0]!r} "
                f"({scores[0]:.3f}), yours is {pair[1]!r} ({scores[1]:.3f})."
            )


# Questions and texts for 08.3, of different lengths.
SHELVES = {
    "a light in the dark": [
        "A flat tin torch that a night nurse carried.",
        "Socks knitted in the dark.",
        "A bulb with a carbon thread. It has burned for eighty years and still glows.",
        "A dark blue robe.",
        "Light shoes for dancing, worn through at the toes in a single summer.",
    ],
    "who repaired shoes": [
        "The hammer of a shoemaker, with a face as broad as a coin.",
        "A horse lost this shoe in the river.",
        "The cobbler mended boots for the whole street until he was ninety.",
        "Shoes.",
        "Somebody repaired the clock twice, and it was never right again.",
    ],
    "the one that was never opened": [
        "A tin of peas, which three generations kept for a worse winter.",
        "The letter was opened forty years after it had been posted.",
        "An envelope with its seal unbroken.",
        "A door without a key.",
        "He never opened the shop on a Monday.",
    ],
}


def like_but(image: Image.Image, words: str, weight: float, museum) -> list[str]:
    """The solution of 08.4: two vectors of one space become one before the search."""
    matcher = museum.matcher
    picture, text = seen(image, matcher), said(words, matcher)
    return nearest(weight * text + (1 - weight) * picture, museum)


@exercise(
    "08.4",
    "embed_words([words], matcher)[0] lies in the same space as the picture's vector.",
    "weight * of_words + (1 - weight) * of_picture, both of length 1, is the question.",
)
def check_like_but(answer, museum) -> None:
    folder = NOTEBOOKS / "data" / "pictures"
    for name, words, weight in (
        ("guitar", "something that flies", 0.0),
        ("guitar", "something that flies", 1.0),
        ("bicycle", "a musical instrument", 0.5),
        ("hot-beverage", "a tool", 0.4),
        ("umbrella", "a hat", 0.7),
    ):
        with Image.open(folder / f"{name}.png") as opened:
            image = opened.convert("RGB")
        found = answer(image.copy(), words, weight)
        about = f"For {name}.png and {words!r} with the weight {weight}"
        compare(found, like_but(image, words, weight, museum), about)
