"""The proxy under the name by which people start it: `uvicorn openai_api_server:app`."""

from arks.openai_proxy.main import application

app = application()
