"""The client's end of an HTTP/2 connection, frame by frame, for what no gRPC library would send."""

import asyncio
import contextlib
import struct
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

MAX_FRAME_BYTES: Final = 16_384
"""What every peer has to take in one frame (RFC 9113, 4.2)."""

_TE: Final = "te"  # codespell:ignore te
_HEAD: Final = struct.Struct(">HBBBI")


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    """Flags of frames; ACK of SETTINGS and PING is END_STREAM's bit."""

    NONE = 0
    END_STREAM = 1
    ACK = 1
    END_HEADERS = 4


class Setting(IntEnum):
    """What a peer can set."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Error(IntEnum):
    """Why a stream or a connection was ended (RFC 9113, 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


def literal(name: str, value: str) -> bytes:
    """A field of a header block, written out: no table, no Huffman code."""
    return b"\0" + _text(name.encode()) + _text(value.encode())


def request_block(path: str, more: Iterable[tuple[str, str]] = ()) -> bytes:
    """The header block of a gRPC request."""
    fields = (
        *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a")),
        *((_TE, "trailers"), ("content-type", "application/grpc"), *more),
    )
    return b"".join(literal(name, value) for name, value in fields)


def _text(raw: bytes) -> bytes:
    size = len(raw)
    if size < 0x7F:
        return bytes((size,)) + raw
    head, rest = bytearray((0x7F,)), size - 0x7F
    while rest > 0x7F:
        head.append(rest & 0x7F | 0x80)
        rest >>= 7
    head.append(rest)
    return bytes(head) + raw


class GoAway(NamedTuple):
    """The peer's last words on a connection."""

    code: int
    text: str


class Answer(NamedTuple):
    """What came on one stream. `reset` is the code of RST_STREAM, where there was one."""

    headers: dict[str, str]
    data: bytes
    reset: int | None

    @property
    def code(self) -> int | None:
        """gRPC's code."""
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None


class Connection:
    """A connection whose frames are written as they are told; what comes is read meanwhile.

    While it is `polite` it answers SETTINGS and PING, so that the far end finds nothing wrong but
    what a test sends. Nothing may come between the frames of a header block, answers neither.
    Windows are opened only by `Connection.open_window`.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = hpack.Decoder()
        self._decoder.max_header_list_size = 1 << 24
        self._headers: defaultdict[int, dict[str, str]] = defaultdict(dict)
        self._data: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._ended: dict[int, int | None] = {}
        self._news = asyncio.Condition()
        self._last_stream = -1
        self.polite = True
        self.settings: dict[int, int] = {}
        self.goaways: list[GoAway] = []
        self.pongs = 0
        self.closed = False

    # -- sending ------------------------------------------------------------------------------

    def write(self, raw: bytes) -> None:
        """Send bytes as they are, unless the far end is known to be gone."""
        if not self._writer.is_closing():
            self._writer.write(raw)

    def frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        """Send a frame."""
        size = len(payload)
        self.write(_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload)

    def greet(self, settings: dict[Setting, int] | None = None) -> None:
        """Send what every connection begins with."""
        self.write(PREFACE)
        pairs = (settings or {}).items()
        self.frame(Kind.SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))

    def open_window(self, stream: int, size: int) -> None:
        """Let the far end send so much more, on a stream or (0) on all together."""
        self.frame(Kind.WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", size))

    def next_stream(self) -> int:
        """The number of a new stream."""
        self._last_stream += 2
        return self._last_stream

    def request(
        self,
        path: str,
        message: bytes | None = None,
        *,
        more: Iterable[tuple[str, str]] = (),
        compressed: bool = False,
    ) -> int:
        """Begin a call; with a message also end the sending. Return the stream's number."""
        stream = self.next_stream()
        self.headers(stream, request_block(path, more))
        if message is not None:
            self.message(stream, message, compressed=compressed)
        return stream

    def headers(self, stream: int, block: bytes, flags: int = Flag.END_HEADERS) -> None:
        """Send a header block, in as many frames as it takes."""
        first, *others = [
            block[at : at + MAX_FRAME_BYTES] for at in range(0, len(block), MAX_FRAME_BYTES)
        ] or [b""]
        self.frame(Kind.HEADERS, flags & ~Flag.END_HEADERS if others else flags, stream, first)
        for index, part in enumerate(others, 1):
            last = index == len(others)
            self.frame(Kind.CONTINUATION, flags & Flag.END_HEADERS if last else 0, stream, part)

    def message(self, stream: int, message: bytes, *, compressed: bool = False) -> None:
        """Send a message, and that it was the last one."""
        framed = struct.pack(">BI", compressed, len(message)) + message
        parts = [framed[at : at + MAX_FRAME_BYTES] for at in range(0, len(framed), MAX_FRAME_BYTES)]
        for part in parts[:-1]:
            self.frame(Kind.DATA, 0, stream, part)
        self.frame(Kind.DATA, Flag.END_STREAM, stream, parts[-1])

    def reset(self, stream: int, code: Error = Error.CANCEL) -> None:
        """End a stream at once."""
        self.frame(Kind.RST_STREAM, stream=stream, payload=struct.pack(">I", code))

    async def drain(self) -> bool:
        """Wait until what was written has left; False if the far end is gone."""
        if not self.closed:
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
                return not self.closed
        return False

    def stop_reading(self) -> None:
        """Leave what comes to the system's buffers, which then are full."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    # -- receiving ----------------------------------------------------------------------------

    async def answer(self, stream: int, seconds: float = 10.0) -> Answer:
        """What came on a stream, once it or the connection has ended."""
        await self._until(lambda: stream in self._ended or self.closed, seconds)
        headers, data = self._headers.pop(stream, {}), bytes(self._data.pop(stream, b""))
        return Answer(headers, data, self._ended.pop(stream, None))

    async def end(self, seconds: float = 10.0) -> Sequence[GoAway]:
        """Wait until the far end closes the connection; with which words it did."""
        await self._until(lambda: self.closed, seconds)
        return self.goaways

    async def until_pong(self, count: int, seconds: float = 10.0) -> None:
        """Wait for so many answers to PINGs."""
        await self._until(lambda: self.pongs >= count or self.closed, seconds)

    async def greeted(self, seconds: float = 10.0) -> None:
        """Wait for the far end's settings."""
        await self._until(lambda: bool(self.settings) or self.closed, seconds)

    @property
    def ended(self) -> int:
        """How many streams have ended whose answer nobody has taken."""
        return len(self._ended)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(condition)

    async def read(self) -> None:
        """Take all that comes until the end."""
        try:
            while True:
                high, low, kind, flags, stream = _HEAD.unpack(await self._reader.readexactly(9))
                payload = await self._reader.readexactly(high << 8 | low)
                self._take(kind, flags, stream & 0x7FFFFFFF, payload)
                async with self._news:
                    self._news.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed = True
            async with self._news:
                self._news.notify_all()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        match kind:
            case Kind.SETTINGS if not flags & Flag.ACK:
                self.settings.update(struct.iter_unpack(">HI", payload))
                if self.polite:
                    self.frame(Kind.SETTINGS, Flag.ACK)
            case Kind.PING if flags & Flag.ACK:
                self.pongs += 1
            case Kind.PING:
                if self.polite:
                    self.frame(Kind.PING, Flag.ACK, payload=payload)
            case Kind.GOAWAY:
                code = struct.unpack_from(">I", payload, 4)[0]
                self.goaways.append(GoAway(code, payload[8:].decode(errors="replace")))
            case Kind.HEADERS:
                # Servers of gRPC send no padding, priority or continuation here.
                self._headers[stream].update(
                    (str(name), str(value)) for name, value in self._decoder.decode(payload)
                )
            case Kind.DATA:
                self._data[stream] += payload
            case Kind.RST_STREAM:
                self._ended[stream] = struct.unpack(">I", payload)[0]
            case _:
                pass
        if kind in (Kind.HEADERS, Kind.DATA) and flags & Flag.END_STREAM:
            self._ended.setdefault(stream, None)

    async def close(self) -> None:
        """Leave without a word."""
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def connect(
    address: str, settings: dict[Setting, int] | None = None, *, greet: bool = True
) -> AsyncGenerator[Connection]:
    """A connection to a server on host:port, past the greeting unless told otherwise."""
    host, _, port = address.rpartition(":")
    connection = Connection(*await asyncio.open_connection(host, int(port)))
    connection.polite = greet
    reading = asyncio.create_task(connection.read())
    try:
        if greet:
            connection.greet(settings)
            await connection.greeted()
        yield connection
    finally:
        await connection.close()
        reading.cancel()
        await asyncio.wait((reading,))
