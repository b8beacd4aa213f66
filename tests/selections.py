"""Hypothesis strategies for selections and for the graphs that they select from."""

from __future__ import annotations

from hypothesis import strategies as st

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

NAMESPACES = ("raw", "mart", "default")
TAGS = ("tier", "team")
VALUES = ("gold", "silver", "data platform", "")
OWNERS = ("ada@example.com", "ada+x@example.com", "bob")


def selections(leaves: st.SearchStrategy[Selection]) -> st.SearchStrategy[Selection]:
    """Expressions of every kind over some leaves."""
    levels = st.one_of(st.just(ANY_LEVEL), st.integers(0, 3))

    def extend(inner: st.SearchStrategy[Selection]) -> st.SearchStrategy[Selection]:
        terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
        around = st.tuples(inner, levels, levels).filter(lambda found: found[1:] != (0, 0))
        return st.one_of(
            around.map(lambda found: Around(*found)),
            inner.map(Not),
            terms.map(And),
            terms.map(Or),
        )

    return st.recursive(leaves, extend, max_leaves=8)


def any_leaves() -> st.SearchStrategy[Selection]:
    """Leaves with any text that an expression can hold."""
    # What the syntax uses itself would be rare among all characters.
    texts = st.one_of(
        st.text('ab1"\\=+() *', min_size=1, max_size=8),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    )
    patterns = texts.filter(_is_name)
    values = st.one_of(st.none(), st.just(""), texts)
    return st.one_of(
        patterns.map(Named), texts.map(Owned), st.builds(Tagged, name=texts, value=values)
    )


def _is_name(text: str) -> bool:
    try:
        Named(text)
    except ValueError:
        return False
    return True


@st.composite
def graphs(draw: st.DrawFn) -> tuple[AssetDefinition, ...]:
    """Assets that read each other without a cycle, with tags and owners."""
    names = [f"{draw(st.sampled_from(NAMESPACES))}.a{n}" for n in range(draw(st.integers(1, 12)))]
    assets = []
    for number, name in enumerate(names):
        known = names[:number]
        read = draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []
        assets.append(
            AssetDefinition(
                AssetKey.parse(name),
                code=CodeLocation("assets", "f"),
                owners=draw(st.lists(st.sampled_from(OWNERS), max_size=2, unique=True)),
                tags=draw(st.dictionaries(st.sampled_from(TAGS), st.sampled_from(VALUES))),
                dependencies=[
                    AssetDependency(AssetKey.parse(upstream), parameter_name=f"p{position}")
                    for position, upstream in enumerate(read)
                ],
            )
        )
    return tuple(draw(st.permutations(assets)))


def leaves_of(assets: tuple[AssetDefinition, ...]) -> st.SearchStrategy[Selection]:
    """Leaves that name what there is in a graph, and sometimes what there is not."""
    keys = [str(asset.key) for asset in assets]
    short = [name.removeprefix("default.") for name in keys]
    globs = ["*", "raw.*", "mart.a?", "*.a[0-4]", "*1*"]
    names = [*TAGS, "t*", "other"]
    return st.one_of(
        st.sampled_from([*keys, *short, *globs]).map(Named),
        st.builds(
            Tagged,
            name=st.sampled_from(names),
            value=st.one_of(st.none(), st.sampled_from([*VALUES, "*l*", "[gs]*", "zinc"])),
        ),
        st.sampled_from([*OWNERS, "*@example.com", "ada*", "eve"]).map(Owned),
    )
