"""Proves what notebook 12 claims beyond its own asserts: the requests are balanced and
the parts apart, the experiment stops and chooses as it says, its table is whole and
one of its points comes out again, and the exercises tell right from wrong."""

import csv
import itertools
import math

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from verdicts import assert_pointer

from experiments import transfer
from helpers import check, model_for
from helpers.catalogue import NOTEBOOKS
from helpers.exercises import chapter_12 as solved


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_requests_are_balanced_and_the_parts_are_apart():
    pool, test, labels = transfer.read()
    assert len(labels) == 8
    for part, size in ((pool, 128), (test, 50)):
        assert all(sum(r["label"] == x for r in part) == size for x in labels)
    texts = [row["text"].lower() for row in pool + test]
    assert len(set(texts)) == len(texts)
    for size in transfer.SIZES:
        train, validation = transfer.draw(pool, size, seed=0)
        assert len(train) + len(validation) == size
        assert len({row["text"] for row in train + validation}) == size
        for part in (train, validation):
            assert {sum(r["label"] == x for r in part) for x in labels} == {
                len(part) // 8
            }


class Steps(torch.nn.Module):
    """One weight that follows its targets: enough to watch the training loop."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, vectors):
        return vectors * self.weight


class Rows:
    def __init__(self, vectors, targets):
        self.vectors, self.targets = torch.tensor(vectors), torch.tensor(targets)

    def pick(self, places):
        return {"vectors": self.vectors[places]}


def test_training_stops_and_goes_back_to_the_best_weights():
    train = Rows([[1.0, -1.0]] * 8, [0] * 8)
    against = Rows([[1.0, -1.0], [0.9, -1.0]], [0, 1])  # best at a small weight
    model = Steps()
    done = transfer.train(model, train, against, rate=0.05, seed=0)
    assert done["steps"] - done["best_step"] >= transfer.PATIENCE
    kept, _ = transfer.measure(model, against)
    longer = Steps()
    longer.load_state_dict(model.state_dict())
    with torch.no_grad():
        longer.weight += 1
    assert transfer.measure(longer, against)[0] > kept


def test_a_loss_that_is_no_number_stops_the_training():
    model = Steps()
    torch.nn.init.constant_(model.weight, math.nan)
    rows = Rows([[1.0, 2.0]] * 8, [0] * 8)
    with pytest.raises(ValueError, match="The loss is nan at step 1"):
        transfer.train(model, rows, rows, rate=0.1, seed=0)


def test_the_table_is_whole_and_no_run_that_chose_a_rate_saw_test_data():
    rows = table(transfer.STORE)
    assert {row["method"] for row in rows} == set(transfer.METHODS)
    for method in transfer.METHODS:
        tried = [r for r in rows if r["method"] == method and r["accuracy"] == ""]
        assert {float(r["rate"]) for r in tried} == set(transfer.RATES[method])
        best = min(tried, key=lambda row: float(row["validation_loss"]))
        measured = [r for r in rows if r["method"] == method and r["accuracy"]]
        assert {float(r["rate"]) for r in measured} == {float(best["rate"])}
        there = {(int(r["examples"]), int(r["seed"])) for r in measured}
        assert len(measured) == len(there)  # tested once each
        wanted = {(n, s) for n in transfer.SIZES for s in transfer.SEEDS}
        if method == "fine-tuned" + transfer.FIRST:
            wanted -= transfer.NOT_RUN
        assert there == wanted


def test_a_further_rate_changes_little():
    """Where the best rate is at an end of its row, one beyond was tried."""
    stored, beyond = table(transfer.STORE), table(transfer.STORE_BEYOND)

    def loss(rows, method):
        tried = [r for r in rows if r["method"] == method and not r["accuracy"]]
        best = min(tried, key=lambda row: float(row["validation_loss"]))
        return float(best["validation_loss"]), float(best["rate"])

    at_an_end = set()
    for method, rates in transfer.RATES.items():
        if loss(stored, method)[1] in (min(rates), max(rates)):
            at_an_end.add(method)
    the_same_rates = "fine-tuned" + transfer.FIRST  # as with the mean, none beyond
    assert at_an_end == {*transfer.BEYOND, the_same_rates}
    for method, rate in transfer.BEYOND.items():
        (before, _), (after, tried) = loss(stored, method), loss(beyond, method)
        assert tried == rate
        assert (after < before) == (method == transfer.BEYOND_POINT[0])
        assert abs(after - before) < 0.05
    [point] = [r for r in beyond if r["accuracy"]]
    key = ("method", "examples", "seed")
    [same] = [r for r in stored if r["accuracy"] and all(r[k] == point[k] for k in key)]
    assert abs(float(point["accuracy"]) - float(same["accuracy"])) < 0.01


@pytest.mark.model
def test_points_that_take_seconds_come_out_as_stored():
    chosen = model_for("feature-extraction")
    for row in table(transfer.STORE):
        quick = row["method"] == "TF-IDF" or row["method"].startswith("frozen")
        if quick and row["examples"] == "64":
            rate, seed = float(row["rate"]), int(row["seed"])
            again = transfer.one_run(row["method"], 64, seed, rate, chosen)
            stored = row["accuracy"] or row["validation_accuracy"]
            now = again["accuracy"] or again["validation_accuracy"]
            assert abs(now - float(stored)) < 0.02


def said(capsys):
    return capsys.readouterr().out.strip()


def every_gradient_off(model):
    return model.requires_grad_(False)


def only_in_evaluation(model):
    model.base_model.eval()
    return model


def only_the_last_layer(model):
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    return model


def only_switching_off(model):
    model.base_model.requires_grad_(False)
    return model


def no_zero_grad(model, optimizer, batches, held_out):
    model.train()
    for batch in batches:
        model(**batch).loss.backward()
        optimizer.step()
    return scored(model, held_out)


@torch.no_grad()
def scored(model, held_out):
    model.eval()
    right = [model(**b).logits.argmax(-1) == b["labels"] for b in held_out]
    return torch.cat(right).float().mean().item()


def trained(model, optimizer, batches):
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()


def never_in_training_mode(model, optimizer, batches, held_out):
    for batch in batches:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return scored(model, held_out)


def scored_in_training_mode(model, optimizer, batches, held_out):
    trained(model, optimizer, batches)
    with torch.no_grad():
        right = [model(**b).logits.argmax(-1) == b["labels"] for b in held_out]
    return torch.cat(right).float().mean().item()


def leaking(model, optimizer, batches, held_out):
    """It trains on what it is scored on."""
    trained(model, optimizer, [*batches, *held_out])
    return scored(model, held_out)


def with_gradients(model, optimizer, batches, held_out):
    trained(model, optimizer, batches)
    model.eval()
    right = [model(**b).logits.argmax(-1) == b["labels"] for b in held_out]
    return torch.cat(right).float().mean().item()


def per_batch(model, optimizer, batches, held_out):
    trained(model, optimizer, batches)
    return scored(model, held_out) * 11 / len(held_out)


def straight(curve, goal):
    curve = sorted(curve)
    if curve[0][1] >= goal:
        return curve[0][0]
    for (few, low), (many, high) in itertools.pairwise(curve):
        if low < goal <= high:
            return few + (goal - low) / (high - low) * (many - few)
    return None


def first_point(curve, goal):
    return next((n for n, score in sorted(curve) if score >= goal), None)


def adapters(config, rank):
    return config.num_hidden_layers * 6 * rank * config.hidden_size


def head(config):
    return config.hidden_size * config.num_labels + config.num_labels


WRONG = [
    ("12.1", adapters, "The head is trained as well"),
    ("12.1", lambda c, r: adapters(c, r) + head(c) - c.num_labels, "a bias too"),
    ("12.1", lambda c, r: adapters(c, r) // 3 + head(c), "Three matrices per layer"),
    ("12.1", lambda c, r: adapters(c, r) // 2 + head(c), "two matrices, A and B"),
    (
        "12.1",
        lambda c, r: 6 * r * c.hidden_size + head(c),
        "That is one layer",
    ),
    ("12.1", lambda c, r: 113_672, "peft counts"),
    ("12.2", every_gradient_off, "nothing can learn"),
    ("12.2", only_in_evaluation, "of the body still gets a gradient"),
    ("12.2", only_the_last_layer, "pre_classifier.weight belongs to the head"),
    ("12.2", only_switching_off, "everything frozen"),
    ("12.3", no_zero_grad, "Which gradients does the second step use?"),
    ("12.3", leaking, "You train on the rows of held_out too"),
    ("12.3", never_in_training_mode, "arrives in evaluation mode"),
    ("12.3", scored_in_training_mode, "measured in training mode"),
    ("12.3", with_gradients, "needs no gradients"),
    ("12.3", per_batch, "Of 11 held-out rows"),
    ("12.3", lambda *given: 1.0, "Give every batch"),
    ("12.4", ["food"] * 36, "Expected a function"),
    ("12.4", lambda texts: ["food"] * len(texts), "are needed"),
    ("12.4", lambda texts: [0] * len(texts), "none of the names"),
    ("12.4", lambda texts: ["food"], "came out"),
    ("12.5", straight, "on a plain axis"),
    ("12.5", first_point, "expected"),
    ("12.5", lambda curve, goal: None, "it is reached"),
    ("12.5", lambda curve, goal: curve[-1][0], "expected"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, number, answer, words):
    check(number, answer)
    out = said(capsys)
    assert_pointer(out, number, words)


def topics():
    rows = table(NOTEBOOKS / "data" / "topics.csv")
    return [row["text"] for row in rows], [row["label"] for row in rows]


def test_topics_learned_by_heart_or_by_words_are_not_enough(capsys):
    texts, labels = topics()
    by_heart = dict(zip(texts, labels, strict=True))
    check("12.4", lambda given: [by_heart.get(x, "food") for x in given])
    assert "are needed" in said(capsys)
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    check("12.4", lambda given: words.predict(given).tolist())
    assert "are needed" in said(capsys)


def test_a_label_that_depends_on_its_neighbours_is_noticed(capsys):
    answers = {t: x for x, part in solved.HELD_BACK.items() for t in part}
    check(
        "12.4", lambda given: [answers[x] if len(given) > 1 else "food" for x in given]
    )
    assert "alone than among others" in said(capsys)


def by_hand(model):
    """Another right answer to 12.2."""
    inside = {id(weight) for weight in model.base_model.parameters()}
    for weight in model.parameters():
        weight.requires_grad = id(weight) not in inside


def by_prefix(model):
    """And a third, by names."""
    model.requires_grad_(True)
    for name, weight in model.named_parameters():
        weight.requires_grad = not name.startswith(model.base_model_prefix + ".")
    return model


def another_loop(model, optimizer, batches, held_out):
    trained(model, optimizer, batches)
    return scored(model, held_out)


def by_names(config, rank):
    """Another right answer to 12.1, by asking the shapes one by one."""
    total = sum((config.hidden_size + 1) for _ in range(config.num_labels))
    for _ in range(config.num_hidden_layers):
        for _ in ("query", "key", "value"):
            total += rank * config.hidden_size  # A
            total += config.hidden_size * rank  # B
    return total


def with_numpy(curve, goal):
    import numpy as np

    sizes, scores = map(np.array, zip(*sorted(curve), strict=True))
    reached = np.flatnonzero(scores >= goal)
    if not len(reached):
        return None
    at = reached[0]
    if at == 0:
        return int(sizes[0])
    between = slice(at - 1, at + 1)
    return float(np.exp(np.interp(goal, scores[between], np.log(sizes[between]))))


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("12.1", solved.lora_parameters),
        ("12.1", by_names),
        ("12.2", solved.freeze_body),
        ("12.2", by_hand),
        ("12.2", by_prefix),
        ("12.3", solved.train_and_score),
        ("12.3", another_loop),
        ("12.5", solved.examples_needed),
        ("12.5", with_numpy),
    ],
)
def test_right_answers_written_differently_are_accepted(capsys, number, answer):
    check(number, answer)
    assert said(capsys) == f"{number}: right."


@pytest.mark.model
def test_two_ways_to_learn_the_topics_are_accepted(capsys, pipe):
    texts, labels = topics()
    extract = pipe("feature-extraction")
    tokenizer, encoder = extract.tokenizer, extract.model
    capsys.readouterr()
    check("12.4", solved.topic_classifier(texts, labels, tokenizer, encoder))
    assert said(capsys) == "12.4: right."

    def mean(text):
        return torch.tensor(extract(text))[0].mean(dim=0)

    vectors = torch.nn.functional.normalize(torch.stack([*map(mean, texts)]), dim=1)
    names = sorted(set(labels))
    centres = torch.stack(
        [vectors[[x == name for x in labels]].mean(dim=0) for name in names]
    )

    def nearest(given):
        return [names[int((centres @ mean(text)).argmax())] for text in given]

    check("12.4", nearest)
    assert said(capsys) == "12.4: right."


def test_the_sentences_held_back_are_in_no_file():
    texts, labels = topics()
    assert set(labels) == set(solved.HELD_BACK)
    held_back = [text for part in solved.HELD_BACK.values() for text in part]
    assert len(set(held_back)) == 36
    assert not set(held_back) & set(texts)
