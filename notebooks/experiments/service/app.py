"""The classifier as a service: `uvicorn experiments.service.app:app`."""

import asyncio
import time
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from transformers import pipeline

from helpers import model_for

chosen = model_for("sentiment-analysis")
classifier = pipeline("sentiment-analysis", **chosen)
version = "@".join(chosen[k] for k in ["model", "revision"] if k in chosen)
MODEL = Path(version).name
LIMIT = classifier.model.config.max_position_embeddings  # tokens of a text
app = FastAPI()


class Question(BaseModel):
    text: str = Field(max_length=2000, pattern=r"\S")


def refuse_long(text: str) -> None:
    tokens = len(classifier.tokenizer(text)["input_ids"])
    if tokens > LIMIT:
        raise HTTPException(422, f"{tokens} tokens; this model reads {LIMIT}.")


@app.post("/classify")
def classify(question: Question) -> dict:
    refuse_long(question.text)
    return classifier(question.text)[0] | {"model": MODEL}


@app.get("/health")
def health() -> dict:
    limits = "English, two labels, learned from film reviews; see its card"
    known = {"status": "ok", "model": MODEL, "limits": limits}
    return known | {"processor_seconds": round(time.process_time(), 2)}


PLACES = 100  # for texts that wait
waiting = []  # the texts of the next batch
turn = asyncio.Lock()  # held while the model is at work


async def answer_together() -> list[dict]:
    async with turn:  # one batch after another
        await asyncio.sleep(0.01)  # let others arrive
        texts = waiting.copy()
        waiting.clear()
        return await asyncio.to_thread(classifier, texts, batch_size=16)


class PatientQuestion(Question):
    patience: float = Field(5, gt=0, le=5)  # seconds


@app.post("/together")
async def together(question: PatientQuestion) -> dict:
    refuse_long(question.text)
    if len(waiting) >= PLACES:
        raise HTTPException(503, "Too many are waiting.")
    if not waiting:  # the first one orders the batch
        app.state.batch = asyncio.create_task(answer_together())
    batch, place = app.state.batch, len(waiting)
    waiting.append(question.text)
    await asyncio.wait([batch], timeout=question.patience)
    if not batch.done():
        raise HTTPException(503, "Too busy to answer in time.")
    if batch.exception():
        raise HTTPException(500, "The model failed on a text of this batch.")
    return batch.result()[place] | {"model": MODEL}
