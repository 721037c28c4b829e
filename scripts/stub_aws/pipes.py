"""Pipe mode: a channel as named pipes `<channel>_<epoch>`, each read once from beginning to end.

(Developer guide, "Access Training Data".) The pipe of the next epoch is there before the present
one ends, as scripts open them one after another. Objects come one after another, unpacked where the
channel says Gzip. What cannot be read fails the job: its pipe stays open, without an end that the
script would take for the end of the data.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import select
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .channels import Channel, ChannelError, S3Object, check_name, unreadable
from .ends import Troubles, join

CHUNK = 1024 * 1024
POLL_S = 0.02
END_S = 10.0  # for the end of a thread that may be waiting for S3


class Closed(Exception):
    """Nobody wants the data any more."""


class PipeFeeder:
    """Feeds one channel of one host, in a thread, until it is closed.

    Args:
        folder: A descriptor of the folder for the pipes; this object closes it.
        troubles: Gets the reason when an object cannot be read.
        note: Gets a line for the log when a pipe is not there any more.
    """

    def __init__(
        self,
        s3: Any,
        channel: Channel,
        objects: list[S3Object],
        folder: int,
        troubles: Troubles,
        note: Callable[[str], None],
    ) -> None:
        self._s3 = s3
        self._channel = channel
        self._objects = objects
        self._folder = folder
        self._troubles = troubles
        self._note = note
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        try:
            for item in objects:
                check_name(item)
            self._first = self._make(0)
        except (ChannelError, OSError):
            os.close(folder)
            raise
        self._thread.start()

    def close(self) -> None:
        """Stop feeding, whether somebody still reads or not."""
        self._closed.set()
        join(self._thread, END_S, f"the feeder of the channel {self._channel.name}")

    def _name(self, epoch: int) -> str:
        return f"{self._channel.name}_{epoch}"

    def _make(self, epoch: int) -> tuple[int, int]:
        """Make the pipe of an epoch, and return what tells it from any other file."""
        os.mkfifo(self._name(epoch), dir_fd=self._folder)
        return self._identity(epoch)

    def _identity(self, epoch: int) -> tuple[int, int]:
        status = os.stat(self._name(epoch), dir_fd=self._folder, follow_symlinks=False)
        return (status.st_dev, status.st_ino) if stat.S_ISFIFO(status.st_mode) else (0, 0)

    def _feed(self) -> None:
        pipe: tuple[int, int] | None = self._first
        epoch = 0
        try:
            while pipe is not None:
                descriptor = self._open(epoch, pipe)
                try:
                    pipe = self._next(epoch + 1)
                    self._write_all(descriptor)
                finally:
                    os.close(descriptor)
                epoch += 1
        except Closed:
            pass
        except OSError as error:
            self._fed_no_more(error)
        finally:
            os.close(self._folder)

    def _next(self, epoch: int) -> tuple[int, int] | None:
        try:
            return self._make(epoch)
        except OSError as error:
            self._fed_no_more(error)
            return None

    def _fed_no_more(self, error: OSError) -> None:
        self._note(
            f"the channel {self._channel.name} is fed no more, since the script changed its pipes: "
            f"{error.strerror}"
        )

    def _open(self, epoch: int, pipe: tuple[int, int]) -> int:
        """Return the writing end, once somebody reads.

        Raises:
            Closed: Nobody will.
            OSError: Something else is in its place; it is left alone.
        """
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        while not self._closed.is_set():
            with contextlib.suppress(FileNotFoundError):  # taken away: then nobody reads it
                if self._identity(epoch) != pipe:
                    raise OSError(errno.EEXIST, f"{self._name(epoch)} is another file")
                try:
                    return os.open(self._name(epoch), flags, dir_fd=self._folder)
                except OSError as error:
                    if error.errno != errno.ENXIO:  # nobody has opened it for reading yet
                        raise
            self._closed.wait(POLL_S)
        raise Closed

    def _write_all(self, pipe: int) -> None:
        try:
            for item in self._objects:
                for chunk in self._chunks(item):
                    self._write(pipe, chunk)
        except BrokenPipeError:
            pass  # the script has read enough of this epoch
        except ChannelError as error:
            self._troubles.report(str(error))
            self._closed.wait()  # the end of the pipe would be the end of the data

    def _write(self, pipe: int, data: bytes) -> None:
        """Write all of it, as fast as the script reads.

        Raises:
            BrokenPipeError: It reads no more.
            Closed: It will not.
        """
        poller = select.poll()
        poller.register(pipe, select.POLLOUT)
        left = memoryview(data)
        while left:
            if self._closed.is_set():
                raise Closed
            if poller.poll(POLL_S * 1000):
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(pipe, left) :]

    def _chunks(self, item: S3Object) -> Iterator[bytes]:
        """Yield an object's bytes.

        Raises:
            channels.ChannelError: They cannot be read, or not unpacked.
        """
        try:
            body = self._s3.get_object(Bucket=item.bucket, Key=item.key)["Body"]
            with contextlib.closing(body):
                packed = self._channel.compression == "Gzip"
                source = gzip.GzipFile(fileobj=body) if packed else body
                while chunk := source.read(CHUNK):
                    yield chunk
        except (ClientError, BotoCoreError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise unreadable(item, error) from error
