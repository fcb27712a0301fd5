"""The table of `arks model ls`."""

from arks.local.render.models import models_table


def test_a_row_has_source_state_size_path_and_users() -> None:
    tiny = {
        "metadata": {"namespace": "default", "name": "tiny"},
        "spec": {"model": "a/tiny", "source": {"s3": {}}},
        "status": {"phase": "Ready", "sizeBytes": 1536 * 1024, "path": "/m/tiny"},
    }
    loading = {
        "metadata": {"namespace": "default", "name": "big"},
        "spec": {"model": "a/big"},
        "status": {"phase": "ModelLoading", "progress": {"percent": 41.6, "totalBytes": 1 << 30}},
    }
    user = {"metadata": {"namespace": "default", "name": "chat"}, "spec": {"model": {"name": "tiny"}}}
    other = {"metadata": {"namespace": "team", "name": "x"}, "spec": {"model": {"name": "tiny"}}}
    text = models_table([tiny, loading], [user, other])
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "NAMESPACE NAME SOURCE STATE SIZE PATH USED BY" == rows[0]
    assert rows[1].startswith("default tiny s3 Ready 1.6 MB ")
    assert rows[1].endswith(" /m/tiny chat")
    assert rows[2].startswith("default big storage ModelLoading 42% ")
    assert rows[2].endswith("- -")


def test_a_long_path_is_cut_on_a_terminal() -> None:
    model = {
        "metadata": {"namespace": "default", "name": "tiny"},
        "spec": {"model": "a/tiny", "source": {"file": {}}},
        "status": {"phase": "Ready", "sizeBytes": 1, "path": f"/srv/{'models/' * 20}tiny.gguf"},
    }
    assert max(map(len, models_table([model], [], 80).splitlines())) <= 80
