"""Turns: from a person's question to the answer that is delivered, each in a task of its own."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Any, Final, TypeAlias

import aiohttp

from bot.abandon import abandon
from bot.assistant import Assistant
from bot.chat import CUT_SHORT, TurnControl, TurnResult
from bot.conversation import Exchange
from bot.discord.custom_ids import CustomId
from bot.discord.delivery import Delivery, DeliveryFailed, Destination, OnSafe, SentMessage
from bot.discord.handler_errors import report_error
from bot.discord.inputs import Inputs
from bot.discord.metrics import Metrics
from bot.discord.own_code import GivenUp, TurnLeft, run_own_code
from bot.discord.past_turns import PastTurns
from bot.discord.progress import Progress
from bot.discord.uploads import Downloaded, Incoming, Uploaded, upload_all
from bot.errors import BotError, Refusal
from bot.messages import FileOffer, compose_answer, compose_execution, plain_sentence
from bot.messages.lengths import length
from bot.outgoing import MESSAGE_CHARS, Button, OutgoingMessage
from bot.people.activity import Activity
from bot.people.conversations import Conversations
from bot.people.gate import Gate
from bot.people.person import Person
from bot.settings import BotSettings
from interpreter import Execution, Interpreter, InterpreterError, OnInput, StoredFile
from interpreter.logs import get_logger

log = get_logger(__name__)

#: Turns that run at once; more of them wait in the order of their coming.
_MOST_TURNS = 50
_STOPPING_S = 15.0
#: How long a question waits, at most, until it is written down that it was asked.
_PROMISING_S = 1.0
#: How long the end of the program waits for turns to let go of their cells.
_LEAVING_S = 2.0
#: Of a question, for a later run of the program.
_QUESTION_CHARS = 4_000
#: How long the end of the program waits for last words to be written down.
_LAST_WORDS_S = 5.0
#: Messages of which it is remembered whose question they answer.
_MOST_REMEMBERED = 2_000
_THINKING = "Thinking…"
_BUSY = "You have a question waiting already; please let that one come first, or press **Stop**."
_DRAINING = "I am being restarted; please ask again in a minute."
#: A message that says this, and no more, is still to become an answer: ``recovery.py``.
LEFT: Final = "I am being restarted; the code goes on meanwhile, and its results come here."
_NOT_BEGUN = "Stopped before it began."
_STOPPED = "Stopped."
_ENDED_HARD = (
    "The code could not be interrupted, so it was ended with its kernel: the variables are gone, "
    "the files are still there."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asked for.

    Attributes:
        person: who.
        destination: where the answer goes.
        channel_id: of which channel's conversation it is part.
        question: in words; "" where only files came. Or, with ``is_code``, Python to run.
        context: what else the model has to know: a message that the question replies to.
        incoming: attachments to download first.
        files: files that are stored already.
        is_code: whether it is run as it is, without a model.
        replacing: an earlier turn whose exchange this one's is to replace, if that is still the
            last one of the conversation.
    """

    person: Person
    destination: Destination
    channel_id: str
    question: str
    context: str = ""
    incoming: tuple[Incoming, ...] = ()
    files: tuple[StoredFile, ...] = ()
    is_code: bool = False
    replacing: "RunningTurn | None" = None


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn from when it is taken to when its answer is on its way.

    Attributes:
        turn_id: what its buttons name it by.
        asked: what was asked for.
        control: stops it.
        files: what came with it, once that is stored.
        exchange: what the conversation remembers of it; None if that is nothing, or not yet.
        is_forgotten: whether the conversation is to remember nothing of it.
    """

    turn_id: str
    asked: Asked
    control: TurnControl = field(default_factory=TurnControl)
    files: tuple[StoredFile, ...] = ()
    exchange: Exchange | None = None
    is_forgotten: bool = False


class AlreadyAnswered(Exception):
    """An earlier run of the program has answered a turn, and could write that down nowhere."""


#: Gives what is to be said at a turn's end.
Answer: TypeAlias = Callable[[RunningTurn, Progress], Awaitable[tuple[OutgoingMessage, ...]]]
#: Finds the message that tells of a turn's progress; may raise AlreadyAnswered.
FindShown: TypeAlias = Callable[[], Awaitable[SentMessage | None]]


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
        most_turns: int = _MOST_TURNS,
        keeps_cells: bool = False,
    ) -> None:
        """Use :meth:`open`."""
        self._keeps_cells = keeps_cells
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
        self._reserved: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}
        self._places = asyncio.Semaphore(most_turns)
        self._tasks: dict[RunningTurn, asyncio.Task[None]] = {}
        #: Until it is known that they arrived.
        self._deliveries: set[asyncio.Task[None]] = set()
        self._askers: OrderedDict[int, str] = OrderedDict()
        self._downloaded = Downloaded()
        self._draining = False

    @classmethod
    @asynccontextmanager
    async def open(cls, **parts: "object") -> AsyncIterator["Turns"]:
        """Take turns until the context ends; ``parts`` are those of the class but ``http``.

        With ``keeps_cells``, cells that run then go on in their kernels, for a later run of the
        program: the service has to let them.
        """
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

    def asker_of(self, message_id: int) -> str | None:
        """Whose question a message of ours answers; None if that isn't known (any more)."""
        return self._askers.get(message_id)

    def _check(self, user_id: str) -> None:
        """See whether a user can ask now.

        Raises:
            Refusal: not now: says why.
        """
        if self._draining:
            raise Refusal(_DRAINING)
        if len(self._of_user.get(user_id, ())) + self._reserved[user_id] > 1:
            raise Refusal(_BUSY)

    @contextmanager
    def reserved(self, user_id: str) -> Iterator[None]:
        """Keep a place for a question that is being made ready; ask right after the context.

        Raises:
            Refusal: there is none.
        """
        self._check(user_id)
        self._reserved[user_id] += 1
        try:
            yield
        finally:
            self._reserved[user_id] -= 1
            if not self._reserved[user_id]:
                del self._reserved[user_id]

    def ask(self, asked: Asked) -> RunningTurn:
        """Begin a turn; its answer is delivered when it is there.

        Raises:
            Refusal: not now: says why.
        """
        self._check(asked.person.user_id)
        turn = RunningTurn(token_hex(6), asked)
        self._of_user.setdefault(asked.person.user_id, []).append(turn)
        self._tasks[turn] = asyncio.create_task(self._take(turn))
        return turn

    def go_on(
        self, turn_id: str, asked: Asked, answer: Answer, *, shown: FindShown, safe: OnSafe
    ) -> RunningTurn:
        """Go on with a turn that an earlier run of the program has begun; the user's next question
        waits behind it.

        Args:
            turn_id: by which its answer was promised.
            asked: what was asked for, as far as it is known.
            answer: gives what is to be said at its end.
            shown: gives the message that tells of its progress; None if there is none. If it raises
                AlreadyAnswered, the turn is over.
            safe: is awaited once the answer can't be lost any more.
        """
        turn = RunningTurn(turn_id, asked)
        self._of_user.setdefault(asked.person.user_id, []).append(turn)
        self._tasks[turn] = asyncio.create_task(self._finish(turn, answer, shown, safe))
        return turn

    def stop(self, turn: RunningTurn) -> None:
        """Stop a turn: the cell is interrupted, the variables stay, what there is is delivered."""
        turn.control.stop()

    def forget(self, user_id: str) -> None:
        """Forget what is remembered of a user's files and answers, once no turn of theirs runs."""
        self._assistant.forget(user_id)
        self._downloaded.forget(user_id)
        for message_id in [key for key, asker in self._askers.items() if asker == user_id]:
            del self._askers[message_id]

    def leave_out(self, channel_id: str, user_id: str) -> bool:
        """Have a user's conversation remember nothing of what is being answered there; says whether
        anything is."""
        found = [t for t in self.of_user(user_id) if t.asked.channel_id == channel_id]
        for turn in found:
            turn.is_forgotten = True
            self._delivery.note(turn.turn_id, _note(turn))
        return any(not turn.asked.is_code for turn in found)

    async def wait(self, turn: RunningTurn) -> None:
        """Wait until a turn is over."""
        task = self._tasks.get(turn)
        if task is not None:
            await asyncio.wait({task})

    async def drain(self, timeout_s: float, *, stopping_s: float = _STOPPING_S) -> None:
        """Take no new turns, and wait for those that run; then stop what is left. A cell that runs
        then goes on, if the service lets it.

        Args:
            timeout_s: how long to wait before they are stopped.
            stopping_s: how long they have to stop; then those who asked are told.
        """
        self._draining = True
        await _settled({*self._tasks.values(), *self._deliveries}, timeout_s)
        self._stop_all()
        await _settled({*self._tasks.values()}, stopping_s)
        await self._end()

    def _stop_all(self) -> None:
        for turn in list(self._tasks):
            if self._keeps_cells:
                turn.control.leave()
            else:
                turn.control.stop()

    async def _end(self) -> None:
        """Let go of what is still there; those who asked are told, now or after the restart."""
        self._draining = True
        if self._keeps_cells:
            self._stop_all()
            await _settled({*self._tasks.values()}, _LEAVING_S)
        tasks = {*self._tasks.values()}
        for task in tasks:
            task.cancel()
        await _settled(tasks, None)
        await _settled({*self._deliveries}, _LAST_WORDS_S)
        if self._deliveries:  # what isn't delivered is written down
            await abandon(*self._deliveries)

    # -- one turn ------------------------------------------------------------------------------

    async def _take(self, turn: RunningTurn) -> None:
        """A turn from its beginning to its end; never raises but when it is cancelled."""
        promising = asyncio.create_task(self._promise(turn))

        async def written_down() -> None:
            # In vain if the database is away, and then a restart loses it.
            await asyncio.wait({promising}, timeout=_PROMISING_S)

        progress = Progress(
            self._delivery,
            turn.asked.destination,
            stop_button=stop_button(turn.asked.person.user_id, turn.turn_id),
            first=written_down,
            on_sent=lambda sent: self._delivery.show(turn.turn_id, sent),
        )

        async def answer(turn: RunningTurn, progress: Progress) -> tuple[OutgoingMessage, ...]:
            async with AsyncExitStack() as places:
                if not await self._find_place(turn, progress, places):
                    left = turn.control.is_left  # then its user has stopped nothing
                    return (OutgoingMessage(CUT_SHORT if left else _NOT_BEGUN),)
                await written_down()
                return await self._run(turn, progress)

        with self._logged(turn):
            try:
                async with progress:
                    messages = await self._answered(turn, progress, answer)
                self._deliver(turn, messages, progress)
            except TurnLeft:
                await progress.leave(LEFT)
            except asyncio.CancelledError:
                self._deliver(turn, (OutgoingMessage(CUT_SHORT),), progress)
                raise

    async def _finish(
        self, turn: RunningTurn, answer: Answer, shown: FindShown, safe: OnSafe
    ) -> None:
        """The rest of a turn that an earlier run has begun. If it is cancelled, the next one will
        see to it."""
        user_id = turn.asked.person.user_id
        with self._logged(turn), suppress(AlreadyAnswered):
            async with self._locks.setdefault(user_id, asyncio.Lock()):
                progress = Progress(
                    self._delivery,
                    turn.asked.destination,
                    stop_button=stop_button(user_id, turn.turn_id),
                    sent=await shown(),
                    on_sent=lambda sent: self._delivery.show(turn.turn_id, sent),
                )
                try:
                    async with progress:
                        messages = await self._answered(turn, progress, answer)
                    self._deliver(turn, messages, progress, safe)
                except TurnLeft:
                    await progress.leave(LEFT)

    @contextmanager
    def _logged(self, turn: RunningTurn) -> Iterator[None]:
        """A turn is known until the end of the context."""
        user_id = turn.asked.person.user_id
        began = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            del self._tasks[turn]
            own = self._of_user.get(user_id, [])
            own.remove(turn)
            if not own:
                self._of_user.pop(user_id, None)
                self._locks.pop(user_id, None)
            seconds = round(asyncio.get_running_loop().time() - began, 1)
            log.info("turn ended", turn_id=turn.turn_id, user_id=user_id, seconds=seconds)

    async def _promise(self, turn: RunningTurn) -> None:
        """Write down what a later run of the program has to know, should this one be killed."""
        asked = turn.asked
        await self._delivery.promise(
            turn.turn_id, asked.destination, owner=asked.person.user_id, note=_note(turn)
        )

    async def _answered(
        self, turn: RunningTurn, progress: Progress, answer: Answer
    ) -> tuple[OutgoingMessage, ...]:
        """What is to be said in the end, whatever happens.

        Raises:
            TurnLeft: a cell of it goes on, and nothing is to be said now.
        """
        try:
            return await answer(turn, progress)
        except TurnLeft:
            raise
        except Exception as error:
            sentence = report_error(error, where="turn", metrics=self._metrics)
            return (OutgoingMessage(plain_sentence(sentence)),)

    async def _find_place(
        self, turn: RunningTurn, progress: Progress, places: AsyncExitStack
    ) -> bool:
        """Wait until the user's turn before, and one of all users', are over.

        Returns:
            False if it was stopped before that.
        """
        lock = self._locks.setdefault(turn.asked.person.user_id, asyncio.Lock())
        if lock.locked():
            progress.say("This is next, after your other question…")
        elif self._places.locked():
            progress.say("Many people are asking just now; you are in the queue…")
        stopped = asyncio.create_task(turn.control.wait())
        try:
            for place in (lock, self._places):
                acquiring = asyncio.create_task(place.acquire())
                try:
                    await asyncio.wait({acquiring, stopped}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await abandon(acquiring)
                    if not acquiring.cancelled():
                        places.callback(place.release)
                if stopped.done():
                    return False
        finally:
            stopped.cancel()
        progress.say(_THINKING)
        return True

    async def _run(self, turn: RunningTurn, progress: Progress) -> tuple[OutgoingMessage, ...]:
        asked = turn.asked
        grant = await self._gate.admit(asked.person, needs_model=not asked.is_code)
        await self._activity.note(asked.person.guild_id, asked.person.user_id)
        uploaded = await self._upload(turn, progress)
        turn.files = (*asked.files, *uploaded.files)
        if asked.is_code:
            messages, cells = await self._run_code(turn, progress)
        else:
            result = await self._answer(turn, progress, grant.model, grant.tokens)
            if result.status == "left":
                raise TurnLeft
            messages, cells = await self._composed(turn, result), result.cells
        if cells:
            await self._past.keep(turn.turn_id, asked.person.user_id, cells)
        return _with_problems(messages, uploaded.problems)

    def _deliver(
        self,
        turn: RunningTurn,
        messages: tuple[OutgoingMessage, ...],
        progress: Progress,
        safe: OnSafe | None = None,
    ) -> None:
        """Have something delivered; an outage keeps the user's next question waiting no longer."""
        delivered = self._delivered(turn, messages, progress.sent, safe)
        for delivering in (delivered, progress.take_back()):
            task = asyncio.create_task(delivering)
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _delivered(
        self,
        turn: RunningTurn,
        messages: tuple[OutgoingMessage, ...],
        replacing: SentMessage | None,
        safe: OnSafe | None,
    ) -> None:
        asked, user_id = turn.asked, turn.asked.person.user_id
        if replacing is not None:  # somebody may reply before all of it is written down
            self._askers[replacing.message_id] = user_id
        try:
            sent = await self._delivery.deliver(
                asked.destination,
                messages,
                replacing=replacing,
                owner=user_id,
                key=turn.turn_id,
                on_safe=safe,
            )
        except DeliveryFailed as error:
            log.warning("answer not delivered", turn_id=turn.turn_id, reason=str(error))
            if error.detail == "dropped" and replacing is not None:
                await self._end_shown(turn, replacing, str(error))
            return
        except Exception:
            log.exception("answer not delivered", turn_id=turn.turn_id)
            return
        for message in sent:
            self._askers[message.message_id] = user_id
        while len(self._askers) > _MOST_REMEMBERED:
            self._askers.popitem(last=False)

    async def _end_shown(self, turn: RunningTurn, shown: SentMessage, sentence: str) -> None:
        """Say that no answer comes where progress is still shown, lest it seem to go on."""
        there = await self._delivery.look(shown)
        if there is None:
            return
        stop = stop_button(turn.asked.person.user_id, turn.turn_id)
        if stop.custom_id in there.custom_ids:
            try:
                await self._delivery.edit(shown, OutgoingMessage(sentence), patient=False)
            except DeliveryFailed as error:
                log.info("end not shown", turn_id=turn.turn_id, reason=type(error).__name__)

    async def _upload(self, turn: RunningTurn, progress: Progress) -> Uploaded:
        asked = turn.asked
        if not asked.incoming:
            return Uploaded((), ())
        count = len(asked.incoming)
        progress.say("Getting your file…" if count == 1 else f"Getting your {count} files…")
        uploading = asyncio.create_task(
            upload_all(
                self._service.files,
                asked.incoming,
                user_id=asked.person.user_id,
                http=self._http,
                max_bytes=self._service.settings.max_file_bytes,
                cdn_url=self._settings.discord_cdn_url,
                api_url=self._settings.discord_api_url,
                downloaded=self._downloaded,
            )
        )
        stopped = asyncio.create_task(turn.control.wait())
        try:
            await asyncio.wait({uploading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not uploading.done():
                return Uploaded((), ())
            return uploading.result()
        finally:
            await abandon(uploading, stopped)
            progress.say(_THINKING)

    async def _answer(
        self, turn: RunningTurn, progress: Progress, model: str, tokens: int | None
    ) -> TurnResult:
        asked, user_id = turn.asked, turn.asked.person.user_id
        history = await self._conversations.load(asked.channel_id, user_id)
        earlier = None if asked.replacing is None else asked.replacing.exchange
        replacing = earlier is not None and history[-1:] == (earlier,)
        result = await self._assistant.turn(
            user_id=user_id,
            question=f"{asked.question}\n\n{asked.context}".strip(),
            history=history[:-1] if replacing else history,
            new_files=turn.files,
            model=model,
            max_tokens=tokens,
            on_event=progress.on_event,
            on_input=self._asking(turn, progress),
            control=turn.control,
            cell_note=cell_note(turn.turn_id),
        )
        await self._gate.charge(asked.person, result.usage)
        if result.status == "left":  # a later run of the program knows how it ends
            return result
        if not turn.is_forgotten and (result.status != "failed" or result.cells):
            turn.exchange = result.exchange
            await self._conversations.append(
                asked.channel_id, user_id, result.exchange, replacing=replacing
            )
        if result.error is None:
            return result
        if not isinstance(result.error, BotError | InterpreterError):  # ours: it gets an id
            note = report_error(result.error, where="turn", metrics=self._metrics)
            return replace(result, note=note)
        log.warning(
            "turn failed",
            turn_id=turn.turn_id,
            reason=type(result.error).__name__,
            detail=getattr(result.error, "detail", ""),
        )
        return result

    def _asking(self, turn: RunningTurn, progress: Progress) -> OnInput:
        """What answers ``input()``; the progress tells that it is waited for."""
        ask = self._inputs.asking(turn.asked.person.user_id, turn.asked.destination)

        async def asking(prompt: str, is_secret: bool) -> str:
            progress.say("The code waits for your answer…")
            return await ask(prompt, is_secret)

        return asking

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
        session = await self._service.session(user_id=user_id)
        try:
            execution = await run_own_code(
                session,
                asked.question,
                progress=progress,
                on_input=self._asking(turn, progress),
                control=turn.control,
                cell_note=cell_note(turn.turn_id),
            )
        except GivenUp as stopped:
            return (OutgoingMessage(_sentence_about(stopped, left=turn.control.is_left)),), ()
        messages = await self.composed_cell(turn, execution)
        if turn.control.is_left and execution.status == "interrupted":  # not by its user
            messages = said_first(CUT_SHORT, messages)
        return messages, (execution,)

    async def composed_cell(
        self, turn: RunningTurn, execution: Execution
    ) -> tuple[OutgoingMessage, ...]:
        """A cell as the whole answer: with its code above it, if that was what was asked for."""
        asked, user_id = turn.asked, turn.asked.person.user_id
        return await compose_execution(
            execution,
            picture=self._picture(user_id),
            attachment_bytes=asked.destination.attachment_bytes,
            buttons=_buttons(user_id, turn.turn_id)[1 if asked.is_code else 0 :],
            show_code=asked.is_code,
            offer=_offers_to(user_id),
        )

    def _picture(self, user_id: str) -> Callable[[bytes, str], Awaitable[bytes | None]]:
        async def picture(content: bytes, mime: str) -> bytes | None:
            try:
                session = await self._service.session(user_id=user_id)
                return await session.picture(content, mime)
            except InterpreterError as error:
                log.info("picture not drawn", mime=mime, reason=type(error).__name__)
                return None

        return picture


async def _settled(tasks: "set[asyncio.Task[None]]", timeout_s: float | None) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)


def stop_button(user_id: str, turn_id: str) -> Button:
    """The button below a turn's progress."""
    return Button("Stop", str(CustomId("stop", user_id, turn_id)), "danger")


def cell_note(turn_id: str) -> dict[str, str]:
    """What is kept with a turn's cells."""
    return {"turn": turn_id}


def written(asked: Asked) -> dict[str, Any]:
    """What was asked for, as a later run of the program gets it."""
    return {
        "channel": asked.channel_id,
        "guild": asked.person.guild_id,
        "question": asked.question[:_QUESTION_CHARS].encode(errors="replace").decode(),
        "is_code": asked.is_code,
    }


def _note(turn: RunningTurn) -> dict[str, Any]:
    """What a later run of the program gets to know of a turn: no question that it is to forget."""
    return written(replace(turn.asked, question="") if turn.is_forgotten else turn.asked)


def read(note: Mapping[str, Any], *, owner: str, to: Destination) -> Asked:
    """What an earlier run of the program wrote down of what somebody asked for.

    Raises:
        KeyError: it isn't that.
    """
    guild_id = note["guild"]
    return Asked(
        person=Person(user_id=owner, name="", guild_id=None if guild_id is None else str(guild_id)),
        destination=to,
        channel_id=str(note["channel"]),
        question=str(note["question"]),
        is_code=bool(note["is_code"]),
    )


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


def _sentence_about(stopped: GivenUp, *, left: bool) -> str:
    if stopped.had_begun:
        return f"{CUT_SHORT if left else _STOPPED} {_ENDED_HARD}"
    return CUT_SHORT if left else _NOT_BEGUN


def said_first(sentence: str, messages: tuple[OutgoingMessage, ...]) -> tuple[OutgoingMessage, ...]:
    """Messages with a sentence above them; in one of its own where it doesn't fit."""
    first = messages[0]
    content = f"{sentence}\n{first.content}".rstrip("\n")
    if length(content) > MESSAGE_CHARS:
        return (OutgoingMessage(sentence), *messages)
    return (replace(first, content=content), *messages[1:])


def _with_problems(
    messages: tuple[OutgoingMessage, ...], problems: tuple[str, ...]
) -> tuple[OutgoingMessage, ...]:
    """Say first what became of the files that could not be kept."""
    if not problems:
        return messages
    return (OutgoingMessage("\n".join(problems)[:2000]), *messages)
