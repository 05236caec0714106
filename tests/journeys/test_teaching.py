"""A technician teaches the model a class on the review page; it serves once an admin promotes it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from helpers.browser import browser_page
from helpers.retraining import five_patients
from helpers.running import Running
from helpers.teaching import TAUGHT, station_to_teach
from marrowscope.station.retraining import fixed_patients

PASSWORD = "a smear under the lens"
WAIT_MS = 120_000


@pytest.fixture
def station(tmp_path: Path) -> Iterator[str]:
    """With reviewed cases, whose model knows one of their two classes."""
    home = tmp_path / "home"
    station_to_teach(home)
    (home / "station.toml").write_text('scheme = "clinical"\nmodel = "models/first"\nruntime = "torch"\n')
    set_password(home)
    with Running("station", "--home", str(home), "--port", "0") as running:
        yield running.address
        assert running.stop() == 0, "".join(running.said)


def set_password(home: Path) -> None:
    from marrowscope.store.store import Store
    from marrowscope.web.auth import Passwords

    with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
        for name in ("anna", "tim"):
            store.set_password_hash(name, Passwords().hash(PASSWORD), by="anna")


@pytest.mark.slow
def test_a_class_is_taught_on_the_review_page_and_serves_once_promoted(station: str) -> None:
    patients = five_patients()
    case = next(n for n, patient in enumerate(patients, 1) if patient not in fixed_patients(patients))
    with browser_page() as page:
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)

        def sign_in(name: str) -> None:
            page.context.clear_cookies()
            page.goto(f"{station}/login")
            page.get_by_label("User name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.keyboard.press("Enter")
            expect(page.get_by_role("button", name="Sign out")).to_be_visible()

        sign_in("tim")
        page.goto(f"{station}/cases/{case}/review")
        offer = page.get_by_test_id("teach-EOS_SEG")
        expect(offer).to_contain_text(f"cells are named {TAUGHT}, which the model does not know.")
        offer.get_by_role("button", name="Teach it").click()
        expect(page.get_by_text(re.compile(f"first \\+ {TAUGHT} is ready: each of 20 cells"))).to_be_visible()
        expect(offer).to_be_hidden()

        sign_in("anna")
        page.goto(f"{station}/admin?tab=models")
        row = page.get_by_role("row").filter(has_text=f"+ {TAUGHT}")
        expect(row).to_contain_text("recognised 20")
        row.get_by_role("button", name="Promote …").click()
        page.get_by_label("Why").fill("it knows eosinophils")
        page.get_by_role("dialog").get_by_role("button", name="Promote").click()
        expect(row).to_contain_text("serves")

        # Who knows the class is not taught it again.
        with page.expect_response(lambda answer: answer.url.endswith("/api/models/teachable")) as told:
            page.goto(f"{station}/cases/{case}/review")
        assert told.value.json() == []
