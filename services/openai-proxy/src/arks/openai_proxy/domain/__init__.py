"""OpenAI's HTTP API in terms of the ARK protocol, and back. Pure.

requests.py      bodies that clients send, with their rules
published_rules.py  rules that types do not express, for the OpenAPI page
messages.py      the conversation of a body, as the engine gets it
generation.py    a whole body as a Generation
health.py        several engines as one
answers.py       an engine's answer as OpenAI's JSON
chunks.py        an engine's events as OpenAI's chunks
logprobs.py      log probabilities in both of OpenAI's forms
errors.py        gRPC statuses as OpenAI's errors
retries.py       which failed calls are repeated, and when
"""
