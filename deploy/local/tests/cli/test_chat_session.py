"""An interactive chat, with a user and a model of this test."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from arks.local.cli.chat_session import ChatSession
from arks.local.cli.failure import Failure
from arks.local.client.chat_stream import Answer, Messages
from arks.local.render.chat import HELP, figures


class Chat:
    """The user's lines (an exception: a key), and what each request had."""

    def __init__(self, *lines: str | type[BaseException], system: str | None = None) -> None:
        self.lines = list(lines)
        self.requests: list[tuple[str, Messages]] = []
        self.answers: list[list[str | BaseException]] = []
        self.written = self.noted = ""
        self.known: list[str] | Failure = ["other", "qwen"]
        self.session = ChatSession(
            "qwen",
            system,
            send=self.send,
            models=self.models,
            read_line=self.read_line,
            write=self.write,
            note=self.note,
        )

    def models(self) -> list[str]:
        if isinstance(self.known, Failure):
            raise self.known
        return self.known

    def answering(self, *answers: list[str | BaseException]) -> "Chat":
        self.answers = list(answers)
        self.session.run()
        return self

    def read_line(self, prompt: str) -> str:
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, str):
            return line
        raise line

    def send(self, model: str, messages: Messages, answer: Answer) -> Iterator[str]:
        self.requests.append((model, list(messages)))
        for piece in self.answers.pop(0) if self.answers else ["ok"]:
            if isinstance(piece, BaseException):
                raise piece
            answer.text += piece
            yield piece

    def write(self, text: str) -> None:
        self.written += text

    def note(self, text: str) -> None:
        self.noted += text


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def model(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_each_prompt_is_sent_with_the_chat_before_it() -> None:
    chat = Chat("hello", "", "again", system="Be short.").answering(["Hi", "!"], ["Yes"])
    system = {"role": "system", "content": "Be short."}
    assert [system, user("hello"), model("Hi!"), user("again")] == chat.requests[1][1]
    assert "Hi!\nYes\n" == chat.written


def test_ctrl_c_stops_only_the_answer_and_keeps_what_arrived() -> None:
    chat = Chat("count", "go on").answering(["1 ", "2 ", KeyboardInterrupt()], ["3"])
    assert [user("count"), model("1 2 "), user("go on")] == chat.requests[1][1]
    assert "stopped]" in chat.noted


def test_ctrl_c_at_the_prompt_does_not_exit() -> None:
    assert 1 == len(Chat(KeyboardInterrupt, "hello").answering().requests)


def test_an_error_is_shown_and_the_chat_stays_as_it_was() -> None:
    chat = Chat("hello", "again").answering([Failure("limit reached", "wait 5 s")], ["ok"])
    assert [user("again")] == chat.requests[1][1]
    assert "limit reached\nwait 5 s\n" in chat.noted


def test_several_lines_are_one_prompt() -> None:
    chat = Chat('"""first', "/second", 'third"""', '"""one"""').answering()
    assert [user("first\n/second\nthird")] == chat.requests[0][1]
    assert user("one") == chat.requests[1][1][-1]


def test_commands_change_the_model_the_system_prompt_and_the_chat() -> None:
    chat = Chat(
        "hello", "/model other", "/system Be kind.", "/clear", "bye", "/help", "/sav x", "/bye", "lost"
    ).answering()
    assert [("qwen", [user("hello")])] == chat.requests[:1]
    assert [("other", [{"role": "system", "content": "Be kind."}, user("bye")])] == chat.requests[1:]
    assert HELP in chat.noted
    assert "did you mean /save?" in chat.noted


def test_a_model_that_the_key_may_not_use_is_not_chosen() -> None:
    chat = Chat("/model othr", "hello", "/model").answering()
    assert "There is no model othr for this key; did you mean other?\nmodel: qwen   others: other\n" in chat.noted
    assert ["qwen"] == [name for name, _ in chat.requests]


def test_the_chat_goes_on_while_models_cannot_be_listed() -> None:
    chat = Chat("/model other", "hello")
    chat.known = Failure("lost the connection to the gateway")
    chat.answering()
    assert "lost the connection" in chat.noted
    assert ["qwen"] == [name for name, _ in chat.requests]


def test_a_chat_is_saved_once(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    chat = Chat("hello", f"/save {file}", f"/save {file}", "/save", f"/save {tmp_path}/no/x").answering(["Hi"])
    assert {"model": "qwen", "messages": [user("hello"), model("Hi")]} == json.loads(file.read_text())
    assert "exists already and was not changed" in chat.noted
    assert "Name a file" in chat.noted
    assert "cannot write" in chat.noted


@pytest.mark.parametrize(
    ("tokens", "first", "seconds", "finish", "stopped", "expected"),
    [
        (52, 0.12, 0.8, "stop", False, "[52 tokens, 75.0 tokens/s, first token after 0.12 s]"),
        (1, 0.12, 0.12, "stop", False, "[1 token, first token after 0.12 s]"),
        (
            8,
            0.5,
            1.5,
            "length",
            False,
            "[8 tokens, 7.0 tokens/s, first token after 0.50 s, cut off at the maximum length]",
        ),
        (None, 0.5, 1.5, None, True, "[first token after 0.50 s, stopped]"),
        (None, None, 0.1, None, True, "[stopped]"),
    ],
)
def test_unknown_figures_are_not_shown(
    tokens: int | None, first: float | None, seconds: float, finish: str | None, stopped: bool, expected: str
) -> None:
    assert expected == figures(tokens, first, seconds, finish, stopped=stopped)
