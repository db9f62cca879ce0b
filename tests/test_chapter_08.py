"""Proves what notebook 08 claims: its collection, ingest, search and exercises.

The museum's search runs here over small stand-ins for the models: a text's vector
counts its words. So each fault can be made at will, in seconds.
"""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
import pages
import pandas as pd
import PIL.Image
import pytest
import soundfile
from places import NOTEBOOKS

from experiments.museum import collection as museum
from experiments.museum import search
from helpers import check
from helpers.errors import HelperError
from helpers.exercises import chapter_08
from helpers.store import sha256

MUSEUM = NOTEBOOKS / "data" / "museum"
CELLS = pages.page("08_combining_sources")


def counted(texts, model=None):
    """Stand in for the embedding: a text's words, each at a place of its own."""
    vectors = np.zeros((len(texts), 384), dtype="float32")
    for row, text in zip(vectors, texts, strict=True):
        for word in text.lower().replace(".", " ").replace(",", " ").split():
            row[int(hashlib.sha256(word.encode()).hexdigest(), 16) % 384] += 1
        row[0] += 1e-3
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class StandIn:
    """Stands in for a pipeline: names every picture a thing, hears the same words."""

    def __init__(self):
        config = types.SimpleNamespace(name_or_path="somewhere/a")
        self.model = types.SimpleNamespace(config=config)
        self.listened = []

    def __call__(self, given, **options):
        if isinstance(given, dict):
            self.listened.append(len(given["raw"]))
            return {"text": " heard just now "}
        return [[{"label": "thing", "score": 1}] for _ in given]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The museum over a copy of the collection, with stand-in models."""
    copy = tmp_path / "museum"
    shutil.copytree(MUSEUM, copy)
    monkeypatch.setattr(museum, "MUSEUM", copy)
    monkeypatch.setattr(search, "embed", counted)
    monkeypatch.setattr(search, "embed_words", counted)
    monkeypatch.setattr(
        search, "embed_pictures", lambda images, _: counted(["a"] * len(images))
    )
    pipes = [StandIn() for _ in range(4)]
    whole = search.Museum(str(tmp_path / "db"), *pipes)
    return types.SimpleNamespace(
        whole=whole,
        db=whole.db,
        ask=whole.ask,
        listened=pipes[3].listened,
        museum=copy,
    )


def rows(page, source):
    """Return the records of a source as the page reads them."""
    found = [record for record in collection() if record["source"] == source]
    return [record | {"year": int(record["year"])} for record in found]


def ingest(page, chosen, db=None, **options):
    understand = page.whole.understand
    return museum.ingest(db or page.db, chosen, understand, ["a"] * 4, **options)


def fill(page):
    records = pd.read_csv(page.museum / "records.csv", keep_default_na=False)
    return page.whole.fill(records)


# --- the collection -------------------------------------------------------------


def collection():
    with (MUSEUM / "records.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def whole(record):
    return record["origin"] != "broken on purpose"


def test_the_collection_is_as_large_and_as_small_as_its_card_says():
    there = defaultdict(list)
    for record in filter(whole, collection()):
        there[record["source"]].append(record)
    assert {source: len(found) for source, found in there.items()} == {
        "note": 148,
        "picture": 150,
        "sound": 60,
    }
    notes = [json.loads(line) for line in (MUSEUM / "notes.jsonl").open()]
    for note in notes[:-1]:
        assert len(note["text"].split()) >= 20, note
    for record in there["picture"]:
        assert PIL.Image.open(MUSEUM / record["file"]).convert("RGB").size == (96, 96)
    for record in there["sound"]:
        info = soundfile.info(MUSEUM / record["file"])
        assert 1.5 < info.duration < 6
        assert info.samplerate == 16_000 and info.channels == 1
    for folder, most in (("pictures", 600e3), ("sounds", 1e6)):
        assert sum(p.stat().st_size for p in (MUSEUM / folder).iterdir()) < most


def test_each_record_has_what_a_reader_may_ask_for():
    ids = [record["id"] for record in collection()]
    assert len(set(ids)) == len(ids)
    for record in collection():
        for field in ("thing", "title", "maker", "place", "country", "licence"):
            assert record[field], record
        assert 1700 < int(record["year"]) < 2025


def test_sources_contradict_each_other_where_the_card_says():
    years = defaultdict(set)
    for record in collection():
        years[record["thing"]].add(record["year"])
    found = {thing for thing, said in years.items() if len(said) > 1}
    card = (MUSEUM / "README.md").read_text("utf-8")
    assert len(found) >= 4
    assert all(f"`{thing}`" in card for thing in found)


def test_every_transcript_belongs_to_a_sound_and_every_sound_has_one():
    stored = [json.loads(line) for line in (MUSEUM / "transcripts.jsonl").open()]
    sounds = [r for r in filter(whole, collection()) if r["source"] == "sound"]
    assert {row["sha256"] for row in stored} == {
        sha256(MUSEUM / record["file"]) for record in sounds
    }
    assert all(row["text"] and row["model"] for row in stored)


def test_every_description_belongs_to_a_picture_and_every_picture_has_one():
    stored = [json.loads(line) for line in (MUSEUM / "descriptions.jsonl").open()]
    pictures = [r for r in filter(whole, collection()) if r["source"] == "picture"]
    assert [row["sha256"] for row in stored] == [
        museum.key_of(museum.load(record)) for record in pictures
    ]
    assert all(row["text"] and row["model"] for row in stored)


def test_the_judged_queries_name_things_that_exist():
    judged = [json.loads(line) for line in (MUSEUM / "queries.jsonl").open()]
    things = {record["thing"] for record in collection()}
    assert len(judged) == 40 == len({(q["query"], q["where"]) for q in judged})
    for query in judged:
        assert set(query["relevant"]) <= things
        assert 2 in query["relevant"].values()


# --- the ingest -----------------------------------------------------------------


def test_broken_records_are_reported_and_the_rest_is_kept(page, record_fault):
    done = fill(page)
    broken = {k: v for d in done.values() for k, v in d["broken"].items()}
    assert set(broken) == {"n149", "p151", "p152", "p153", "s061", "s062"}
    for name, why in broken.items():
        assert why and "\n" not in why
        record_fault(f"record {name}", why)
    assert [d["new"] for d in done.values()] == [148, 150, 60]


def test_the_second_ingest_computes_nothing(page):
    fill(page)
    page.whole.understand = None  # whoever calls it now stops
    done = fill(page)
    assert [d["new"] for d in done.values()] == [0, 0, 0]
    assert len(done["sound"]["broken"]) == 2


def test_only_what_changed_is_computed(page):
    fill(page)
    picture = page.museum / "pictures" / "p001.png"
    shutil.copy(page.museum / "pictures" / "p002.png", picture)
    done = ingest(page, rows(page, "picture")[1:])
    assert done["new"] == 0 and done["gone"] == 1
    done = ingest(page, rows(page, "picture"))
    assert done["new"] == 1
    assert page.db.open_table("picture").count_rows() == 150


def test_a_changed_sound_is_heard_again_and_no_other(page):
    fill(page)
    assert page.listened == []
    first = page.museum / "sounds" / "s001.ogg"
    samples, rate = soundfile.read(first)
    soundfile.write(first, samples[::-1], rate, format="OGG", subtype="OPUS")
    assert ingest(page, rows(page, "sound"))["new"] == 1
    assert len(page.listened) == 1
    found = page.db.open_table("sound").search().where("id = 's001'").to_list()
    assert found[0]["text"] == "heard just now"


def test_a_run_that_is_killed_keeps_what_it_had(page, record_fault):
    understand, calls = page.whole.understand, []

    def killed(source, contents):
        calls.append(len(contents))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return understand(source, contents)

    page.whole.understand = killed
    with pytest.raises(KeyboardInterrupt):
        ingest(page, rows(page, "note"))
    assert page.db.open_table("note").count_rows() == 64
    page.whole.understand = understand
    again = museum.connect(page.db.uri)
    done = ingest(page, rows(page, "note"), again)
    assert done["new"] == 148 - 64
    record_fault(
        "an ingest killed in its third batch", f"the next computes {done['new']} more"
    )


@pytest.mark.parametrize("part", ["_versions", "data"])
def test_a_half_written_database_is_set_aside(page, capsys, record_fault, part):
    fill(page)
    files = sorted((Path(page.db.uri) / "note.lance" / part).iterdir())
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = museum.connect(page.db.uri)
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert "set aside" in said
    record_fault(f"a database with {part} cut in half", said)
    done = [ingest(page, rows(page, source), again) for source in search.SOURCES]
    assert [d["new"] for d in done] == [148, 150, 60]


def test_a_file_that_was_never_committed_does_no_harm(page):
    fill(page)
    data = Path(page.db.uri) / "note.lance" / "data"
    (data / "0123-half-written.lance").write_bytes(b"half")
    again = museum.connect(page.db.uri)
    assert again.open_table("note").count_rows() == 148


def test_a_locked_database_is_said_in_one_line(page, tmp_path, record_fault):
    lock = Path(page.db.uri) / "writing.lock"
    lock.parent.mkdir(exist_ok=True)
    holder = (
        "import sys; from filelock import FileLock\n"
        f"with FileLock({str(lock)!r}): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline().strip() == b"held"
        with pytest.raises(TimeoutError, match="Another process is writing") as error:
            ingest(page, rows(page, "note"), wait=0.1)
    finally:
        process.stdin.close()
        process.wait()
    assert "\n" not in str(error.value)
    record_fault("a database that another process is filling", error.value)
    assert ingest(page, rows(page, "note"))["new"] == 148


# --- the search -----------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "   ", "\n"])
def test_an_empty_question_is_said(page, query, record_fault):
    with pytest.raises(ValueError, match="The question is empty") as error:
        page.ask(query)
    record_fault("an empty question", error.value)


@pytest.mark.parametrize(
    "query",
    [
        "etwas Warmes zum Trinken",
        "急須",
        "☕",
        "tea'; DROP TABLE note; --",
        "tea AND (",
        '"tea',
        "tea " * 2000,
        "x' OR 1=1 --",
    ],
)
def test_any_text_is_a_question_and_harms_nothing(page, query):
    fill(page)
    results = page.ask(query)
    assert len(results) <= 5
    assert [page.db.open_table(s).count_rows() for s in search.SOURCES] == [
        148,
        150,
        60,
    ]


def test_a_filter_keeps_values_values(page, record_fault):
    fill(page)
    attack = search.condition(country="Japan' OR '1' = '1")
    assert page.ask("tea", attack) == []
    record_fault("a country with SQL in it", f"{attack}: no results")
    where = search.condition(before=1950, country="Japan")
    results = page.ask("tea", where)
    assert results
    for result in results:
        for row in result["evidence"]:
            assert row["country"] == "Japan" and row["year"] < 1950


def test_the_page_fuses_by_hand_as_the_museum_does():
    by_hand = pages.run({"fuse": pages.definitions(CELLS["fuse"])}, ["fuse"], {})[
        "fuse"
    ]
    for fuse in (by_hand, search.fuse):
        fused = fuse([["a", "b"], ["b", "c"]])
        assert list(fused) == ["b", "a", "c"]
        assert fused["b"] == pytest.approx(1 / 61 + 1 / 62)


def test_a_thing_stands_once_in_a_list(page):
    fill(page)
    results = page.ask("teapot green tea iron")
    assert len({result["thing"] for result in results}) == len(results)
    assert any(
        len({row["source"] for row in result["evidence"]}) > 1 for result in results
    )


def test_a_source_that_is_switched_off_gives_no_evidence(page):
    fill(page)
    for result in page.ask("tea", sources=["sound"]):
        assert {row["source"] for row in result["evidence"]} == {"sound"}


def test_one_thing_has_the_records_of_all_sources(page):
    fill(page)
    rows = page.whole.records_of("M094")
    assert [row["id"] for row in rows] == ["n082", "p005", "p006", "s017"]
    assert page.whole.records_of("M094' OR 'a' = 'a") == []


def test_a_database_is_a_folder_of_this_machine(record_fault):
    with pytest.raises(HelperError, match="not a folder of this machine") as error:
        museum.connect("s3://bucket/museum")
    record_fault("a database in object storage", error.value)


# --- the exercises --------------------------------------------------------------


@pytest.fixture(scope="module")
def real(pipe, tmp_path_factory):
    """The museum with its drawings alone, over the embedded models."""
    reader = pipe("feature-extraction")
    matcher = pipe("zero-shot-image-classification", "clip-emoji")
    namer = pipe("image-classification", "convnext-emoji")
    folder = str(tmp_path_factory.mktemp("museum") / "db")
    whole = search.Museum(folder, reader, matcher, namer, namer)
    drawings = [r for r in collection() if r["source"] == "picture"]
    drawings = [record | {"year": int(record["year"])} for record in drawings]
    museum.ingest(whole.db, drawings, whole.understand, ["a"])
    return whole


def said_of(capsys, number, answer, *given):
    """Return the one line that `check` prints about an answer."""
    capsys.readouterr()  # what loading a model said
    check(number, answer, *given)
    said = capsys.readouterr().out.strip()
    assert "\n" not in said
    return said


FILTERS = [
    (lambda column, values: 1, "Expected a text"),
    (lambda column, values: f"{column} IN {tuple(values)}", "it is no SQL"),
    (
        lambda column, values: " OR ".join(f"{column} = '{v}'" for v in values),
        "O'Hara",
    ),
    (lambda column, values: f"{column} = 'Kyoto'", "finds ['Kyoto']"),
    (
        lambda column, values: " OR ".join(
            f"{column} = " + "'" + v.replace("'", "''") + "'" for v in values
        ),
        "For [] it is no SQL",
    ),
    (
        lambda column, values: chapter_08.any_of(column, values or ["Kyoto"]),
        "For [] the condition",
    ),
]


@pytest.mark.parametrize(("answer", "words"), FILTERS)
def test_a_filter_that_breaks_gets_a_pointer(capsys, answer, words):
    said = said_of(capsys, "08.1", answer)
    assert said.startswith("08.1: not yet.")
    assert words in said


def each_alone(column, values):
    """Another right answer to 08.1."""
    parts = [f"{column} = " + "'" + "''".join(v.split("'")) + "'" for v in values]
    return " OR ".join(parts) if parts else f"{column} != {column}"


@pytest.mark.parametrize("answer", [chapter_08.any_of, each_alone])
def test_a_filter_that_holds_is_right(capsys, answer):
    assert said_of(capsys, "08.1", answer) == "08.1: right."


def rows_near(whole, vector, limit):
    table = whole.db.open_table("picture")
    return table.search(vector, vector_column_name="seen").limit(limit).to_list()


def plain(image, whole):
    return search.embed_pictures([image.convert("RGB")], whole.matcher)[0]


def three(whole, vector):
    """Return three things by distances that numpy computes."""
    rows = whole.db.open_table("picture").to_arrow().to_pylist()
    rows.sort(key=lambda row: -float(np.dot(row["seen"], vector)))
    return search.things(rows)[:3]


LIKE_WRONG = {
    "rows, not things": (
        lambda whole: (
            lambda image: [
                row["thing"] for row in rows_near(whole, plain(image, whole), 3)
            ]
        ),
        "stands twice",
    ),
    "too few things": (
        lambda whole: (
            lambda image: search.things(rows_near(whole, plain(image, whole), 3))
        ),
        "expected 3 things, got 2",
    ),
    "by name": (
        lambda whole: (
            lambda image: three(whole, search.embed_words(["guitar"], whole.matcher)[0])
        ),
        "expected [",
    ),
    "the ids of rows": (lambda whole: lambda image: "M001", "Expected a list"),
}


@pytest.mark.model
@pytest.mark.parametrize("name", LIKE_WRONG)
def test_a_search_with_a_picture_that_looks_right_is_refused(capsys, real, name):
    make, words = LIKE_WRONG[name]
    said = said_of(capsys, "08.2", make(real), real)
    assert said.startswith("08.2: not yet.")
    assert words in said


@pytest.mark.model
def test_two_searches_with_a_picture_are_right(capsys, real):
    for answer in (
        lambda image: chapter_08.like_this(image, real),
        lambda image: three(real, plain(image, real)),
    ):
        assert said_of(capsys, "08.2", answer, real) == "08.2: right."


def token_rows(text, reader, length=True):
    rows = np.array(reader(text)[0])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if length else rows


def by(score, texts):
    return sorted(texts, key=score, reverse=True)


RERANK_WRONG = {
    "by the texts' mean vectors": lambda reader: (
        lambda question, texts: by(
            lambda text: float(np.dot(*search.embed([question, text], reader))), texts
        )
    ),
    "the text's tokens look for the question's": lambda reader: (
        lambda question, texts: by(
            lambda text: (
                (token_rows(question, reader) @ token_rows(text, reader).T)
                .max(axis=0)
                .mean()
            ),
            texts,
        )
    ),
    "worst first": lambda reader: (
        lambda question, texts: chapter_08.rerank(question, texts, reader)[::-1]
    ),
}


@pytest.mark.model
@pytest.mark.parametrize("name", RERANK_WRONG)
def test_a_reranker_that_looks_right_is_refused(capsys, pipe, name):
    reader = pipe("feature-extraction")
    said = said_of(capsys, "08.3", RERANK_WRONG[name](reader), reader)
    assert said.startswith("08.3: not yet.")
    assert "should be" in said


@pytest.mark.model
def test_a_reranker_that_loses_texts_is_refused(capsys, pipe):
    reader = pipe("feature-extraction")
    said = said_of(capsys, "08.3", lambda question, texts: texts[:3], reader)
    assert "in another order" in said


@pytest.mark.model
def test_two_rerankers_are_right(capsys, pipe):
    reader = pipe("feature-extraction")

    def loops(question, texts):
        scores = []
        for text in texts:
            inside = token_rows(text, reader)
            best = [max(inside @ token) for token in token_rows(question, reader)]
            scores.append(sum(best) / len(best))
        return [texts[i] for i in np.argsort(scores)[::-1]]

    for answer in (
        lambda question, texts: chapter_08.rerank(question, texts, reader),
        loops,
    ):
        assert said_of(capsys, "08.3", answer, reader) == "08.3: right."


@pytest.mark.model
def test_the_texts_to_rerank_lie_apart(pipe):
    reader = pipe("feature-extraction")
    for question, texts in chapter_08.SHELVES.items():
        scores = sorted(chapter_08.interaction(question, t, reader) for t in texts)
        assert min(np.diff(scores)) > 1e-3


BUT_WRONG = {
    "weights exchanged": lambda whole: (
        lambda image, words, weight: chapter_08.like_but(
            image, words, 1 - weight, whole
        )
    ),
    "half and half": lambda whole: (
        lambda image, words, weight: chapter_08.like_but(image, words, 0.5, whole)
    ),
    "late fusion of two rankings": lambda whole: (
        lambda image, words, weight: list(
            search.fuse(
                [
                    three(whole, plain(image, whole)),
                    three(whole, search.embed_words([words], whole.matcher)[0]),
                ]
            )
        )[:3]
    ),
}


@pytest.mark.model
@pytest.mark.parametrize("name", BUT_WRONG)
def test_an_early_fusion_that_looks_right_is_refused(capsys, real, name):
    said = said_of(capsys, "08.4", BUT_WRONG[name](real), real)
    assert said.startswith("08.4: not yet.")
    assert "with the weight" in said


@pytest.mark.model
def test_two_early_fusions_are_right(capsys, real):
    def by_numpy(image, words, weight):
        text = search.embed_words([words], real.matcher)[0]
        return three(real, (1 - weight) * plain(image, real) + weight * text)

    for answer in (
        lambda *given: chapter_08.like_but(*given, real),
        by_numpy,
    ):
        assert said_of(capsys, "08.4", answer, real) == "08.4: right."
