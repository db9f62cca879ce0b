"""Search the museum: one question to notes, drawings and sounds, one list of answers.

Notebook 08_combining_sources.ipynb teaches each part, most of them by hand first;
09_one_coherent_answer.ipynb and the exercises import them from here. The database
itself (records, hashes, the lock) is `collection.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import torch
from torch.nn.functional import normalize
from transformers import Pipeline

from .collection import connect, ingest, stored

SOURCES = ("note", "picture", "sound")
# How a source can be asked: by the meaning of its texts, by their words, by sight.
WAYS = [(source, way) for source in SOURCES for way in ("vector", "words")]
WAYS.append(("picture", "seen"))
COLUMNS = ["id", "source", "thing", "title", "text", "year", "maker", "place"]
COLUMNS += ["country", "licence", "file"]
DEPTH = 5  # rows of each ranking that count; notebook 08 measures why so few
BATCH = 32


@torch.no_grad()
def embed(texts: Sequence[str], reader: Pipeline) -> np.ndarray:
    """Return a vector of length 1 for each text: (texts, 384), on the CPU.

    `reader` is a feature-extraction pipeline. The mean of the tokens' vectors stands
    for the text, without the padding: notebook 08, "How do they become comparable?".
    """
    made = []
    for start in range(0, len(texts), BATCH):
        part = list(texts[start : start + BATCH])
        inputs = reader.tokenizer(
            part, padding=True, truncation=True, return_tensors="pt"
        ).to(reader.model.device)
        states = reader.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        made.append((states * mask).sum(dim=1) / mask.sum(dim=1))
    return normalize(torch.cat(made)).cpu().numpy()


@torch.no_grad()
def embed_pictures(images: Sequence[PIL.Image.Image], matcher: Pipeline) -> np.ndarray:
    """Return a vector of length 1 for each picture: (pictures, numbers).

    `matcher` is a zero-shot-image-classification pipeline, a dual encoder: notebook
    08, "How do they become comparable?".
    """
    inputs = matcher.image_processor(list(images), return_tensors="pt")
    outputs = matcher.model.get_image_features(**inputs.to(matcher.model.device))
    return normalize(outputs.pooler_output).cpu().numpy()


@torch.no_grad()
def embed_words(texts: Sequence[str], matcher: Pipeline) -> np.ndarray:
    """Return for each text the vector of length 1 that it has among the pictures of
    `embed_pictures`: (texts, numbers)."""
    inputs = matcher.tokenizer(
        list(texts), padding=True, truncation=True, return_tensors="pt"
    )
    outputs = matcher.model.get_text_features(**inputs.to(matcher.model.device))
    return normalize(outputs.pooler_output).cpu().numpy()


def likely(names: Sequence[dict]) -> str:
    """Return the best name that an image classifier gave, and those at least half as
    sure, as one text: "violin, guitar"."""
    least = names[0]["score"] / 2
    return ", ".join(name["label"] for name in names if name["score"] >= least)


def fuse(rankings: Iterable[Iterable[str]], k: int = 60) -> dict[str, float]:
    """Return {key: score}, best first, by reciprocal rank fusion: a key gets
    1 / (k + rank) from each ranking that names it. Notebook 08, "How are rankings
    fused?"."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0) + 1 / (k + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def things(rows: Iterable[dict]) -> list[str]:
    """Return the inventory numbers of some rows, each once, in their order."""
    return list(dict.fromkeys(row["thing"] for row in rows))


def quoted(value: str) -> str:
    """Return a text as SQL has it: between quotation marks, those inside doubled."""
    return "'" + value.replace("'", "''") + "'"


def condition(before: int | None = None, country: str | None = None) -> str | None:
    """Return a filter in SQL for `search` and `ask`, or None for no filter.

    A value stays a value, whatever somebody typed: notebook 08, "Filters".
    """
    parts = []
    if before is not None:
        parts.append(f"year < {int(before)}")
    if country is not None:
        parts.append(f"country = {quoted(country)}")
    return " AND ".join(parts) or None


class Museum:
    """The museum's tables, one for each source, and the models that read them.

    `reader` (feature-extraction), `matcher` (zero-shot-image-classification for
    drawings), `namer` (image-classification for drawings) and `listener`
    (automatic-speech-recognition) are pipelines; `folder` is where the database is or
    will be. `fill` brings it up to date.
    """

    def __init__(
        self,
        folder: str,
        reader: Pipeline,
        matcher: Pipeline,
        namer: Pipeline,
        listener: Pipeline,
    ) -> None:
        self.reader, self.matcher = reader, matcher
        self.namer, self.listener = namer, listener
        self.db = connect(folder)
        self.heard = stored("transcripts")
        self._asked: dict[str, dict[str, np.ndarray]] = {}

    def fill(self, records: pd.DataFrame, wait: float = 10) -> dict[str, dict]:
        """Bring all tables up to date with the records: compute what changed, and no
        more. Return for each source {"new": count, "gone": count, "broken": {id: why}}.

        Raises TimeoutError where another process writes for longer than `wait` seconds.
        """
        pipelines = (self.reader, self.matcher, self.namer, self.listener)
        names = [p.model.config.name_or_path.split("/")[-1] for p in pipelines]
        done = {}
        for source in SOURCES:
            rows = records[records["source"] == source].to_dict("records")
            done[source] = ingest(self.db, rows, self.understand, names, wait)
        return done

    def understand(self, source: str, contents: list) -> list[dict[str, Any]]:
        """Return the new columns of each content of a source: its `text`, the text's
        `vector`, and for a picture what is `seen`, its own vector."""
        texts, more = contents, {}
        if source == "sound":
            texts = [self.transcript(*clip) for clip in contents]
        if source == "picture":
            named = self.namer(contents, batch_size=BATCH)
            texts = [f"A drawing: {likely(names)}." for names in named]
            more = {"seen": list(embed_pictures(contents, self.matcher))}
        columns = {"text": texts, "vector": list(embed(texts, self.reader))} | more
        return pd.DataFrame(columns).to_dict("records")

    def transcript(self, key: str, samples: np.ndarray) -> str:
        """Return what is said in a sound; listen only where nobody has yet. `key` is
        the sha256 of its file, `samples` are at 16 kHz."""
        if key not in self.heard:
            answer = self.listener({"raw": samples, "sampling_rate": 16_000})
            self.heard[key] = answer["text"].strip()
        return self.heard[key]

    def search(
        self,
        query: str,
        source: str,
        way: str,
        where: str | None = None,
        limit: int = DEPTH,
    ) -> list[dict[str, Any]]:
        """Return the best rows of one source, asked in one way (see WAYS), best first.

        A row has COLUMNS and `raw`, its score: a cosine, or BM25 where the way is
        "words". `where` is a filter, see `condition`. Raises ValueError for an empty
        question.
        """
        table = self.db.open_table(source)
        if way == "words":
            self._vectors(query)  # says when the question is empty
            found = table.search(query, query_type="fts", fts_columns=way)
        else:
            vector = self._vectors(query)[way]
            found = table.search(vector, vector_column_name=way)
            found = found.distance_type("cosine")
        score = "_score" if way == "words" else "_distance"
        found = (found.where(where) if where else found).limit(limit)
        rows = found.select([*COLUMNS, score]).to_list()
        for row in rows:
            value = row.pop(score)
            row["raw"] = value if way == "words" else 1 - value
        return rows

    def _vectors(self, query: str) -> dict[str, np.ndarray]:
        """Return a question's vectors, among texts and among pictures."""
        if not query.strip():
            raise ValueError("The question is empty: type what you look for.")
        if query not in self._asked:
            vector = embed([query], self.reader)[0]
            seen = embed_words([query], self.matcher)[0]
            self._asked[query] = {"vector": vector, "seen": seen}
        return self._asked[query]

    def ask(
        self,
        query: str,
        where: str | None = None,
        sources: Iterable[str] = SOURCES,
        limit: int = 5,
        depth: int = DEPTH,
    ) -> list[dict[str, Any]]:
        """Return the best things of all sources together, best first.

        Each is {"thing": inventory number, "score": fused, "evidence": the rows that
        were found of it}; every source is asked in each of its WAYS, `depth` rows deep.
        """
        ways = [(source, way) for source, way in WAYS if source in set(sources)]
        found = [self.search(query, *way, where, depth) for way in ways]
        scores = fuse(things(rows) for rows in found)
        rows = {row["id"]: row for ranking in found for row in ranking}
        return [
            {
                "thing": thing,
                "score": scores[thing],
                "evidence": [row for row in rows.values() if row["thing"] == thing],
            }
            for thing in list(scores)[:limit]
        ]

    def records_of(self, thing: str) -> list[dict[str, Any]]:
        """Return all rows of one thing, whatever was asked: its notes, pictures and
        sounds, in this order."""
        rows = []
        for source in SOURCES:
            found = self.db.open_table(source).search()
            found = found.where(f"thing = {quoted(thing)}").select(COLUMNS)
            rows += found.to_list()
        return rows
