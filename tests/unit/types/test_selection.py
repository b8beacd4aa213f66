"""The syntax of selections: what is read, how it is printed, what is refused and where."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selections import any_leaves, selections
from servo.types.selection import (
    ANY_LEVEL,
    MAX_LEVELS,
    And,
    Around,
    Named,
    Not,
    Or,
    Owned,
    Tagged,
    expressions,
    parse,
)

A, B, C = Named("a"), Named("b"), Named("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raw.events", Named("raw.events")),
        ("mart.*", Named("mart.*")),
        ("*", Named("*")),
        ("+a", Around(A, ANY_LEVEL)),
        ("a+", Around(A, 0, ANY_LEVEL)),
        ("2+a+3", Around(A, 2, 3)),
        ("+mart.*+1", Around(Named("mart.*"), ANY_LEVEL, 1)),
        ("+(a or b)", Around(Or((A, B)), ANY_LEVEL)),
        ("(+a)+", Around(Around(A, ANY_LEVEL), 0, ANY_LEVEL)),
        ("tag:tier", Tagged("tier")),
        ("tag:tier=gold", Tagged("tier", "gold")),
        ("tag:tier=go*+2", Around(Tagged("tier", "go*"), 0, 2)),
        ('tag:"a b"="c=d"', Tagged("a b", "c=d")),
        ('tag:tier=""', Tagged("tier", "")),
        ("tag:a=b=c", Tagged("a", "b=c")),
        ("owner:ada@example.com", Owned("ada@example.com")),
        ("owner:ada+x@example.com", Owned("ada+x@example.com")),
        ("owner:ada+", Around(Owned("ada"), 0, ANY_LEVEL)),
        (r'owner:"say \"hi\" \\ +"', Owned(r'say "hi" \ +')),
        ("not a", Not(A)),
        ("not not a", Not(Not(A))),
        ("not(a)", Not(A)),
        ("not a and b or c", Or((And((Not(A), B)), C))),
        ("a or b and not c", Or((A, And((B, Not(C)))))),
        ("(a or b) and c", And((Or((A, B)), C))),
        ("a and b and c", And((A, B, C))),
        ("(a and b) and c", And((And((A, B)), C))),
        ("  a\n\tor b ", Or((A, B))),
        ("default.or", Named("default.or")),
        ("nothing", Named("nothing")),
    ],
)
def test_an_expression_means_what_it_says(text: str, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("raw.a raw.b", 7, "found 'raw.b'. Give several selections as separate items"),
        ("a (b)", 3, "join them with 'or'"),
        ("not", 4, "found the end"),
        ("a and", 6, "found the end"),
        ("or a", 1, "expected an asset key, a glob"),
        ("(a", 3, "expected 'and', 'or' or ')'"),
        ("a)", 2, "expected 'and', 'or' or the end"),
        ("()", 2, "expected an asset key"),
        ("a+b", 3, "expected a space"),
        ("+ a", 2, "found a space"),
        ("++a", 2, "expected an asset key"),
        ("0+a", 1, "a number of levels from 1"),
        ("a+1234567890", 2, "a number of levels from 1"),
        ("2", 1, "expected an asset key"),
        ("tga:x", 1, "did you mean 'tag:'?"),
        ("raw.a:x", 1, "'tag:' or 'owner:' before a colon"),
        ("tag:", 5, "the name of a tag"),
        ("tag:=gold", 5, "the name of a tag"),
        ("tag:tier=", 10, 'a value ("" for the empty one)'),
        ('tag:tier="gold', 10, "a text that ends with"),
        (r'tag:tier="a\n"', 10, "a text that ends with"),
        ("owner:", 7, "an owner"),
        ('owner:""', 7, "an owner"),
        ("(" * 33 + "a" + ")" * 33, 33, "at most 32 levels"),
        ("not " * 100 + "a", 132, "at most 32 levels"),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_is(
    text: str, position: int, expected: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f" at character {position}, found")) as info:
        parse(text)
    assert expected in str(info.value)


@pytest.mark.parametrize("text", ["a)", "a) b"])
def test_a_bracket_too_many_is_no_selection_too_many(text: str) -> None:
    with pytest.raises(ValueError, match=r"at character 2, found '\)'$"):
        parse(text)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_expression_is_refused_with_the_one_for_everything(text: str) -> None:
    with pytest.raises(ValueError, match=r"'\*' selects every asset"):
        parse(text)


def test_a_million_brackets_are_refused_like_a_few() -> None:
    with pytest.raises(ValueError, match="at most 32 levels"):
        parse("(" * 1_000_000)


def test_a_list_of_thousands_is_no_nesting() -> None:
    found = parse(" or ".join(["(not a)"] * 10_000))
    assert isinstance(found, Or)
    assert len(found.terms) == 10_000


@pytest.mark.parametrize("bad", [None, 3, ["a"]])
def test_only_text_is_read(bad: object) -> None:
    with pytest.raises(TypeError, match="read from a string"):
        parse(bad)


@given(selections(any_leaves()))
def test_what_is_printed_is_read_as_the_same(selection: object) -> None:
    assert parse(str(selection)) == selection


@given(st.text('ab.*+2() ":=\\not', max_size=20))
def test_any_text_is_read_or_refused_at_a_place_in_it(text: str) -> None:
    try:
        found = parse(text)
    except ValueError as exc:
        place = re.search(r" at character (\d+), found", str(exc))
        assert text.strip() == "" or (place and 1 <= int(place[1]) <= len(text) + 1)
    else:
        canonical = str(found)
        assert parse(canonical) == found
        assert str(parse(canonical)) == canonical


@pytest.mark.parametrize(
    "make",
    [
        lambda: Named("a b"),
        lambda: Named("and"),
        lambda: Named("12"),
        lambda: Named("a+"),
        lambda: Tagged(""),
        lambda: Owned(""),
        lambda: Around(A),
        lambda: Around(A, -2),
        lambda: Around(A, MAX_LEVELS + 1),
        lambda: And((A,)),
        lambda: Or(()),
    ],
)
def test_what_could_not_be_printed_cannot_be_made(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r".+"):
        make()


def test_one_expression_and_several_are_both_a_selection() -> None:
    assert expressions("raw.a or raw.b") == ("raw.a or raw.b",)
    assert expressions(iter(["raw.a", "not raw.b"])) == ("raw.a", "not raw.b")
    with pytest.raises(TypeError, match="strings only"):
        expressions([1])  # type: ignore[list-item]  # what is refused
