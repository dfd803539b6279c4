"""An engine that Serve stops finishes what it runs, also for a router that is gone, and begins nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployment.boundaries import Ticket
from deployment.clip_engine import ClipEngine
from deployment.gang import Gang
from deployment.scheduler.values import Start
from engine.messages import LoadReport
from hhray.model_size import preset
from hhray.served_model import ServedModel
from hhray.settings import load_settings


class StillGang:
    """A gang that does nothing but end."""

    fault = None
    pids: tuple[int, ...] = ()
    cold_shapes = 0
    report = LoadReport(0.0, 0, 0)
    gpus: Sequence[str] = ()

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def close(self) -> None:
        self.order.append("gang closed")


class Engine(ClipEngine):
    """The collector finds nothing to do; the test stops it as Serve does."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


@pytest.fixture
def order() -> list[str]:
    return []


async def _engine(home: Path, order: list[str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    async def start(_settings: Any, _served: Any) -> StillGang:
        return StillGang(order)

    monkeypatch.setattr(Gang, "start", start)
    settings = load_settings(overrides={"data_dir": str(home), "engine": {"preset": "pico"}})
    engine = Engine.__new__(Engine)
    await engine.__init__(settings, ServedModel(preset("pico")))  # type: ignore[misc]  # Serve awaits it
    return engine


def test_a_clip_whose_router_went_away_is_finished_before_the_gang_is_closed(
    tmp_path: Path, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def batch(_engine: ClipEngine, _start: Start, _name: str, ticket: Ticket) -> None:
        order.append("begun")
        await asyncio.sleep(0.5)
        order.append("finished")
        ticket.close("done")

    async def scenario() -> None:
        monkeypatch.setattr(Engine, "_redeem", batch)
        engine = await _engine(tmp_path, order, monkeypatch)
        call = asyncio.ensure_future(engine.run_next("ticket"))
        await asyncio.sleep(0.2)
        call.cancel()
        await ClipEngine.__del__(engine)

    asyncio.run(scenario())
    assert order == ["begun", "finished", "gang closed"]


def test_a_ticket_that_comes_to_an_engine_that_stops_is_refused(
    tmp_path: Path, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> str:
        engine = await _engine(tmp_path, order, monkeypatch)
        await ClipEngine.__del__(engine)
        return await engine.run_next("late")

    assert asyncio.run(scenario()) == "refused"
