"""Secrets on one machine, and those of the API server as it gives them."""

import base64
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from arks.kit.errors import Invalid
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.secrets import LocalSecrets

KEY = Key("team-a", "hub")
ODD = Key("../team-a", "../../hub/.")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("key", [KEY, ODD])
async def test_a_secret_is_read_as_it_was_written_from_a_file_within_the_directory(tmp_path: Path, key: Key) -> None:
    secrets = LocalSecrets(tmp_path / "secrets")
    await secrets.write(key, {"token": encoded("abc")})
    assert ({"token": b"abc"}, [key]) == (await secrets.read(key), await secrets.keys())
    assert ["secrets"] == [path.name for path in tmp_path.iterdir()]
    assert 1 == len(list(tmp_path.glob("secrets/*/*.json")))


async def test_only_the_owner_of_the_process_can_read_a_secret(tmp_path: Path) -> None:
    await LocalSecrets(tmp_path).write(KEY, {"token": encoded("abc")})
    (file,) = tmp_path.glob("*/*")
    assert (0o600, 0o700) == (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode))


async def test_a_secret_of_another_namespace_is_not_found(tmp_path: Path) -> None:
    secrets = LocalSecrets(tmp_path)
    await secrets.write(KEY, {"token": encoded("abc")})
    assert None is await secrets.read(Key("team-b", "hub"))
    assert not await secrets.delete(Key("team-b", "hub"))


async def test_a_deleted_secret_is_gone(tmp_path: Path) -> None:
    secrets = LocalSecrets(tmp_path)
    await secrets.write(KEY, {"token": encoded("abc")})
    assert [True, False] == [await secrets.delete(KEY), await secrets.delete(KEY)]
    assert (None, []) == (await secrets.read(KEY), await secrets.keys())


async def test_a_value_that_is_not_base64_is_invalid_and_not_in_the_message(tmp_path: Path) -> None:
    secrets = LocalSecrets(tmp_path)
    await secrets.write(KEY, {"token": "sesame!"})
    with pytest.raises(Invalid, match=r"^Secret team-a/hub: data\.token is not base64$"):
        await secrets.read(KEY)


@pytest.mark.parametrize(
    ("found", "expected"), [(None, None), ({}, {}), ({"data": {"token": encoded("abc")}}, {"token": b"abc"})]
)
async def test_a_secret_of_the_api_server_has_its_values(found: Any, expected: Any) -> None:
    class Api:
        async def get(self, kind: object, key: Key) -> Any:
            assert key == KEY
            return found

    assert expected == await KubeSecrets(cast("KubeApi", Api())).read(KEY)
