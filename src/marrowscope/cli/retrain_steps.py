"""The steps of a retraining: export, train, compare, settle. Each is done once; taken up again, it goes on.

Everything of one retraining lies in HOME/exports/retrain-<time>: plan.json (what was asked for), fields/ (the exported
fields), run/ (the training), reader/ (that of the reader, where the serving model has one), comparison.json and
comparison.md, result.json (what came of it).
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marrowscope.cli.retrain_data import RetrainingData, tell_training, training_data
from marrowscope.cli.terminal import Terminal

if TYPE_CHECKING:
    from marrowscope.cells.specimen import ModelVersion
    from marrowscope.cells.taxonomy import Taxonomy
    from marrowscope.model.checkpoint import Checkpoint
    from marrowscope.station.promotion import Comparison, Contestant
    from marrowscope.station.retraining import RetrainingSet
    from marrowscope.store.store import Store
    from marrowscope.training.recipe import Recipe

PREFIX = "retrain-"
PLAN, FIELDS, RUN, READING, COMPARISON, PAGE, RESULT = (
    "plan.json",
    "fields",
    "run",
    "reader",
    "comparison.json",
    "comparison.md",
    "result.json",
)


@dataclass(frozen=True)
class Plan:
    """What was asked for, as it is kept for --resume.

    extra: folders. specimens: codes, or None for all. base: what to compare with, else the serving model. start:
    `serving` or `recipe`, whose weights training begins with.
    """

    recipe: str
    epochs: int | None
    settings: tuple[str, ...]
    extra: tuple[str, ...]
    specimens: tuple[str, ...] | None
    base: str | None
    start: str

    @classmethod
    def read(cls, folder: Path) -> "Plan":
        """The plan of a retraining begun. BadInput where it cannot be read."""
        from marrowscope.errors import BadInput

        try:
            values = json.loads((folder / PLAN).read_text(encoding="utf-8"))
            lists = {k: None if values[k] is None else tuple(values[k]) for k in ("settings", "extra", "specimens")}
            return cls(**(values | lists))
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise BadInput(f"{folder / PLAN}: not readable ({e}). Begin anew without --resume.") from None


def below(home: Path, name: str) -> str:
    """A path in the settings, or of a model, is relative to the home folder; a word such as `demo` stays what it is."""
    there = home / name
    return str(there) if there.exists() else name


def specimen_ids(store: "Store", codes: Sequence[str] | None) -> list[int] | None:
    """The cases of these codes. NotFound names the first that is not there."""
    from marrowscope.errors import NotFound

    if codes is None:
        return None
    ids = []
    for code in codes:
        found = [s.specimen.id for s in store.specimens(text=code, limit=1000)[0] if s.specimen.code == code]
        if not found:
            raise NotFound(f"There is no specimen {code!r}.")
        ids += found
    return ids


def tell_export(terminal: Terminal, made: "RetrainingSet") -> None:
    """What was exported, and what was not."""
    terminal.say(
        f"{made.fields} fields reviewed throughout, {made.cells} cells ({made.unidentified} unidentified), "
        f"{made.specimens} specimens; {len(made.fixed)} fields of {made.fixed_specimens} specimens are the fixed set"
    )
    for entry in made.left_out[:5]:
        terminal.say(f"left out {entry.specimen}, field {entry.field}: {entry.why}", style="yellow")
    if len(made.left_out) > 5:
        terminal.say(f"... and {len(made.left_out) - 5} more fields left out", style="yellow")


@dataclass(frozen=True, eq=False)
class Work:
    """The steps of one retraining; each does nothing where its result is there already.

    fallback: the model to compare with where none was promoted yet, or where another was asked for.
    """

    terminal: Terminal
    store: "Store"
    home: Path
    folder: Path
    plan: Plan
    scheme: "Taxonomy"
    who: str
    device: str
    fallback: str

    def export(self) -> None:
        """Reviewed fields -> fields/. BadInput where too little is left to train, or nothing to compare, on."""
        from marrowscope.data.voc import read_voc
        from marrowscope.errors import BadInput
        from marrowscope.station.retraining import FIXED, export_reviewed

        self.terminal.title("1 of 4: export")
        fields = self.folder / FIELDS
        if fields.is_dir():
            self.terminal.say(f"{fields} is there")
        else:
            ids = specimen_ids(self.store, self.plan.specimens)
            tell_export(self.terminal, export_reviewed(self.store, fields, scheme=self.scheme, specimens=ids))
        if not read_voc(fields, split=FIXED).fields:
            raise BadInput(
                "no field is left to compare on: the reviewed fields are all of one patient, or the specimens chosen "
                "leave the fixed set out. Review a case of another patient."
            )
        training_data(fields, self.plan.extra, self._recipe(), self.scheme)

    def _recipe(self) -> "Recipe":
        from marrowscope.cli.train import chosen_recipe

        return chosen_recipe(self.plan.recipe, self.plan.epochs, list(self.plan.settings))

    def tell(self) -> None:
        """Say what would be trained, and on what."""
        from marrowscope.cli.train import tell_recipe
        from marrowscope.training.warm_start import recipe_from

        start, recipe = self._start(), self._recipe()
        tell_training(self.terminal, self._data(start))
        tell_recipe(self.terminal, recipe if start is None else recipe_from(start, recipe))

    def train(self) -> Path:
        """fields/ -> the candidate's checkpoint: run/best, or reader/best. A run under way goes on."""
        from marrowscope.cli.train import epoch_line, step_reporter
        from marrowscope.training.loop import train as train_run
        from marrowscope.training.warm_start import begin_from

        self.terminal.title("2 of 4: train")
        start, recipe = self._start(), self._recipe()
        data = self._data(start)
        tell_training(self.terminal, data)
        if start is not None:
            recipe = begin_from(start, data.training, data.taxonomy, recipe, self.folder / RUN)
        with self.terminal.progress("training", "steps") as advance:
            run = train_run(
                data.training,
                data.validation,
                data.taxonomy,
                recipe,
                self.folder / RUN,
                resume=True,
                device=self._training_device(),
                on_step=step_reporter(advance),
                on_epoch=lambda line: self.terminal.say(epoch_line(line, recipe.epochs)),
            )
        trained = run.folder / "best"
        return trained if start is None else self._train_reader(start, trained, data)

    def _train_reader(self, start: "Checkpoint", trained: Path, data: RetrainingData) -> Path:
        """The reader of the model begun from, if it has one, learns on the same fields: reader/best, else `trained`."""
        from marrowscope.cli.train import step_reporter
        from marrowscope.cli.train_reader import reading_line
        from marrowscope.model.checkpoint import load_checkpoint
        from marrowscope.training.reading import train_reader
        from marrowscope.training.warm_start import gentle_reading, with_reader_of

        recipe = self._recipe()
        begun = with_reader_of(start, load_checkpoint(trained), seed=recipe.seed)
        if begun.reader is None:
            return trained
        reading = gentle_reading(begun.reader, recipe, data.training)
        with self.terminal.progress("training the reader", "steps") as advance:
            run = train_reader(
                begun,
                data.training,
                data.validation,
                reading,
                self.folder / READING,
                resume=True,
                device=self._training_device(),
                on_step=step_reporter(advance),
                on_epoch=lambda line: self.terminal.say(f"reader: {reading_line(line, reading.epochs)}"),
            )
        return run.folder / "best"

    def _data(self, start: "Checkpoint | None") -> RetrainingData:
        known = None if start is None else start.taxonomy
        return training_data(self.folder / FIELDS, self.plan.extra, self._recipe(), self.scheme, known=known)

    def _training_device(self) -> str | None:
        from marrowscope.assemble.detectors import choose_device

        return "cpu" if choose_device(self.device) == "cpu" else None

    def _start(self) -> "Checkpoint | None":
        """The model whose weights training begins with; None where it begins as the recipe does."""
        from marrowscope.assemble.detectors import checkpoint_path
        from marrowscope.model.checkpoint import load_checkpoint

        if self.plan.start != "serving":
            return None
        path, name = self._serving()
        place = checkpoint_path(path)
        if place.suffix == ".json":
            self.terminal.say(f"{name} is a saved run without weights, so training begins as the recipe does")
            return None
        start = load_checkpoint(place)
        self.terminal.say(
            f"begins with the weights of {name}: its detector, and a gentler learning rate, instead of the recipe's"
            f"{'; then its reader goes on learning, too' if start.reader else ''}"
        )
        return start

    def compare(self, candidate: Path) -> "Comparison":
        """The serving model and the candidate over the fixed set -> comparison.json, comparison.md."""
        from marrowscope.cells.files import write_atomically
        from marrowscope.data.voc import read_voc
        from marrowscope.station.promotion import COLUMNS, compare
        from marrowscope.station.retraining import FIXED

        self.terminal.title("3 of 4: compare")
        fixed = read_voc(self.folder / FIELDS, split=FIXED).fields
        serving = self._contestant(*self._serving())
        other = self._contestant(candidate, self.folder.name)
        self.terminal.say(f"{other.name} beside {serving.name}, on {len(fixed)} fields of the fixed set")
        done, total = 0, 2 * len(fixed)
        with self.terminal.progress("detecting", "fields") as advance:

            def on_field() -> None:
                nonlocal done
                done += 1
                advance(done, total)

            comparison = compare(serving, other, fixed, self.scheme, on_field=on_field)
        write_atomically(
            self.folder / COMPARISON, json.dumps(comparison.to_dict(), ensure_ascii=False, indent=1) + "\n"
        )
        write_atomically(self.folder / PAGE, comparison.markdown())
        self.terminal.table(COLUMNS, comparison.rows())
        self.terminal.say(f"Verdict: {comparison.verdict.value}", style="bold")
        for reason in comparison.reasons:
            self.terminal.say(f"  {reason}")
        return comparison

    def _serving(self) -> tuple[str, str]:
        """Path and name of the model to begin from and to compare with."""
        from marrowscope.cli.evaluate import run_name

        version = None if self.plan.base else self.store.serving_model()
        if version is None:
            return below(self.home, self.fallback), run_name(self.fallback)
        return below(self.home, version.path), version.name

    def _contestant(self, path: str | Path, name: str) -> "Contestant":
        from marrowscope.assemble.detectors import open_detector
        from marrowscope.station.promotion import Contestant

        opened = open_detector(path, device=self.device)
        return Contestant(name, opened.detector, opened.score_threshold)

    def settle(self, candidate: Path, comparison: "Comparison", decide: Callable[["Comparison"], bool]) -> None:
        """Keep the candidate's weights with the station, and let it serve if that is so decided."""
        from marrowscope.cells.files import write_atomically

        self.terminal.title("4 of 4: promote or not")
        model = self._keep(candidate, comparison)
        promoted = decide(comparison)
        if promoted:
            self.store.promote(model.id, by=self.who, why=f"{self.folder.name}: {'; '.join(comparison.reasons)}")
            self.terminal.say(f"{model.name} serves from the station's next start of the camera on")
        else:
            self.terminal.say(f"not promoted; {model.name} waits on the admin page, should you decide otherwise")
        result = {"model": model.id, "name": model.name, "digest": model.digest, "path": model.path}
        result |= {"verdict": comparison.verdict.value, "promoted": promoted}
        write_atomically(self.folder / RESULT, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
        self.terminal.say(f"  {self.folder / PAGE}     the comparison")

    def _keep(self, candidate: Path, comparison: "Comparison") -> "ModelVersion":
        """Copy the checkpoint to models/<digest> and tell the archive."""
        from marrowscope.cells.files import replacing

        weights = candidate / "model.safetensors"
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        place = (self.home / "models" / digest[:12]).resolve()
        with replacing(place / weights.name) as aside:
            shutil.copyfile(weights, aside)
        f1, ap50 = comparison.numbers.macro_f1.second, comparison.numbers.macro_ap50.second
        about = {
            "made_by": self.folder.name,
            "recipe": self.plan.recipe if not Path(self.plan.recipe).is_file() else Path(self.plan.recipe).name,
            "fixed_fields": comparison.numbers.fields,
            "macro_f1": f1,
            "macro_ap50": ap50,
            "beside": comparison.serving,
        }
        return self.store.add_model(
            self.folder.name, digest, self.scheme.name, str(place), json.dumps(about), by=self.who
        )
