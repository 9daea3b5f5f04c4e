"""Turns: from a person's question to the answer that is delivered, each in a task of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex

import aiohttp

from bot.assistant import Assistant
from bot.chat import TurnControl, TurnResult
from bot.discord.custom_ids import CustomId
from bot.discord.delivery import Delivery, DeliveryFailed, Destination
from bot.discord.handler_errors import report_error
from bot.discord.inputs import Inputs
from bot.discord.metrics import Metrics
from bot.discord.past_turns import PastTurns
from bot.discord.progress import Progress
from bot.discord.uploads import Incoming, Uploaded, upload_all
from bot.errors import Refusal
from bot.messages import FileOffer, compose_answer, compose_execution, plain_sentence
from bot.outgoing import Button, OutgoingMessage
from bot.people.activity import Activity
from bot.people.conversations import Conversations
from bot.people.gate import Gate
from bot.people.person import Person
from bot.settings import BotSettings
from bot.turn_events import CellDone, CellInstalling, CellOutput, CellRunning, CellWaiting
from interpreter import Execution, Interpreter, InterpreterError, Phase, StoredFile
from interpreter.logs import get_logger

log = get_logger(__name__)

#: Turns that run at once; more of them wait in the order of their coming.
_MOST_TURNS = 50
_STOPPING_S = 15.0
_BUSY = "You have a question waiting already; please let that one come first, or press **Stop**."
_DRAINING = "I am being restarted; please ask again in a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asked for.

    Attributes:
        person: who.
        destination: where the answer goes.
        channel_id: of which channel's conversation it is part.
        question: in words; "" where only files came. Or, with ``is_code``, Python to run.
        incoming: attachments to download first.
        files: files that are stored already.
        is_code: whether it is run as it is, without a model.
        replacing: whether it takes the place of the last exchange of the conversation.
    """

    person: Person
    destination: Destination
    channel_id: str
    question: str
    incoming: tuple[Incoming, ...] = ()
    files: tuple[StoredFile, ...] = ()
    is_code: bool = False
    replacing: bool = False


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn from when it is taken to when its answer is on its way.

    Attributes:
        turn_id: what its buttons name it by.
        asked: what was asked for.
        control: stops it.
        files: what came with it, once that is stored.
    """

    turn_id: str
    asked: Asked
    control: TurnControl = field(default_factory=TurnControl)
    files: tuple[StoredFile, ...] = ()


class Turns:
    """All turns of all users: one of each user runs, one more may wait."""

    def __init__(
        self,
        *,
        settings: BotSettings,
        service: Interpreter,
        assistant: Assistant,
        gate: Gate,
        conversations: Conversations,
        activity: Activity,
        past: PastTurns,
        inputs: Inputs,
        delivery: Delivery,
        metrics: Metrics,
        http: aiohttp.ClientSession,
    ) -> None:
        """Use :meth:`open`."""
        self._settings = settings
        self._service = service
        self._assistant = assistant
        self._gate = gate
        self._conversations = conversations
        self._activity = activity
        self._past = past
        self._inputs = inputs
        self._delivery = delivery
        self._metrics = metrics
        self._http = http
        self._of_user: dict[str, list[RunningTurn]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._places = asyncio.Semaphore(_MOST_TURNS)
        self._tasks: dict[RunningTurn, asyncio.Task[None]] = {}
        self._draining = False

    @classmethod
    @asynccontextmanager
    async def open(cls, **parts: "object") -> AsyncIterator["Turns"]:
        """Take turns until the context ends; ``parts`` are those of the class but ``http``."""
        async with aiohttp.ClientSession(raise_for_status=False) as http:
            turns = cls(**parts, http=http)  # type: ignore[arg-type]  # handed on
            try:
                yield turns
            finally:
                await turns._end()

    @property
    def running(self) -> int:
        """How many run or wait."""
        return len(self._tasks)

    def of_user(self, user_id: str) -> tuple[RunningTurn, ...]:
        """A user's turns, the running one first."""
        return tuple(self._of_user.get(user_id, ()))

    def find(self, turn_id: str) -> RunningTurn | None:
        """A turn that runs or waits."""
        return next((turn for turn in self._tasks if turn.turn_id == turn_id), None)

    def ask(self, asked: Asked) -> RunningTurn:
        """Begin a turn; its answer is delivered when it is there.

        Raises:
            Refusal: not now: says why.
        """
        if self._draining:
            raise Refusal(_DRAINING)
        own = self._of_user.setdefault(asked.person.user_id, [])
        if len(own) > 1:
            raise Refusal(_BUSY)
        turn = RunningTurn(token_hex(6), asked)
        own.append(turn)
        self._tasks[turn] = asyncio.create_task(self._take(turn))
        return turn

    def stop(self, turn: RunningTurn) -> None:
        """Stop a turn: the cell is interrupted, the variables stay, what there is is delivered."""
        turn.control.stop()

    async def wait(self, turn: RunningTurn) -> None:
        """Wait until a turn is over."""
        task = self._tasks.get(turn)
        if task is not None:
            await asyncio.wait({task})

    async def drain(self, timeout_s: float) -> None:
        """Take no new turns, and wait for those that run; then stop what is left.

        Args:
            timeout_s: how long to wait before they are stopped.
        """
        self._draining = True
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=timeout_s)
        for turn in list(self._tasks):
            self.stop(turn)
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=_STOPPING_S)

    async def _end(self) -> None:
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- one turn ------------------------------------------------------------------------------

    async def _take(self, turn: RunningTurn) -> None:
        """A turn from its beginning to its end; never raises but when it is cancelled."""
        person = turn.asked.person
        lock = self._locks.setdefault(person.user_id, asyncio.Lock())
        began = asyncio.get_running_loop().time()
        try:
            async with lock, self._places:
                await self._run(turn)
        except Exception as error:
            await self._say_failed(turn, error)
        finally:
            del self._tasks[turn]
            own = self._of_user.get(person.user_id, [])
            own.remove(turn)
            if not own:
                self._of_user.pop(person.user_id, None)
                self._locks.pop(person.user_id, None)
            log.info(
                "turn ended",
                turn_id=turn.turn_id,
                user_id=person.user_id,
                seconds=round(asyncio.get_running_loop().time() - began, 1),
            )

    async def _run(self, turn: RunningTurn) -> None:
        asked = turn.asked
        grant = await self._gate.admit(asked.person, needs_model=not asked.is_code)
        await self._activity.note(asked.person.guild_id, asked.person.user_id)
        stop = Button("Stop", str(CustomId("stop", asked.person.user_id, turn.turn_id)), "danger")
        async with Progress(self._delivery, asked.destination, stop_button=stop) as progress:
            uploaded = await self._upload(asked, progress)
            turn.files = (*asked.files, *uploaded.files)
            if asked.is_code:
                messages, cells = await self._run_code(turn, progress)
                result = None
            else:
                result = await self._answer(turn, progress, grant.model, grant.tokens)
                messages, cells = await self._composed(turn, result), result.cells
            await progress.end()
        messages = _with_problems(messages, uploaded.problems)
        if cells:
            await self._past.keep(turn.turn_id, asked.person.user_id, cells)
        try:
            await self._delivery.deliver(
                asked.destination, messages, replacing=progress.sent, owner=asked.person.user_id
            )
        except DeliveryFailed as error:
            log.warning("answer not delivered", turn_id=turn.turn_id, reason=str(error))

    async def _upload(self, asked: Asked, progress: Progress) -> Uploaded:
        if not asked.incoming:
            return Uploaded((), ())
        count = len(asked.incoming)
        progress.say("Getting your file…" if count == 1 else f"Getting your {count} files…")
        uploaded = await upload_all(
            self._service.files,
            asked.incoming,
            user_id=asked.person.user_id,
            http=self._http,
            max_bytes=self._service.settings.max_file_bytes,
            cdn_url=self._settings.discord_cdn_url,
        )
        progress.say("Thinking…")
        return uploaded

    async def _answer(
        self, turn: RunningTurn, progress: Progress, model: str, tokens: int | None
    ) -> TurnResult:
        asked, user_id = turn.asked, turn.asked.person.user_id
        history = await self._conversations.load(asked.channel_id, user_id)
        if asked.replacing:
            history = history[:-1]
        result = await self._assistant.turn(
            user_id=user_id,
            question=asked.question,
            history=history,
            new_files=turn.files,
            model=model,
            max_tokens=tokens,
            on_event=progress.on_event,
            on_input=self._inputs.asking(user_id, asked.destination),
            control=turn.control,
        )
        await self._gate.charge(asked.person, result.usage)
        if result.status != "failed" or result.cells:
            await self._conversations.append(
                asked.channel_id, user_id, result.exchange, replacing=asked.replacing
            )
        if result.error is not None:
            log.warning(
                "turn failed",
                turn_id=turn.turn_id,
                reason=type(result.error).__name__,
                detail=getattr(result.error, "detail", ""),
            )
        return result

    async def _composed(self, turn: RunningTurn, result: TurnResult) -> tuple[OutgoingMessage, ...]:
        asked, user_id = turn.asked, turn.asked.person.user_id
        try:
            files = await self._service.files.list(user_id=user_id)
        except InterpreterError:
            files = turn.files
        return await compose_answer(
            result,
            picture=self._picture(user_id),
            attachment_bytes=asked.destination.attachment_bytes,
            buttons=_buttons(user_id, turn.turn_id) if result.cells else (),
            files=files,
            offer=_offers_to(user_id),
        )

    async def _run_code(
        self, turn: RunningTurn, progress: Progress
    ) -> tuple[tuple[OutgoingMessage, ...], tuple[Execution, ...]]:
        """Run a cell as it was written."""
        asked, user_id = turn.asked, turn.asked.person.user_id
        code = asked.question
        progress.on_event(CellWaiting(1, code))
        session = await self._service.session(user_id=user_id)

        def on_phase(phase: Phase) -> None:
            if phase.name == "installing":
                progress.on_event(CellInstalling(1, phase.names))
            elif phase.name == "running":
                progress.on_event(CellRunning(1, phase.limit_s or 0.0, phase.run_s))
            elif phase.name == "input":
                progress.say("The code waits for your answer…")

        async def stop() -> None:
            await turn.control.wait()
            while True:  # it may be just about to start
                await session.interrupt()
                await asyncio.sleep(1)

        stopping = asyncio.create_task(stop())
        try:
            execution = await session.execute(
                code,
                on_phase=on_phase,
                on_output=lambda output: progress.on_event(CellOutput(1, output)),
                on_input=self._inputs.asking(user_id, asked.destination),
            )
        finally:
            stopping.cancel()
        progress.on_event(CellDone(1, execution))
        self._metrics.cell(execution.status)
        messages = await compose_execution(
            execution,
            picture=self._picture(user_id),
            attachment_bytes=asked.destination.attachment_bytes,
            buttons=_buttons(user_id, turn.turn_id)[1:],
            show_code=True,
            offer=_offers_to(user_id),
        )
        return messages, (execution,)

    def _picture(self, user_id: str) -> Callable[[bytes, str], Awaitable[bytes | None]]:
        async def picture(content: bytes, mime: str) -> bytes | None:
            try:
                session = await self._service.session(user_id=user_id)
                return await session.picture(content, mime)
            except InterpreterError as error:
                log.info("picture not drawn", mime=mime, reason=type(error).__name__)
                return None

        return picture

    async def _say_failed(self, turn: RunningTurn, error: Exception) -> None:
        sentence = report_error(error, where="turn", metrics=self._metrics)
        message = OutgoingMessage(plain_sentence(sentence))
        try:
            await self._delivery.deliver(
                turn.asked.destination, [message], owner=turn.asked.person.user_id
            )
        except DeliveryFailed as failure:
            log.warning("refusal not delivered", turn_id=turn.turn_id, reason=str(failure))


def _buttons(user_id: str, turn_id: str) -> tuple[Button, ...]:
    return (
        Button("Show code", str(CustomId("code", user_id, turn_id))),
        Button("Notebook", str(CustomId("notebook", user_id, turn_id))),
        Button("Restart kernel", str(CustomId("restart", user_id, turn_id))),
    )


def _offers_to(user_id: str) -> Callable[[FileOffer], Button]:
    def offer(wanted: FileOffer) -> Button:
        return Button(wanted.label, str(CustomId(wanted.action, user_id, wanted.file.file_id)))

    return offer


def _with_problems(
    messages: tuple[OutgoingMessage, ...], problems: tuple[str, ...]
) -> tuple[OutgoingMessage, ...]:
    """Say first what became of the files that could not be kept."""
    if not problems:
        return messages
    return (OutgoingMessage("\n".join(problems)[:2000]), *messages)
