"""Proves what notebook 13 claims beyond its own asserts: servers and Ray are gone when
the page is, listen on loopback alone, a killed worker and a stopped job lose nothing
and do nothing twice, the service answers whatever it is asked, and the exercises tell
right from wrong.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pandas as pd
import psutil
import pytest
from places import NOTEBOOKS, code_cells

from book.execute import NEEDS_RAY
from helpers import check
from helpers.exercises import chapter_13

NAME = "13_from_notebook_to_service"
PATH = NOTEBOOKS / f"{NAME}.ipynb"
requests = pytest.importorskip("requests")

# --- servers and Ray end with whoever started them ---------------------------------

TINY = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/health")
def health(): return "ok"
"""
START = """
import sys, time
from experiments.service.processes import serve
print(serve("uvicorn", "--app-dir", sys.argv[1], "tiny:app"), flush=True)
"""


@pytest.fixture
def mark(monkeypatch):
    """A mark that all processes inherit which are started during this test."""
    value = uuid.uuid4().hex
    monkeypatch.setenv("CHAPTER_13_TEST", value)

    def marked():
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("CHAPTER_13_TEST") == value:
                    found.append(process)
            except psutil.Error:
                continue
        return [p for p in found if p.pid != os.getpid()]

    return marked


def gone(marked, seconds=10.0):
    """Return the processes that are still there after some seconds, by their names."""
    end = time.monotonic() + seconds
    while (left := marked()) and time.monotonic() < end:
        time.sleep(0.1)
    return [process.name() for process in left]


def start_tiny(tmp_path, then):
    """Start a Python that serves a tiny application, then does what `then` says."""
    (tmp_path / "tiny.py").write_text(TINY)
    process = subprocess.Popen(
        [sys.executable, "-c", START + then, tmp_path],
        cwd=NOTEBOOKS,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return process, process.stdout.readline().strip()


@pytest.mark.model
def test_a_server_ends_when_its_notebook_is_killed(tmp_path, mark):
    process, address = start_tiny(tmp_path, "time.sleep(60)")
    assert requests.get(f"{address}/health", timeout=5).json() == "ok"
    process.kill()
    process.wait()
    assert not gone(mark)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{address}/health", timeout=5)


@pytest.mark.model
def test_a_server_ends_when_its_notebook_fails(tmp_path, mark):
    process, address = start_tiny(tmp_path, "raise SystemExit('a cell failed')")
    assert process.wait(20) == 1
    assert address.startswith("http://127.0.0.1:")
    assert not gone(mark)


@pytest.mark.model
def test_a_server_that_cannot_start_says_why_and_is_gone(mark, record_fault):
    from experiments.service.processes import running, serve

    with pytest.raises(RuntimeError, match=r"uvicorn did not start: .*nowhere") as said:
        serve("uvicorn", "nowhere:app")
    assert not running
    assert not gone(mark)
    record_fault("a server that cannot start", said.value)


def listening(processes):
    """Return the addresses at which some processes listen, without their ports."""
    found = set()
    for process in processes:
        try:
            connections = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.model
def test_a_server_listens_on_loopback_alone(tmp_path, mark):
    process, _ = start_tiny(tmp_path, "time.sleep(60)")
    assert listening(mark()) == {"127.0.0.1"}
    process.kill()
    process.wait()
    assert not gone(mark)


def cells_until(last):
    """Return the code cells of the page up to one, which is in it."""
    cells = code_cells(PATH)
    end = [cell.id for cell in cells].index(last)
    return cells[: end + 1]


def run_and_fail(cells, failing):
    """Run cells in a kernel, then one that fails; the error that it ended with."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    broken = nbformat.v4.new_code_cell(failing)
    notebook = nbformat.v4.new_notebook(cells=[*cells, broken])
    for cell in notebook.cells:
        cell.outputs = []
    place = {"metadata": {"path": str(NOTEBOOKS)}}
    with pytest.raises((CellExecutionError, DeadKernelError)) as caught:
        NotebookClient(notebook, timeout=120, resources=place).execute(
            stderr=subprocess.DEVNULL
        )
    return caught.value


@pytest.mark.nightly
@pytest.mark.model
@pytest.mark.parametrize("how", ["1 / 0", "import os; os.kill(os.getpid(), 9)"])
def test_nothing_is_left_when_a_cell_of_the_page_fails(mark, how):
    """A chat server and Ray are running when the page fails, or its kernel dies."""
    keep = ["bootstrap", "setup", "serve", "chat"]
    cells = [cell for cell in cells_until("chat") if cell.id in keep]
    ray = "import ray\nfrom experiments.service.cluster import start_ray\n"
    look = nbformat.v4.new_code_cell(ray + "start_ray(2); ray.put(1)")
    run_and_fail([*cells, look], how)
    assert not gone(mark, 30)


@pytest.mark.nightly
@pytest.mark.model
def test_nothing_is_left_after_the_page(mark):
    from book.execute import execute

    _, _, gb = execute(PATH)
    assert gb < 2.5
    assert not gone(mark, 30)


@pytest.mark.nightly
@pytest.mark.model
def test_ray_listens_on_loopback_alone(mark):
    code = (
        "import experiments.service.processes, ray\n"  # in the order of the page
        "from experiments.service.cluster import start_ray; start_ray(2)\n"
        "import time; print('here', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=NOTEBOOKS, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "here\n"
    assert listening(mark()) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    process.kill()
    process.wait()
    assert not gone(mark, 30)


# --- the batch job ------------------------------------------------------------------


def start_job(folder):
    """Start the large job of the experiments with 6,000 texts and two workers."""
    module = [sys.executable, "-m", "experiments.service.million", "6000", "2"]
    return subprocess.Popen(
        [*module, "--folder", str(folder), "--aside", str(folder / "notes.csv")],
        cwd=NOTEBOOKS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def files(folder):
    return {p: p.stat().st_mtime_ns for p in (folder / "answers").glob("*.parquet")}


def wait_for(true, process, seconds=200):
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, "the job ended"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.mark.nightly
@pytest.mark.model
def test_a_stopped_job_goes_on_and_a_killed_worker_is_replaced(tmp_path, mark):
    """The whole job is killed once it has written a file; it is started again, and a
    worker of it is killed; nothing is lost, nothing done twice."""
    first = start_job(tmp_path)
    wait_for(lambda: files(tmp_path), first)
    first.kill()
    first.wait()
    assert not gone(mark, 30)
    before = files(tmp_path)
    assert 0 < len(before) < 12
    second = start_job(tmp_path)

    def workers():
        found = [p for p in mark() if "NodeWorker" in " ".join(p.cmdline()[:1])]
        return found if len(files(tmp_path)) > len(before) else []

    wait_for(workers, second)
    workers()[0].send_signal(signal.SIGKILL)
    assert second.wait(250) == 0  # it has compared what went in and what came out
    after = files(tmp_path)
    assert len(after) == 12
    assert {path: after[path] for path in before} == before, "done twice"
    answers = pd.read_parquet(tmp_path / "answers")
    assert sorted(answers["id"]) == list(range(6000))
    assert not gone(mark, 30)


@pytest.mark.nightly
@pytest.mark.model
def test_the_same_job_runs_on_a_second_node(tmp_path, mark):
    """A cluster of two nodes, both on this machine, shares the files of the job."""
    job = [sys.executable, "-m", "experiments.service.million", "6000", "2"]
    job += ["--nodes", "2", "--folder", str(tmp_path)]
    process = subprocess.Popen(
        [*job, "--aside", str(tmp_path / "table.csv")],
        cwd=NOTEBOOKS,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: files(tmp_path), process)
    assert listening(mark()) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    said = process.communicate(timeout=250)[0]
    assert process.returncode == 0
    shares = re.search(r"files per node: (\d+) (\d+)", said)
    assert shares and sum(map(int, shares.groups())) == 12
    assert not gone(mark, 30)


def test_an_unfinished_file_does_not_count_as_done(tmp_path):
    from experiments.service.job import parts_left
    from experiments.service.texts import write_parts

    answers = tmp_path / "answers"
    answers.mkdir()
    write_parts(["a", "b", None], tmp_path / "texts", rows=1)
    (answers / "part-0001.parquet").touch()
    (answers / "part-0000.writing").touch()
    left = parts_left(tmp_path / "texts", answers)
    assert [path.name for path in left] == ["part-0000.parquet", "part-0002.parquet"]


@pytest.mark.nightly
@pytest.mark.model
def test_the_small_engine_says_what_the_pipeline_says(pipe, tmp_path):
    """But for a few texts, which int8 may change; in any order, and without any."""
    from experiments.service import faster
    from experiments.service.job import Int8Classifier
    from experiments.service.texts import made_up

    classifier = pipe("sentiment-analysis")
    classifier.tokenizer.save_pretrained(tmp_path)
    classifier.model.config.save_pretrained(tmp_path)
    faster.export(classifier, tmp_path / "model.onnx")
    faster.onnx_int8(tmp_path / "model.onnx", per_channel=True)
    engine = Int8Classifier(tmp_path)
    assert engine([]) == []
    texts = [*made_up(60), "word " * 3000, "Lovely."]
    whole = engine(texts)
    right = [answer["label"] for answer in classifier(texts, truncation=True)]
    assert sum(a != b for a, b in zip(whole, right, strict=True)) <= 4
    assert engine(["Lovely."]) == ["POSITIVE"]


def test_a_worker_needs_neither_torch_nor_transformers():
    """That is why it starts quickly, on the page and after another has died."""
    code = (
        "import sys, experiments.service.job\n"
        "print([m for m in ('torch', 'transformers', 'ray') if m in sys.modules])"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=NOTEBOOKS)
    assert said.strip() == b"[]"


def test_the_cells_that_need_ray_are_tagged():
    """They are skipped where Ray has no package; no other cell needs what they make."""
    cells = code_cells(PATH)
    tagged = [c for c in cells if NEEDS_RAY in c.metadata.get("tags", [])]
    assert {c.id for c in tagged} == {"ray-texts", "ray-killed", "ray-again"}
    needs = ("ray.", "start_ray(", "write_answers")
    assert {c.id for c in cells if any(n in c.source for n in needs)} <= {
        c.id for c in tagged
    }
    others = " ".join(c.source for c in cells if c not in tagged)
    made = ("report", "dead", "rest", "written")
    assert not [name for name in made if re.search(rf"\b{name}\b", others)]


def test_a_cell_that_needs_ray_is_skipped_without_it(monkeypatch):
    import nbval_hooks

    cell = nbformat.v4.new_code_cell("1", metadata={"tags": [NEEDS_RAY]})
    monkeypatch.setattr(nbval_hooks, "find_spec", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match="Ray has no package"):
        nbval_hooks.run_cell(type("Cell", (), {"cell": cell}))


# --- the service --------------------------------------------------------------------


@pytest.fixture(scope="module")
def app():
    """The service of the page, in this process, and what it is made of."""
    from experiments.service import app as module

    return module


@pytest.fixture(scope="module")
def address(app):
    with chapter_13.service(app.app, lifespan="on") as address:
        yield address


def ask(address, path="together", **fields):
    return requests.post(f"{address}/{path}", json=fields, timeout=20)


REFUSED = [
    ({}, "Field required"),
    ({"text": ""}, "match pattern"),
    ({"text": " \n\t "}, "match pattern"),
    ({"text": None}, "valid string"),
    ({"text": ["a"]}, "valid string"),
    ({"text": "a" * 2001}, "at most 2000"),
]
IMPATIENT = [
    ({"text": "fine", "patience": 0}, "greater than 0"),
    ({"text": "fine", "patience": 6}, "less than or equal to 5"),
    ({"text": "fine", "patience": "long"}, "valid number"),
]


@pytest.mark.model
@pytest.mark.parametrize("path", ["classify", "together"])
def test_wrong_requests_get_an_answer_and_the_service_goes_on(address, path):
    for fields, words in REFUSED + IMPATIENT * (path == "together"):
        reply = ask(address, path, **fields)
        assert reply.status_code == 422, fields
        assert words in reply.json()["detail"][0]["msg"]
    raw = requests.post(f"{address}/{path}", data="{", timeout=5)
    assert raw.status_code == 422
    assert ask(address, path, text="Lovely.").json()["label"] == "POSITIVE"
    for text in ("\u0000", "\U0001f600" * 500, "漢" * 510, "x " * 510):
        assert ask(address, path, text=text).status_code == 200, text[:9]


@pytest.mark.model
def test_every_answer_names_its_model(address, app):
    for path in ("classify", "together"):
        assert ask(address, path, text="Lovely.").json()["model"] == app.MODEL
    known = requests.get(f"{address}/health", timeout=5).json()
    assert known["model"] == app.MODEL
    assert known["processor_seconds"] > 0


@pytest.mark.model
def test_the_plain_service_answers_many_at_once(address, app):
    """Its threads share one pipeline."""
    texts = [f"Guest {n} was {'happy' if n % 3 else 'furious'}." for n in range(40)]
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda t: ask(address, "classify", text=t), texts))
    assert [reply.status_code for reply in found] == [200] * 40
    right = [answer["label"] for answer in app.classifier(texts)]
    assert [reply.json()["label"] for reply in found] == right


@pytest.mark.model
def test_a_text_of_too_many_tokens_is_refused_with_their_number(address, record_fault):
    for path in ("classify", "together"):
        reply = ask(address, path, text="漢" * 2000)
        assert reply.status_code == 422
    said = reply.json()["detail"]
    assert said == "2002 tokens; this model reads 512."
    record_fault("a text that the service's model cannot read", said)


def put(app, monkeypatch, function):
    """Let the service call a function where it called its pipeline."""
    function.tokenizer = app.classifier.tokenizer
    monkeypatch.setattr(app, "classifier", function)


@pytest.mark.model
def test_what_arrives_together_is_answered_together(address, app, monkeypatch):
    sizes, classifier = [], app.classifier

    def counted(texts, **options):
        sizes.append(len(texts))
        return classifier(texts, **options)

    put(app, monkeypatch, counted)
    texts = [f"Guest {n} was {'happy' if n % 3 else 'furious'}." for n in range(40)]
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda t: ask(address, text=t).json(), texts))
    assert sum(sizes) == 40
    assert max(sizes) > 1
    for text, answer in zip(texts, found, strict=True):
        alone = classifier(text)[0]
        assert answer["label"] == alone["label"]
        assert answer["score"] == pytest.approx(alone["score"], abs=1e-4)


@pytest.mark.model
def test_a_slow_or_failing_model_is_an_answer(address, app, monkeypatch):
    def slow(texts, **options):
        time.sleep(0.5)
        return [{"label": "LATE", "score": 1.0}] * len(texts)

    put(app, monkeypatch, slow)
    reply = ask(address, text="Hello?", patience=0.1)
    assert (reply.status_code, reply.json()["detail"]) == (
        503,
        "Too busy to answer in time.",
    )
    assert ask(address, text="Hello?").json()["label"] == "LATE"

    def failing(texts, **options):
        raise RuntimeError("secret path")

    put(app, monkeypatch, failing)
    reply = ask(address, text="Hello?")
    assert reply.status_code == 500
    assert reply.json() == {"detail": "The model failed on a text of this batch."}
    put(app, monkeypatch, slow)
    assert ask(address, text="Hello?").status_code == 200


@pytest.mark.model
def test_who_comes_when_a_hundred_wait_is_sent_away(address, app, monkeypatch):
    monkeypatch.setattr(app, "waiting", ["a text"] * 100)
    reply = ask(address, text="Hello?")
    assert reply.status_code == 503
    assert reply.json() == {"detail": "Too many are waiting."}


def source_of(name):
    path = NOTEBOOKS / "experiments" / "service" / name
    return path.read_text("utf-8").rstrip("\n")


def test_what_the_page_shows_is_short():
    plain, batched = source_of("app.py").split("\n\n\nPLACES")
    for part, most in ((plain, 35), (batched, 30), (source_of("job.py"), 90)):
        assert len([line for line in part.splitlines() if line.strip()]) <= most


def test_the_page_shows_the_whole_service_and_job_in_pieces():
    """What the page prints between its explanations are the files that it runs."""
    pieces = [
        piece
        for cell in nbformat.read(PATH, as_version=4).cells
        if cell.cell_type == "markdown"
        for piece in re.findall(r"```python\n(.*?)\n```", cell.source, re.DOTALL)
    ]
    files = [source_of("app.py"), source_of("job.py")]
    assert "\n\n\n".join(pieces) == "\n\n\n".join(files)


# --- the exercises ------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(pipe):
    return pipe("sentiment-analysis")


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from helpers.models import embedded

    return AutoTokenizer.from_pretrained(embedded("SmolLM2-135M-Instruct"))


def first_that_fit(messages, room, tokenizer):
    """Wrong: keeps the oldest messages."""
    while chapter_13.count(messages, tokenizer) > room and len(messages) > 1:
        messages = messages[:-1]
    return messages


def without_the_rule(messages, room, tokenizer):
    """Wrong: the system message is the first to go."""
    while chapter_13.count(messages, tokenizer) > room and len(messages) > 1:
        messages = messages[1:]
    return messages


def without_the_opening(messages, room, tokenizer):
    """Wrong: counts the conversation without the opening of the answer."""
    first, rest = messages[:-1], messages[-1:]
    keep = [m for m in first if m["role"] == "system"]
    turns = [m for m in first if m["role"] != "system"]

    def size(some):
        return len(tokenizer.apply_chat_template(some)["input_ids"])

    while turns and size(keep + turns + rest) > room:
        turns = turns[1:]
    return keep + turns + rest


def never_refuses(messages, room, tokenizer):
    """Wrong: returns a last message that does not fit."""
    try:
        return chapter_13.trimmed(messages, room, tokenizer)
    except ValueError:
        return messages[-1:]


def from_the_end(messages, room, tokenizer):
    """Right, the other way round: adds the latest messages while they fit."""
    rule = [m for m in messages if m["role"] == "system"]
    turns, kept = [m for m in messages if m["role"] != "system"], []
    while turns and chapter_13.count([*rule, turns[-1], *kept], tokenizer) <= room:
        kept.insert(0, turns.pop())
    if not kept:
        raise ValueError("too long")
    return rule + kept


def asks_once(address, text):
    """Wrong: gives up at the first 503."""
    reply = requests.post(f"{address}/classify", json={"text": text}, timeout=5)
    reply.raise_for_status()
    return reply.json()


def asks_at_once_again(address, text):
    """Wrong: no pause between two tries."""
    for _ in range(4):
        reply = requests.post(f"{address}/classify", json={"text": text}, timeout=5)
        if reply.status_code != 503:
            break
    reply.raise_for_status()
    return reply.json()


def asks_whatever_the_status(address, text):
    """Wrong: tries again after a 422."""
    for _ in range(4):
        reply = requests.post(f"{address}/classify", json={"text": text}, timeout=5)
        if reply.ok:
            return reply.json()
        time.sleep(0.05)
    raise RuntimeError(reply.status_code)


def returns_the_error(address, text):
    """Wrong: an error comes back as if it were an answer."""
    for _ in range(4):
        reply = requests.post(f"{address}/classify", json={"text": text}, timeout=5)
        if reply.status_code != 503:
            break
        time.sleep(0.05)
    return reply.json()


def asks_with_growing_pauses(address, text):
    """Right, with the client of the standard library."""
    import urllib.error
    import urllib.request

    body = json.dumps({"text": text}).encode()
    head = {"Content-Type": "application/json"}
    for tried in range(5):
        request = urllib.request.Request(f"{address}/classify", body, head)
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
        time.sleep(0.05 * 2**tried)
    raise TimeoutError("busy")


def as_they_come(address, texts, at_once):
    """Wrong: answers in the order in which they arrive."""
    from concurrent.futures import as_completed

    with ThreadPoolExecutor(at_once) as pool:
        jobs = [pool.submit(asks_once, address, text) for text in texts]
        return [job.result() for job in as_completed(jobs)]


def one_after_another(address, texts, at_once):
    """Wrong: never two at once."""
    return [asks_once(address, text) for text in texts]


def all_at_once(address, texts, at_once):
    """Wrong: as many threads as texts."""
    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(lambda text: asks_once(address, text), texts))


def with_futures(address, texts, at_once):
    """Right: futures, read in the order of the texts."""
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        jobs = [pool.submit(asks_once, address, text) for text in texts]
    return [job.result() for job in jobs]


def with_a_semaphore(address, texts, at_once):
    """Right: a coroutine for each text, and a semaphore."""
    import asyncio

    async def all_of_them():
        places = asyncio.Semaphore(at_once)

        async def one(text):
            async with places:
                return await asyncio.to_thread(asks_once, address, text)

        return await asyncio.gather(*map(one, texts))

    return asyncio.run(all_of_them())


def drops_broken_rows(batch, classifier):
    """Wrong: fewer rows come out."""
    good = batch[batch["text"].notna()].copy()
    texts = good["text"].tolist()
    good["label"] = [a["label"] for a in classifier(texts)] if texts else []
    return good.assign(problem="")


def calls_blanks_a_text(batch, classifier):
    """Wrong: classifies a text of blanks, as the page's function would."""
    good = batch["text"].notna()
    texts = batch["text"][good]
    found = [a["label"] for a in classifier(texts.tolist())] if len(texts) else []
    labels = pd.Series(found, texts.index, dtype=object)
    return batch.assign(label=labels, problem=good.map({True: "", False: "no text"}))


def mixes_up_after_sorting(batch, classifier):
    """Wrong: the labels stay in the sorted order."""
    fine = batch["text"].map(lambda t: isinstance(t, str) and bool(t.strip()))
    texts = sorted(batch["text"][fine], key=len)
    labels = iter([a["label"] for a in classifier(texts)] if texts else [])
    return batch.assign(
        label=[next(labels) if ok else "" for ok in fine],
        problem=["" if ok else "no text" for ok in fine],
    )


def row_by_row(batch, classifier):
    """Right: slow, without any sorting."""
    labels, problems = [], []
    for text in batch["text"]:
        fine = isinstance(text, str) and text.strip()
        labels.append(classifier(text)[0]["label"] if fine else None)
        problems.append("" if fine else f"cannot read {text!r}")
    return batch.assign(label=labels, problem=problems)


def in_another_order(batch, classifier):
    """Right: the rows come back sorted, each with its own answer."""
    answered = chapter_13.classify_batch(batch, classifier)
    return answered.sort_values("text").reset_index(drop=True)


WRONG = [
    ("13.1", lambda m, room, t: [], "Expected the list"),
    ("13.1", first_that_fit, "The last message is the question"),
    ("13.1", without_the_rule, "The system message is gone"),
    ("13.1", without_the_opening, "were allowed"),
    ("13.1", lambda m, room, t: m, "were allowed"),
    ("13.1", lambda m, room, t: (m[:1] if len(m) > 1 else []) + m[-1:], "more fit"),
    ("13.1", never_refuses, "raise ValueError"),
    ("13.2", asks_once, "gave up after 1 tries"),
    ("13.2", asks_at_once_again, "Wait a moment"),
    ("13.2", asks_whatever_the_status, "After 422"),
    ("13.2", returns_the_error, "raise an error"),
    ("13.2", lambda address, text: {"label": "POSITIVE", "score": 1.0}, "else"),
    ("13.3", as_they_come, "order of the texts"),
    ("13.3", one_after_another, "Never more than 1"),
    ("13.3", all_at_once, "4 were allowed"),
    ("13.3", lambda address, texts, n: [], "0 requests"),
    ("13.4", drops_broken_rows, "rows went in"),
    ("13.4", calls_blanks_a_text, "no problem reported"),
    ("13.4", mixes_up_after_sorting, "mixed up?"),
    ("13.4", lambda batch, classifier: batch, "lacks the column"),
]
RIGHT = [
    ("13.1", chapter_13.trimmed),
    ("13.1", from_the_end),
    ("13.2", chapter_13.ask),
    ("13.2", asks_with_growing_pauses),
    ("13.3", with_futures),
    ("13.3", with_a_semaphore),
    ("13.4", chapter_13.classify_batch),
    ("13.4", row_by_row),
    ("13.4", in_another_order),
]


@pytest.fixture
def verdict(capsys, classifier, tokenizer):
    def verdict(number, answer):
        capsys.readouterr()
        check(number, answer, tokenizer if number == "13.1" else classifier)
        return capsys.readouterr().out.strip()

    return verdict


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(verdict, number, answer, words):
    said = verdict(number, answer)
    assert said.startswith(f"{number}: not yet.")
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(verdict, number, answer):
    assert verdict(number, answer) == f"{number}: right."
