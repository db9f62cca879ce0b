"""The classifier as a service: `uvicorn experiments.service.app:app`."""

import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from transformers import pipeline

from helpers import model_for

classifier = pipeline("sentiment-analysis", **model_for("sentiment-analysis"))
waiting: asyncio.Queue = asyncio.Queue()  # of texts and of promised answers


class Question(BaseModel):
    text: str = Field(max_length=2000, pattern=r"\S")
    patience: float = Field(5, gt=0, le=5)  # seconds


async def answer_together() -> None:
    """Answer what has arrived in one batch, again and again."""
    while True:
        batch = [await waiting.get()]
        await asyncio.sleep(0.01)  # let others arrive
        while not waiting.empty() and len(batch) < 16:
            batch.append(waiting.get_nowait())
        batch = [(text, promise) for text, promise in batch if not promise.done()]
        texts = [text for text, _ in batch]
        try:
            answers = await asyncio.to_thread(
                classifier, texts, batch_size=16, truncation=True
            )
        except Exception as error:  # noqa: BLE001 (whatever it is, others wait)
            answers = [error] * len(batch)
        for (_, promise), answer in zip(batch, answers, strict=True):
            if not promise.done():
                promise.set_result(answer)


@asynccontextmanager
async def running(app: FastAPI):
    task = asyncio.create_task(answer_together())
    yield
    task.cancel()


app = FastAPI(lifespan=running)


@app.get("/health")
def health() -> dict:
    limits = "English, two labels, learned from film reviews; see the model's card"
    return {"status": "ok", "limits": limits}


@app.post("/classify")
async def classify(question: Question) -> dict:
    promise = asyncio.get_running_loop().create_future()
    waiting.put_nowait((question.text, promise))
    try:
        answer = await asyncio.wait_for(promise, question.patience)
    except TimeoutError:
        raise HTTPException(503, "Too busy to answer in time.") from None
    if isinstance(answer, Exception):
        raise HTTPException(500, "The model could not read this text.")
    return answer
