"""The whole day of a station in a browser: from the first run to a signed report and cells to train on."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from pypdf import PdfReader

from helpers.browser import browser_page
from helpers.running import Running
from marrowscope.data.voc import read_voc
from marrowscope.store.store import Store

PASSWORD = "a smear under the lens"
KEPT = 5
WAIT_MS = 60_000


@pytest.fixture
def station(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """`marrowscope station` on the simulated microscope, on a free port."""
    home = tmp_path / "station"
    with Running("station", "--home", str(home), "--port", "0") as running:
        yield running.address, home
        assert running.stop() == 0, "".join(running.said)
    assert "everything that was kept is on disk" in running.said[-1]


class Visitor:
    """A person at the page, who takes pictures of it where the variable MARROWSCOPE_SCREENSHOTS names a folder."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)

    def go(self, path: str) -> None:
        self.page.goto(self.address + path)

    def shot(self, name: str) -> None:
        if folder := os.environ.get("MARROWSCOPE_SCREENSHOTS"):
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))

    def api(self, method: str, path: str, **options: Any) -> Any:
        """What the page itself would ask, with its cookies and its token."""
        cookies = {c["name"]: c["value"] for c in self.page.context.cookies()}
        headers = {"X-CSRF-Token": cookies.get("marrowscope_csrf", ""), "Origin": self.address}
        answer = self.page.request.fetch(self.address + path, method=method, headers=headers, **options)
        assert answer.ok, f"{method} {path}: {answer.status} {answer.text()}"
        return answer.json()

    def set_up(self, name: str, full_name: str) -> None:
        self.go("/")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label(re.compile("Full name")).fill(full_name)
        self.page.get_by_label(re.compile(r"Password, at least")).fill(PASSWORD)
        self.page.get_by_label("Password again").fill(PASSWORD)
        self.shot("01-set-up")
        self.page.get_by_role("button", name="Set up").click()
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()

    def sign_in(self, name: str) -> None:
        self.page.context.clear_cookies()
        self.go("/login")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_day_at_the_station(station: tuple[str, Path], tmp_path: Path) -> None:
    address, home = station
    with browser_page(downloads=tmp_path) as page:
        visitor = Visitor(page, address)

        # The first person is the admin, who adds the others.
        visitor.set_up("ada", "Ada Admin")
        for name, role in (("tess", "technician"), ("hanna", "haematologist")):
            body = {"name": name, "full_name": f"{name.title()} Li", "role": role, "password": PASSWORD}
            visitor.api("POST", "/api/users", data=body)

        # The technician puts a slide under the lens and keeps fields.
        visitor.sign_in("tess")
        visitor.go("/live")
        page.get_by_label("Case number").fill("M26-0001")
        page.get_by_label("Patient code").fill("P-4711")
        visitor.shot("02-start")
        page.get_by_role("button", name=re.compile("Start")).click()
        readout = page.get_by_test_id("readout")
        expect(readout).to_have_attribute("data-number", re.compile(r"\d+"))
        expect(readout).to_contain_text(re.compile(r"boxes \d+ ms"), timeout=180_000)
        kept = page.get_by_test_id("kept")
        for n in range(KEPT):
            with page.expect_response(lambda r: r.url.endswith("/api/live/keep")) as answer:
                page.keyboard.press("Space")
            assert answer.value.ok, answer.value.text()
            expect(kept).to_contain_text(f"{n + 1} kept")
            if n == KEPT - 2:
                visitor.shot("03-live")
            # Half a field further: the cells between are seen twice, and counted once.
            visitor.api("POST", "/api/live/move", data={"x_um": 66.0 if n % 2 else 0.0, "y_um": 37.0, "relative": True})
        (case,) = visitor.api("GET", "/api/specimens")["items"]
        specimen = case["specimen"]["id"]
        assert case["fields"] == KEPT
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("button", name=re.compile("Start"))).to_be_visible()

        # Correction by keyboard alone: the first cell is taken in hand and named, the page is confirmed.
        visitor.go(f"/cases/{specimen}/review")
        cells = visitor.api("GET", f"/api/specimens/{specimen}/cells?order=doubt&limit=100")["items"]
        counting = [c for c in cells if not c["removed"] and c["same_as"] is None]
        assert counting
        layout = visitor.api("GET", "/api/keyboards")[0]["keys"]
        codes = {code: key for key, code in layout.items() if len(key) == 1}
        first = page.get_by_role("listbox").get_by_role("option").first
        expect(first).to_be_visible()
        visitor.shot("04-review")
        page.keyboard.press("Digit1")
        visitor.shot("05-in-hand")
        with page.expect_response(lambda r: r.url.endswith("/edits")) as edited:
            page.keyboard.press(codes["MYELO"])
        assert edited.value.ok, edited.value.text()
        renamed = [c for c in edited.value.json()["cells"] if c["code"] == "MYELO"]
        assert len(renamed) == 1
        for _ in range(len(counting) // 40 + 1):
            with page.expect_response(lambda r: r.url.endswith("/edits")):
                page.keyboard.press("Enter")
        visitor.shot("06-reviewed")
        differential = visitor.api("GET", f"/api/specimens/{specimen}/differential")
        assert differential["reviewed"] == differential["total"]

        # Five fields are too few, and the page says so.
        assert not differential["verdict"]["stop"]
        expect(page.get_by_label("Differential")).to_contain_text(re.compile("count more", re.IGNORECASE))

        # The haematologist concludes and signs; a technician has no button for it.
        visitor.go(f"/cases/{specimen}/report")
        expect(page.get_by_label("Conclusion")).to_be_visible()
        expect(page.get_by_role("button", name="Sign", exact=True)).to_have_count(0)
        visitor.sign_in("hanna")
        visitor.go(f"/cases/{specimen}/report")
        page.get_by_label("Conclusion").fill("Normocellular; maturation in all lines. 骨髓象大致正常。")
        page.get_by_label("Comments").click()
        visitor.shot("07-report")
        page.get_by_role("button", name="Sign", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Your password").fill(PASSWORD)
        visitor.shot("08-sign")
        with page.expect_response(lambda r: r.url.endswith("/report/sign")) as signed:
            dialog.get_by_role("button", name=re.compile("Sign")).click()
        assert signed.value.ok, signed.value.text()
        expect(page.get_by_text(re.compile("Version 1")).first).to_be_visible()
        visitor.shot("09-signed")

        # The report is a PDF that says what was found, and looks like something.
        (version,) = visitor.api("GET", f"/api/specimens/{specimen}/report")["versions"]
        pdf = tmp_path / "report.pdf"
        with page.expect_download() as download:
            page.locator(f'a[href$="/api/reports/{version["id"]}.pdf"]').first.click()
        download.value.save_as(pdf)
        check_report(pdf)

        # Signed is locked.
        cookies = {c["name"]: c["value"] for c in page.context.cookies()}
        refused = page.request.post(
            f"{address}/api/specimens/{specimen}/edits",
            headers={"X-CSRF-Token": cookies["marrowscope_csrf"], "Origin": address},
            data={"edits": [{"kind": "rename", "cell_id": counting[0]["id"], "code": "LYM"}]},
        )
        assert refused.status == 423

        # What was reviewed becomes a folder to train on.
        visitor.sign_in("ada")
        visitor.go("/admin")
        visitor.shot("10-admin")
        made = visitor.api("POST", "/api/retraining", data={})
        folder = Path(made["folder"])
        assert (made["fields"], made["cells"]) == (KEPT, sum(len(f) for f in read_voc(folder).fields))
        assert visitor.api("POST", "/api/audit/verify")["ok"]

    with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
        assert store.verify().ok
        changed = [c for c in store.corrections(specimen) if c.new_code == "MYELO"]
        assert [c.by for c in changed] == ["tess"]


def check_report(pdf: Path) -> None:
    """It names the case, the signer, and its conclusion in both languages; drawn, it is neither empty nor black."""
    reader = PdfReader(pdf)
    text = "\n".join(page.extract_text() for page in reader.pages)
    for words in ("M26-0001", "Hanna Li", "Normocellular", "骨髓象大致正常"):
        assert words in text, f"{words} is not in the report"
    assert "P-4711" in text
    drawn = pdf.with_suffix("")
    subprocess.run(["pdftoppm", "-r", "60", "-png", str(pdf), str(drawn)], check=True)
    pages = sorted(pdf.parent.glob("report-*.png"))
    assert len(pages) == len(reader.pages)
    for picture in pages:
        ink = (np.asarray(Image.open(picture).convert("L")) < 128).mean()
        assert 0.005 < ink < 0.5
