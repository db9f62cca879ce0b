"""Proves that the models for scenes find, answer and describe as their cards say, that
scenes are what they claim to be, and that bad pictures get one clear error."""

import random
import time

import pytest
from wrong_inputs import NO_PICTURES, ODD_PICTURES

from helpers.catalogue import catalogue

if "rtdetr-scenes" not in catalogue()["embedded"]:
    pytest.skip("the models for scenes have no weights yet", allow_module_level=True)


from recipes.datasets.scenes import compose as scenes
from recipes.datasets.scenes import questions

SCENES = 20
BAD_ENOUGH = 3.0  # how much slower than the limits a busy machine may be


@pytest.fixture(scope="module")
def made():
    return [
        scenes.compose(seed, scenes.unseen_drawings(), (1, 3)) for seed in range(SCENES)
    ]


@pytest.fixture(scope="module")
def detect(pipe):
    return pipe("object-detection")


@pytest.fixture(scope="module")
def answer(pipe):
    return pipe("image-text-to-text")


@pytest.fixture(scope="module")
def describe(pipe):
    return pipe("describe-image")


def chat(picture, question):
    content = [{"type": "image", "image": picture}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


# Scenes and questions


def test_a_seed_gives_the_same_scene_at_any_size():
    small = scenes.compose(3, scenes.unseen_drawings())
    again, large = (
        scenes.compose(3, scenes.unseen_drawings(), size=size)
        for size in (scenes.SIZE, 320)
    )
    assert small.picture.tobytes() == again.picture.tobytes()
    assert [t.name for t in small.things] == [t.name for t in large.things]
    for a, b in zip(small.things, large.things, strict=True):
        assert b.box == pytest.approx([2 * edge for edge in a.box], abs=2)


def test_a_scene_holds_what_it_says():
    for seed in range(50):
        scene = scenes.compose(seed, scenes.unseen_drawings())
        assert 2 <= len(scene.things) <= 6
        empty = scenes.compose(seed, scenes.unseen_drawings(), (0, 0))
        assert not empty.things
        for thing in scene.things:
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= scenes.SIZE
            assert 0 <= top < bottom <= scenes.SIZE


def test_the_test_asks_in_other_words_than_the_training():
    for kind, wordings in questions.TEST_WORDINGS.items():
        if kind != "describe":
            assert not set(wordings) & set(questions.TRAINING_WORDINGS[kind])


def test_right_answers_are_told_from_wrong_ones(made):
    for scene in made:
        for kind in questions.KINDS:
            pair = questions.ask(scene, kind, random.Random(1))
            if pair is not None:
                assert questions.right(pair[1], pair[1])
                assert not questions.right("A unicorn.", pair[1])
        sentence = questions.sentence(scene)
        assert questions.describes(sentence, scene)
        assert not questions.describes(sentence.replace(" shows ", " show "), scene)
        more = sentence.replace("shows ", "shows a unicorn and ")
        assert not questions.describes(more, scene)
    assert questions.right("a cat and two dogs", "Two dogs and a cat.")
    assert not questions.right("A cat.", "Two cats.")


# Answers


def test_boxes_lie_on_the_picture(detect, made):
    for scene in made:
        large = scene.picture.resize((400, 250))
        for found in detect(large, threshold=0.3):
            box = found["box"]
            assert found["label"] in scenes.NAMES
            # The library does not cut a box that reaches a little over the edge.
            assert -20 <= box["xmin"] < box["xmax"] <= 420
            assert -13 <= box["ymin"] < box["ymax"] <= 263


def test_a_list_of_pictures_gives_a_list(detect, made):
    assert len(detect([scene.picture for scene in made[:3]])) == 3


def test_the_same_question_gets_the_same_answer(answer, made):
    asked = chat(made[0].picture, "What is in the picture?")
    one, two = (
        answer(text=asked, return_full_text=False, max_new_tokens=30) for _ in range(2)
    )
    assert one[0]["generated_text"] == two[0]["generated_text"]


def test_a_question_without_a_picture_is_answered_too(answer):
    content = [{"type": "text", "text": "What is the capital of France?"}]
    asked = [{"role": "user", "content": content}]
    assert answer(text=asked, return_full_text=False, max_new_tokens=10)


def test_a_description_is_a_sentence(describe, made):
    one = describe(made[0].picture)
    assert set(one[0]) == {"generated_text"}
    assert one[0]["generated_text"].startswith("The picture shows ")
    assert len(describe([scene.picture for scene in made[:2]])) == 2


# Pictures as they come


@pytest.mark.parametrize("kind", ODD_PICTURES)
def test_odd_pictures_are_taken(detect, describe, made, kind):
    picture = ODD_PICTURES[kind](made[0].picture)
    width, height = picture.size
    for found in detect(picture):
        # The library does not cut a box that reaches a little over the edge.
        assert found["box"]["xmax"] <= 1.05 * width
        assert found["box"]["ymax"] <= 1.05 * height
    assert describe(picture)[0]["generated_text"]


@pytest.mark.model
@pytest.mark.parametrize("wrong", NO_PICTURES, ids=lambda wrong: wrong.what)
@pytest.mark.parametrize("task", ["detect", "describe"])
def test_what_is_no_picture_is_refused(wrong, task, request, tmp_path, record_fault):
    ask = request.getfixturevalue(task)
    with pytest.raises(wrong.error, match=wrong.words) as caught:
        ask(wrong.make(tmp_path))
    record_fault(f"{task} given {wrong.what}", caught.value)


# Speed


def test_speeds(detect, answer, made):
    """Detection 0.3 s a picture, an answer of 20 tokens 4 s, on two calm cores."""
    detect(made[0].picture)
    start = time.process_time()
    for scene in made[:5]:
        detect(scene.picture)
    assert (time.process_time() - start) / 5 < 0.3 * BAD_ENOUGH
    start = time.process_time()
    answer(
        text=chat(made[0].picture, "Describe the picture."),
        return_full_text=False,
        max_new_tokens=20,
    )
    assert time.process_time() - start < 4 * BAD_ENOUGH
