"""Keys, assets and manifests: what a project declares."""

from __future__ import annotations

from typing import Final

from _corpus_cases.case import ASSET_ID, CREATED, DAILY, EVENTS, GIT, Case, Json

_CHECK: Final[Json] = {"severity": "CHECK_SEVERITY_ERROR", "phase": "CHECK_PHASE_POST"}
CHECKS: Final[dict[str, Json]] = {
    "row-count": {
        "name": "row_count",
        "type": "CHECK_TYPE_ROW_COUNT",
        "rowCount": {"minRows": "1", "maxRows": "1000000"},
    },
    "not-null": {
        "name": "not_null_id",
        "type": "CHECK_TYPE_NOT_NULL",
        "notNull": {"columns": ["id", "created_at"], "minRatioPpm": 995000},
    },
    "unique": {
        "name": "unique_id",
        "type": "CHECK_TYPE_UNIQUE",
        "severity": "CHECK_SEVERITY_CRITICAL",
        "unique": {"columns": ["id"]},
    },
    "freshness": {
        "name": "fresh",
        "type": "CHECK_TYPE_FRESHNESS",
        "severity": "CHECK_SEVERITY_WARNING",
        "freshness": {"column": "created_at", "maxAgeSeconds": "129600"},
    },
    "custom-sql": {
        "name": "no_negative_amounts",
        "type": "CHECK_TYPE_CUSTOM_SQL",
        "severity": "CHECK_SEVERITY_INFO",
        "phase": "CHECK_PHASE_PRE",
        "customSql": {"sql": "select * from data where amount < 0"},
    },
}
DIMENSIONS: Final[dict[str, Json]] = {
    "time": {
        "name": "date",
        "time": {
            "granularity": "TIME_GRANULARITY_DAY",
            "start": "2013-01-01",
            "end": "2013-12-31",
            "timezone": "Europe/Berlin",
        },
    },
    "time-open": {
        "name": "hour",
        "time": {"granularity": "TIME_GRANULARITY_HOUR", "timezone": "UTC"},
    },
    "static": {"name": "region", "static": {"values": ["us", "eu", "apac"]}},
    "tenant": {"name": "tenant", "tenant": {}},
}
DEPENDENCIES: Final[dict[str, Json]] = {
    "identity": {
        "upstreamKey": EVENTS,
        "parameterName": "same",
        "mapping": "DEPENDENCY_MAPPING_IDENTITY",
        "requireQuality": False,
    },
    "all": {
        "upstreamKey": EVENTS,
        "parameterName": "whole",
        "mapping": "DEPENDENCY_MAPPING_ALL",
    },
    "latest": {
        "upstreamKey": EVENTS,
        "parameterName": "newest",
        "mapping": "DEPENDENCY_MAPPING_LATEST",
    },
    "window": {
        "upstreamKey": EVENTS,
        "parameterName": "week",
        "mapping": "DEPENDENCY_MAPPING_WINDOW",
        "windowStart": -6,
        "windowEnd": 0,
    },
}
# Granularity to the first and the last period of a dimension.
PERIODS: Final = {
    "HOUR": ("2013-01-01T00:00:00Z", "2013-01-01T23:00:00Z"),
    "DAY": ("2012-02-29", "2016-02-29"),
    "WEEK": ("2012-12-31", "2013-12-23"),
    "MONTH": ("2013-01-01", "2013-12-01"),
    "YEAR": ("2013-01-01", "2025-01-01"),
}
RETRY_CAUSES: Final = (
    "USER_CODE",
    "INFRASTRUCTURE",
    "TIMEOUT",
    "DATA_QUALITY",
    "CONFIGURATION",
)
COMPRESSIONS: Final = ("ZSTD", "SNAPPY", "GZIP", "LZ4", "NONE")
CODE: Final[Json] = {
    "module": "assets.mart",
    "function": "daily",
    "filePath": "assets/mart.py",
    "lineNumber": 30,
    "fingerprint": "5d41402abc4b2a76",
}
_RETRY: Final[Json] = {
    "backoff": "BACKOFF_EXPONENTIAL",
    "maxDelaySeconds": 900,
    "jitterPercent": 20,
    "retryOn": [f"RETRY_CAUSE_{cause}" for cause in RETRY_CAUSES[:3]],
}
# What every asset carries, here with Servo's defaults.
DEFAULTS: Final[Json] = {
    "execution": {
        "maxRetries": 3,
        "retryDelaySeconds": 60,
        "timeoutSeconds": 3600,
        "retry": _RETRY,
    },
    "resources": {"cpuMillicores": 1000, "memoryMib": 1024},
    "io": {"format": "IO_FORMAT_PARQUET", "compression": "COMPRESSION_ZSTD"},
}
SPARSE_ASSET: Final[Json] = {
    "key": EVENTS,
    "code": {"module": "assets.raw", "function": "events", "filePath": "assets/raw.py"},
    "partitioning": {},
}
PLAIN_ASSET: Final = SPARSE_ASSET | DEFAULTS
ASSET: Final[Json] = {
    "key": DAILY,
    "id": ASSET_ID,
    "description": "Events of a day.",
    "owners": ["data@example.org", "ada"],
    "tags": {"cost_center": "a", "tier": "gold"},
    "partitioning": {"dimensions": list(DIMENSIONS.values())},
    "dependencies": list(DEPENDENCIES.values()),
    "code": CODE,
    "checks": [_CHECK | check for check in CHECKS.values()],
    "execution": {
        "maxRetries": 3,
        "retryDelaySeconds": 60,
        "timeoutSeconds": 3600,
        "maxParallelism": 4,
        "retry": {
            "backoff": "BACKOFF_EXPONENTIAL",
            "maxDelaySeconds": 900,
            "jitterPercent": 20,
            "retryOn": [f"RETRY_CAUSE_{cause}" for cause in RETRY_CAUSES],
        },
        "scheduling": {
            "priority": -3,
            "pools": {"warehouse": 2, "api": 1},
            "budget": {"usd": "1.50", "tokens": "120000"},
        },
    },
    "resources": {"cpuMillicores": 1500, "memoryMib": 2048, "ephemeralStorageMib": 512},
    "transformFingerprint": "0d33dcf8d3539eb7",
    "codeVersion": "2025.11",
    "renamedFrom": {"namespace": "mart", "name": "by_day"},
    "metadata": {"dashboard": "https://bi.example/daily"},
    "io": {
        "format": "IO_FORMAT_PARQUET",
        "compression": "COMPRESSION_ZSTD",
        "partitionBy": ["country"],
        "rowGroupRows": "100000",
        "targetFileBytes": "134217728",
    },
}
MANIFEST: Final[Json] = {
    "manifestVersion": "1.0",
    "tenantId": "acme",
    "workspaceId": "analytics",
    "codeVersionId": "git-0123456789ab",
    "git": GIT,
    "assets": [ASSET, PLAIN_ASSET],
    "schedules": [
        {
            "name": "nightly",
            "cron": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "selection": ["mart.*", "raw.events"],
        }
    ],
    "deployedAt": CREATED,
    "deployedBy": "ada@example.org",
    "metadata": {"team": "analytics"},
}
SCALARS: Final = {
    "string": ("s:acme", "a string"),
    "string-empty": ("s:", "the empty string, which is not null"),
    "string-like-date": ("s:2025-01-15", "a string that looks like a date stays a string"),
    "string-any-text": ('s:n:\t/=%\\"', "a string is never escaped on the wire"),
    "integer": ("i:42", "an integer"),
    "integer-negative": ("i:-7", "a negative integer"),
    "integer-min": ("i:-9223372036854775808", "the least integer of 64 bits"),
    "integer-max": ("i:9223372036854775807", "the greatest integer of 64 bits"),
    "true": ("b:true", "a bool"),
    "false": ("b:false", "a bool"),
    "date": ("d:2024-02-29", "a date, here a leap day"),
    "date-first": ("d:0001-01-01", "the first date"),
    "timestamp": ("t:2025-01-15T10:30:00.000000Z", "a timestamp: UTC, six fraction digits"),
    "timestamp-last": ("t:9999-12-31T23:59:59.999999Z", "the last timestamp"),
    "null": ("n:", "null"),
}


def many_assets(count: int) -> Json:
    """Return a manifest of small assets, each reading the one before it."""
    assets: list[Json] = []
    for number in range(count):
        name = f"asset_{number:04}"
        dependency = {
            "upstreamKey": {"namespace": "bulk", "name": f"asset_{number - 1:04}"},
            "parameterName": "before",
            "mapping": "DEPENDENCY_MAPPING_IDENTITY",
        }
        assets.append(
            {
                "key": {"namespace": "bulk", "name": name},
                "code": {"module": "bulk", "function": name, "filePath": "bulk.py"},
                "dependencies": [dependency] if number else [],
                "partitioning": {},
                **DEFAULTS,
            }
        )
    return {"manifestVersion": "1.0", "assets": assets}


DEFINITIONS: Final = (
    Case("asset-key", "AssetKey", EVENTS, "the name of an asset"),
    *(
        Case(f"partition-key-{kind}", "PartitionKey", {"dimensions": {"dim": text}}, note)
        for kind, (text, note) in SCALARS.items()
    ),
    Case(
        "partition-key-every-kind",
        "PartitionKey",
        {"dimensions": {kind.replace("-", "_"): text for kind, (text, _) in SCALARS.items()}},
        "every kind of scalar in one key",
    ),
    Case(
        "partition-key-in-order",
        "PartitionKey",
        {"dimensions": {"date": "d:2024-02-29", "area": "s:eu"}, "order": "date,area"},
        "a key whose asset declares its dimensions in another order than that of their names",
    ),
    *(
        Case(f"check-{kind}", "Check", _CHECK | check, f"a check of the kind {check['type']}")
        for kind, check in CHECKS.items()
    ),
    *(
        Case(f"dimension-{kind}", "PartitionDimension", dimension, "a kind of dimension")
        for kind, dimension in DIMENSIONS.items()
    ),
    *(
        Case(
            f"dimension-by-{granularity.lower()}",
            "PartitionDimension",
            {
                "name": "period",
                "time": {
                    "granularity": f"TIME_GRANULARITY_{granularity}",
                    "start": start,
                    "end": end,
                    "timezone": "UTC",
                },
            },
            "a length of period",
        )
        for granularity, (start, end) in PERIODS.items()
    ),
    *(
        Case(
            f"io-{compression.lower()}",
            "IoConfig",
            {"format": "IO_FORMAT_PARQUET", "compression": f"COMPRESSION_{compression}"},
            "a compression",
        )
        for compression in COMPRESSIONS
    ),
    *(
        Case(f"dependency-{kind}", "AssetDependency", dependency, dependency["mapping"])
        for kind, dependency in DEPENDENCIES.items()
    ),
    Case(
        "execution-constant-backoff",
        "ExecutionPolicy",
        {
            "maxRetries": 5,
            "retryDelaySeconds": 30,
            "timeoutSeconds": 60,
            "retry": {"backoff": "BACKOFF_CONSTANT", "maxDelaySeconds": 30},
        },
        "a retry after the same delay each time, for nothing but what a failure says itself",
    ),
    Case("asset", "AssetDefinition", ASSET, "an asset with every field set"),
    Case("asset-plain", "AssetDefinition", PLAIN_ASSET, "an asset that says no more than it must"),
    Case("manifest", "AssetManifest", MANIFEST, "a manifest with every field set"),
    Case(
        "manifest-without-provenance",
        "AssetManifest",
        {
            name: value
            for name, value in MANIFEST.items()
            if name not in ("git", "deployedAt", "deployedBy", "codeVersionId")
        },
        "as `servo-gen manifest` writes it; the fingerprint is that of `manifest`",
    ),
    Case(
        "manifest-1000-assets", "AssetManifest", many_assets(1000), "a thousand assets in a chain"
    ),
)
