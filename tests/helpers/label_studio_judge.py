"""Asks Label Studio's own library what it thinks. Run by itself, by a Python that has `label-studio-sdk`.

`python label_studio_judge.py validate`: {"config", "predictions", "tasks"} on stdin -> the errors of each prediction,
and whether each task has the data that the config wants, on stdout.
`python label_studio_judge.py coco FOLDER`: FOLDER/export.json and config.xml -> FOLDER/coco by its own converter.
"""

import json
import sys
from pathlib import Path


def validate() -> None:
    from label_studio_sdk.label_interface import LabelInterface

    asked = json.load(sys.stdin)
    interface = LabelInterface(asked["config"])
    errors = [interface.validate_prediction(p, return_errors=True) for p in asked["predictions"]]
    # With annotations in a task, version 2.1 fails of itself.
    tasks = [interface.validate_task({"data": task["data"]}) for task in asked["tasks"]]
    json.dump({"errors": errors, "tasks": tasks}, sys.stdout)


def coco(folder: Path) -> None:
    from label_studio_sdk.converter import Converter

    converter = Converter((folder / "config.xml").read_text(), project_dir=None, download_resources=False)
    converter.convert_to_coco(str(folder / "export.json"), str(folder / "coco"), is_dir=False)


if __name__ == "__main__":
    coco(Path(sys.argv[2])) if sys.argv[1] == "coco" else validate()
