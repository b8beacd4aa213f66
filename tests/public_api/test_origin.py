"""Which Servo these tests are about: the tree beside them, or an installed wheel.

They use public names only and read nothing of this repository but data, so the same files are run
against the tree, against a wheel elsewhere, and with the oldest and newest dependencies.
``SERVO_EXPECTED_ORIGIN`` says what they are meant to find.
"""

from __future__ import annotations

import os
import sysconfig
from importlib import metadata
from pathlib import Path

import servo

EXPECTED = os.environ.get("SERVO_EXPECTED_ORIGIN", "tree")
PACKAGE = Path(servo.__file__).resolve().parent


def test_the_package_is_the_one_that_is_meant() -> None:
    homes = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    tree = Path(__file__).resolve().parents[2] / "src"
    places = {"tree": {tree}, "wheel": homes}
    assert PACKAGE.parent in places[EXPECTED], (EXPECTED, str(PACKAGE))


def test_a_wheel_is_installed_as_a_copy_and_a_tree_as_itself() -> None:
    place = metadata.distribution("arco-servo").locate_file("servo/__init__.py")
    assert Path(str(place)).is_file() == (EXPECTED == "wheel")


def test_the_version_is_the_one_that_the_installation_has_on_record() -> None:
    assert servo.__version__ == metadata.version("arco-servo")


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
