"""The words of `docs/glossary.md` hold in the whole repository.

Identifiers are checked where they are defined: a library's own names are not ours to choose. Text is checked in
comments, docstrings and pages, and in the string literals of source, which people read as messages.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = [
    "bench",
    "charts",
    "deploy/images",
    "deploy/local",
    "docs",
    "e2e",
    "libs/contracts",
    "libs/gateway-filter",
    "libs/kit",
    "protos",
    "services/app-deployer",
    "services/ark-engine",
    "services/endpoint-router",
    "services/metrics",
    "services/model-manager",
    "services/openai-proxy",
    "services/token-quota",
    "tests",
    "tools",
    "",
]
"""Directories, each a test of its own; the last one is the files at the top and whatever no other part holds."""
BANNED_TEXT = re.compile(
    r"\b(tell|tells|told|untold|telling|say|says|said|saying|ask|asks|asked|asking|hear|hears|heard|learns?|learned|"
    r"news|nobody|somebody|everybody|whoever|under way|given up|for ever|mend|mends|mended)\b",
    re.IGNORECASE,
)
BANNED_IN_NAMES = re.compile(
    r"tells?|told|untold|teller|says?|said|ask|asks|asked|asker|hears?|heard|news|world|leaves?|left|places?|nobody|"
    r"somebody|everybody|whoever|mend|mended"
)
"""As a word of a name: `told` in `_told_before`, but not in `stoldt`."""
BANNED_NAMES = frozenset({"one", "ones"})
"""As a whole name: a variable is named after the thing that it holds."""
EXEMPT = re.compile(
    r"_pb2\.pyi?$|(^|/)golden/|^uv\.lock$|/go\.(mod|sum)$|^LICENSE$|^docs/glossary\.md$|^tests/test_vocabulary\.py$"
)
"""Generated files, and those that list the words."""
TEXT_FILES = {".md", ".yaml", ".yml", ".tpl", ".txt", ".sh", ".c", ".proto", ".toml", ".json", ".go", ".rs", ""}


def _files(part: str) -> list[str]:
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    files = [file for file in listed if file and not EXEMPT.search(file) and (ROOT / file).is_file()]
    if part:
        return [file for file in files if file.startswith(f"{part}/")]
    return [file for file in files if not any(file.startswith(f"{other}/") for other in PARTS if other)]


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _bad_name(name: str) -> bool:
    return name in BANNED_NAMES or any(BANNED_IN_NAMES.fullmatch(word) for word in _words(name))


def _defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Also strings that stand as statements: docstrings of constants and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def _string_literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _python(file: str, source: str) -> Iterator[str]:
    tree = ast.parse(source)
    if _bad_name(Path(file).stem):
        yield f"{file}: file name"
    for line, name in _defined_names(tree):
        if _bad_name(name):
            yield f"{file}:{line}: name {name}"
    texts = _docstrings(tree) if "/tests/" in f"/{file}" or file.startswith("e2e/") else _string_literals(tree)
    for line, text in (*texts, *_comments(source)):
        for found in BANNED_TEXT.finditer(text):
            yield f"{file}:{line}: {found.group()!r} in {_around(text, found)!r}"


def _lua(file: str, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), 1):
        code = re.sub(r'"[^"]*"', "", line.split("--")[0])
        for name in re.findall(r"[A-Za-z_]\w*", code):
            if _bad_name(name):
                yield f"{file}:{number}: name {name}"
    yield from _text(file, source)


def _text(file: str, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), 1):
        for found in BANNED_TEXT.finditer(line):
            yield f"{file}:{number}: {found.group()!r} in {_around(line, found)!r}"


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - 30) : found.end() + 30].strip()


def findings(part: str) -> list[str]:
    """Each banned word of a part, with its file and line."""
    found: list[str] = []
    for file in _files(part):
        path = ROOT / file
        if path.suffix == ".py":
            found += _python(file, path.read_text())
        elif path.suffix == ".lua":
            found += _lua(file, path.read_text())
        elif path.suffix in TEXT_FILES and not (path.suffix in {".yaml", ".yml", ".json"} and "/tests/" in file):
            found += _text(file, path.read_text(errors="replace"))
    return sorted(set(found))


@pytest.mark.parametrize("part", PARTS)
def test_no_word_that_the_glossary_replaces(part: str) -> None:
    found = findings(part)
    assert not found, f"{len(found)} words:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def told(): ...", "name told"),
        ("class WorldView: ...", "name WorldView"),
        ("for one in things: ...", "name one"),
        ('"""What it says."""', "'says'"),
        ("x = 1  # nobody reads it", "'nobody'"),
        ('MESSAGE = "given up after 3 s"', "'given up'"),
    ],
)
def test_a_banned_word_is_found_wherever_it_is_written(source: str, expected: str) -> None:
    assert expected in "\n".join(_python("x.py", source))


@pytest.mark.parametrize("source", ["replace = 1", "one_replica = 1", "x = thing.left", "# the golden goldtold7"])
def test_other_words_and_the_names_of_libraries_pass(source: str) -> None:
    assert not list(_python("x.py", source))
