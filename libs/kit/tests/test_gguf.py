import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.kit import gguf


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _entry(name: str, value: int | str | list[int]) -> bytes:
    if isinstance(value, str):
        return _string(name) + struct.pack("<I", 8) + _string(value)
    if isinstance(value, list):
        return _string(name) + struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
    return _string(name) + struct.pack("<II", 4, value)


def gguf_bytes(kv_heads: int | list[int] = 2, tensor_elements: int = 64) -> bytes:
    """A whole file: llama with 3 layers, 4 heads of 16, and one tensor of 32-bit floats."""
    entries: dict[str, int | str | list[int]] = {
        "general.architecture": "llama",
        "llama.block_count": 3,
        "llama.embedding_length": 64,
        "llama.context_length": 512,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": kv_heads,
    }
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries))
    header += b"".join(_entry(name, value) for name, value in entries.items())
    header += _string("t") + struct.pack("<IQIQ", 1, tensor_elements, 0, 0)
    return header + bytes(-len(header) % 32) + bytes(4 * tensor_elements)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_size_context_and_kv_bytes_are_read_from_the_header(tmp_path: Path) -> None:
    content = gguf_bytes()
    model = gguf.read(_write(tmp_path / "m.gguf", content))
    # keys and values, 2 bytes each: 2 * (16 + 16) * 2 heads * 3 layers
    assert (len(content), 384, 512) == (model.size_bytes, model.kv_bytes_per_token, model.trained_context_tokens)


def test_kv_heads_may_differ_from_layer_to_layer(tmp_path: Path) -> None:
    model = gguf.read(_write(tmp_path / "m.gguf", gguf_bytes(kv_heads=[1, 2, 4])))
    assert 2 * 32 * 7 == model.kv_bytes_per_token


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 9), "GGUF version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**40), "is corrupt"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**60), "is corrupt"),
        (gguf_bytes()[:-1], "is cut off"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(content: bytes, why: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "m.gguf", content)
    with pytest.raises(gguf.BadModelFile, match=why) as caught:
        gguf.read(path)
    assert str(path) in str(caught.value)


@given(at=st.integers(0, 300), junk=st.binary(min_size=1, max_size=16))
def test_no_damage_to_the_header_makes_anything_but_a_clear_refusal(
    at: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(gguf_bytes())
    content[at : at + len(junk)] = junk
    path = _write(tmp_path_factory.getbasetemp() / "damaged.gguf", bytes(content))
    try:
        gguf.read(path)
    except gguf.BadModelFile as error:
        assert str(path) in str(error)


def test_every_part_of_a_split_model_is_checked_and_counted(tmp_path: Path) -> None:
    first = _write(tmp_path / "m-00001-of-00002.gguf", gguf_bytes())
    with pytest.raises(gguf.BadModelFile, match=r"m-00002-of-00002\.gguf"):
        gguf.read(first)
    _write(tmp_path / "m-00002-of-00002.gguf", gguf_bytes())
    assert 2 * len(gguf_bytes()) == gguf.read(first).size_bytes
