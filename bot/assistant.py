"""Assistant: a user's question in, an answer out; the model, the kernel and the files together."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bot.abandon import abandon
from bot.chat import OnEvent, Question, TurnControl, TurnLimits, TurnResult, TurnStatus, run_turn
from bot.chat_model import ChatModel, Usage
from bot.conversation import AssistantMessage, Exchange, Picture, UserMessage
from bot.history import kept_exchange
from bot.prompts import FILES_ALONE, kept_question, question_text, system_prompt
from bot.settings import BotSettings
from bot.suggestions import about_files
from interpreter import Interpreter, InterpreterError, OnInput, Session, StoredFile
from interpreter.logs import get_logger

log = get_logger(__name__)

#: How long a question waits for its new files to be looked into, in seconds.
_DESCRIBE_S = 30.0
#: How many new files are looked into, and how many earlier ones while there is a kernel.
_MOST_NEW, _MOST_EARLIER = 10, 5
_MOST_REMEMBERED = 2_000
#: Pictures that come with a question are shown to a model that sees.
_PICTURE_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
}
_MOST_PICTURES = 4
_PICTURE_BYTES = 4 << 20

_NO_MODEL = (
    "There is no language model here: the operator has to set OPENAI_API_KEY or OPENAI_BASE_URL. "
    "Running Python works without one."
)
_NO_QUESTION = "What would you like to know?"


class Assistant:
    """Answers questions; may be asked by several tasks at once."""

    def __init__(
        self,
        *,
        service: Interpreter,
        model: ChatModel | None,
        settings: BotSettings,
        at_console: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make one.

        Args:
            service: where cells run.
            model: who answers; None where there is none.
            settings: the bot's.
            at_console: whether the user sits at a terminal instead of at Discord.
            now: tells the time.
        """
        self._service = service
        self._model = model
        self._settings = settings
        self._at_console = at_console
        self._now = now
        self._descriptions: OrderedDict[tuple[str, str], str] = OrderedDict()
        #: Models that have written a call as text.
        self._writers: set[str] = set()

    async def turn(
        self,
        *,
        user_id: str,
        question: str,
        history: tuple[Exchange, ...] = (),
        new_files: tuple[StoredFile, ...] = (),
        model: str | None = None,
        max_tokens: int | None = None,
        timeout_s: float | None = None,
        on_event: OnEvent | None = None,
        on_input: OnInput | None = None,
        control: TurnControl | None = None,
        cell_note: Mapping[str, str] | None = None,
    ) -> TurnResult:
        """Answer a question, running what it takes. Never raises for what a model or cell does.

        Args:
            user_id: whose kernel and files.
            question: what was asked; "" where only files came.
            history: the conversation so far, the oldest exchange first.
            new_files: files that came with the question, stored already.
            model: which model; None takes the setting's.
            max_tokens: how many tokens the user has left; None for no limit but the turn's own.
            timeout_s: how long a cell may run; None takes the user's or the service's limit.
            on_event: is told what happens, in order; must not block.
            on_input: answers ``input()`` in cells; None makes that raise in the cell.
            control: with which the turn can be stopped.
            cell_note: what is kept with its cells, so that they are known again after a restart.
        """
        question = question.strip()
        control = control or TurnControl()
        if not question and not new_files:
            return _said("answered", _NO_QUESTION, question, ())
        if self._model is None and question:
            return _said("failed", "", question, new_files, note=_NO_MODEL)
        describing = asyncio.create_task(self._described(user_id, new_files))
        stopping = asyncio.create_task(control.wait())
        try:
            await asyncio.wait([describing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not describing.done():
                return _said("stopped", "", question, new_files, note="Stopped.")
            files, descriptions = describing.result()
        except InterpreterError as error:
            return _said("failed", "", question, new_files, note=str(error), error=error)
        except Exception as error:
            log.exception("files could not be listed", user_id=user_id)
            note = "Your files can't be looked at just now; please try again."
            return _said("failed", "", question, new_files, note=note, error=error)
        finally:
            await abandon(describing, stopping)
        if self._model is None:
            return _said("answered", about_files(new_files, descriptions), question, new_files)
        result = await self._ask(
            self._model,
            Question(
                model=model or self._settings.openai_model,
                system=system_prompt(
                    self._service.settings, today=self._now(), at_console=self._at_console
                ),
                message=UserMessage(
                    question_text(
                        question or FILES_ALONE,
                        files=files,
                        new=new_files,
                        descriptions=descriptions,
                        now=self._now(),
                    ),
                    await self._pictures(new_files),
                ),
                kept=UserMessage(kept_question(question, new_files)),
                history=history,
                may_run=bool(question),
                sees=self._settings.model_sees_images,
                writes_calls=(model or self._settings.openai_model) in self._writers,
            ),
            limits=self._limits(max_tokens, timeout_s),
            user_id=user_id,
            on_event=on_event,
            on_input=on_input,
            control=control,
            cell_note=cell_note,
        )
        if result.status == "failed" and not question:
            # The files are there all the same, and what they are is known.
            return replace(result, status="answered", answer=about_files(new_files, descriptions))
        return result

    def forget(self, user_id: str) -> None:
        """Forget what a user's files hold."""
        for key in [key for key in self._descriptions if key[0] == user_id]:
            del self._descriptions[key]

    async def _ask(
        self,
        model: ChatModel,
        question: Question,
        *,
        limits: TurnLimits,
        user_id: str,
        on_event: OnEvent | None,
        on_input: OnInput | None,
        control: TurnControl,
        cell_note: Mapping[str, str] | None,
    ) -> TurnResult:
        async def open_session() -> Session:
            return await self._service.session(user_id=user_id)

        result = await run_turn(
            question,
            model=model,
            open_session=open_session,
            limits=limits,
            on_event=on_event,
            on_input=on_input,
            control=control,
            cell_note=cell_note,
        )
        if result.writes_calls:
            self._writers.add(question.model)
        return result

    def _limits(self, max_tokens: int | None, timeout_s: float | None) -> TurnLimits:
        settings = self._settings
        tokens = settings.turn_tokens
        return TurnLimits(
            rounds=settings.turn_rounds,
            tokens=tokens if max_tokens is None else min(tokens, max_tokens),
            time_s=settings.turn_timeout_s,
            context_tokens=settings.model_context_tokens,
            output_tokens=settings.model_output_tokens,
            cell_s=timeout_s,
        )

    # -- files ---------------------------------------------------------------------------------

    async def _described(
        self, user_id: str, new: Sequence[StoredFile]
    ) -> tuple[tuple[StoredFile, ...], dict[str, str]]:
        """The user's files, and the descriptions of those that are known."""
        files = await self._service.files.list(user_id=user_id)
        session = await self._service.session(user_id=user_id)
        wanted = list(new[:_MOST_NEW])
        if session.live:  # else it isn't worth starting one
            newest = sorted(files, key=lambda file: file.uploaded_at, reverse=True)
            wanted += newest[:_MOST_EARLIER]
        missing = {f.file_id for f in wanted if (user_id, f.file_id) not in self._descriptions}
        if missing:
            await self._look_into(session, missing)
        known = {f.file_id: self._descriptions.get((user_id, f.file_id), "") for f in files}
        return files, known

    async def _look_into(self, session: Session, file_ids: set[str]) -> None:
        """Describe files at once; what takes too long, or can't be done, goes without."""
        tasks = [asyncio.create_task(self._describe(session, file_id)) for file_id in file_ids]
        try:
            await asyncio.wait(tasks, timeout=_DESCRIBE_S)
        finally:
            await abandon(*tasks)

    async def _describe(self, session: Session, file_id: str) -> None:
        try:
            described = await session.describe_file(file_id)
        except InterpreterError as error:  # deleted meanwhile, or no kernel to be had: not known
            log.info("file not described", file_id=file_id, reason=type(error).__name__)
            return
        except Exception:
            log.exception("file not described", file_id=file_id)
            return
        while len(self._descriptions) >= _MOST_REMEMBERED:
            self._descriptions.popitem(last=False)
        self._descriptions[session.user_id, file_id] = described

    async def _pictures(self, files: Sequence[StoredFile]) -> tuple[Picture, ...]:
        """Pictures among the new files, as they are, for a model that sees."""
        if not self._settings.model_sees_images:
            return ()
        found = [
            (file, mime)
            for file in files
            if (mime := _PICTURE_TYPES.get(file.file_type)) and file.file_size <= _PICTURE_BYTES
        ]
        pictures = []
        for file, mime in found[:_MOST_PICTURES]:
            try:
                content = await asyncio.to_thread(file.file_path.read_bytes)
            except OSError:  # just deleted
                continue
            if _begins_as(content, mime):
                pictures.append(Picture(content, mime))
        return tuple(pictures)


def _begins_as(content: bytes, mime: str) -> bool:
    """Whether bytes are what a name promises: a server refuses a request with others in it."""
    beginnings = {
        "image/png": (b"\x89PNG\r\n\x1a\n",),
        "image/jpeg": (b"\xff\xd8\xff",),
        "image/gif": (b"GIF87a", b"GIF89a"),
        "image/webp": (b"RIFF",),
    }
    return content.startswith(beginnings[mime])


def _said(
    status: TurnStatus,
    answer: str,
    question: str,
    new: Sequence[StoredFile],
    *,
    note: str | None = None,
    error: BaseException | None = None,
) -> TurnResult:
    """A turn that needed no model."""
    words = answer or f"[{note}]"
    return TurnResult(
        status=status,
        answer=answer,
        cells=(),
        exchange=kept_exchange(
            (UserMessage(kept_question(question, new)), AssistantMessage(words))
        ),
        usage=Usage(),
        note=note,
        error=error,
    )
