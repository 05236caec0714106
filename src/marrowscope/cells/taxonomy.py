"""The classes of cells: their names, lineages, stages and codes; and the schemes that choose and order them.

`cell_classes.toml` is the one list of words. A scheme is an ordered choice from it, or of a lab's own classes, as TOML:

    name = "our lab"
    other = "OTHER"              # optional: where labels of no class go
    [[classes]]
    code = "MYELO"               # known word: name, lineage, codes are filled in
    aliases = ["MY-1", "MY-2"]   # many labels, one class
    [[classes]]
    code = "HAIRY"               # a word of our own
    name = "hairy cell"
    lineage = "lymphoid"
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from marrowscope.errors import BadTaxonomy

OWN_CODES = "99MARROWSCOPE"
"""Name of marrowscope's own codes, those of classes among them, in HL7 v2 and DICOM."""


class Lineage(StrEnum):
    """The families of marrow cells. Raters agree far better on these than on stages."""

    GRANULOCYTIC = "granulocytic"
    ERYTHROID = "erythroid"
    LYMPHOID = "lymphoid"
    MONOCYTIC = "monocytic"
    PLASMA = "plasma"
    MEGAKARYOCYTIC = "megakaryocytic"
    OTHER = "other"


@dataclass(frozen=True)
class CellClass:
    """One class of cell. `stage` counts maturation within the lineage from 1 (blast); None where it has no meaning."""

    code: str
    name: str
    lineage: Lineage
    stage: int | None = None
    paper: str = ""
    chinese: str = ""
    cell_ontology: str = ""
    snomed_ct: str = ""
    aliases: tuple[str, ...] = ()
    counted: bool = True

    def spellings(self) -> Iterator[str]:
        """Every spelling by which a label file may call this class."""
        yield from (s for s in (self.name, self.code, self.paper, self.chinese, *self.aliases) if s)


def spelling_key(spelling: str) -> str:
    """What two spellings of one label share: case, '_', '-' and double spaces do not matter."""
    return " ".join(spelling.replace("_", " ").replace("-", " ").casefold().split())


@dataclass(frozen=True)
class Taxonomy:
    """An ordered set of classes; a class is its index 0..K-1 everywhere.

    other: code of the class that takes labels of no class, or None: such labels are then unknown.
    """

    name: str
    classes: tuple[CellClass, ...]
    other: str | None = None
    _index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.classes:
            raise BadTaxonomy(f"scheme '{self.name}' has no classes. List at least one [[classes]] entry.")
        if nameless := [n for n, c in enumerate(self.classes, 1) if not (c.code.strip() and c.name.strip())]:
            raise BadTaxonomy(f"scheme '{self.name}', class {nameless[0]}: has no name or no code. Give it both.")
        # A name outranks an alias: the word "myelocyte" belongs to the class so named, whoever borrows it.
        aliases = self._spelled(lambda c: tuple(c.spellings())[2:])
        index = aliases | self._spelled(lambda c: (c.name, c.code))
        if self.other is not None and spelling_key(self.other) not in index:
            raise BadTaxonomy(
                f"scheme '{self.name}': other = '{self.other}' is not one of its classes. List that class, or leave "
                "out `other`."
            )
        object.__setattr__(self, "_index", index)

    def _spelled(self, spellings: Callable[[CellClass], tuple[str, ...]]) -> dict[str, int]:
        index: dict[str, int] = {}
        for i, cell in enumerate(self.classes):
            for spelling in spellings(cell):
                if (taken := index.setdefault(spelling_key(spelling), i)) != i:
                    raise BadTaxonomy(
                        f"scheme '{self.name}': '{spelling}' stands for two classes "
                        f"({self.classes[taken].code}, {cell.code}). Remove it from one."
                    )
        return index

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[CellClass]:
        return iter(self.classes)

    def __getitem__(self, label: int) -> CellClass:
        return self.classes[label]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(c.name for c in self.classes)

    @property
    def lineages(self) -> tuple[Lineage, ...]:
        """The lineages that occur, in the order of `Lineage`."""
        present = {c.lineage for c in self.classes}
        return tuple(x for x in Lineage if x in present)

    def find(self, spelling: str) -> int | None:
        """Index of the class with this name, code or alias (case, '_', '-' do not matter); else `other`, else None."""
        found = self._index.get(spelling_key(spelling))
        if found is None and self.other is not None:
            found = self._index[spelling_key(self.other)]
        return found

    def index(self, spelling: str) -> int:
        """As `find`, but BadTaxonomy for an unknown class."""
        found = self.find(spelling)
        if found is None:
            raise BadTaxonomy(f"'{spelling}' is no class of scheme '{self.name}'. Known: {', '.join(self.names)}.")
        return found

    def keep(self, labels: Iterable[int]) -> "Taxonomy":
        """The scheme with only these classes, in the present order."""
        wanted = set(labels)
        kept = tuple(c for i, c in enumerate(self.classes) if i in wanted)
        other_stays = self.other is not None and self._index[spelling_key(self.other)] in wanted
        return Taxonomy(self.name, kept, self.other if other_stays else None)

    def lineage_scheme(self) -> tuple["Taxonomy", tuple[int, ...]]:
        """The lineages as a scheme of their own, and for every class of this one its index there (many to one)."""
        lineages = self.lineages
        scheme = Taxonomy(f"{self.name} by lineage", tuple(CellClass(x.upper(), x.value, x) for x in lineages))
        return scheme, tuple(lineages.index(c.lineage) for c in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON. Every entry is there, so that a later lexicon does not change a saved scheme."""
        classes = [asdict(c) | {"lineage": c.lineage.value, "aliases": list(c.aliases)} for c in self.classes]
        return {"name": self.name, "other": self.other, "classes": classes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "scheme") -> "Taxonomy":
        """Read a scheme; a class whose code is a known word gets the entries it does not state from the lexicon."""
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            raise BadTaxonomy(f"{where}: needs a `name`. Write it above the classes.")
        entries = values.get("classes")
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            raise BadTaxonomy(f"{where}: has no classes. List at least one [[classes]] entry.")
        if extra := set(values) - {"name", "other", "classes"}:
            raise BadTaxonomy(f"{where}: unknown entry {sorted(extra)}. Known: name, other, classes.")
        if not isinstance(values.get("other"), str | None):
            raise BadTaxonomy(f"{where}: `other` must be the code of a class, got {values['other']!r}. Correct it.")
        classes = tuple(_read_class(entry, f"{where}, class {n}") for n, entry in enumerate(entries, 1))
        return cls(values["name"], classes, values.get("other"))

    @classmethod
    def from_labels(cls, labels: Sequence[str], name: str = "as labelled") -> "Taxonomy":
        """A scheme of these label names as they are written; lineage, stage and codes come from the lexicon.

        Two spellings of one word stay two classes here: only a scheme of the lab's own may decide to merge them. The
        word's own code goes to the label that is spelled so, else to the first.
        """
        classes: list[CellClass] = []
        taken = {word.code for label in labels if (word := find_word(label)) and _is_code(label, word)}
        for label in labels:
            word = find_word(label)
            code = "_".join(label.upper().split())
            if spelling_key(code) != spelling_key(label):  # a dotless i, for one, does not come back from upper case
                code = label
            if word is None:
                classes.append(CellClass(code, label, Lineage.OTHER))
            elif word.code in taken and not _is_code(label, word):
                classes.append(replace(word, code=code, name=label, paper="", chinese="", aliases=()))
            else:
                taken.add(word.code)
                classes.append(replace(word, name=label, aliases=tuple(dict.fromkeys((*word.aliases, word.name)))))
        return cls(name, tuple(classes))


def _is_code(label: str, word: CellClass) -> bool:
    return spelling_key(label) == spelling_key(word.code)


def _read_class(entry: Any, where: str) -> CellClass:
    """One [[classes]] entry. One that states everything, as a saved scheme does, asks nothing of the lexicon."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("code"), str):
        raise BadTaxonomy(f"{where}: needs a `code`. Write a word of marrowscope, or one of your own.")
    where = f"{where} ({entry['code']})"
    known = [f.name for f in fields(CellClass)]
    if extra := set(entry) - set(known):
        raise BadTaxonomy(f"{where}: unknown entry {sorted(extra)}. Known: {', '.join(known)}.")
    for key, value in entry.items():
        expected, right = _EXPECTED.get(key, ("text in quotes", lambda v: isinstance(v, str)))
        if not right(value):
            raise BadTaxonomy(f"{where}: `{key}` must be {expected}, got {value!r}. Correct it.")
    values = dict(entry) | {"aliases": tuple(entry.get("aliases", ()))}
    word = lexicon_by_code().get(entry["code"])
    if word and not set(known) <= set(entry):
        aliases = tuple(dict.fromkeys((*word.aliases, *values["aliases"])))
        values = {key: getattr(word, key) for key in known} | values | {"aliases": aliases}
    if not {"name", "lineage"} <= set(values):
        raise BadTaxonomy(f"{where}: is no word of marrowscope. A class of your own needs `name` and `lineage`.")
    if values["lineage"] not in list(Lineage):
        raise BadTaxonomy(f"{where}: lineage '{values['lineage']}' is unknown. Known: {', '.join(Lineage)}.")
    return CellClass(**(values | {"lineage": Lineage(values["lineage"])}))


_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    # True is an int in Python, and not a stage.
    "stage": ("a number from 1", lambda v: v is None or (type(v) is int and v >= 1)),
    "counted": ("true or false", lambda v: isinstance(v, bool)),
    "aliases": (
        "a list of texts",
        lambda v: isinstance(v, Sequence) and not isinstance(v, str) and all(isinstance(a, str) for a in v),
    ),
}


def _read_toml(path: Any, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadTaxonomy(f"{where}: no such file. Built-in schemes: {', '.join(builtin_schemes())}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadTaxonomy(f"{where}: not readable as TOML: {e}. Write the scheme as TOML in UTF-8.") from None


@cache
def lexicon() -> tuple[CellClass, ...]:
    """Every word of `cell_classes.toml`."""
    entries = _read_toml(resources.files("marrowscope.cells") / "cell_classes.toml", "cell_classes.toml")["classes"]
    return tuple(
        CellClass(**{**e, "lineage": Lineage(e["lineage"]), "aliases": tuple(e.get("aliases", ()))}) for e in entries
    )


@cache
def lexicon_by_code() -> dict[str, CellClass]:
    """The words by their code."""
    return {c.code: c for c in lexicon()}


@cache
def _lexicon_index() -> dict[str, CellClass]:
    index: dict[str, CellClass] = {}
    # As in a scheme: names and codes outrank what others borrow.
    for spelled in (lambda c: (c.name, c.code), lambda c: c.spellings()):
        for word in lexicon():
            for spelling in spelled(word):
                index.setdefault(spelling_key(spelling), word)
    return index


def find_word(spelling: str) -> CellClass | None:
    """The word with this name, code, paper name or alias; None if nobody knows it."""
    return _lexicon_index().get(spelling_key(spelling))


def builtin_schemes() -> tuple[str, ...]:
    """Names of the schemes that come with marrowscope."""
    folder = resources.files("marrowscope.cells") / "schemes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_taxonomy(name_or_path: str | Path) -> Taxonomy:
    """A built-in scheme by name (`liu2022`, `liu2022-21`, `clinical`), or a lab's own TOML file."""
    text = str(name_or_path)
    if text in builtin_schemes():
        resource: Any = resources.files("marrowscope.cells") / "schemes" / f"{text}.toml"
    else:
        resource = Path(text)
    return Taxonomy.from_dict(_read_toml(resource, text), where=text)
