from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies
from tests.strategies import asset_keys, names, partition_keys

from servo import _wire, errors
from servo.types import AssetKey, PartitionKey, labels
from servo.types.labels import WrittenValue

ASSET = AssetKey.parse("mart.sales")

ODD = [
    "a b",
    "a'b",
    'a"b',
    "a=b",
    "comma,val",
    "x]y",
    "x[y",
    "100%",
    "a%20b",
    "a..b",
    "line\nbreak",
    "tab\t",
    "ünïcode ☃",
    "",
    " ",
    "null",
    "true",
    "17",
    "2025-01-15",
    "2025-01-15T10:00:00Z",
    "-first",
    "--all",
    "*",
    "?[a-z]",
    "$HOME",
    "`id`",
    "a\\nb",
    "i:7",
    "n:",
    "s:x",
    "\x1b]0;title\x07",
    "\u202eoverride",
    "\u2028",
    "~",
    "!x",
    "#x",
    '"',
    '"a"',
]


@dataclass
class Named:
    asset_key: AssetKey
    partition_key: PartitionKey


def odd_values() -> st.SearchStrategy[object]:
    characters = st.sampled_from(list("ab=,[]\"'%.\\ \n\t-*?$:0123456789T~Zins\x1b\u202e\u2028é☃"))
    return st.one_of(
        st.sampled_from(ODD), st.text(characters, max_size=12), strategies.dimension_values()
    )


def odd_keys() -> st.SearchStrategy[PartitionKey]:
    return st.dictionaries(names(), odd_values(), min_size=1, max_size=4).map(PartitionKey)


@given(asset_keys(), st.one_of(odd_keys(), partition_keys()))
def test_a_label_survives_a_shell_and_reads_back_as_the_same_partition(
    asset: AssetKey, partition: PartitionKey
) -> None:
    printed = labels.command("logs", "latest", "--task", labels.label(asset, partition))
    words = shlex.split(printed)
    assert words[:4] == ["servo", "logs", "latest", "--task"]
    key, written = labels.read_label(words[4])
    assert key == asset
    assert PartitionKey({name: value.value for name, value in written.items()}) == partition
    assert list(written) == list(partition.dimensions)
    assert words[4].isprintable()


@given(asset_keys(), st.lists(odd_keys(), min_size=1, max_size=6, unique=True))
def test_a_label_finds_exactly_the_task_that_printed_it(
    asset: AssetKey, partitions: list[PartitionKey]
) -> None:
    tasks = [Named(asset, partition) for partition in partitions]
    for task in tasks:
        assert labels.find(labels.task_label(task), tasks) == [task]


@given(asset_keys(), odd_keys())
def test_the_command_that_runs_a_partition_reads_back(
    asset: AssetKey, partition: PartitionKey
) -> None:
    words = shlex.split(labels.run_command(asset, partition))
    assert words[:3] == ["servo", "run", str(asset)]
    assert set(words[3::2]) <= {"--partition"}
    pairs = [labels.read_pair(word) for word in words[4::2]]
    found = {name: value.value for name, (value,) in pairs}
    assert PartitionKey(found) == partition


@given(odd_keys(), st.randoms(use_true_random=False))
def test_the_order_of_dimensions_crosses_the_wire_and_changes_nothing_else(
    key: PartitionKey, random: object
) -> None:
    order = list(key.dimensions)
    random.shuffle(order)  # type: ignore[attr-defined]
    shown = key.in_order(order)
    back = _wire.decode(PartitionKey, _wire.encode(shown))
    assert list(back.dimensions) == order
    assert back == key and back.fingerprint() == key.fingerprint()
    assert labels.label(ASSET, back) == labels.label(ASSET, shown)


def test_a_real_shell_passes_every_odd_label_on(tmp_path: object) -> None:
    printed = [labels.label(ASSET, PartitionKey({"k": value})) for value in ODD]
    script = "\n".join(
        f"printf '%s\\0' {labels.command('why', text).removeprefix('servo why ')}"
        for text in printed
    )
    found = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    assert found.decode().split("\0")[:-1] == printed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("north", "north"),
        ("a b", "a b"),
        ("a=b", "a=b"),
        ("100%", "100%"),
        ("17", "17"),
        ("null", "null"),
        ("Zürich", "Zürich"),
        ("a,b", '"a,b"'),
        ("", '""'),
        ("2025-01-15", '"2025-01-15"'),
        ("a\nb", '"a\\nb"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("\u202ex", '"\\u202ex"'),
        (date(2025, 1, 15), "2025-01-15"),
        (datetime(2025, 1, 15, 7, tzinfo=UTC), "2025-01-15T07:00:00Z"),
        (datetime(2025, 1, 15, 7, 0, 0, 5, tzinfo=UTC), "2025-01-15T07:00:00.000005Z"),
        (17, "i:17"),
        (True, "b:true"),
        (None, "n:"),
    ],
)
def test_a_value_is_written_plainly_unless_it_would_read_as_another(
    value: object, text: str
) -> None:
    assert labels.key_text(PartitionKey({"k": value})) == f"k={text}"


def test_dimensions_stand_in_the_order_of_the_key() -> None:
    key = PartitionKey({"region": "north", "date": date(2025, 1, 5)})
    assert labels.label(ASSET, key) == "mart.sales[region=north,date=2025-01-05]"
    ordered = key.in_order(("date", "region"))
    assert labels.label(ASSET, ordered) == "mart.sales[date=2025-01-05,region=north]"
    assert labels.label(ASSET, PartitionKey()) == "mart.sales"


@pytest.mark.parametrize(
    "text",
    [
        "mart.sales[date=2025-01-05,region=a b]",
        "mart.sales[region=a b,date=2025-01-05]",
        "mart.sales[date=2025-01-05,region=a%20b]",
        'mart.sales[region="a b",date=2025-01-05]',
    ],
)
def test_a_label_is_found_in_any_order_and_in_the_spellings_of_older_versions(text: str) -> None:
    dates = [
        Named(ASSET, PartitionKey({"region": "a b", "date": date(2025, 1, d)})) for d in (5, 6)
    ]
    assert labels.find(text, dates) == dates[:1]


def test_a_comma_that_an_older_version_printed_is_found() -> None:
    tasks = [Named(ASSET, PartitionKey({"k": value})) for value in ("comma,val", "x]y", "null")]
    assert labels.find("mart.sales[k=comma,val]", tasks) == tasks[:1]
    assert labels.find("mart.sales[k=x]y]", tasks) == tasks[1:2]
    assert labels.find("mart.sales[k=comma%2Cval]", tasks) == tasks[:1]


def test_the_key_of_an_asset_finds_all_of_its_tasks() -> None:
    other = Named(AssetKey.parse("raw.x"), PartitionKey())
    tasks = [other, *(Named(ASSET, PartitionKey({"k": value})) for value in "ab")]
    assert labels.find("mart.sales", tasks) == tasks[1:]
    assert labels.find("mart.sales[k=c]", tasks) == []
    assert labels.find("not a label", tasks) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mart.sales[k=a", "no closing bracket"),
        ("mart.sales[]", "expected dimension=value"),
        ("mart.sales[k=a,b]", "cannot be read after 'k=a,'"),
        ("mart.sales[k=a,k=b]", "'k' more than once"),
        ("Mart[k=a]", "Invalid asset key"),
        ('mart.sales[k="\\ud800"]', "not a JSON string"),
    ],
)
def test_what_is_no_label_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        labels.read_label(text)


def test_a_pair_may_list_values() -> None:
    name, values = labels.read_pair('region=north,"a,b",,c=d')
    assert name == "region"
    assert values == (
        WrittenValue("north"),
        WrittenValue("a,b", is_quoted=True),
        WrittenValue(""),
        WrittenValue("c=d"),
    )


def test_an_order_that_names_other_dimensions_is_refused() -> None:
    data = _wire.encode(PartitionKey({"b": "x", "a": "y"}))
    assert b"b,a" in data
    with pytest.raises(errors.InvalidArgumentError, match="does not name exactly"):
        _wire.decode(PartitionKey, data.replace(b"b,a", b"b,c"))
