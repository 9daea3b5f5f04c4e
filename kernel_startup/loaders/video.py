"""Moving pictures, decoded as they are asked for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

#: A frame of more pixels than this is refused: it is 750 MB when decoded.
_MAX_PIXELS = 250_000_000
_MAX_COUNTED_BYTES = 64 * 1024 * 1024


class Video:
    """A video whose frames are read as they are asked for: nothing is decoded when it is loaded.

    Iterating gives each frame as an RGB array of (height, width, 3), uint8.

    Attributes:
        size: Width and height in pixels.
        fps: Frames a second; 0.0 if it isn't known.
        frames: How many frames there are: counted in small files, else what the header says or
            what rate and duration make; None if nothing tells.
        duration_s: How long it is in seconds; None if it isn't known.
        codec: What the frames are coded in ("h264").
        metadata: Its tags.
        has_audio: Whether there is sound.
    """

    def __init__(self, path: Path, title: str, called: str | None = None) -> None:
        self._path = path
        self._format = called
        self._title = title
        self._open: list[Any] = []
        with self._container() as container:
            stream = _video_stream(container)
            context = stream.codec_context
            self.size = (int(context.width), int(context.height))
            rate = stream.average_rate or stream.guessed_rate or stream.base_rate
            self.fps = float(rate) if rate else 0.0
            self.duration_s = _duration(container, stream)
            self.codec = str(context.name)
            self.metadata: dict[str, str] = {**container.metadata, **stream.metadata}
            self.has_audio = bool(container.streams.audio)
            self.frames: int | None = int(stream.frames) or None
        if path.stat().st_size <= _MAX_COUNTED_BYTES:
            self.frames = self._count() or self.frames
        if self.frames is None and self.duration_s and self.fps:
            self.frames = round(self.duration_s * self.fps)

    def __iter__(self) -> "Iterator[np.ndarray]":
        for frame in self._decoded():
            yield frame.to_ndarray(format="rgb24")

    def __len__(self) -> int:
        if self.frames is None:
            raise TypeError("how many frames there are isn't known before they are read")
        return self.frames

    def __getitem__(self, number: int) -> "np.ndarray":
        import numpy as np

        if self.frames is not None and number < 0:
            number += self.frames
        return np.asarray(self.frame(number))

    def __repr__(self) -> str:
        width, height = self.size
        told = [f"{width}x{height}"]
        if self.fps:
            told.append(f"{self.fps:.4g} fps")
        if self.frames is not None:
            told.append(f"{self.frames:,} frames")
        if self.duration_s is not None:
            told.append(f"{self.duration_s:.2f} s")
        told += [self.codec, "with sound" if self.has_audio else "no sound"]
        return f"Video({self._title}: {', '.join(told)})"

    def frame(self, number: int) -> "PIL.Image.Image":
        """Give one frame, counted from 0.

        Raises:
            IndexError: There is no such frame.
        """
        if number < 0:
            raise IndexError("frames are counted from 0")
        for index, frame in enumerate(self._decoded()):
            if index == number:
                return _image(frame)
        raise IndexError(f"there is no frame {number}")

    def at(self, seconds: float) -> "PIL.Image.Image":
        """Give the frame that shows at a time; the last one if there is none after it."""
        last = None
        for frame in self._decoded(seek_s=seconds):
            if last is not None and frame.time is not None and frame.time > seconds:
                break
            last = frame
        if last is None:
            raise IndexError(f"there is no frame at {seconds} s")
        return _image(last)

    def thumbnails(self, count: int = 9, width: int = 320) -> "list[PIL.Image.Image]":
        """Give small pictures from all over it."""
        times = [(self.duration_s or 0.0) * (i + 0.5) / count for i in range(max(count, 1))]
        pictures = [self.at(time) for time in (times if self.duration_s else [0.0])]
        for picture in pictures:
            picture.thumbnail((width, width))
        return pictures

    def audio(
        self, *, offset: float = 0.0, duration: float | None = None
    ) -> "tuple[np.ndarray, int]":
        """Decode the sound: samples as float32, and their rate; see `load_file` of a sound.

        Raises:
            ValueError: There is none.
        """
        from kernel_startup.loaders.audio import decode_audio

        with self._container() as container:
            return decode_audio(None, container, offset, duration)

    def close(self) -> None:
        """Do nothing: files are open only while frames are read."""

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _container(self) -> Any:
        import av

        # From a file object: a playlist or a reference in it must not open other files.
        container: Any = av.open(_Owned(self._path), format=self._format, metadata_errors="ignore")
        return container

    def _count(self) -> int:
        """Count the frames without decoding them."""
        import av

        count = 0
        try:
            with self._container() as container:
                stream = _video_stream(container)
                for packet in container.demux(stream):
                    count += packet.size > 0
        except av.FFmpegError:
            pass  # damaged from here on
        return count

    def _decoded(self, seek_s: float = 0.0) -> Iterator[Any]:
        import av

        with self._container() as container:
            stream = _video_stream(container)
            stream.thread_type = "AUTO"
            if seek_s > 0 and stream.time_base:
                # What can't be jumped in is read from the beginning.
                with contextlib.suppress(av.FFmpegError):
                    container.seek(int(seek_s / stream.time_base), stream=stream)
            try:
                for frame in container.decode(stream):
                    if frame.width * frame.height > _MAX_PIXELS:
                        raise ValueError(f"a frame of {frame.width}x{frame.height} pixels")
                    yield frame
            except av.EOFError:
                return


class _Owned:
    """A file that a container closes by letting go of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.read = self._file.read
        self.seek = self._file.seek
        self.tell = self._file.tell

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


#: What a type is called by FFmpeg, which needs to be told where a file is short.
_CALLED = {
    "mpegts": "mpegts",
    "m2ts": "mpegts",
    "h264": "h264",
    "h265": "hevc",
    "m2v": "mpegvideo",
    "mpg": "mpeg",
    "mjpeg": "mjpeg",
    "m4vraw": "m4v",
    "dv-video": "dv",
}


def load_video(source: Source) -> object:
    """Open a video; its sound alone, as (samples, rate), if it has no pictures."""
    import av

    from kernel_startup.recognition import type_of_source

    file_type = type_of_source(source)
    title, path = file_type.title, source.as_path()
    try:
        try:
            return Video(path, title)
        except (av.FFmpegError, ValueError):
            if file_type.name not in _CALLED:
                raise
            return Video(path, title, _CALLED[file_type.name])
    except _NoPicture:
        from kernel_startup.loaders.audio import load_audio

        source.note(f"{source.name!r} has no moving pictures: this is its sound.")
        return load_audio(source)
    except av.FFmpegError as error:
        raise FileLoadError(
            source.name, f"{title}, cut off or damaged", "av", error.strerror or str(error)
        ) from error


class _NoPicture(ValueError):
    """There is no video stream."""


def _video_stream(container: Any) -> Any:
    import av

    streams = container.streams.video
    if not streams:
        if container.streams.audio:
            raise _NoPicture("there are no pictures in it")
        raise ValueError("there are neither pictures nor sound in it")
    attached = av.stream.Disposition.attached_pic
    stream = next((s for s in streams if not s.disposition & attached), None)
    if stream is None:
        raise _NoPicture("there is a cover, and no moving pictures")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > _MAX_PIXELS:
        raise ValueError(f"frames of {width}x{height} pixels are too large to decode")
    return stream


def _duration(container: Any, stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _image(frame: Any) -> "PIL.Image.Image":
    picture: PIL.Image.Image = frame.to_image()
    return picture
