"""An interactive chat: prompts, commands, and answers that can be stopped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from arks.local.cli.failure import Failure
from arks.local.client.chat_stream import Answer, Messages
from arks.local.render.chat import HELP, figures
from arks.local.render.spelling import closest

_COMMANDS = ("/model", "/system", "/clear", "/save", "/help", "/bye")
_SEVERAL_LINES = '"""'

Send = Callable[[str, Messages, Answer], Iterator[str]]
"""Streams an answer: (model, messages, what is noted of the answer). Raises Failure."""
ReadLine = Callable[[str], str]
"""Reads a line after a prompt. Raises EOFError, KeyboardInterrupt."""


class ChatSession:
    """`models`: those that the key may use; raises Failure. `write` prints answers, `note` all else; both without a
    newline of their own.
    """

    def __init__(
        self,
        model: str,
        system: str | None,
        *,
        send: Send,
        models: Callable[[], list[str]],
        read_line: ReadLine,
        write: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.system = system
        self.messages: Messages = []
        self._send = send
        self._models = models
        self._read_line = read_line
        self._write = write
        self._note = note

    def run(self) -> None:
        """Until the user leaves."""
        self._note(f"Chatting with {self.model}. /help shows commands, Ctrl-D exits.\n")
        while (prompt := self._prompt()) is not None:
            if prompt.startswith("/") and "\n" not in prompt:
                if not self._command(prompt):
                    return
            elif prompt:
                self._answer(prompt)

    def _prompt(self) -> str | None:
        """What the user wrote, empty after Ctrl-C; None at the end."""
        try:
            line = self._read_line("> ").strip()
            if not line.startswith(_SEVERAL_LINES):
                return line
            lines = [line.removeprefix(_SEVERAL_LINES)]
            while not lines[-1].rstrip().endswith(_SEVERAL_LINES):
                lines.append(self._read_line(". "))
            return "\n".join(lines).rstrip().removesuffix(_SEVERAL_LINES).strip()
        except KeyboardInterrupt:
            self._note("\n")
            return ""
        except EOFError:
            self._note("\n")
            return None

    def _answer(self, prompt: str) -> None:
        """Print the answer. An error leaves the chat as it was before the prompt."""
        self.messages.append({"role": "user", "content": prompt})
        system: Messages = [{"role": "system", "content": self.system}] if self.system else []
        answer, stopped = Answer(), False
        try:
            for piece in self._send(self.model, [*system, *self.messages], answer):
                self._write(piece)
        except KeyboardInterrupt:
            stopped = True
        except Failure as failure:
            self._write("\n" if answer.text else "")
            self._note(f"{failure}\n{failure.next_step}\n" if failure.next_step else f"{failure}\n")
            self.messages.pop()
            return
        self._write("\n")
        noted = figures(
            answer.completion_tokens, answer.first_seconds, answer.seconds, answer.finish_reason, stopped=stopped
        )
        self._note(f"{noted}\n")
        if answer.text:
            self.messages.append({"role": "assistant", "content": answer.text})
        else:
            self.messages.pop()

    def _command(self, line: str) -> bool:
        """Carry out a command; whether the chat goes on."""
        command, _, value = line.partition(" ")
        value = value.strip()
        match command:
            case "/bye" | "/exit" | "/quit":
                return False
            case "/help" | "/?":
                self._note(f"{HELP}\n")
            case "/model":
                self._choose_model(value)
            case "/system":
                self.system = value or self.system
                self._note(f"system prompt: {self.system or 'none'}\n")
            case "/clear":
                self.messages.clear()
                self._note("The chat is empty.\n")
            case "/save":
                self._save(value)
            case _:
                guess = closest(command, _COMMANDS)
                self._note(f"There is no {command}" + (f"; did you mean {guess}?\n" if guess else "; see /help\n"))
        return True

    def _choose_model(self, name: str) -> None:
        """Change the model if the key may use it; without a name show all of them."""
        try:
            models = self._models()
        except Failure as failure:
            self._note(f"{failure}\n")
            return
        if name and name not in models:
            guess = closest(name, models)
            self._note(f"There is no model {name} for this key" + (f"; did you mean {guess}?\n" if guess else ".\n"))
        self.model = name if name in models else self.model
        others = ", ".join(other for other in models if other != self.model)
        self._note(f"model: {self.model}" + (f"   others: {others}\n" if others else "\n"))

    def _save(self, name: str) -> None:
        if not name:
            self._note("Name a file: /save chat.json\n")
            return
        system: Messages = [{"role": "system", "content": self.system}] if self.system else []
        data = {"model": self.model, "messages": [*system, *self.messages]}
        try:
            with Path(name).expanduser().open("x") as file:
                json.dump(data, file, indent=2, ensure_ascii=False)
                file.write("\n")
        except FileExistsError:
            self._note(f"{name} exists already and was not changed.\n")
        except OSError as error:
            self._note(f"cannot write {name}: {error.strerror or error}\n")
        else:
            self._note(f"Saved in {name}.\n")
