"""Where a database is, and how it is shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from servo import errors
from servo.controlplane.store import address

secrets = st.text(
    st.characters(codec="ascii", exclude_categories=["C"], exclude_characters="*"), min_size=4
).filter(lambda text: text not in "postgresql://user:@host:5432/servo?sslmode=require&password=")


@pytest.mark.parametrize("text", ["servo.db", "/var/lib/servo/servo.db", "a:b/c.db", "."])
def test_what_has_no_scheme_is_the_path_of_a_file(text: str) -> None:
    assert address.parse(text) == Path(text)


@pytest.mark.parametrize("text", ["postgresql://h/d", "postgres://u:p@h:1/d?host=/tmp"])
def test_a_url_of_postgresql_stays_as_it_is(text: str) -> None:
    assert address.parse(text) == text


@pytest.mark.parametrize("text", ["mysql://u:hidden@h/d", "sqlite:///x.db", "postgresql://", "://"])
def test_what_is_no_database_is_refused_and_says_what_is_one(text: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="postgresql://user@host") as refused:
        address.parse(text)
    assert "hidden" not in str(refused.value)


@given(secret=secrets)
def test_a_password_is_never_shown_wherever_it_stands_in_the_url(secret: str) -> None:
    escaped = quote(secret, safe="")
    for url in (
        f"postgresql://user:{escaped}@host:5432/servo?sslmode=require",
        f"postgresql://user@host:5432/servo?password={escaped}&sslmode=require",
        f"postgresql://user@host:5432/servo?sslmode=require&sslpassword={escaped}",
    ):
        shown = address.masked(url)
        assert escaped not in shown
        assert "host:5432/servo" in shown
        said = address.without_secrets(f"driver: {url!r}, password {secret} refused", url)
        assert secret not in said
        assert escaped not in said


@given(secret=secrets)
def test_a_password_that_was_not_escaped_is_not_shown_either(secret: str) -> None:
    assert secret not in address.masked(f"postgresql://user:{secret}@host:5432/servo")


@given(host=strategies.names(), database=strategies.names())
def test_what_holds_no_password_is_shown_as_it_is(host: str, database: str) -> None:
    for url in (f"postgresql://{host}:5432/{database}", f"postgres://user@{host}/{database}"):
        assert address.masked(url) == url
    assert address.masked(Path(database)) == database


def test_a_password_that_holds_another_is_hidden_to_its_last_character() -> None:
    # Hiding the shorter one first would cut the longer one in two and leave its end.
    url = "postgresql://user:tiger@host/servo?sslpassword=tiger-in-the-woods"
    said = address.without_secrets("cannot log in with tiger-in-the-woods or tiger", url)
    assert said == "cannot log in with ******** or ********"


@given(short=secrets, rest=secrets)
def test_of_two_passwords_nothing_is_shown_where_one_begins_with_the_other(
    short: str, rest: str
) -> None:
    longer = short + rest
    url = f"postgresql://u:{quote(short, safe='')}@host/servo?sslpassword={quote(longer, safe='')}"
    said = address.without_secrets(f"<{longer}>", url)
    assert said == "<********>"
