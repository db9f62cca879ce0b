"""The exercises of notebook 08: for each its solution, then its checker."""

from __future__ import annotations

import math
import sqlite3

from . import Wrong, exercise


def any_of(column: str, values: list[str]) -> str:
    """The solution of 08.1: every quotation mark inside a value is doubled."""
    quoted = [f"'{value.replace(chr(39), chr(39) * 2)}'" for value in values]
    return f"{column} IN ({', '.join(quoted)})"


@exercise(
    "08.1",
    "In SQL a text stands between single quotation marks: place IN ('Kyoto').",
    "A quotation mark inside a text is written twice: 'O''Hara'.",
    'value.replace("\'", "\'\'"), then join the quoted values with commas.',
)
def check_any_of(answer) -> None:
    places = ["Kyoto", "Cork", "O'Hara", "x' OR 1=1 --", "'", "Kraków"]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE things (place TEXT)")
    database.executemany("INSERT INTO things VALUES (?)", [(p,) for p in places])
    for wanted in (["Kyoto"], ["Kyoto", "Cork"], ["O'Hara"], ["x' OR 1=1 --"], ["'"]):
        condition = answer("place", list(wanted))
        if not isinstance(condition, str):
            raise Wrong(f"Expected a text, the condition; got {condition!r}.")
        try:
            rows = database.execute(f"SELECT place FROM things WHERE {condition}")
            found = sorted(row[0] for row in rows)
        except sqlite3.Error as error:
            raise Wrong(f"For {wanted} it is no SQL ({error}): {condition}") from None
        if found != sorted(wanted):
            raise Wrong(f"For {wanted} the condition {condition} finds {found}.")


def plan(known: dict, wanted: dict) -> tuple[set, set, set]:
    """The solution of 08.2."""
    new = set(wanted) - set(known)
    changed = {key for key in set(wanted) & set(known) if wanted[key] != known[key]}
    return new, changed, set(known) - set(wanted)


@exercise(
    "08.2",
    "set(wanted) - set(known) holds the ids that are in wanted alone.",
    "Ids in both have changed where the two hashes differ.",
)
def check_plan(answer) -> None:
    cases = [
        ({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}),
        ({}, {"a": "1"}),
        ({"a": "1"}, {}),
        ({"a": "1"}, {"a": "1"}),
    ]
    for known, wanted in cases:
        found = answer(dict(known), dict(wanted))
        if not isinstance(found, tuple) or len(found) != 3:
            raise Wrong("Expected three sets: new, changed, gone.")
        names = ("new", "changed", "gone")
        for name, ours, theirs in zip(names, found, plan(known, wanted), strict=True):
            if set(ours) != theirs:
                raise Wrong(
                    f"{known} -> {wanted}: {name} should be {sorted(theirs)}, "
                    f"yours is {sorted(ours)}."
                )


def reciprocal(rankings: list, rights: list) -> float:
    """The solution of 08.3: the mean reciprocal rank."""
    total = 0.0
    for ranking, right in zip(rankings, rights, strict=True):
        ranks = [i for i, key in enumerate(ranking, start=1) if key in right]
        total += 1 / ranks[0] if ranks else 0
    return total / len(rankings)


@exercise(
    "08.3",
    "enumerate(ranking, start=1) gives each key with its rank.",
    "Only the first right key of a ranking counts; a question without one adds 0.",
)
def check_reciprocal(answer) -> None:
    cases = [
        ([["a", "b"]], [{"a"}]),
        ([["a", "b"], ["a", "b"]], [{"a"}, {"b"}]),
        ([["a", "b", "c"], ["x"]], [{"b", "c"}, {"a"}]),
        ([[], ["c", "b", "a"]], [{"a"}, {"a"}]),
    ]
    for rankings, rights in cases:
        found, expected = answer(rankings, rights), reciprocal(rankings, rights)
        if not math.isclose(found, expected, abs_tol=1e-9):
            raise Wrong(
                f"{rankings} with {rights}: expected {expected:.4f}, got {found:.4f}."
            )


def weighted(rankings: list, weights: list, k: int = 60) -> dict:
    """The solution of 08.4."""
    scores: dict = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(ranking, start=1):
            if weight:
                scores[key] = scores.get(key, 0) + weight / (k + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


@exercise(
    "08.4",
    "Take fuse and go through zip(rankings, weights).",
    "weight / (k + rank) instead of 1 / (k + rank).",
    "Skip a ranking of weight 0 altogether, so that its keys do not appear.",
)
def check_weighted(answer) -> None:
    rankings = [["a", "b", "c"], ["c", "d"], ["b"]]
    for weights in ([1, 1, 1], [2, 1, 0.5], [0.1, 3, 1], [1, 0, 1]):
        found, expected = answer(rankings, weights), weighted(rankings, weights)
        if set(found) != set(expected):
            raise Wrong(
                f"With the weights {weights} expected {sorted(expected)}, "
                f"yours has {sorted(found)}."
            )
        for key in expected:
            if not math.isclose(found[key], expected[key], rel_tol=1e-6):
                raise Wrong(
                    f"With the weights {weights}, {key!r} should have "
                    f"{expected[key]:.5f}, yours has {found[key]:.5f}."
                )
        values = list(found.values())
        if values != sorted(values, reverse=True):
            raise Wrong("The best should come first.")


def conflicts(rows: list[dict], years: int = 0) -> dict:
    """The solution of 08.5."""
    said: dict = {}
    for row in rows:
        if row["year"] is not None:
            by_year = said.setdefault(row["thing"], {})
            by_year.setdefault(row["year"], []).append(row["source"])
    return {
        thing: dict(sorted(by_year.items()))
        for thing, by_year in said.items()
        if max(by_year) - min(by_year) > years
    }


@exercise(
    "08.5",
    "Collect {thing: {year: [sources]}} first, and skip rows whose year is None.",
    "Keep a thing where max(by_year) - min(by_year) > years.",
    "dict(sorted(by_year.items())) sorts the years.",
)
def check_conflicts(answer) -> None:
    rows = [
        {"thing": "clock", "source": "sound", "year": 1930},
        {"thing": "clock", "source": "note", "year": 1928},
        {"thing": "clock", "source": "picture", "year": 1930},
        {"thing": "cup", "source": "note", "year": 1954},
        {"thing": "cup", "source": "sound", "year": None},
        {"thing": "kite", "source": "note", "year": 1911},
        {"thing": "kite", "source": "picture", "year": 1811},
        {"thing": "bell", "source": "note", "year": None},
    ]
    for years in (0, 2, 100):
        found, expected = answer([dict(r) for r in rows], years), conflicts(rows, years)
        if not isinstance(found, dict):
            raise Wrong("Expected a dictionary {thing: {year: [sources]}}.")
        if set(found) != set(expected):
            raise Wrong(
                f"With years={years} expected {sorted(expected)}, "
                f"yours has {sorted(found)}."
            )
        for thing in expected:
            if {y: sorted(s) for y, s in found[thing].items()} != {
                y: sorted(s) for y, s in expected[thing].items()
            }:
                raise Wrong(f"For {thing} expected {expected[thing]}.")
            if list(found[thing]) != sorted(found[thing]):
                raise Wrong(f"The years of {thing} should be sorted.")
    if list(answer([dict(r) for r in rows])) != list(conflicts(rows)):
        raise Wrong("Without a second argument, years is 0.")
