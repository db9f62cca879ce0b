"""Pictures of chapter 13: a service under load, a batch job, confidence over time."""

from __future__ import annotations

MARKS = ("o-", "s--")


def plot_load(servers: dict[str, list[dict[str, float]]]) -> None:
    """Show, for each server, the longest wait for a first token and the tokens per
    second of all clients together, against the number of clients.

    A row of a server has `clients`, `first` (seconds) and `per_second`. Used in
    notebook 13.
    """
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
    for mark, (name, rows) in zip(MARKS, servers.items(), strict=True):
        clients = [row["clients"] for row in rows]
        left.plot(clients, [row["first"] for row in rows], mark, label=name)
        right.plot(clients, [row["per_second"] for row in rows], mark, label=name)
    left.set(ylabel="longest wait for a first token, s", ylim=(0, None))
    right.set(ylabel="tokens per second, all clients", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="clients at once", xticks=clients)
    left.legend()
    plt.show()


def plot_job(notes: list[dict[str, str]]) -> None:
    """Show how many texts a job had written and what memory it took, over minutes.

    A note has `seconds`, `texts` and `gigabytes`. Used in notebook 13.
    """
    import matplotlib.pyplot as plt

    minutes = [float(note["seconds"]) / 60 for note in notes]
    _, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6))
    left.plot(minutes, [int(note["texts"]) / 1000 for note in notes])
    left.set(xlabel="minutes", ylabel="texts written, thousands", ylim=(0, None))
    right.plot(minutes, [float(note["gigabytes"]) for note in notes], "C1")
    right.set(xlabel="minutes", ylabel="memory of all processes, GB", ylim=(0, None))
    plt.show()


def plot_confidence(scores: list[float], change: int, window: int = 16) -> None:
    """Show a running mean of a classifier's scores, and where its texts changed.

    `change` is the number of the first text of the other kind. Used in notebook 13.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    means = np.convolve(scores, np.ones(window) / window, mode="valid")
    _, axes = plt.subplots(figsize=(6.5, 2.6))
    axes.plot(np.arange(window, len(scores) + 1), means)
    axes.axvline(change, color="C5", linestyle="--")
    axes.text(change + 2, max(means), "other texts arrive", va="top")
    axes.set(xlabel="texts answered", ylabel=f"mean score of the last {window}")
    plt.show()
