"""Zone files as they lie on a disk: unpacked in a stream, in bounded memory.

gzip, zstd and xz are told by their first bytes, never by a name; a tar holds one zone a
member, which may be packed itself. Refused: a stream that ends early, fails its checksum, has
something after its end, or unpacks to suspiciously much.
"""

import io
import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from dane.faults import LocalTrouble, Refused, UsageFault

_GZIP, _ZSTD, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
_TAR_AT, _TAR, _TAR_END = 257, b"ustar", bytes(1024)
_FREE = 16 << 20  # unpacked bytes before the ratio counts: small files of one line are fine
_MAX_WINDOW = 128 << 20  # bytes referred back to: as `zstd --long` writes; `xz -9` needs half
_FED = 1 << 10  # packed bytes at a time, which may unpack to 32 MiB (RFC 8878 section 3.1.1.2.2)
_COPIED = 1 << 20
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
    max_ratio: float = 200.0
    member: str | None = None
    copy: Path | None = None  # where the member lies, unpacked out of the tar

    def __str__(self) -> str:
        """One line of ASCII: names of members are from strangers."""
        return shown(self.path.name if self.member is None else f"{self.path.name}:{self.member}")

    @property
    def data(self) -> Path:
        """The file whose bytes are this zone's alone."""
        return self.copy or self.path

    def chunks(self, size: int) -> Iterator[bytes]:
        """The unpacked bytes, `size` at a time. Raises Refused, LocalTrouble."""
        with _unpacked(self.data, self.max_ratio) as stream:
            yield from _read(stream, size)


def shown(path: Path | str) -> str:
    """A file name as one line of ASCII: names of files may be any bytes."""
    return str(path).encode("unicode_escape").decode("ascii")


def listed(path: Path) -> list[Path]:
    """The files of a directory that are not hidden, or the path itself. Raises LocalTrouble."""
    try:
        if not path.is_dir():
            return [path]
        return sorted(one for one in path.iterdir() if one.is_file() and one.name[0] != ".")
    except OSError as error:
        raise LocalTrouble(f"{shown(path)}: {error.strerror}") from None


def zone_files(
    path: Path, max_ratio: float = 200.0, directory: Path | None = None
) -> Iterator[ZoneFile]:
    """The zones of a file: itself, or the members of a tar one after the other.

    A member lies in a temporary file of `directory` until the next one is asked for. Raises
    Refused, UsageFault (a pipe), LocalTrouble.
    """
    with _unpacked(path, max_ratio) as stream:
        is_tar = stream.read(_TAR_AT + len(_TAR))[_TAR_AT:] == _TAR
        if is_tar:
            _check_end(stream)  # before the first member is believed
    if not is_tar:
        yield ZoneFile(path, max_ratio)
        return
    with _unpacked(path, max_ratio) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            if not entry.isreg() or entry.issparse():  # holes unpack to any size
                continue
            with tempfile.NamedTemporaryFile(prefix="zone-", dir=directory) as copy:
                shutil.copyfileobj(cast(BinaryIO, tar.extractfile(entry)), copy, _COPIED)
                copy.flush()
                yield ZoneFile(path, max_ratio, entry.name, Path(copy.name))


def _check_end(tar: BinaryIO) -> None:
    """Read a tar to its end, checksums of its packing included. Raises Refused."""
    end = b""
    for chunk in _read(tar, _COPIED):
        end = (end + chunk)[-len(_TAR_END) :]
    if end != _TAR_END:
        raise Refused("a tar that was cut, or has something after its end")


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
                raise UsageFault(f"{shown(path)}: a pipe, and zones are read more than once")
            start = file.read(8)
            file.seek(0)
        except OSError as error:
            raise LocalTrouble(f"{shown(path)}: {error.strerror}") from None
        open_packed = next((opener for magic, opener in _OPENERS if start.startswith(magic)), None)
        try:
            if open_packed is None:
                yield file
            else:
                stream = stack.enter_context(open_packed(file))
                yield cast(BinaryIO, _Measured(stream, file, max_ratio))
        except _FAULTS as error:
            raise Refused(f"cut or damaged: {_first_line(error)}") from None
        except (tarfile.TarError, ValueError) as error:  # ValueError: numbers in pax headers
            raise Refused(f"a damaged tar: {_first_line(error)}") from None
        except OSError as error:
            if error.errno is None:  # gzip.BadGzipFile: checksum, or something after the end
                raise Refused(f"cut or damaged: {_first_line(error)}") from None
            raise LocalTrouble(f"{shown(path)}: {error.strerror}") from None


def is_gzip(start: bytes) -> bool:
    """Whether a file that begins so is packed by gzip."""
    return start.startswith(_GZIP[: len(start)])


def gzip_fault(path: Path) -> str | None:
    """Why a file is no whole gzip file, if so: it is none, ends early or fails its checksum.

    What stands after the end of a whole one is not looked at. Raises OSError.
    """
    with path.open("rb") as file:
        if not is_gzip(file.read(len(_GZIP))):
            return "not a gzip file"
        file.seek(0)
        members = 0
        member: Any = isal_zlib.decompressobj(wbits=31)
        packed = file.read(_COPIED)
        while packed:
            try:
                member.decompress(packed)
            except _isal_error as error:
                return f"a damaged gzip file: {_first_line(error)}"
            if not member.eof:
                packed = file.read(_COPIED)
                continue
            members += 1
            packed = member.unused_data or file.read(_COPIED)
            if not packed.startswith(_GZIP):
                return None
            member = isal_zlib.decompressobj(wbits=31)
    return "a gzip file that ends early"


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
        self._ready = memoryview(b"")  # unpacked and not yet read: cut off without copying

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Just so many bytes, but at the end."""
        parts, missing = [], size
        while missing and (self._ready or self._unpack()):
            part = self._ready[:missing] if size >= 0 else self._ready
            self._ready = self._ready[len(part) :]
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _unpack(self) -> bool:
        """Unpack some more; False at the end."""
        while not self._ready:
            packed = self._packed or self._file.read(_FED)
            if not packed:
                if self._inside:
                    raise EOFError("the file ends early")
                return False
            if not self._inside:  # .xz allows zeros between streams
                packed = packed.lstrip(b"\0")
            self._packed = b""
            if packed:
                self._inside = True
                self._ready = memoryview(self._frame.decompress(packed))
                if self._frame.eof:
                    self._packed = self._frame.unused_data
                    self._frame = self._new()
                    self._inside = False
        return True


def _open_gzip(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _gzip_file(fileobj=file, mode="rb"))


def _open_xz(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _Frames(file, partial(lzma.LZMADecompressor, memlimit=_MAX_WINDOW)))


def _open_zstd(file: BinaryIO) -> BinaryIO:
    frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    return cast(BinaryIO, _Frames(file, frame.decompressobj))


_OPENERS: tuple[tuple[bytes, Callable[[BinaryIO], BinaryIO]], ...] = (
    (_GZIP, _open_gzip),
    (_ZSTD, _open_zstd),
    (_XZ, _open_xz),
)
