"""The tree of errors is what its picture says."""

import inspect

import marrowscope.errors
from marrowscope.errors import MarrowscopeError


def drawn() -> dict[str, str]:
    """Child -> parent, as the docstring of the module draws it."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (marrowscope.errors.__doc__ or "").splitlines():
        if "──" in line:
            depth, name = line.index("──") // 4, line.split("── ")[1].split()[0]
            parents[name] = above[depth - 1]
        elif line.startswith("    ") and not above:
            depth, name = 0, line.strip()
        else:
            continue
        above[depth:] = [name]
    return parents


def test_the_drawing_shows_every_error_below_its_parent() -> None:
    errors = {n: c for n, c in vars(marrowscope.errors).items() if inspect.isclass(c) and c is not MarrowscopeError}
    assert drawn() == {name: error.__base__.__name__ for name, error in errors.items()}
    assert len(errors) >= 8


def test_every_error_descends_from_one_and_says_what_it_is_for() -> None:
    for error in vars(marrowscope.errors).values():
        if inspect.isclass(error):
            assert issubclass(error, MarrowscopeError)
            assert error.__doc__
