"""The museum's plumbing: read a record, keep the database, show a list of results.

Used by the notebook 08_combining_sources.ipynb, which says why each part is there;
what a model does with a record is `search.py`'s, `Museum.understand`.
"""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from html import escape
from pathlib import Path
from textwrap import shorten

import lancedb
import numpy as np
import PIL.Image
import PIL.ImageOps
import pyarrow as pa
from filelock import FileLock, Timeout
from lancedb.index import FTS
from tqdm.auto import tqdm

from helpers import sound
from helpers.catalogue import NOTEBOOKS
from helpers.errors import HelperError
from helpers.session import interactive

MUSEUM = NOTEBOOKS / "data" / "museum"
BATCH = 32  # records between two commits: what a killed run may lose


def notes() -> dict[str, str]:
    """Return the text of each note by the record's id."""
    path = MUSEUM / "notes.jsonl"
    return _notes(path, path.stat().st_mtime_ns)


@lru_cache(2)
def _notes(path: Path, changed: int) -> dict[str, str]:
    """Read the notes' file again only when it has changed."""
    lines = path.read_text("utf-8").splitlines()
    return {row["id"]: row["text"] for row in map(json.loads, lines)}


def load(record: dict) -> str | PIL.Image.Image | tuple[str, np.ndarray]:
    """Return what a record holds: a note's text, a picture, or a sound as the pair of
    its file's sha256 and its samples at 16 kHz.

    Raises an error that says what is wrong, of whatever kind, for a broken record.
    """
    path = MUSEUM / record["file"]
    if record["source"] == "note":
        if not (text := notes()[record["id"]].strip()):
            raise ValueError("the note has no text")
        return f"{record['title']}. {text}"
    if not path.exists():
        raise FileNotFoundError("the file is missing")
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    if record["source"] == "picture":
        try:
            return PIL.Image.open(path).convert("RGB")
        except PIL.UnidentifiedImageError:
            raise ValueError("the file is no picture") from None
    samples = sound(path)["raw"]
    if abs(samples).max() < 0.01:
        raise ValueError("there is nothing to hear")
    return hashlib.sha256(path.read_bytes()).hexdigest(), samples


def stored(name: str) -> dict[str, str]:
    """Return what a model has said of the museum's files, by their number:
    `transcripts` of sounds or `descriptions` of pictures."""
    lines = (MUSEUM / f"{name}.jsonl").read_text("utf-8").splitlines()
    return {row["sha256"]: row["text"] for row in map(json.loads, lines)}


def margin(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a picture on white, half its size wide on each side: the describing
    model learned from things that fill no more than half of what it sees."""
    return PIL.ImageOps.expand(picture, picture.width // 2, "white")


def key_of(picture: PIL.Image.Image) -> str:
    """Return a number that changes with the picture's pixels."""
    return hashlib.sha256(picture.tobytes()).hexdigest()


def digest(record: dict, models: list[str]) -> str:
    """Return a number that changes with a record's metadata, content or the models."""
    content = b""
    path = MUSEUM / record["file"]
    if record["source"] == "note":
        content = notes()[record["id"]].encode()
    elif path.exists():
        content = path.read_bytes()
    facts = json.dumps([record, models], sort_keys=True).encode()
    return hashlib.sha256(facts + content).hexdigest()


def connect(folder: str) -> lancedb.DBConnection:
    """Open a database in a folder of this machine; one that cannot be read is set aside
    and begun anew.

    Raises HelperError for an address such as s3://bucket: LanceDB opens it, but the
    lock that keeps two writers apart is a file, and setting aside moves a folder.
    """
    if "://" in folder:
        raise HelperError(
            f"{folder} is not a folder of this machine, and the lock is a file in it. "
            "Give a local path; lancedb.connect opens object storage, without a lock."
        )
    db = lancedb.connect(folder)
    try:
        for table in Path(folder).glob("*.lance"):
            db.open_table(table.stem).to_arrow()
    except Exception as error:  # noqa: BLE001 (Lance has many, of no common kind)
        aside = Path(f"{folder}.damaged-{time.time_ns()}")
        Path(folder).rename(aside)
        print(f"{type(error).__name__}: the database is set aside as {aside.name}.")
        db = lancedb.connect(folder)
    return db


def schema(row: dict) -> pa.Schema:
    """Return the columns of a table that holds rows like this one."""
    kinds = {str: pa.string(), int: pa.int32()}
    return pa.schema(
        [
            (name, kinds.get(type(value)) or pa.list_(pa.float32(), len(value)))
            for name, value in row.items()
        ]
    )


def ingest(
    db, records: list[dict], understand: Callable, models: list[str], wait: float = 10
) -> dict:
    """Bring the table of one source up to date: compute what changed, and no more.

    `understand(source, contents)` returns the new columns of each content. Every
    batch is committed, so a run that is killed keeps what it had. Broken records are
    skipped, and returned with the reason: {"new", "gone", "broken"}.

    Raises TimeoutError where another process is writing for longer than `wait`.
    """
    Path(db.uri).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(Path(db.uri) / "writing.lock", timeout=wait):
            return _refresh(db, records, understand, models)
    except Timeout:
        raise TimeoutError(
            f"Another process is writing to {db.uri}. Try again when it is done."
        ) from None


def _refresh(db, records: list[dict], understand: Callable, models: list[str]) -> dict:
    source = records[0]["source"]
    there = source in db.list_tables().tables
    table = db.open_table(source) if there else None
    old = table.to_arrow().select(["id", "hash"]).to_pylist() if there else []
    known = {row["id"]: row["hash"] for row in old}
    rows = [record | {"hash": digest(record, models)} for record in records]
    fresh = [row for row in rows if known.get(row["id"]) != row["hash"]]
    gone = sorted(set(known) - {row["id"] for row in rows})
    broken, new = {}, 0
    for start in tqdm(
        range(0, len(fresh), BATCH), desc=source, disable=not interactive()
    ):
        good, contents = [], []
        for row in fresh[start : start + BATCH]:
            try:
                contents.append(load(row))
                good.append(row)
            except Exception as error:  # noqa: BLE001 (one record stops no other)
                broken[row["id"]] = str(error).splitlines()[0][:80]
        if good:
            made = understand(source, contents)
            made = [row | more for row, more in zip(good, made, strict=True)]
            for row in made:
                known_by = (row["text"], row["maker"], row["place"], row["country"])
                row["words"] = " ".join(known_by)
            table = table or db.create_table(source, schema=schema(made[0]))
            merge = table.merge_insert("id").when_matched_update_all()
            merge.when_not_matched_insert_all().execute(made)
            new += len(made)
    if gone:
        names = ", ".join(f"'{name}'" for name in gone)
        table.delete(f"id IN ({names})")
    if new or gone:
        table.create_index("words", config=FTS(), replace=True)
    return {"new": new, "gone": len(gone), "broken": broken}


def as_html(results: list[dict], players: bool = False) -> str:
    """Return results as an HTML table: picture, text, sound, source and licence.

    A result has `thing`, `score` and `evidence`, a list of rows; `players` adds
    something to press for each sound, about 15 KB each.
    """
    return f"<table>{''.join(_result(result, players) for result in results)}</table>"


def _result(result: dict, players: bool) -> str:
    cells = [f"<b>{result['thing']}</b><br>score {result['score']:.4f}"]
    cells.append("".join(_piece(row, players) for row in result["evidence"]))
    inside = "".join(f'<td style="text-align: left">{cell}</td>' for cell in cells)
    return f'<tr style="border: solid; border-width: 1px 0">{inside}</tr>'


def _piece(row: dict, players: bool) -> str:
    said = escape(shorten(row["text"], 130, placeholder=" …"))
    if row["source"] != "note":
        data = b64encode((MUSEUM / row["file"]).read_bytes()).decode()
    if row["source"] == "picture":
        url = f"data:image/png;base64,{data}"
        said = f'<img alt="{said}" width="48" src="{url}">'
    if row["source"] == "sound":
        said = f"spoken: <i>{said}</i>"
        if players:
            said += f'<audio controls src="data:audio/ogg;base64,{data}"></audio>'
    about = f"{row['source']} {row['id']}, {row['year']}, {row['licence']}"
    return f"<p>{said}<br><small>Source: {escape(about)}</small></p>"
