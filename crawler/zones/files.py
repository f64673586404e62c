"""Zone files as they lie on a disk: unpacked in a stream, in bounded memory.

gzip, zstd and xz are told by their first bytes, never by a name; a tar holds one zone a
member. Refused: a stream that ends early, fails its checksum, has something after its end,
or unpacks to suspiciously much.
"""

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from dane.faults import LocalTrouble, Refused, UsageFault

_GZIP, _ZSTD, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
_TAR_AT, _TAR = 257, b"ustar"
_FREE = 16 << 20  # unpacked bytes before the ratio counts: small files of one line are fine
_ZSTD_WINDOW = 128 << 20
_FED = 2 << 10  # packed bytes at a time: 2 KiB of xz or zstd may unpack to some 10 MiB
_gzip_file: Any = igzip.IGzipFile  # untyped
_isal_error: type[Exception] = getattr(isal_zlib, "error")  # noqa: B009  # wrong in its stubs
_FAULTS = (
    EOFError,
    zlib.error,
    _isal_error,
    lzma.LZMAError,
    zstandard.ZstdError,
)


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """A file that holds one zone, or a member of a tar of them."""

    path: Path
    member: str | None = None
    max_ratio: float = 200.0

    def __str__(self) -> str:
        return self.path.name if self.member is None else f"{self.path.name}:{self.member}"

    def chunks(self, size: int) -> Iterator[bytes]:
        """The unpacked bytes, `size` at a time. Raises Refused, LocalTrouble."""
        with _unpacked(self.path, self.max_ratio) as stream:
            if self.member is None:
                yield from _read(stream, size)
                return
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for entry in tar:
                    if entry.name == self.member and (file := tar.extractfile(entry)):
                        yield from _read(cast(BinaryIO, file), size)
                        return
        raise Refused("no such member")


def zone_files(path: Path, max_ratio: float = 200.0) -> list[ZoneFile]:
    """The zones at a path: a file, the members of a tar, or all files of a directory.

    Raises Refused, UsageFault (a pipe), LocalTrouble.
    """
    if path.is_dir():
        entries = sorted(one for one in path.iterdir() if not one.name.startswith("."))
        return [one for entry in entries if entry.is_file() for one in _member(entry, max_ratio)]
    with _unpacked(path, max_ratio) as stream:
        start = stream.read(_TAR_AT + len(_TAR))
    if start[_TAR_AT:] != _TAR:
        return [ZoneFile(path, None, max_ratio)]
    with _unpacked(path, max_ratio) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        return [ZoneFile(path, entry.name, max_ratio) for entry in tar if entry.isfile()]


def _member(path: Path, max_ratio: float) -> list[ZoneFile]:
    """The zones of one file of a directory; what is refused is named."""
    try:
        return zone_files(path, max_ratio)
    except Refused as refused:
        raise Refused(f"{path.name}: {refused}") from None


def _read(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while chunk := stream.read(size):
        yield chunk


@contextmanager
def _unpacked(path: Path, max_ratio: float) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file; inside, the faults of all packers are Refused."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            if not file.seekable():
                raise UsageFault(f"{path}: a file is read more than once, and this is a pipe")
            start = file.read(8)
            file.seek(0)
        except OSError as error:
            raise LocalTrouble(f"{path}: {error.strerror}") from None
        open_packed = next((opener for magic, opener in _OPENERS if start.startswith(magic)), None)
        try:
            if open_packed is None:
                yield file
            else:
                stream = stack.enter_context(open_packed(file))
                yield cast(BinaryIO, _Measured(stream, file, max_ratio))
        except _FAULTS as error:
            raise Refused(f"cut or damaged: {_first_line(error)}") from None
        except tarfile.TarError as error:
            raise Refused(f"a damaged tar: {_first_line(error)}") from None
        except OSError as error:
            if error.errno is None:  # gzip.BadGzipFile: checksum, or something after the end
                raise Refused(f"cut or damaged: {_first_line(error)}") from None
            raise LocalTrouble(f"{path}: {error.strerror}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Measured(io.RawIOBase):
    """Passes on what is unpacked, and compares it with what was read of the packed file."""

    def __init__(self, stream: BinaryIO, packed: BinaryIO, max_ratio: float) -> None:
        self._stream = stream
        self._packed = packed
        self._max_ratio = max_ratio
        self._size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._size += len(data)
        if self._size > _FREE and self._size > self._max_ratio * self._packed.tell():
            raise Refused(f"unpacks to over {self._max_ratio:.0f} times its size")
        return data


class _Decompressor(Protocol):
    """What lzma's and zstandard's decompressors of one frame have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Frames(io.RawIOBase):
    """Frames one after the other, each read to its end (RFC 8878; the .xz format)."""

    def __init__(self, file: BinaryIO, new: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._new = new
        self._frame = new()
        self._inside = False
        self._packed = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts = [self._ready]
        have = len(self._ready)
        while size < 0 or have < size:
            packed = self._packed or self._file.read(_FED)
            if not packed:
                if self._inside:
                    raise EOFError("the file ends early")
                break
            if not self._inside:  # .xz allows zeros between streams
                packed = packed.lstrip(b"\0")
            self._packed = b""
            if packed:
                self._inside = True
                parts.append(self._frame.decompress(packed))
                have += len(parts[-1])
                if self._frame.eof:
                    self._packed = self._frame.unused_data
                    self._frame = self._new()
                    self._inside = False
        data = b"".join(parts)
        end = len(data) if size < 0 else size
        self._ready = data[end:]
        return data[:end]


def _open_gzip(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _gzip_file(fileobj=file, mode="rb"))


def _open_xz(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _Frames(file, lzma.LZMADecompressor))


def _open_zstd(file: BinaryIO) -> BinaryIO:
    frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return cast(BinaryIO, _Frames(file, frame.decompressobj))


_OPENERS: tuple[tuple[bytes, Callable[[BinaryIO], BinaryIO]], ...] = (
    (_GZIP, _open_gzip),
    (_ZSTD, _open_zstd),
    (_XZ, _open_xz),
)
