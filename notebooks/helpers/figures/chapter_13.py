"""Pictures of chapter 13: a service under load, a batch job, drift."""

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


def plot_job(notes: list[dict[str, str]], compared: list[dict[str, str]]) -> None:
    """Show over minutes how many texts a job had written and what memory it took, and
    how fast more workers and nodes are. A dashed line stands where the job was started
    again.

    A note has `run` (the number of the start), `seconds`, `texts` and `gigabytes`; what
    is compared has `nodes`, `workers` and `texts_per_second`. Used in notebook 13.
    """
    import matplotlib.pyplot as plt

    minutes = [float(note["seconds"]) / 60 for note in notes]
    _, (written, memory, ways) = plt.subplots(1, 3, figsize=(9, 3))
    written.plot(minutes, [int(note["texts"]) / 1000 for note in notes])
    written.set(xlabel="minutes", ylabel="texts written, thousands", ylim=(0, None))
    memory.plot(minutes, [float(note["gigabytes"]) for note in notes], "C1")
    memory.set(xlabel="minutes", ylabel="memory of all processes, GB", ylim=(0, 4.5))
    again = [
        minute
        for minute, before, note in zip(minutes[1:], notes, notes[1:], strict=False)
        if before["run"] != note["run"]
    ]
    for axes in (written, memory):
        for minute in again:
            axes.axvline(minute, color="C5", linestyle="--")
            place = {"xytext": (4, 12), "textcoords": "offset points"}
            axes.annotate("started again", (minute, 0), color="C5", **place)
    names = [
        f"{row['workers']} worker{'s' * (int(row['workers']) > 1)}"
        + (f",\n{row['nodes']} nodes" if int(row["nodes"]) > 1 else "")
        for row in compared
    ]
    ways.bar(names, [float(row["texts_per_second"]) for row in compared], color="C4")
    ways.tick_params(axis="x", labelsize=9)
    ways.set(ylabel="texts per second, at work")
    plt.show()


def plot_drift(weeks: dict[str, list[float]], alarm: float) -> None:
    """Show how the mean scores of many weeks spread, for each kind of texts, and the
    score below which there is an alarm. Used in notebook 13.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(8, 2.6))
    for (kind, means), hatch in zip(weeks.items(), ("", "//"), strict=True):
        axes.hist(means, bins=25, alpha=0.7, label=kind, hatch=hatch)
    axes.axvline(alarm, color="C5", linestyle="--", label=f"alarm below {alarm:.2f}")
    axes.set(xlabel="mean score of a week", ylabel="weeks of a thousand")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    plt.show()
