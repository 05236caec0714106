"""The folder that a comparison of centres leaves behind; every file is written aside and renamed.

numbers, mix, differences     .md .csv .json
centres                       .png .svg
centres.md                    all of it on one page
"""

from collections.abc import Sequence
from pathlib import Path

from marrowscope.cells.files import write_atomically
from marrowscope.evaluation.centres import (
    CentreScores,
    centre_table,
    difference_table,
    differences_of,
    mix_table,
)
from marrowscope.evaluation.centres_plot import plot_centres
from marrowscope.evaluation.report import write_tables_and_pictures
from marrowscope.evaluation.tables import Table


def write_centres(folder: Path, centres: Sequence[CentreScores]) -> tuple[Table, Table]:
    """Write everything; returns the table of centres and that of their differences."""
    tables = {
        "numbers": centre_table(centres),
        "mix": mix_table(centres),
        "differences": difference_table(differences_of(centres), centres[0].name),
    }
    write_tables_and_pictures(Path(folder), tables, {"centres": plot_centres(centres)})
    draws = centres[0].nucleated.draws
    said = f"Intervals: 95 %, {draws} bootstrap draws over the fields of each centre." if draws else "No intervals."
    shown = [table.to_markdown() for table in tables.values() if table.rows]
    page = ["# Centres", said, "![centres](centres.png)", *shown]
    write_atomically(Path(folder) / "centres.md", "\n\n".join(page) + "\n")
    return tables["numbers"], tables["differences"]
