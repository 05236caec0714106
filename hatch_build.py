"""What `pip install` does beside copying: the web page is built, and the fonts of the report are brought.

Set MARROWSCOPE_NO_PAGE=1 to install without the station's page, where no npm registry can be reached; everything but
`marrowscope station` then works.
"""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StationHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds what a wheel (also an editable one) holds and git does not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is put together."""
        if self.target_name != "wheel" or os.environ.get("MARROWSCOPE_NO_PAGE", "") not in ("", "0"):
            return
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            from build_tools.fonts import bring_fonts
            from build_tools.page import build_page
        finally:
            sys.path.remove(str(root))
        package = root / "src" / "marrowscope"
        if build_page(root / "frontend", package / "web" / "static"):
            self.app.display_info("The station's page was built.")
        bring_fonts(package / "report" / "fonts")
