"""A recipe: everything that decides what a training run does, as one value read from one TOML file.

Defaults are the paper's ("Training details", p. 5). The shipped recipes are `baseline`, `ranksort`, `paper`, `light`
and `blood`; a lab's own file names only what it changes, and may start from a shipped one with `base = "light"`. The
recipe is printed when training starts and saved inside every checkpoint.
"""

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marrowscope.errors import BadRecipe
from marrowscope.model.config import ModelRecipe
from marrowscope.training.augment import Augmentation

_Kind = TypeVar("_Kind", bound=BaseModel)


class Changeable(BaseModel):
    """A recipe of any kind, of which single values can be changed from a command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def changed(self, settings: Iterable[str]) -> Self:
        """The recipe with `key=value` settings, dots for tables: `model.sort_weight=0.25`. Else BadRecipe."""
        values = self.model_dump()
        for setting in settings:
            key, sign, text = setting.partition("=")
            if not sign:
                raise BadRecipe(f"--set {setting}: write key=value, such as model.sort_weight=0.25.")
            *tables, last = key.strip().split(".")
            place: Any = values
            for table in tables:
                place = place.get(table) if isinstance(place, dict) else None
            if not isinstance(place, dict) or last not in place:
                raise BadRecipe(f"--set {setting}: a recipe has no '{key.strip()}'. Known: {', '.join(_keys(values))}.")
            place[last] = _value(text.strip())
        return _validated(type(self), values, "--set " + " ".join(settings))


class Recipe(Changeable):
    """How a detector is trained."""

    name: str = "paper"
    model: ModelRecipe = ModelRecipe()
    augmentation: Augmentation = Augmentation.paper()

    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.001, gt=0)
    """At its highest."""
    trunk_learning_rate: float = Field(1.0, gt=0)
    """Times the learning rate, for the pretrained trunk."""
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["step", "one cycle"] = "step"
    """`step`: times `step_factor` every `step_epochs`; `one cycle`: a cosine up over the warm-up, one down."""
    step_epochs: int = Field(4, gt=0)
    step_factor: float = Field(0.3, gt=0, le=1)
    warmup_iterations: int = Field(500, ge=0)
    """Linear from a tenth of the learning rate; for `one cycle` at most a quarter of the run."""
    clip_norm: float = Field(35.0, ge=0)
    """Largest norm of the gradient; 0 does not clip."""
    epochs: int = Field(20, gt=0)
    batch_size: int = Field(1, gt=0)
    """Fields a step and process."""
    accumulate: int = Field(1, gt=0)
    """Steps whose gradients are averaged; ranking still compares the fields of one step alone."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of trunk and heads; the losses are always float32."""
    repeat_factor: float = Field(0.0, ge=0, le=1)
    """Classes in fewer than this share of the fields are seen more often (Gupta 2019); 0 does not."""
    more_than: int = Field(100, ge=0)
    """Classes with no more than this many cells, training and validation together, are left out, as in the paper."""
    seed: int = Field(0, ge=0)
    workers: int = Field(2, ge=0)
    """Processes that prepare samples."""
    cache_gib: float = Field(4.0, ge=0)
    """Memory for resized fields."""
    save_minutes: float = Field(10.0, gt=0)
    """How often the state is saved within an epoch."""


def _keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    nested = [_keys(v, f"{prefix}{k}.") if isinstance(v, Mapping) else [prefix + k] for k, v in values.items()]
    return [key for keys in nested for key in keys]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _validated(kind: type[_Kind], values: Mapping[str, Any], where: str) -> _Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as e:
        wrong = "; ".join(f"{'.'.join(map(str, x['loc'])) or 'recipe'}: {x['msg']}" for x in e.errors())
        raise BadRecipe(f"{where}: {wrong}.") from None


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with marrowscope."""
    folder = resources.files("marrowscope.training") / "recipes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by name, or a TOML file; `base` in the file names the recipe it starts from."""
    return _validated(Recipe, _values(name_or_path, seen=()), str(name_or_path))


def _values(name_or_path: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    text = str(name_or_path)
    if text in seen:
        raise BadRecipe(f"{text}: `base` goes round in a circle ({' -> '.join((*seen, text))}).")
    shipped = text in shipped_recipes()
    source: Any = resources.files("marrowscope.training") / "recipes" / f"{text}.toml" if shipped else Path(text)
    try:
        values = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRecipe(f"recipe '{text}': no such file. Shipped recipes: {', '.join(shipped_recipes())}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadRecipe(f"recipe {text}: not readable as TOML: {e}.") from None
    base = values.pop("base", None)
    values.setdefault("name", text if shipped else Path(text).stem)
    return values if base is None else _merged(_values(base, (*seen, text)), values)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
