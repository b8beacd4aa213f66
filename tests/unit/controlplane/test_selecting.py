"""What selections mean for the assets of a deployment."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selections import graphs, leaves_of, selections
from servo import errors
from servo.controlplane.catalog import Catalog
from servo.types import AssetDefinition, AssetDependency, AssetKey, CodeLocation
from servo.types.selection import (
    ANY_LEVEL,
    And,
    Around,
    Named,
    Not,
    Or,
    Owned,
    Selection,
    Tagged,
)

Assets = tuple[AssetDefinition, ...]


def asset(
    name: str, *reads: str, tags: dict[str, str] | None = None, owners: tuple[str, ...] = ()
) -> AssetDefinition:
    return AssetDefinition(
        AssetKey.parse(name),
        code=CodeLocation("assets", "f"),
        tags=tags or {},
        owners=owners,
        dependencies=[
            AssetDependency(AssetKey.parse(key), parameter_name=f"p{number}")
            for number, key in enumerate(reads)
        ],
    )


SHOP = (
    asset("raw.orders", owners=("ada@example.com",), tags={"tier": "bronze"}),
    asset("raw.returns", owners=("bob@example.com",)),
    asset("staging.sales", "raw.orders", "raw.returns", tags={"tier": "silver"}),
    asset("mart.daily", "staging.sales", tags={"tier": "gold", "team": "data platform"}),
    asset("mart.weekly", "mart.daily", tags={"tier": "gold"}, owners=("ada@example.com",)),
    asset("events"),
)


def select(*expressions: str, assets: Assets = SHOP) -> list[str]:
    return [str(key) for key in Catalog("d1", assets, {}).select(expressions)]


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        (("raw.orders",), "raw.orders"),
        (("events",), "default.events"),
        (("mart.*", "raw.*"), "mart.daily mart.weekly raw.orders raw.returns"),
        (("+mart.daily",), "mart.daily raw.orders raw.returns staging.sales"),
        (("1+mart.daily",), "mart.daily staging.sales"),
        (("raw.orders+",), "mart.daily mart.weekly raw.orders staging.sales"),
        (("raw.orders+2",), "mart.daily raw.orders staging.sales"),
        (("1+mart.daily+1",), "mart.daily mart.weekly staging.sales"),
        (("+raw.*+",), "mart.daily mart.weekly raw.orders raw.returns staging.sales"),
        (("tag:tier=gold",), "mart.daily mart.weekly"),
        (("tag:tier=*r*",), "raw.orders staging.sales"),
        (("tag:team",), "mart.daily"),
        (('tag:team="data platform"',), "mart.daily"),
        (("owner:ada@example.com",), "mart.weekly raw.orders"),
        (("owner:*@example.com and not owner:bob*",), "mart.weekly raw.orders"),
        (("+mart.daily", "not raw.*"), "mart.daily staging.sales"),
        (("not raw.*", "+mart.daily"), "mart.daily staging.sales"),
        (("not tag:tier",), "default.events raw.returns"),
        (("not tag:tier", "not events"), "raw.returns"),
        (("not nothing.*", "events"), "default.events"),
        (("events and not nothing.*",), "default.events"),
        (("not (+mart.weekly)",), "default.events"),
        (("+(mart.daily and tag:team)",), "mart.daily raw.orders raw.returns staging.sales"),
        (("mart.* or events and raw.orders",), "mart.daily mart.weekly"),
        (("(mart.* or events) and not mart.daily",), "default.events mart.weekly"),
    ],
)
def test_a_selection_means_these_assets(expressions: tuple[str, ...], expected: str) -> None:
    assert select(*expressions) == expected.split()


@pytest.mark.parametrize(
    ("expressions", "code", "says"),
    [
        (("raw.ordrs",), "ASSET_NOT_FOUND", "no asset matches 'raw.ordrs'; did you mean raw.order"),
        (("+mart.dialy",), "ASSET_NOT_FOUND", "did you mean mart.daily"),
        (("not raw.ordrs",), "ASSET_NOT_FOUND", "did you mean raw.orders"),
        (("nothing.*",), "ASSET_NOT_FOUND", "no asset matches 'nothing.*'; the deployment has"),
        (("tag:tier=glod", "events"), "SELECTION_EMPTY", "did you mean tag:tier=gold"),
        (("tag:teir",), "SELECTION_EMPTY", "did you mean tag:tier"),
        (("owner:adda@example.com",), "SELECTION_EMPTY", "did you mean owner:ada@example.com"),
        (("owner:x",), "SELECTION_EMPTY", "the owners are owner:ada@example.com, owner:bob"),
        (("raw.* and mart.*",), "SELECTION_EMPTY", "fits the selection 'raw.* and mart.*'"),
        (("raw.*", "not raw.*"), "SELECTION_EMPTY", "nothing is left of the selection 'raw.*', "),
        (("not *",), "SELECTION_EMPTY", "nothing is left of the selection 'not *'"),
        (("raw.a raw.b",), "INVALID_SELECTION", "at character 7"),
        (("not", "raw.*"), "INVALID_SELECTION", "at character 4, found the end"),
    ],
)
def test_what_selects_nothing_is_refused_with_its_name(
    expressions: tuple[str, ...], code: str, says: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r".+") as info:
        select(*expressions)
    assert info.value.code == code
    assert says in str(info.value)
    assert isinstance(info.value, errors.NotFoundError) == (code != "INVALID_SELECTION")


# -- a model: sets of dotted keys, evaluated by definition ----------------------------------


class Model:
    """Evaluates by looking at every asset and every path."""

    def __init__(self, assets: Assets) -> None:
        self.assets = assets
        self.names = {str(asset.key) for asset in assets}
        self.reads = {
            (str(asset.key), str(dependency.upstream_key))
            for asset in assets
            for dependency in asset.dependencies
        }

    def meant(self, selection: Selection) -> set[str]:
        if isinstance(selection, Named):
            pattern = selection.pattern
            if "." not in pattern and not set(pattern) & set("*?["):
                pattern = f"default.{pattern}"
            return set(fnmatch.filter(self.names, pattern))
        if isinstance(selection, Tagged):
            value = "*" if selection.value is None else selection.value
            return {
                str(asset.key)
                for asset in self.assets
                for tag, found in asset.tags.items()
                if fnmatch.fnmatchcase(tag, selection.name) and fnmatch.fnmatchcase(found, value)
            }
        if isinstance(selection, Owned):
            return {str(a.key) for a in self.assets if fnmatch.filter(a.owners, selection.owner)}
        if isinstance(selection, Not):
            return self.names - self.meant(selection.term)
        if isinstance(selection, And):
            return set.intersection(*map(self.meant, selection.terms))
        if isinstance(selection, Or):
            return set.union(*map(self.meant, selection.terms))
        base = self.meant(selection.base)
        read_by = {(upstream, reader) for reader, upstream in self.reads}
        return self.around(base, self.reads, selection.upstream) | self.around(
            base, read_by, selection.downstream
        )

    def around(self, base: set[str], steps: set[tuple[str, str]], levels: int) -> set[str]:
        """Add what is one step further until nothing is new, or as often as there are levels."""
        for _ in range(len(self.names) if levels == ANY_LEVEL else levels):
            base = base | {there for here, there in steps if here in base}
        return base

    def names_something(self, selection: Selection) -> bool:
        """Tell whether every key there is exists, and every glob that is not left out matches."""
        if isinstance(selection, Named):
            return bool(self.meant(selection))
        if isinstance(selection, Not):
            return True
        if isinstance(selection, Around):
            return self.names_something(selection.base)
        if isinstance(selection, And | Or):
            return all(map(self.names_something, selection.terms))
        return True

    def expected(self, expressions: list[Selection]) -> set[str] | None:
        """Return what is selected; `None` for an error."""
        added = [found for found in expressions if not isinstance(found, Not)]
        if any(not self.names_something(found) or not self.meant(found) for found in added):
            return None
        chosen = set().union(*map(self.meant, added)) if added else self.names
        for found in expressions:
            if isinstance(found, Not):
                chosen = chosen - self.meant(found.term)
        return chosen or None


@pytest.mark.slow
@given(st.data())
def test_selections_agree_with_the_model_in_any_order(data: st.DataObject) -> None:
    assets = data.draw(graphs())
    expressions = data.draw(st.lists(selections(leaves_of(assets)), min_size=1, max_size=3))
    expected = Model(assets).expected(expressions)
    for order in (expressions, expressions[::-1]):
        try:
            found = set(select(*map(str, order), assets=assets))
        except errors.NotFoundError:
            assert expected is None
        else:
            assert found == expected


@pytest.mark.slow
@given(st.data())
def test_selections_obey_the_laws_of_sets(data: st.DataObject) -> None:
    assets = data.draw(graphs())
    everything = set(select("*", assets=assets))
    one, other = (str(data.draw(selections(leaves_of(assets)))) for _ in range(2))

    def meant(text: str) -> set[str]:
        # Below two `not` nothing has to match, and an empty selection is an error.
        try:
            return set(select(f"not (not ({text}))", assets=assets))
        except errors.NotFoundError as exc:
            assert exc.code == "SELECTION_EMPTY"
            return set()

    assert meant(f"not ({one})") == everything - meant(one)
    assert meant(f"({one}) or ({other})") == meant(one) | meant(other)
    assert meant(f"({one}) and ({other})") == meant(one) & meant(other)
    assert meant(one) <= meant(f"1+({one})") <= meant(f"+({one})")
    assert meant(f"+(+({one}))") == meant(f"+({one})")
    assert meant(f"1+(1+({one}))") == meant(f"2+({one})")
    assert meant(f"({one})+2") == meant(f"(({one})+1)+1")


@pytest.mark.slow
def test_a_chain_of_100_000_assets_is_selected_without_recursion() -> None:
    assets = (
        asset("chain.a0"),
        *(asset(f"chain.a{n}", f"chain.a{n - 1}") for n in range(1, 100_000)),
    )
    catalog = Catalog("d1", assets, {})
    began = time.process_time()
    assert len(catalog.select(["+chain.a99999"])) == 100_000
    assert len(catalog.select(["chain.a0+"])) == 100_000
    assert len(catalog.select(["chain.a0+99998", "not chain.a5*"])) > 88_000
    assert len(catalog.select(["not (50000+chain.a99999)"])) == 49_999
    # A few seconds of work; what grows with the square of the length would take minutes.
    assert time.process_time() - began < 30


def test_an_expression_has_a_greatest_length() -> None:
    assert select("raw.[o]rders" + " " * 4_084) == ["raw.orders"]
    with pytest.raises(errors.InvalidArgumentError, match=r"4,097 characters .* at most 4,096"):
        select("[" * 4_097)


@pytest.mark.slow
def test_expressions_look_at_so_many_assets_together_and_keys_cost_nothing() -> None:
    keys = [f"a.n{number}" for number in range(10_000)]
    catalog = Catalog("d1", [asset(key) for key in keys], {})
    globs = [f"a.n{number}?*" for number in range(1, 101)]
    assert len(catalog.select([*globs, *globs, *keys])) == 10_000
    for over in ("a.*", "not b.*", "a.n1+1", "(tag:x or owner:y)", "a.n1 and not a.n2"):
        with pytest.raises(errors.InvalidArgumentError, match="too many globs, tags") as caught:
            catalog.select([*globs, over])
        assert caught.value.code == "SELECTION_TOO_LARGE"


def test_a_misspelt_key_is_advised_among_very_many() -> None:
    catalog = Catalog("d1", [asset(f"raw.orders_{number:05}") for number in range(10_000)], {})
    with pytest.raises(errors.NotFoundError, match=r"did you mean raw\.orders_"):
        catalog.select(["raw.orders_0512x"])
