"""French catalogues out of packages: each reader yields (English, French) pairs.

Packages are read as data, in memory: nothing is unpacked, and none of their code runs.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

Pair = tuple[str, str]


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
