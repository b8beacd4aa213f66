"""What breaks readers: nothing at all, the largest, the strangest and the newest."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from _corpus_cases.case import RUN_ID, TASK_ID, Case
from _corpus_cases.definitions import SPARSE_ASSET
from _corpus_cases.sessions import LEASE

MIN_INT64: Final = "-9223372036854775808"
MAX_INT64: Final = "9223372036854775807"
USUAL_CHUNK: Final = 64 * 1024
LONGEST_LINE: Final = 32 * 1024
LONGEST_ERROR: Final = 2_000

EMPTY: Final = (
    "AssetDefinition",
    "AssetDependency",
    "AssetManifest",
    "Check",
    "CreateRunRequest",
    "ErrorDetail",
    "Event",
    "IoConfig",
    "ManifestChunk",
    "OpenSessionRequest",
    "PartitionKey",
    "Plan",
    "Run",
    "ServerMessage",
    "Task",
    "WorkerMessage",
)
TEXTS: Final = {
    "ascii": "plain",
    "latin": "Grüße",
    "combining": "e\u0301 is not \u00e9",
    "right-to-left": "\u05e9\u05dc\u05d5\u05dd \u202e\u0645\u0631\u062d\u0628\u0627\u202c",
    "cjk": "資料資產",
    "astral": "\U0001d518\U0001d52b\U0001d526 \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "line-separators": "a\u2028b\u2029c\u0085d",
    "controls": "".join(map(chr, range(0x20))) + "\x7f\x80\x9f",
    "json": "\"\\/</script>&'",
    "noncharacters": "\ufeff\ufffe\uffff\ufffd\U0010ffff",
}
# By code point (and so by UTF-8): "é" < "\uff5e" < "\U0001f600". By UTF-16 the last two change
# places, since the emoji starts with a surrogate, 0xd83d. JavaScript puts "7" and "10" first.
KEYS: Final = ("", "A", "a", "ab", "z", "é", "\uff5e", "\U0001f600", "7", "10")
DOUBLES: Final = {
    "zero": 0.0,
    "negative-zero": -0.0,
    "whole": 3.0,
    "third": 1 / 3,
    "tenths": 0.1 + 0.2,
    "small": 1e-5,
    "large": 1e16,
    "largest-integer": 2.0**53,
    "huge": 1e22,
    "greatest": 1.7976931348623157e308,
    "least-normal": 2.2250738585072014e-308,
    "least": 5e-324,
    "nan": "NaN",
    "infinity": "Infinity",
    "negative-infinity": "-Infinity",
}
TIMES: Final = {
    "first": ("0001-01-01T00:00:00Z", "the first moment of the type"),
    "last": ("9999-12-31T23:59:59.999999Z", "the last one that Python's datetime has"),
    "before-epoch": ("1969-12-31T23:59:59.999999Z", "negative seconds, positive nanoseconds"),
    "epoch": ("1970-01-01T00:00:00Z", "set, and empty on the wire"),
    "milliseconds": ("2025-11-21T09:00:00.120Z", "three fraction digits"),
    "nanoseconds": ("2025-11-21T09:00:00.123456789Z", "nine fraction digits"),
}
DURATIONS: Final = {
    "zero": ("0s", "set, and empty on the wire"),
    "microseconds": ("86399.999999s", "six fraction digits"),
    "longest": ("315576000000s", "the longest of the type"),
    "negative": ("-1.500s", "both parts are negative; never sent"),
}
BETTERPROTO2: Final = "https://github.com/betterproto/python-betterproto2"
PROTOBUF_ES: Final = "https://github.com/bufbuild/protobuf-es"
# Case to reader to what is wrong with it.
CANNOT: Final[dict[str, dict[str, str]]] = {
    "double-negative-zero": {
        "betterproto2": "leaves -0.0 out of the binary as if it were the default; merged upstream, "
        f"in no release up to 0.10.0: {BETTERPROTO2}/pull/226"
    },
    "timestamp-nanoseconds": {
        "betterproto2": "keeps timestamps as datetime, which has microseconds; open upstream: "
        f"{BETTERPROTO2}/pull/213"
    },
    "map-key-proto": {
        "protobuf-es": "keeps maps as plain objects, in which `__proto__` is no key, and drops the "
        f"entry; a fix was turned down upstream: {PROTOBUF_ES}/pull/1451"
    },
    "duration-negative": {
        "betterproto2": "refuses the minus in JSON (`Invalid duration string`); no issue upstream "
        f"is known: {BETTERPROTO2}/issues"
    },
}
UNKNOWN: Final = "JSON has no place for unknown fields: the JSON is that of `{}`"


def text_of(size: int) -> str:
    """Return a text of so many bytes in UTF-8, not all of them ASCII."""
    return ("0123456789abcdé" * (size // 16 + 1)).encode()[:size].decode()


def _blob(size: int) -> str:
    return b64encode(bytes((index * index) % 251 for index in range(size))).decode()


EDGES: Final = (
    *(Case(f"empty-{name.lower()}", name, {}, "no bytes at all") for name in EMPTY),
    Case(
        "present-but-empty",
        "Task",
        {
            "assetKey": {},
            "partitionKey": {},
            "failure": {"retryable": False},
            "startedAt": "1970-01-01T00:00:00Z",
            "progress": {"percentage": 0},
            "materialization": {"rowCount": "0", "columns": [{}]},
            "checks": [{"failedRows": "0"}],
        },
        "what has presence is written although it holds its default",
    ),
    Case(
        "explicit-default",
        "AssetDependency",
        {"requireQuality": True},
        "says what its absence means: other bytes and another text, although the meaning is one",
    ),
    Case(
        "asset-of-an-older-client",
        "AssetDefinition",
        SPARSE_ASSET,
        "older clients leave out `execution`, `resources` and `io` where they are the defaults",
    ),
    Case("selection-all-false", "PartitionSelection", {"all": False}, "a oneof set to its default"),
    Case(
        "map-empty-entry", "PartitionKey", {"dimensions": {"": ""}}, "a map's empty key and value"
    ),
    Case(
        "map-order",
        "ErrorDetail",
        {"context": {key: f"{number}" for number, key in enumerate(KEYS)}},
        "JSON: by code point, not by UTF-16. Binary: by byte, and `ab` before `a`, as Protobuf's "
        "native runtime sorts: https://github.com/protocolbuffers/protobuf/pull/26621",
    ),
    Case(
        "map-keys-of-javascript",
        "ErrorDetail",
        {"context": dict.fromkeys(("constructor", "hasOwnProperty", "toString", "length"), "own")},
        "names that every object of JavaScript has",
    ),
    Case(
        "map-key-proto",
        "ErrorDetail",
        {"context": {"__proto__": "a key like any other", "other": "kept"}},
        "the one name that no plain object of JavaScript can have",
        cannot=CANNOT["map-key-proto"],
    ),
    *(
        Case(f"text-{kind}", "LogLine", {"level": kind, "text": text}, "text that is not ASCII")
        for kind, text in TEXTS.items()
    ),
    Case(
        "text-as-keys", "PartitionKey", {"dimensions": dict.fromkeys(TEXTS.values(), "n:")}, "text"
    ),
    *(
        Case(
            f"double-{kind}",
            "AttemptMetric",
            {"lease": LEASE, "name": "m", "value": value},
            "a double; no other message has one",
            cannot=CANNOT.get(f"double-{kind}", {}),
        )
        for kind, value in DOUBLES.items()
    ),
    *(
        Case(
            f"timestamp-{kind}",
            "LogLine",
            {"writtenAt": value},
            note,
            cannot=CANNOT.get(f"timestamp-{kind}", {}),
        )
        for kind, (value, note) in TIMES.items()
    ),
    *(
        Case(
            f"duration-{kind}",
            "CancelTask",
            {"gracePeriod": value},
            note,
            cannot=CANNOT.get(f"duration-{kind}", {}),
        )
        for kind, (value, note) in DURATIONS.items()
    ),
    Case(
        "integers-greatest",
        "Materialization",
        {"attempt": 2**31 - 1, "rowCount": MAX_INT64, "byteSize": MAX_INT64},
        "the greatest integers",
    ),
    Case(
        "integers-least",
        "Materialization",
        {"attempt": -(2**31), "rowCount": MIN_INT64, "byteSize": MIN_INT64},
        "the least integers",
    ),
    *(
        Case(
            f"text-of-{size}-bytes",
            "AttemptCancelled",
            {"reason": "x" * size},
            "a length where its own size changes",
        )
        for size in (127, 128, 16_383, 16_384)
    ),
    Case(
        "error-longest-message",
        "ErrorDetail",
        {"message": text_of(LONGEST_ERROR), "causes": [{"code": f"C{n}"} for n in range(10)]},
        "the longest message and the longest chain of causes",
    ),
    Case(
        "log-longest-line",
        "LogBatch",
        {
            "taskId": TASK_ID,
            "attempt": 1,
            "lines": [{"number": "1", "text": text_of(LONGEST_LINE)}],
        },
        "the longest line that is not cut",
    ),
    Case(
        "upload-chunk-of-usual-size",
        "UploadChunksRequest",
        {"chunks": [_blob(USUAL_CHUNK)]},
        "as many bytes as a chunk usually has",
    ),
    Case(
        "unknown-enum-values",
        "ListRunsRequest",
        {"states": ["RUN_STATE_RUNNING", 4711, "RUN_STATE_FAILED", -1]},
        "values of a newer sender, printed as numbers and kept",
    ),
    Case(
        "unknown-fields",
        "GetServerInfoRequest",
        {},
        UNKNOWN,
        # Field 1000 as varint, 1001 as 64 bits, 1002 as text, 1003 as 32 bits.
        extra=bytes.fromhex("c03e01 c93e0100000000000000 d23e026869 dd3e01000000"),
        json_gives="get-server-info-request",
    ),
    Case(
        "unknown-fields-inside",
        "OpenSessionRequest",
        {},
        "a message of a kind that is not known stays in its place as `{}`",
        # messages[0] = {kind of number 500: {}}
        extra=bytes.fromhex("0a03 a21f00"),
        json_gives="unknown-fields-inside-dropped",
    ),
    Case(
        "unknown-fields-inside-dropped",
        "OpenSessionRequest",
        {"messages": [{}]},
        "what the JSON of `unknown-fields-inside` gives",
    ),
    Case(
        "unknown-fields-after-known",
        "CancelRunRequest",
        {"runId": RUN_ID},
        "known fields are read, unknown ones kept behind them",
        extra=bytes.fromhex("f80601"),
        json_gives="known-fields-alone",
    ),
    Case(
        "known-fields-alone",
        "CancelRunRequest",
        {"runId": RUN_ID},
        "what the JSON of `unknown-fields-after-known` gives",
    ),
)
