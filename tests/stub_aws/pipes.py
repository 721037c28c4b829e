"""Pipe mode: a channel as named pipes `<channel>_<epoch>`, each read once from beginning to end.

(Developer guide, "Access Training Data".) The pipe of the next epoch is there before the present
one ends, as scripts open them one after another. Objects come one after another, unpacked where the
channel says Gzip.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from .channels import Channel, S3Object, check_name

CHUNK = 1024 * 1024
POLL_S = 0.02


class PipeFeeder:
    """Feeds one channel of one host, in a thread, until it is closed."""

    def __init__(self, s3: Any, channel: Channel, objects: list[S3Object], folder: Path) -> None:
        for item in objects:
            check_name(item)
        self._s3 = s3
        self._channel = channel
        self._objects = objects
        self._folder = folder
        self._closed = threading.Event()
        self._make(0)
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop feeding. The host must have ended: nobody reads any more."""
        self._closed.set()
        self._thread.join()

    def _make(self, epoch: int) -> Path:
        path = self._folder / f"{self._channel.name}_{epoch}"
        os.mkfifo(path)
        return path

    def _feed(self) -> None:
        epoch = 0
        while (pipe := self._open(epoch)) is not None:
            self._make(epoch + 1)
            with pipe:
                self._write_all(pipe)
            epoch += 1

    def _open(self, epoch: int) -> Any:
        """The writing end, once somebody reads; None when nobody will."""
        path = self._folder / f"{self._channel.name}_{epoch}"
        while not self._closed.is_set():
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # ENXIO: nobody has opened it for reading yet
                time.sleep(POLL_S)
                continue
            os.set_blocking(descriptor, True)
            return os.fdopen(descriptor, "wb", buffering=0)
        return None

    def _write_all(self, pipe: Any) -> None:
        try:
            for item in self._objects:
                for chunk in self._chunks(item):
                    pipe.write(chunk)
        except BrokenPipeError:
            pass  # the script has read enough of this epoch
        except ClientError as error:
            # The reader sees the end of the file; SageMaker's own wording for this is not known.
            print(f"stub AWS: {self._channel.name}: {item.uri}: {error}")

    def _chunks(self, item: S3Object) -> Iterator[bytes]:
        body = self._s3.get_object(Bucket=item.bucket, Key=item.key)["Body"]
        if self._channel.compression != "Gzip":
            yield from body.iter_chunks(CHUNK)
            return
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with gzip's header
        for chunk in body.iter_chunks(CHUNK):
            yield unpack.decompress(chunk)
        yield unpack.flush()
