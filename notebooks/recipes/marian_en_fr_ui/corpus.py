"""Pairs of English and French messages, out of the catalogues of published software.

A package is fetched as data: downloaded at a fixed version, checked against its
sha256, read, never installed, and none of its code runs. `packages.toml` lists them.
`train.py` and `score.py` import this file.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "packages.toml"
SEEN = HERE / "seen.txt"  # digests of the test's texts that training has too
LONGEST = 300  # characters; longer messages are help texts

Pair = tuple[str, str]


# --- fetching -------------------------------------------------------------------


def packages(use: str) -> list[dict]:
    """Return the rows of packages.toml for a use: "train", "validate" or "test"."""
    rows = tomllib.loads(PACKAGES.read_text("utf-8"))["packages"]
    return [row for row in rows if row.get("use", "train") == use]


def fetched(row: dict, folder: Path) -> Path:
    """Return the archive of a package in `folder`; download it where it is not yet.

    pip and npm fetch, each from the registry that it is set up for. Raises
    FileNotFoundError where a package cannot be had, ValueError where it is another.
    """
    path = folder / row["file"]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".whl":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += [
                "--only-binary=:all:",
                "--platform=any",
                "--python-version=3.14",
            ]
            command += ["--ignore-requires-python", "--dest", str(folder)]
            command.append(f"{row['name']}=={row['version']}")
        else:
            command = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
            command.append(f"{row['name']}@{row['version']}")
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if not path.exists():
            raise FileNotFoundError(
                f"{path.name} in {folder}; fetching it failed: {done.stderr[-300:]}"
            )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != row["sha256"]:
        raise ValueError(f"{path.name} was refused: its sha256 is {found}")
    return path


class Archive:
    """A wheel or an npm package: its names, and the bytes of a file, in memory."""

    def __init__(self, path: Path) -> None:
        if path.suffix == ".whl":
            self._zip = zipfile.ZipFile(path)
            self.names = {n for n in self._zip.namelist() if not n.endswith("/")}
            self.read = self._zip.read
        else:
            self._tar = tarfile.open(path)  # noqa: SIM115
            members = {m.name: m for m in self._tar if m.isfile()}
            self.names = set(members)
            self.read = lambda name: self._tar.extractfile(members[name]).read()

    def text(self, name: str) -> str:
        return self.read(name).decode("utf-8", "replace")


# --- reading catalogues: each reader yields (English, French) --------------------

# "fr" as a part of a path: locale/fr/, fr_FR.po, messages_fr.properties, fr-<hash>.json
FRENCH = re.compile(r"(?<![A-Za-z])fr(?:[_-](?:FR|fr))?(?![A-Za-z_-])(?!-[A-Z])")
HASHED = re.compile(r"(?<![A-Za-z])fr-[0-9a-f]{32}(?=\.json$)")


def read(path: Path) -> Iterator[Pair]:
    """Yield the pairs of all French catalogues in a package."""
    archive = Archive(path)
    names = archive.names
    if path.name.startswith("typescript-"):
        yield from _typescript(archive)
    for name in sorted(names):
        stem, _, kind = name.rpartition(".")
        if name.startswith("package/translations/extensions/"):
            contents = json.loads(archive.text(name))["contents"]
            yield from contents.get("bundle", {}).items()
        if HASHED.search(name):
            english = re.compile(re.escape(HASHED.sub("en-", name)[: -len(".json")]))
            twins = [n for n in names if english.match(n) and n.endswith(".json")]
            if twins:
                yield from _json(archive.text(twins[0]), archive.text(name))
        if not FRENCH.search(name):
            continue
        try:
            if kind == "po":
                # Some tools write dates that babel refuses; nothing here needs them.
                body = re.sub(rb'(?m)^"[A-Za-z-]+-Date:.*\n', b"", archive.read(name))
                yield from _gettext(read_po(io.BytesIO(body)))
            elif kind == "mo" and f"{stem}.po" not in names:
                yield from _gettext(read_mo(io.BytesIO(archive.read(name))))
            elif kind in ("json", "properties", "js", "mjs", "ts"):
                twin = _twin(name, names)
                if twin and not {f"{stem}.po", f"{stem}.mo"} & names:
                    reader = {"json": _json, "properties": _properties}.get(kind, _js)
                    yield from reader(archive.text(twin), archive.text(name))
        except (ValueError, TypeError, LookupError) as error:
            print(f"  {path.name}: {name} was left out: {error!r:.90}")


def _gettext(catalogue) -> Iterator[Pair]:
    for message in catalogue:
        if message.fuzzy or not message.id:
            continue
        if isinstance(message.id, str):
            yield message.id, message.string
        else:
            yield message.id[0], message.string[0]
            yield message.id[1], message.string[1]


def _twin(name: str, names: set[str]) -> str | None:
    """Return the English file that lies beside a French one."""
    english = [FRENCH.sub(code, name) for code in ("en", "en_US", "en-US", "en_EN")]
    english += [re.sub(r"[_.-]fr(?=\.)", "", name), FRENCH.sub("en_GB", name)]
    return next((n for n in english if n != name and n in names), None)


def _leaves(node, path=()) -> Iterator[tuple[tuple, str]]:
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict | list):
        inside = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in inside:
            yield from _leaves(value, (*path, key))


def _join(english: dict, french: dict) -> Iterator[Pair]:
    yield from ((english[key], french[key]) for key in english if key in french)


def _json(english: str, french: str) -> Iterator[Pair]:
    yield from _join(*(dict(_leaves(json.loads(t))) for t in (english, french)))


def _properties(english: str, french: str) -> Iterator[Pair]:
    def parse(text: str) -> dict:
        entries = re.findall(r"^([^#!=:\s][^=:\s]*)\s*[=:]\s*(.*)$", text, re.MULTILINE)
        return {key: _unescape(value).replace("''", "'") for key, value in entries}

    yield from _join(parse(english), parse(french))


def _unescape(text: str) -> str:
    def character(match: re.Match) -> str:
        if len(code := match[1]) == 5:
            return chr(int(code[1:], 16))
        return {"n": "\n", "t": " ", "r": ""}.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", character, text)


ENTRY = re.compile(
    r"""^\s*(?:[\w$.]+\[)?["']?([\w$.-]+)["']?\]?\s*[:=]\s*"""
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*[,;]?\s*$"""
)
OPENS = re.compile(r"""^\s*["']?([\w$.-]+)["']?\s*[:=]\s*[{\[]\s*$""")


def _js(english: str, french: str) -> Iterator[Pair]:
    """Read `key: "text"` lines of a JavaScript object; nothing is executed."""

    def parse(text: str) -> dict:
        entries, path = {}, []
        for line in text.splitlines():
            if match := ENTRY.match(line):
                entries[(*path, match[1])] = _unescape(match[2][1:-1])
            elif match := OPENS.match(line):
                path.append(match[1])
            elif re.match(r"^\s*[}\]]\s*[,;)]*\s*$", line):
                path = path[:-1]
            elif re.search(r"[{\[]\s*$", line):
                path.append("")
        return entries

    yield from _join(parse(english), parse(french))


def _typescript(archive: Archive) -> Iterator[Pair]:
    """The compiler's source holds each message with its key."""
    source = archive.text("package/lib/typescript.js")
    entries = re.findall(r'diag\(\d+, .{1,20}?, ("[^"]+"), ("(?:[^"\\]|\\.)*")', source)
    english = {json.loads(key): json.loads(text) for key, text in entries}
    name = "package/lib/fr/diagnosticMessages.generated.json"
    yield from _join(english, json.loads(archive.text(name)))


def read_vscode(source: Path, pack: Path) -> Iterator[Pair]:
    """Pair VS Code's messages with its French pack, module by module.

    The two are two months apart: a module whose number of messages has changed is
    left out, and `clean` refuses what no longer has the same placeholders.
    """
    archive = Archive(source)
    folder = "package/lib/vscode/out"
    keys = json.loads(archive.text(f"{folder}/nls.keys.json"))
    messages = iter(json.loads(archive.text(f"{folder}/nls.messages.json")))
    english = {name: [next(messages) for _ in inside] for name, inside in keys}
    text = Archive(pack).text("package/translations/main.i18n.json.js")
    modules = re.findall(r'^\t"(vs/[^"]+)": (\[.*?^\])', text, re.DOTALL | re.MULTILINE)
    for name, body in modules:
        french = json.loads(re.sub(r"\b(undefined|null)(?=,?\n)", "null", body))
        if len(french) == len(english.get(name, ())):
            yield from zip(english[name], french, strict=True)


# --- cleaning -------------------------------------------------------------------

PLACEHOLDER = re.compile(
    r"%\(\w+\)[#0\- +]?[\d.]*[a-z]|%(?:\d\$)?[sdifr@](?![a-z])|\$?\{+[^{}]*\}+"
    r"|__\w+__|%\w+%|</?[a-zA-Z][^<>]*>|\$\w+|https?://\S+"
)
ENGLISH_WORDS = {"the", "of", "is", "are", "this", "that", "with", "your", "you"}
ENGLISH_WORDS |= {"to", "and", "for", "not", "be", "has"}
FRENCH_WORDS = {"le", "la", "les", "de", "du", "des", "un", "une", "est", "sont"}
FRENCH_WORDS |= {"ce", "cette", "avec", "votre", "vous", "et"}


def tidy(text: str) -> str:
    """Write a message in one line, with plain apostrophes and plain spaces."""
    text = text.replace("\u2019", "'").replace("\u00ad", "").replace("&&", "")
    text = re.sub(r"(?<=\w)`[^`]+`$", "", text)  # a note on the context
    return re.sub(r"\s+", " ", text).strip()


def french_spaces(text: str) -> str:
    """Put the space that French has before a high sign, where it was left out."""
    text = re.sub(r"(?<=[\w)}»\"'])([?!])(?=\s|$)", r" \1", text)
    text = re.sub(r"(?<=[A-Za-zÀ-ÿ)}»\"])([:;])(?=\s|$)", r" \1", text)
    return re.sub(r"«(?=\S)", "« ", re.sub(r"(?<=\S)»", " »", text))


def placeholders(text: str) -> Counter:
    """Return what a translation must keep as it is, and how often it stands there."""
    return Counter(re.sub(r"\s", "", p) for p in PLACEHOLDER.findall(text))


def good(english: str, french: str) -> bool:
    """Whether a pair looks like a message and its translation."""
    if not 2 <= len(english) <= LONGEST or not 2 <= len(french) <= 1.5 * LONGEST:
        return False
    if sum(c.isalpha() and c < "\u0250" for c in english) < max(2, len(english) * 0.4):
        return False
    if not 0.35 < (len(french) + 10) / (len(english) + 10) < 2.6:
        return False
    if any(c > "\u024f" and c.isalpha() for c in english + french):
        return False
    if set(placeholders(english)) != set(placeholders(french)):
        return False
    if len(re.findall(r"[<{]", english)) > 6 or re.search(r"plural,|select,", english):
        return False
    words = [set(re.findall(r"[a-zà-ÿ]+", t.lower())) for t in (english, french)]
    if len(words[1] & ENGLISH_WORDS) > len(words[1] & FRENCH_WORDS):
        return False
    return len(words[0] & FRENCH_WORDS) <= len(words[0] & ENGLISH_WORDS) + 1


def clean(raw: Iterator[Pair]) -> list[Pair]:
    """Return tidy pairs, each once, without those that are not translations."""
    kept = {}
    for english, french in raw:
        if isinstance(english, str) and isinstance(french, str):
            pair = tidy(english), french_spaces(tidy(french))
            if good(*pair):
                kept[pair] = None
    return list(kept)


def merged(by_package: dict[str, list[Pair]], most: int = 2) -> list[Pair]:
    """Return the pairs of all packages; of one English text the `most` most usual.

    A message that stays as it is (OK, Version) is believed where two packages agree.
    """
    votes = defaultdict(Counter)
    for pairs in by_package.values():
        for english, french in pairs:
            votes[english][french] += 1
    chosen = []
    for english, answers in votes.items():
        if answers[english] == 1:
            del answers[english]
        chosen += [(english, french) for french, _ in answers.most_common(most)]
    return chosen


def digest(text: str) -> str:
    """Return a short name of a text that forgets its case and punctuation."""
    letters = " ".join(re.findall(r"\w+", text.casefold()))
    return hashlib.sha256(letters.encode()).hexdigest()[:12]


def load(use: str, folder: Path) -> dict[str, list[Pair]]:
    """Return the clean pairs of every package of a use, by its name."""
    paths = {row["name"]: fetched(row, folder) for row in packages(use)}
    found = {name: clean(read(path)) for name, path in paths.items()}
    if "code-server" in paths:
        pack = paths["@codingame/monaco-vscode-language-pack-fr"]
        found["code-server"] = clean(read_vscode(paths["code-server"], pack))
    return found
