"""A merged trace in Perfetto's own format: half as large, exact to the ns, with the time of day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from sightline.errors import ConfigurationError
from sightline.timeline.events import SESSION_LANES, Counter, Event, Flow, FlowEnd, Instant, Span, Thread
from sightline.timeline.rows import Row
from sightline.timeline.writing import Ties, TraceFile

_BEGIN, _END, _INSTANT, _COUNTER = 1, 2, 3, 4  # TrackEvent.Type
_BOOTTIME, _REALTIME = 6, 1  # BuiltinClock
_SEQUENCE = 1
_IS_CLEARED = 1  # TracePacket.SEQ_INCREMENTAL_STATE_CLEARED


class Pftrace(TraceFile):
    """Writes a ``perfetto.protos.Trace``, a packet at a time. Needs the extra ``perfetto``.

    Each end of an arrow is a moment named ``flow`` in its span.
    """

    def begin(self, file: BinaryIO) -> None:
        try:
            from perfetto.protos.perfetto.trace import perfetto_trace_pb2
        except ImportError as error:
            raise ConfigurationError(
                f"the format pftrace needs Perfetto's package ({error}): pip install 'sightline[perfetto]'"
            ) from None
        self._packet = perfetto_trace_pb2.TracePacket
        self._file = file
        self._ties = Ties()
        self._tracks: dict[tuple[int, str, object], int] = {}
        packet = self._packet(sequence_flags=_IS_CLEARED)
        packet.clock_snapshot.primary_trace_clock = _BOOTTIME
        # Times begin at 1: one of 0 is taken for none.
        packet.clock_snapshot.clocks.add(clock_id=_BOOTTIME, timestamp=1)
        packet.clock_snapshot.clocks.add(clock_id=_REALTIME, timestamp=self.zero_ns + 1)
        self._write(packet)

    def row(self, row: Row) -> None:
        packet = self._packet()
        descriptor = packet.track_descriptor
        descriptor.uuid = self._track_number(row, "process", 0)
        descriptor.process.pid = row.pid
        descriptor.process.process_name = row.name
        descriptor.sibling_order_rank = row.order
        self._write(packet)

    def write(self, row: Row, event: Event) -> None:
        match event:
            case Span(name, start, end, tid, lane, category, args, flows):
                track = self._thread(row, tid) if lane is None else self._lane(row, lane)
                self._event(track, _BEGIN, self._ties.start(track, start, end), name, category, args)
                for each in flows:
                    self._flow(row, track, each)
                self._event(track, _END, end)
            case Instant(name, at, tid, scope, category, args):
                track = self._thread(row, tid) if scope == "t" else self._track_number(row, "process", 0)
                self._event(track, _INSTANT, at, name, category, args)
            case Counter(name, at, values):
                for series, value in values.items():
                    self._counter(row, name if series == "value" else f"{name} {series}", at, value)
            case Flow(tid, each):
                self._flow(row, self._thread(row, tid), each)
            case Thread(tid, name):
                self._thread(row, tid, name)

    def end(self) -> None:
        pass

    # --- tracks --------------------------------------------------------------------------------------------

    def _track_number(self, row: Row, kind: str, which: object) -> int:
        return self._tracks.setdefault((row.pid, kind, which), len(self._tracks) + 1)

    def _thread(self, row: Row, tid: int, name: str = "") -> int:
        known = len(self._tracks)
        track = self._track_number(row, "thread", tid)
        if name or len(self._tracks) > known:
            packet = self._packet()
            packet.track_descriptor.uuid = track
            packet.track_descriptor.thread.pid = row.pid
            packet.track_descriptor.thread.tid = row.tid(tid)
            if name:
                packet.track_descriptor.thread.thread_name = name
            self._write(packet)
        return track

    def _lane(self, row: Row, lane: int) -> int:
        return self._child(row, "lane", lane, "tasks" if lane < SESSION_LANES else "sessions")

    def _child(self, row: Row, kind: str, which: object, name: str) -> int:
        known = len(self._tracks)
        track = self._track_number(row, kind, which)
        if len(self._tracks) > known:
            packet = self._packet()
            packet.track_descriptor.uuid = track
            packet.track_descriptor.parent_uuid = self._track_number(row, "process", 0)
            packet.track_descriptor.name = name
            if kind == "counter":
                packet.track_descriptor.counter.SetInParent()
            self._write(packet)
        return track

    # --- events --------------------------------------------------------------------------------------------

    def _event(
        self, track: int, kind: int, at: int, name: str = "", category: str = "", args: Mapping[str, Any] = {}
    ) -> None:
        packet = self._packet(timestamp=max(0, at - self.zero_ns) + 1)
        event = packet.track_event
        event.type = kind
        event.track_uuid = track
        if name:
            event.name = name
        if category:
            event.categories.append(category)
        for key, value in args.items():
            _annotate(event.debug_annotations.add(name=key), value)
        self._write(packet)

    def _flow(self, row: Row, track: int, flow: FlowEnd) -> None:
        packet = self._packet(timestamp=max(0, flow.at - self.zero_ns) + 1)
        event = packet.track_event
        event.type = _INSTANT
        event.track_uuid = track
        event.name = "flow"
        (event.flow_ids if flow.is_out else event.terminating_flow_ids).append(row.flow(flow.id))
        self._write(packet)

    def _counter(self, row: Row, name: str, at: int, value: float) -> None:
        track = self._child(row, "counter", name, name)
        packet = self._packet(timestamp=max(0, at - self.zero_ns) + 1)
        packet.track_event.type = _COUNTER
        packet.track_event.track_uuid = track
        packet.track_event.double_counter_value = float(value)
        self._write(packet)

    def _write(self, packet: Any) -> None:
        packet.trusted_packet_sequence_id = _SEQUENCE
        data = packet.SerializeToString()
        self._file.write(b"\x0a" + _varint(len(data)) + data)  # field 1 of Trace


def _annotate(annotation: Any, value: Any) -> None:
    if isinstance(value, bool):
        annotation.bool_value = value
    elif isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            annotation.int_value = value
        else:
            annotation.uint_value = value
    elif isinstance(value, float):
        annotation.double_value = value
    elif isinstance(value, dict):
        for key, each in value.items():
            _annotate(annotation.dict_entries.add(name=key), each)
    elif isinstance(value, list):
        for each in value:
            _annotate(annotation.array_values.add(), each)
    else:
        annotation.string_value = "null" if value is None else str(value)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
