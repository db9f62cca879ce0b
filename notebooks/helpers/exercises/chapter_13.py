"""The exercises of notebook 13: for each its solution, then its checker.

Services run here, in the checker's own process, on this machine's own address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from . import Wrong, exercise


@contextmanager
def service(app, lifespan: str = "off") -> Iterator[str]:
    """Run a FastAPI application in this process while the block lasts; its address."""
    import uvicorn

    from experiments.service.processes import HERE, free_port

    port = free_port()
    options = {"host": HERE, "port": port, "log_level": "critical"}
    server = uvicorn.Server(uvicorn.Config(app, lifespan=lifespan, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://{HERE}:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


# --- 13.1: a conversation that fits -----------------------------------------------


def count(messages: list[dict], tokenizer) -> int:
    """Return the tokens of a conversation, the opening of the answer included."""
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    return len(ids["input_ids"])


def trimmed(messages: list[dict], room: int, tokenizer) -> list[dict]:
    """The solution of 13.1: the oldest turns go, the system message stays."""
    first = [m for m in messages[:1] if m["role"] == "system"]
    rest = messages[len(first) :]
    while count(first + rest, tokenizer) > room:
        if len(rest) == 1:
            raise ValueError("the last message alone does not fit")
        rest = rest[1:]
    return first + rest


@exercise(
    "13.1",
    "len(tokenizer.apply_chat_template(messages, add_generation_prompt=True)"
    "['input_ids']) counts a conversation.",
    "While it is too long, drop the oldest message that is not the system message; "
    "raise ValueError when only the last one is left.",
)
def check_trimmed(answer, tokenizer) -> None:
    rule = {"role": "system", "content": "Answer in one short sentence."}
    turns = []
    for n in range(6):
        turns.append({"role": "user", "content": f"Question {n}? " * (n + 1)})
        turns.append({"role": "assistant", "content": f"Answer {n}."})
    turns.append({"role": "user", "content": "And what now?"})
    for messages in ([rule, *turns], turns[-1:], [rule, *turns[-3:]]):
        for room in (count(messages, tokenizer), 90, 60):
            found = answer([dict(m) for m in messages], room, tokenizer)
            if not isinstance(found, list) or not found:
                raise Wrong("Expected the list of messages that are kept.")
            if messages[0] == rule and found[0] != rule:
                raise Wrong("The system message is gone. Keep it: it is the rule.")
            if found[-1] != messages[-1]:
                raise Wrong("The last message is the question: keep it.")
            if (tokens := count(found, tokenizer)) > room:
                raise Wrong(f"{tokens} tokens are left, {room} were allowed.")
            if found != (best := trimmed(messages, room, tokenizer)):
                more = "more" if len(found) < len(best) else "other"
                raise Wrong(
                    f"Of {len(messages)} messages, {room} tokens leave room for "
                    f"{len(best)}, the latest ones; you kept {len(found)}, {more} fit."
                )
    try:
        answer([rule, {"role": "user", "content": "long " * 200}], 100, tokenizer)
    except ValueError:
        return
    raise Wrong("A last message that does not fit alone: raise ValueError.")


# --- 13.2: a client that asks again, when that helps -----------------------------


def ask(address: str, text: str) -> dict:
    """The solution of 13.2: again after 503, never after what is the client's fault."""
    import requests

    for wait in (0.05, 0.1, 0.2, None):
        reply = requests.post(f"{address}/classify", json={"text": text}, timeout=10)
        if reply.status_code != 503 or wait is None:
            break
        time.sleep(wait)
    reply.raise_for_status()
    return reply.json()


@exercise(
    "13.2",
    "reply.status_code tells: 200 is an answer, 503 is worth another try a moment "
    "later, 422 is not.",
    "reply.raise_for_status() raises for everything from 400 on; at most five tries.",
)
def check_ask(answer, classifier) -> None:
    from fastapi import FastAPI, HTTPException
    from pydantic import BaseModel, Field

    app, asked, busy = FastAPI(), [], {"times": 2}

    class Question(BaseModel):
        text: str = Field(max_length=200, pattern=r"\S")

    @app.middleware("http")
    async def note(request, call_next):
        asked.append(time.monotonic())
        return await call_next(request)

    # Without the future import's strings: FastAPI reads the types from the function.
    def classify(question):
        if busy["times"] > 0:
            busy["times"] -= 1
            raise HTTPException(503, "Too busy to answer in time.")
        return classifier(question.text)[0]

    classify.__annotations__ = {"question": Question, "return": dict}
    app.post("/classify")(classify)
    with service(app) as address:
        for text in ("I could not put it down.", "The hotel was loud and dirty."):
            asked.clear()
            busy["times"] = 2
            try:
                found = answer(address, text)
            except Exception as error:
                raise Wrong(
                    f"The service was busy twice, then well, and you gave up after "
                    f"{len(asked)} tries with {type(error).__name__}."
                ) from error
            if found != classifier(text)[0]:
                raise Wrong(f"For {text!r} the service said something else: {found}.")
            if len(asked) != 3:
                raise Wrong(f"Three tries were needed, the service saw {len(asked)}.")
            gaps = [b - a for a, b in pairwise(asked)]
            if min(gaps) < 0.045:
                raise Wrong("You asked again at once. Wait a moment: it is busy.")
        for text, times, most in (("", 0, 1), ("fine", 1000, 10)):
            asked.clear()
            busy["times"] = times
            try:
                found = answer(address, text)
            except Exception:  # noqa: BLE001 (any error says that there is no answer)
                found = None
            if found is not None:
                raise Wrong("There was no answer: raise an error, return nothing.")
            if len(asked) > most:
                fault = "503 without end" if times else "422, which no try will mend"
                raise Wrong(f"After {fault}, you tried {len(asked)} times.")


# --- 13.3: many questions at once ------------------------------------------------


def ask_all(address: str, texts: list[str], at_once: int) -> list[dict]:
    """The solution of 13.3: a pool of threads, whose map keeps the order."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda text: ask(address, text), texts))


@exercise(
    "13.3",
    "ThreadPoolExecutor(at_once) never has more than that many threads at work.",
    "pool.map(function, texts) gives results in the order of the texts.",
)
def check_ask_all(answer, classifier) -> None:
    from fastapi import FastAPI

    app, lock, state = FastAPI(), threading.Lock(), {"now": 0, "most": 0, "all": 0}

    def classify(question: dict) -> dict:
        with lock:
            state["now"] += 1
            state["all"] += 1
            state["most"] = max(state["most"], state["now"])
        try:
            time.sleep(0.1 if "waits" in question["text"] else 0.02)
            return classifier(question["text"])[0]
        finally:
            with lock:
                state["now"] -= 1

    classify.__annotations__ = {"question": dict, "return": dict}
    app.post("/classify")(classify)
    texts = [f"Guest {n} waits and is unhappy." for n in range(4)]
    texts += [f"Guest {n} loves the soup." for n in range(8)]
    expected = [classifier(text)[0] for text in texts]
    with service(app) as address:
        for at_once in (4, 2):
            state.update(most=0, all=0)
            found = list(answer(address, list(texts), at_once))
            if state["all"] != len(texts):
                raise Wrong(f"{len(texts)} texts, and {state['all']} requests.")
            if len(found) != len(expected) or not all(
                one.get("label") == other["label"]
                and abs(one["score"] - other["score"]) < 1e-4
                for one, other in zip(found, expected, strict=True)
            ):
                raise Wrong("The answers are not in the order of the texts.")
            if state["most"] > at_once:
                raise Wrong(f"{state['most']} at once, {at_once} were allowed.")
            if state["most"] < at_once:
                raise Wrong(f"Never more than {state['most']} at once; use {at_once}.")


# --- 13.4: a worker that reports broken rows ------------------------------------


def classify_batch(batch, classifier):
    """The solution of 13.4: what is broken is told apart before the model sees it."""
    batch = batch.copy()
    fine = batch["text"].map(lambda text: isinstance(text, str) and bool(text.strip()))
    batch["problem"] = fine.map({True: "", False: "no text"})
    good = batch[fine].sort_values("text", key=lambda texts: texts.str.len())
    answers = classifier(good["text"].tolist(), batch_size=16) if len(good) else []
    batch["label"] = ""
    batch.loc[good.index, "label"] = [row["label"] for row in answers]
    return batch


@exercise(
    "13.4",
    "isinstance(text, str) and text.strip() tells what the model can read.",
    "batch.loc[good.index, 'label'] puts answers back to their rows after sorting; an "
    "empty list must not reach the classifier.",
)
def check_classify_batch(answer, classifier) -> None:
    import pandas as pd

    texts = [
        "The worst meal of my life, cold, late and far too expensive for what it was.",
        "Lovely!",
        None,
        "A warm and funny film about two old friends.",
        "  ",
        "It broke on the first day.",
        float("nan"),
        "I would come back any time, the staff were kind and the view is wonderful.",
    ]
    whole = pd.DataFrame({"id": range(40, 40 + len(texts)), "text": texts})
    whole.index = range(7, 7 + len(texts))
    for batch in (whole, whole.iloc[[2, 4]], whole.iloc[[1, 3]]):
        before = batch.copy()
        found = answer(batch.copy(), classifier)
        if not isinstance(found, pd.DataFrame):
            raise Wrong("Expected a data frame.")
        if missing := {"id", "label", "problem"} - set(found.columns):
            raise Wrong(f"The answer lacks the column {min(missing)!r}.")
        if sorted(found["id"]) != sorted(before["id"]):
            raise Wrong(f"{len(before)} rows went in, {len(found)} came out.")
        rows = found.set_index("id")
        for number, text in zip(before["id"], before["text"], strict=True):
            problem, label = rows.loc[number, "problem"], rows.loc[number, "label"]
            broken = not isinstance(text, str) or not text.strip()
            if broken and not problem:
                raise Wrong(f"The row with text {text!r} has no problem reported.")
            if broken and label in ("POSITIVE", "NEGATIVE"):
                raise Wrong(f"The row with text {text!r} has no text, but a label.")
            if not broken and problem:
                raise Wrong(f"{text[:30]!r} is fine, you say {problem!r}.")
            if not broken and label != (right := classifier(text)[0]["label"]):
                raise Wrong(f"{text[:30]!r} is {right}; you say {label}: mixed up?")
