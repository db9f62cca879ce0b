"""Proves what notebook 08 claims: its collection, its ingest, its search, its answers.

The page's own cells run here, over small stand-ins for the models: a text's vector
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
from functools import lru_cache
from pathlib import Path

import numpy as np
import pages
import pandas as pd
import PIL.Image
import pytest
import soundfile
from places import NOTEBOOKS

from helpers import check
from helpers.exercises import chapter_08
from helpers.store import sha256

MUSEUM = NOTEBOOKS / "data" / "museum"

from experiments.museum import collection as museum

CELLS = pages.page("08_combining_sources")
PAGE = ["describe", "understand", "ways", "search", "fuse", "ask", "where"]


def definitions(name):
    """Return a cell's imports and functions, and WAYS, without what it shows."""
    return pages.definitions(CELLS[name], "WAYS", "COLUMNS")


def counted(texts):
    """Stand in for the embedding: a text's words, each at a place of its own."""
    vectors = np.zeros((len(texts), 384), dtype="float32")
    for row, text in zip(vectors, texts, strict=True):
        for word in text.lower().replace(".", " ").replace(",", " ").split():
            row[int(hashlib.sha256(word.encode()).hexdigest(), 16) % 384] += 1
        row[0] += 1e-3
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page's functions over a copy of the collection, with stand-in models."""
    copy = tmp_path / "museum"
    shutil.copytree(MUSEUM, copy)
    monkeypatch.setattr(museum, "MUSEUM", copy)
    listened = []

    def listener(clip):
        listened.append(len(clip["raw"]))
        return {"text": " heard just now "}

    space = {
        "embed": counted,
        "pd": pd,
        "namer": lambda images, **_: [[{"label": "thing", "score": 1}] for _ in images],
        "see": lambda images: counted(["a"] * len(images)),
        "imagine": lambda text: counted([text])[0],
        "listener": listener,
        "heard": museum.stored("transcripts"),
        "told": museum.stored("descriptions"),
        "pipeline": lambda task: (
            lambda image: [{"generated_text": "The picture shows a thing."}]
        ),
        "model_for": lambda task: {},
        "lru_cache": lru_cache,
        "SOURCES": ["note", "picture", "sound"],
        "db": museum.connect(str(tmp_path / "db")),
    }
    for name in PAGE:
        exec(definitions(name), space)  # noqa: S102 (the page's own code)
    return types.SimpleNamespace(space=space, listened=listened, museum=copy, **space)


def rows(page, source):
    """Return the records of a source as the page reads them."""
    found = [record for record in collection() if record["source"] == source]
    return [record | {"year": int(record["year"])} for record in found]


def ingest(page, chosen, db=None, **options):
    understand = page.space["understand"]
    return museum.ingest(db or page.space["db"], chosen, understand, ["a"], **options)


def fill(page):
    return {s: ingest(page, rows(page, s)) for s in page.SOURCES}


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


def test_a_sentence_counts_where_two_models_agree(page):
    new = PIL.Image.new("RGB", (96, 96), "red")
    (row,) = page.understand("picture", [new])
    assert row["text"] == "A drawing: thing. The picture shows a thing."
    page.told[museum.key_of(new)] = "The picture shows a dog."
    (row,) = page.understand("picture", [new])
    assert row["text"] == "A drawing: thing."


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
    page.space["understand"] = None  # whoever calls it now stops
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
    understand, calls = page.understand, []

    def killed(source, contents):
        calls.append(len(contents))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return understand(source, contents)

    page.space["understand"] = killed
    with pytest.raises(KeyboardInterrupt):
        ingest(page, rows(page, "note"))
    assert page.db.open_table("note").count_rows() == 64
    page.space["understand"] = understand
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
    done = [ingest(page, rows(page, source), again) for source in page.SOURCES]
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
    assert [page.db.open_table(s).count_rows() for s in page.SOURCES] == [148, 150, 60]


def test_a_filter_keeps_values_values(page, record_fault):
    fill(page)
    attack = page.condition(country="Japan' OR '1' = '1")
    assert page.ask("tea", attack) == []
    record_fault("a country with SQL in it", f"{attack}: no results")
    where = page.condition(before=1950, country="Japan")
    results = page.ask("tea", where)
    assert results
    for result in results:
        for row in result["evidence"]:
            assert row["country"] == "Japan" and row["year"] < 1950


def test_fusion_counts_ranks_and_the_same_thing_once(page):
    fused = page.fuse([["a", "b"], ["b", "c"]])
    assert list(fused) == ["b", "a", "c"]
    assert fused["b"] == pytest.approx(1 / 61 + 1 / 62)
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


# --- the answer -----------------------------------------------------------------


def prepared(page, sure, supports):
    exec(definitions("answer"), page.space)  # noqa: S102
    page.space.update(
        ENOUGH=0.3,
        confidence=lambda question: sure,
        write=lambda question, text: "The pot is made of gold.",
        supported=lambda text, sentence: supports,
    )
    return page.space["answer"]


def test_no_evidence_is_said_and_nothing_is_made_up(page, record_fault):
    answer = prepared(page, 0.1, 1.0)
    said = answer("Who is president of France?")
    assert said == [("The museum holds nothing on that.", [], "no evidence")]
    record_fault("a question that the collection cannot answer", said[0][0])


def test_an_unsupported_sentence_is_replaced_by_a_quotation(page):
    fill(page)
    for line, ids, how in prepared(page, 0.9, 0.94)("iron teapot"):
        assert line != "The pot is made of gold." and how == "quoted" and ids
    for line, ids, how in prepared(page, 0.9, 0.96)("iron teapot"):
        assert line == "The pot is made of gold." and "supported" in how and ids


# --- the exercises --------------------------------------------------------------

WRONG = [
    ("08.1", lambda column, values: 1, "Expected a text"),
    ("08.1", lambda column, values: f"{column} IN {tuple(values)}", "it is no SQL"),
    (
        "08.1",
        lambda column, values: " OR ".join(f"{column} = '{v}'" for v in values),
        "O'Hara",
    ),
    ("08.1", lambda column, values: f"{column} = 'Kyoto'", "finds ['Kyoto']"),
    ("08.2", lambda known, wanted: set(wanted), "Expected three sets"),
    (
        "08.2",
        lambda known, wanted: (set(wanted) - set(known), set(), set()),
        "changed should be ['b']",
    ),
    ("08.3", lambda rankings, rights: 1.0, "expected 0.7500"),
    ("08.3", lambda rankings, rights: 1 / 0, "It stopped with ZeroDivisionError"),
    ("08.4", lambda rankings, weights, k=60: {}, "expected ['a', 'b', 'c', 'd']"),
    (
        "08.4",
        lambda rankings, weights, k=60: chapter_08.weighted(rankings, [1, 1, 1]),
        "should have",
    ),
    ("08.5", lambda rows, years=0: [], "Expected a dictionary"),
    ("08.5", lambda rows, years=0: chapter_08.conflicts(rows), "With years=2"),
    ("08.5", lambda rows, years: chapter_08.conflicts(rows, years), "TypeError"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, number, answer, words):
    check(number, answer)
    said = capsys.readouterr().out.strip()
    assert said.startswith(f"{number}: not yet.")
    assert words in said
    assert "\n" not in said


def test_the_solutions_beside_the_checkers_are_right(capsys):
    names = ["any_of", "plan", "reciprocal", "weighted", "conflicts"]
    for number, name in enumerate(names, start=1):
        check(f"08.{number}", getattr(chapter_08, name))
    said = capsys.readouterr().out.splitlines()
    assert said == [f"08.{number}: right." for number in range(1, 6)]
