"""Sound: samples and their rate."""

import struct
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.source import Source

if TYPE_CHECKING:
    import numpy as np

#: What is decoded unless a duration is asked for: 256 MiB of float32.
MAX_SAMPLES = 64 * 1024 * 1024


def load_audio(
    source: Source, *, offset: float = 0.0, duration: float | None = None, mono: bool = False
) -> "tuple[np.ndarray, int]":
    """Decode a sound to float32 between -1 and 1, shaped (frames,) or (frames, channels).

    Args:
        source: The file.
        offset: Where to begin, in seconds.
        duration: How much to decode, in seconds; None for all, as far as it fits in 256 MiB.
        mono: Average the channels.
    """
    if offset < 0 or (duration is not None and duration < 0):
        raise ValueError("offset= and duration= are seconds, none of them negative")
    read = _by_soundfile(source, offset, duration)
    if read is None:
        read = _by_av(source, offset, duration)
    samples, rate = read
    if mono and samples.ndim == 2:
        samples = samples.mean(axis=1)
    return samples, rate


def _note_partial(source: Source, seconds: float) -> None:
    source.note(
        f"{source.name!r} is long: these are its first {seconds:,.0f} s from offset=. "
        "duration= reads as much as is asked for."
    )


def _by_soundfile(
    source: Source, offset: float, duration: float | None
) -> "tuple[np.ndarray, int] | None":
    import soundfile

    try:
        with source.open() as file, soundfile.SoundFile(file) as sound:
            rate, channels = int(sound.samplerate), int(sound.channels)
            if rate < 1 or not 0 < channels <= 256:
                return None
            start = min(int(offset * rate), sound.frames)
            if start:
                sound.seek(start)
            count = max(sound.frames - start, 0)
            if duration is not None:
                count = min(count, int(duration * rate))
            elif count * channels > MAX_SAMPLES:
                count = MAX_SAMPLES // channels
                # A header can lie: what is told of is what is there.
                samples = _blocks(sound, count)
                if len(samples) == count:
                    _note_partial(source, count / rate)
                return samples, rate
            return _blocks(sound, count), rate
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        return None


def _blocks(sound: Any, count: int) -> "np.ndarray":
    """Read in pieces: the size in a header is no reason to allocate it."""
    import numpy as np

    pieces, left = [], count
    while left > 0:
        piece = sound.read(min(left, 1 << 20), dtype="float32")
        if not len(piece):
            break
        pieces.append(piece)
        left -= len(piece)
    if not pieces:
        return np.empty((0,) if sound.channels == 1 else (0, sound.channels), np.float32)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _by_av(source: Source, offset: float, duration: float | None) -> "tuple[np.ndarray, int]":
    import av

    try:
        # From a file object: no format that av knows may open another file or an address.
        with source.open() as file, av.open(file, metadata_errors="ignore") as container:
            return decode_audio(source, container, offset, duration)
    except av.FFmpegError as error:
        raise FileLoadError(
            source.name, "a sound that is cut off or damaged", "soundfile and av", str(error)
        ) from error


def decode_audio(
    source: Source | None, container: Any, offset: float, duration: float | None
) -> "tuple[np.ndarray, int]":
    """Decode the first sound of an open container."""
    import av
    import numpy as np

    if not container.streams.audio:
        raise ValueError("there is no sound in it")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ValueError("its samples are coded in a way that FFmpeg doesn't know")
    rate = int(stream.rate or stream.codec_context.sample_rate or 0)
    channels = int(stream.channels or 0)
    if not 0 < rate <= 10_000_000 or not 0 < channels <= 256:
        raise ValueError("its header names no rate or no channels")
    skip = int(offset * rate)
    most = MAX_SAMPLES // channels if duration is None else int(duration * rate)
    resampler = av.AudioResampler(format="fltp", rate=rate)
    pieces: list[np.ndarray] = []
    count, damaged = 0, ""
    try:
        for frame in container.decode(stream):
            for resampled in resampler.resample(frame):
                piece = resampled.to_ndarray().T
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                piece, skip = piece[skip:], 0
                if pieces and piece.shape[1] != pieces[0].shape[1]:
                    continue
                pieces.append(piece)
                count += len(piece)
            if count >= most:
                break
    except (av.FFmpegError, ValueError) as error:
        damaged = str(error)
    if not pieces:
        if damaged:
            raise ValueError(damaged)
        samples = np.empty((0, channels), np.float32)
    else:
        samples = np.concatenate(pieces)[:most].astype(np.float32, copy=False)
    if source is not None:
        if damaged:
            source.note(f"{source.name!r} is damaged after {count / rate:,.1f} s: {damaged}.")
        elif duration is None and count >= most:
            _note_partial(source, most / rate)
    return (samples[:, 0] if samples.shape[1] == 1 else samples), rate


def load_midi(source: Source, *, clip: bool = True) -> object:
    """Read notes.

    Args:
        source: The file.
        clip: Take values over 127 for 127 instead of refusing the file.
    """
    import io

    import mido

    content = source.read()
    if content.startswith(b"RIFF"):
        start = content.find(b"MThd")
        if start < 0:
            raise FileLoadError(source.name, "MIDI in RIFF", reason="there is no MIDI in it")
        content = content[start:]
    return mido.MidiFile(file=io.BytesIO(content), clip=clip)


#: Where a module's title stands, and how long it may be.
_TITLES = {
    b"Extended Module: ": (17, 20),
    b"IMPM": (4, 26),
    b"tpm.": (4, 26),
    b"PSID": (0x16, 32),
    b"RSID": (0x16, 32),
    b"NESM": (0x0E, 32),
    b"MTM\x10": (4, 20),
}


def load_module(source: Source) -> FileInfo:
    """Say what a tracker's module or a bank of sounds is called."""
    from kernel_startup.loaders.described import source_info

    head = source.head
    start, size = next((t for magic, t in _TITLES.items() if head.startswith(magic)), (0, 20))
    if head[44:48] == b"SCRM":
        start, size = 0, 28
    elif head.startswith((b"RIFF", b"Vgm ", b"SNES")):
        size = 0
    title = head[start : start + size].split(b"\0")[0].decode("cp437", "replace").strip()
    facts: dict[str, object] = {"title": title} if title else {}
    if head.startswith(b"Extended Module: ") and len(head) >= 72:
        channels, patterns, instruments = struct.unpack_from("<HHH", head, 68)
        facts |= {"channels": channels, "patterns": patterns, "instruments": instruments}
    if head.startswith(b"RIFF"):
        facts |= _riff_facts(head)
    return source_info(source, facts, "openmpt123 or a tracker plays it.")


def _riff_facts(head: bytes) -> dict[str, object]:
    found = {}
    for tag, name in ((b"INAM", "title"), (b"IENG", "engineer"), (b"ICOP", "copyright")):
        at = head.find(tag)
        if at >= 0:
            size = min(int.from_bytes(head[at + 4 : at + 8], "little"), 256)
            text = head[at + 8 : at + 8 + size].split(b"\0")[0].decode("latin-1").strip()
            if text:
                found[name] = text
    return dict(found)
