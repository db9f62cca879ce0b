"""Chapter 01: what each word does to a sentiment."""

from __future__ import annotations


def token_effects(classifier, text: str) -> tuple[list[str], list[float]]:
    """Return the words of a text and, for each, how much the score of POSITIVE falls
    when that word is left out: a float in [-1, 1], above 0 where the word speaks for
    POSITIVE.

    `classifier` is a text-classification pipeline. The method is called occlusion
    (Zeiler and Fergus, 2014, on pictures). Used in notebook 01.
    """
    words = text.split()
    without = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    answers = classifier([text, *without], top_k=None)
    whole, *rest = [
        next(a["score"] for a in answer if a["label"] == "POSITIVE")
        for answer in answers
    ]
    return words, [whole - score for score in rest]


def plot_sentiment(classifier, text: str) -> None:
    """Draw a text's tokens, the score of each label, and what each word does.

    `classifier` is a sentiment pipeline, `text` one sentence. Used in notebook 01.
    """
    import matplotlib.pyplot as plt

    words, effects = token_effects(classifier, text)
    scores = {a["label"]: a["score"] for a in classifier(text, top_k=None)}
    height = 1.6 + 0.26 * len(words)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.5, height), width_ratios=[1, 2]
    )
    tokens = classifier.tokenizer.tokenize(text)
    figure.suptitle("tokens: " + " | ".join(tokens), fontsize=10, y=1.05, wrap=True)
    labels = sorted(scores)
    bars = left.bar(labels, [scores[label] for label in labels], color=["C1", "C0"])
    left.bar_label(bars, fmt="%.3f")
    left.set(ylim=(0, 1.1), title="score of each label")
    left.tick_params(axis="x", labelsize=9)
    colours = ["C0" if effect >= 0 else "C1" for effect in effects]
    rows = range(len(words))
    bars = right.barh(rows, effects, color=colours)
    right.bar_label(bars, fmt="%+.3f", padding=3)
    right.set_yticks(rows, words)
    right.invert_yaxis()
    right.axvline(0, color="black", linewidth=0.8)
    limit = max(0.05, *(abs(effect) for effect in effects)) * 1.4
    right.set(xlim=(-limit, limit), xlabel="left: for NEGATIVE, right: for POSITIVE")
    right.set_title("score of POSITIVE: whole minus without the word")
    plt.show()
