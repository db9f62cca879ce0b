"""Pictures of chapter 13: a service under load, a batch job, confidence over time."""

from __future__ import annotations

MARKS = ("o-", "s--")


def plot_load(rows: list[dict]) -> None:
    """Show, for each server, the longest wait for a first token and the tokens per
    second of all clients together, against the number of clients.

    A row has `server` (its name), `clients`, `first` (seconds) and `per_second`. Used
    in notebook 13.
    """
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
    names = dict.fromkeys(row["server"] for row in rows)  # in their order
    for mark, name in zip(MARKS, names, strict=True):
        own = [row for row in rows if row["server"] == name]
        clients = [row["clients"] for row in own]
        left.plot(clients, [row["first"] for row in own], mark, label=name)
        right.plot(clients, [row["per_second"] for row in own], mark, label=name)
    left.set(ylabel="longest wait for a first token, s", ylim=(0, None))
    right.set(ylabel="tokens per second, all clients", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="clients at once", xticks=clients)
    left.legend()
    plt.show()


def plot_job(
    notes: list[dict[str, str]], compared: list[dict[str, str]], price: float
) -> None:
    """Show over minutes how many texts a job had written, what memory it took and what
    a million would cost at its pace so far, and how fast more workers and nodes are.
    A dashed line stands where the job was started again.

    A note has `run` (the number of the start), `seconds`, `texts` and `gigabytes`; what
    is compared has `nodes`, `workers` and `texts_per_second`; `price` is in dollars per
    hour. Used in notebook 13.
    """
    import matplotlib.pyplot as plt

    seconds = [float(note["seconds"]) for note in notes]
    minutes = [value / 60 for value in seconds]
    texts = [int(note["texts"]) for note in notes]
    cost = [
        price / 3600 * value / count * 1e6 if count else float("nan")
        for value, count in zip(seconds, texts, strict=True)
    ]
    _, ((written, memory), (money, ways)) = plt.subplots(2, 2, figsize=(7, 5.2))
    written.plot(minutes, [count / 1000 for count in texts])
    written.set(xlabel="minutes", ylabel="texts written, thousands", ylim=(0, None))
    memory.plot(minutes, [float(note["gigabytes"]) for note in notes], "C1")
    memory.set(xlabel="minutes", ylabel="memory of all processes, GB", ylim=(0, 4.5))
    money.plot(minutes, cost, "C2")
    money.set(xlabel="minutes", ylabel="dollars per million texts", ylim=(0, None))
    again = [
        minute
        for minute, before, note in zip(minutes[1:], notes, notes[1:], strict=False)
        if before["run"] != note["run"]
    ]
    for axes in (written, memory, money):
        for minute in again:
            axes.axvline(minute, color="C5", linestyle="--")
            axes.text(minute, 0, " started again", color="C5")
    names = [
        f"{row['workers']} worker{'s' * (int(row['workers']) > 1)}"
        + (f",\n{row['nodes']} nodes" if int(row["nodes"]) > 1 else "")
        for row in compared
    ]
    ways.bar(names, [float(row["texts_per_second"]) for row in compared], color="C4")
    ways.set(ylabel="texts per second, at work")
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
