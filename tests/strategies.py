"""Hypothesis strategies for every public value type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetId,
    AssetKey,
    BackfillId,
    Backoff,
    Check,
    CheckPhase,
    CheckResult,
    CheckSeverity,
    CheckType,
    CodeLocation,
    Compression,
    CustomSqlCheck,
    DependencyMapping,
    DeploymentId,
    EventId,
    ExecutionPolicy,
    FailureCategory,
    FreshnessCheck,
    IoConfig,
    MaterializationId,
    NotNullCheck,
    PartitionDimension,
    PartitionDimensionValue,
    PartitionKey,
    PartitionMapping,
    PartitionSet,
    PartitionStrategy,
    ResourceRequirements,
    RetryCause,
    RetryPolicy,
    RowCountCheck,
    RunId,
    RunState,
    ScalarValue,
    StaticDimension,
    StaticSet,
    TaskId,
    TaskState,
    TenantDimension,
    TimeDimension,
    TimeGranularity,
    TimeRange,
    Ulid,
    UniqueCheck,
    WorkerId,
    calendar,
)

ID_TYPES = (
    AssetId,
    BackfillId,
    DeploymentId,
    EventId,
    MaterializationId,
    RunId,
    TaskId,
    WorkerId,
)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia")

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def texts(*, min_size: int = 0, max_size: int = 30) -> st.SearchStrategy[str]:
    """Any Unicode text: everything but lone surrogates."""
    return st.text(st.characters(codec="utf-8"), min_size=min_size, max_size=max_size)


def lines() -> st.SearchStrategy[str]:
    """Printable text that is not blank."""
    # What str.isprintable() refuses is left out of the alphabet: a filter would refuse most texts.
    printable = st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ")
    return st.text(printable, min_size=1, max_size=30).filter(
        lambda text: text.isprintable() and bool(text.strip())
    )


def names() -> st.SearchStrategy[str]:
    """Namespaces, asset names and dimension names."""
    return st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)


def ulid_texts() -> st.SearchStrategy[str]:
    """Well-formed ULIDs in upper case."""
    return st.builds(
        lambda first, rest: first + rest,
        st.sampled_from("01234567"),
        st.text(_CROCKFORD, min_size=25, max_size=25),
    )


def ids(kind: type[Ulid] = RunId) -> st.SearchStrategy[Ulid]:
    """Ids of one kind."""
    return ulid_texts().map(kind)


def asset_ids() -> st.SearchStrategy[AssetId]:
    """Ids of assets."""
    return ulid_texts().map(AssetId)


def asset_keys() -> st.SearchStrategy[AssetKey]:
    """Keys of assets."""
    return st.builds(AssetKey, names(), names())


def dimension_values() -> st.SearchStrategy[PartitionDimensionValue]:
    """Values of every kind that a partition can have; timestamps naive, in UTC and elsewhere."""
    zones = [UTC, *(calendar.zone(name) for name in ZONES)]
    naive = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31))
    return st.one_of(
        texts(),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.dates(),
        naive,
        st.builds(lambda when, where: when.replace(tzinfo=where), naive, st.sampled_from(zones)),
        st.none(),
    )


def scalars() -> st.SearchStrategy[ScalarValue]:
    """Type-tagged scalars."""
    return dimension_values().map(ScalarValue.from_value)


def partition_keys(max_size: int = 4) -> st.SearchStrategy[PartitionKey]:
    """Keys with any dimensions."""
    return st.dictionaries(names(), dimension_values(), max_size=max_size).map(PartitionKey)


@st.composite
def time_dimensions(
    draw: st.DrawFn, *, bounded: bool | None = None, name: str | None = None
) -> TimeDimension:
    """Time dimensions; with both bounds, with none of them open, or any."""
    granularity = draw(st.sampled_from(TimeGranularity))
    first = calendar.period_containing(granularity, draw(_instants()))
    last = first + draw(st.integers(0, 400))
    has_start = bounded or draw(st.booleans())
    has_end = bounded or draw(st.booleans())
    return TimeDimension(
        name or draw(names()),
        granularity,
        start=calendar.period_text(granularity, first) if has_start else None,
        end=calendar.period_text(granularity, last) if has_end else None,
        timezone=draw(st.sampled_from(ZONES)),
    )


def static_dimensions() -> st.SearchStrategy[StaticDimension]:
    """Static dimensions."""
    values = st.lists(texts(), min_size=1, max_size=6, unique=True)
    return st.builds(StaticDimension, names(), values)


def tenant_dimensions() -> st.SearchStrategy[TenantDimension]:
    """Tenant dimensions."""
    return st.builds(TenantDimension, names())


def dimensions(*, bounded: bool | None = None) -> st.SearchStrategy[PartitionDimension]:
    """Dimensions of every kind."""
    return st.one_of(time_dimensions(bounded=bounded), static_dimensions(), tenant_dimensions())


def partition_strategies(*, bounded: bool | None = None) -> st.SearchStrategy[PartitionStrategy]:
    """Strategies of up to three dimensions."""
    return st.lists(
        dimensions(bounded=bounded), max_size=3, unique_by=lambda dimension: dimension.name
    ).map(PartitionStrategy)


@st.composite
def partition_sets(draw: st.DrawFn) -> PartitionSet:
    """Products of short axes."""
    axes: list[TimeRange | StaticSet] = []
    for name in draw(st.lists(names(), max_size=3, unique=True)):
        if draw(st.booleans()):
            dimension = draw(time_dimensions(bounded=True, name=name))
            first = dimension.first_period
            assert first is not None
            axes.append(TimeRange(dimension, first, first + draw(st.integers(-1, 5))))
        else:
            axes.append(StaticSet(name, draw(st.lists(texts(), max_size=4, unique=True))))
    return PartitionSet(axes)


def partition_mappings() -> st.SearchStrategy[PartitionMapping]:
    """Mappings of every kind."""
    plain = st.sampled_from([kind for kind in DependencyMapping if kind != "window"])
    return st.one_of(st.builds(PartitionMapping, plain), _windows())


@st.composite
def _windows(draw: st.DrawFn) -> PartitionMapping:
    start = draw(st.integers(-500, 500))
    return PartitionMapping(
        DependencyMapping.WINDOW,
        start=start,
        end=start + draw(st.integers(0, 500)),
        unit=draw(st.none() | st.sampled_from(TimeGranularity)),
    )


@st.composite
def asset_dependencies(draw: st.DrawFn) -> AssetDependency:
    """Dependencies with every mapping."""
    mapping = draw(partition_mappings())
    return AssetDependency(
        draw(asset_keys()),
        parameter_name=draw(names()),
        mapping=mapping.kind,
        window_start=mapping.start,
        window_end=mapping.end,
        window_unit=mapping.unit,
        require_quality=draw(st.booleans()),
    )


def checks() -> st.SearchStrategy[Check]:
    """Checks of every kind."""
    common = {
        "name": lines(),
        "phase": st.sampled_from(CheckPhase),
        "severity": st.sampled_from(CheckSeverity),
    }
    columns = st.lists(lines(), min_size=1, max_size=4, unique=True).map(tuple)
    counts = st.integers(0, 2**40)
    return st.one_of(
        st.builds(RowCountCheck, min_rows=counts, max_rows=st.none(), **common),
        st.builds(RowCountCheck, min_rows=st.none(), max_rows=counts, **common),
        st.builds(NotNullCheck, columns=columns, min_ratio_ppm=st.integers(0, 1_000_000), **common),
        st.builds(UniqueCheck, columns=columns, **common),
        st.builds(FreshnessCheck, column=lines(), max_age_seconds=st.integers(1, 2**31), **common),
        st.builds(CustomSqlCheck, sql=lines(), **common),
    )


def check_results() -> st.SearchStrategy[CheckResult]:
    """Results of checks."""
    return st.builds(
        CheckResult,
        lines(),
        check_type=st.sampled_from(CheckType),
        phase=st.sampled_from(CheckPhase),
        severity=st.sampled_from(CheckSeverity),
        passed=st.booleans(),
        message=texts(),
        observed=text_maps(),
        failed_rows=st.none() | st.integers(0, 2**40),
        parameter_name=st.just("") | names(),
    )


def text_maps() -> st.SearchStrategy[dict[str, str]]:
    """Tags and metadata."""
    return st.dictionaries(texts(min_size=1), texts(), max_size=4)


def io_configs() -> st.SearchStrategy[IoConfig]:
    """Output configurations."""
    return st.builds(
        IoConfig,
        compression=st.sampled_from(Compression),
        partition_by=st.lists(lines(), max_size=3).map(tuple),
        row_group_rows=st.none() | st.integers(1, 2**31),
        target_file_bytes=st.none() | st.integers(1, 2**40),
    )


def budgets() -> st.SearchStrategy[dict[str, str]]:
    """Amounts by unit."""
    whole = st.integers(0, 10**18 - 1).map(str)
    decimals = st.decimals(0, 10**9, places=6, allow_nan=False).map("{:f}".format)
    return st.dictionaries(names(), whole | decimals, max_size=3)


def retry_policies() -> st.SearchStrategy[RetryPolicy]:
    """Retry policies."""
    return st.builds(
        RetryPolicy,
        backoff=st.sampled_from(Backoff),
        max_delay_seconds=st.integers(0, 86_400),
        jitter_percent=st.integers(0, 100),
        retry_on=st.lists(st.sampled_from(RetryCause), unique=True, max_size=5).map(tuple),
    )


def execution_policies() -> st.SearchStrategy[ExecutionPolicy]:
    """Execution policies."""
    return st.builds(
        ExecutionPolicy,
        max_retries=st.integers(0, 100),
        retry_delay_seconds=st.integers(0, 86_400),
        timeout_seconds=st.integers(1, 86_400),
        max_parallelism=st.integers(0, 1_000),
        retry=retry_policies(),
        priority=st.integers(-100, 100),
        pools=st.dictionaries(names(), st.integers(1, 100), max_size=3),
        budget=budgets(),
    )


def resource_requirements() -> st.SearchStrategy[ResourceRequirements]:
    """Resource requirements."""
    amounts = st.integers(0, 2**30)
    return st.builds(
        ResourceRequirements,
        cpu_millicores=amounts,
        memory_mib=amounts,
        ephemeral_storage_mib=amounts,
    )


def code_locations() -> st.SearchStrategy[CodeLocation]:
    """Places in source files."""
    return st.builds(
        CodeLocation,
        names(),
        names(),
        file_path=names().map(lambda name: f"assets/{name}.py"),
        line_number=st.integers(0, 100_000),
        fingerprint=st.just("") | st.text("0123456789abcdef", min_size=16, max_size=16),
    )


def asset_definitions() -> st.SearchStrategy[AssetDefinition]:
    """Whole definitions."""
    return st.builds(
        AssetDefinition,
        asset_keys(),
        code=code_locations(),
        id=st.none() | asset_ids(),
        description=texts(),
        owners=st.lists(texts(), max_size=3),
        tags=text_maps(),
        partitioning=partition_strategies(),
        dependencies=st.lists(asset_dependencies(), max_size=3),
        io=io_configs(),
        checks=st.lists(checks(), max_size=3, unique_by=lambda check: check.name),
        execution=execution_policies(),
        resources=resource_requirements(),
        transform_fingerprint=st.just("") | st.text("0123456789abcdef", min_size=16, max_size=16),
        code_version=texts(),
        renamed_from=st.none() | asset_keys(),
        metadata=text_maps(),
    )


def run_states() -> st.SearchStrategy[RunState]:
    """States of runs."""
    return st.sampled_from(RunState)


def task_states() -> st.SearchStrategy[TaskState]:
    """States of tasks."""
    return st.sampled_from(TaskState)


def failure_categories() -> st.SearchStrategy[FailureCategory]:
    """Why attempts fail."""
    return st.sampled_from(FailureCategory)


def _instants() -> st.SearchStrategy[datetime]:
    seconds = st.integers(0, 2 * 10**9)
    return seconds.map(lambda count: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=count))
