"""Which ranks a gang calls, and whom it blames; ranks are objects of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

from deployment.gang import Gang
from engine.messages import LoadReport, MuxReport, StepReport
from hhray.blocks import Block
from hhray.errors import ConfigError, GangDied, MediaError, PhaseTimeout

LEFT, RIGHT, ALL = Block(0, 2), Block(2, 2), Block(0, 4)
Answer = Callable[..., Awaitable[Any]]


class Rank:
    """Notes its calls; `answers` has what a method does in place of returning `value`."""

    def __init__(self, number: int, calls: list[str]) -> None:
        self.number, self.calls = number, calls
        self.answers: dict[str, Answer] = {}
        self.values: dict[str, Any] = {"steps": StepReport(0, 1, 0.1, 0, 0), "pause": True}
        self.dies = asyncio.Event()

    def __getattr__(self, method: str) -> Rank:
        bound = Rank.__new__(Rank)
        bound.__dict__.update(self.__dict__, method=method)
        return bound

    def remote(self, *arguments: Any) -> Awaitable[Any]:
        method = self.__dict__["method"]
        if method != "watch":
            self.calls.append(f"{method} {self.number}")
        return self._answer(method, arguments)

    async def _answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "watch":
            await self.dies.wait()
            raise RayActorError
        if method in self.answers:
            return await self.answers[method](*arguments)
        return self.values.get(method)


class Four:
    """A gang of four such ranks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.ranks = [Rank(number, self.calls) for number in range(4)]
        self.gang = Gang(self.ranks, [], [LoadReport(0.0, 0, 0, gpu=f"GPU-{rank}") for rank in range(len(self.ranks))])
        monkeypatch.setattr("deployment.gang.ray.kill", lambda _rank, no_restart: None)

    def called(self) -> list[str]:
        found, self.calls[:] = list(self.calls), []
        return found


def with_four(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Four], Awaitable[None]]) -> None:
    async def run() -> None:
        four = Four(monkeypatch)
        await scenario(four)
        four.gang.close()

    asyncio.run(run())


def test_a_batchs_calls_go_to_its_block_and_to_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scenario(four: Four) -> None:
        gang = four.gang
        await gang.begin("b", (), RIGHT, 1.0)
        await gang.steps("b", 0, 1, 1.0)
        assert four.called() == ["begin 2", "begin 3", "steps 2", "steps 3"]
        await gang.move("b", ALL, 1.0)
        assert four.called() == ["begin 0", "begin 1", *(f"move {rank}" for rank in range(4))]
        await gang.move("b", Block(1, 1), 1.0)
        assert four.called() == [f"move {rank}" for rank in range(4)]
        assert await gang.pause("b", tmp_path, 1.0)
        await gang.resume("b", (), LEFT, tmp_path, 1, 1.0)
        await gang.decode("b", 0, 1.0)
        four.ranks[0].values["mux"] = MuxReport("", 0, 0, 0, 0, 0, "")
        await gang.mux("b", 0, "b.mp4", 1.0)
        assert four.called() == ["pause 1", "resume 0", "resume 1", "decode 0", "decode 1", "mux 0"]
        await gang.end("b", 1.0)
        assert four.called() == [f"end {rank}" for rank in range(4)], "all that may keep something of it"

    with_four(monkeypatch, scenario)


@pytest.mark.parametrize("error", [MediaError("UnsupportedFileFormat", "no picture"), ConfigError("no room")])
def test_a_request_that_cannot_be_run_does_not_kill_the_gang(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def refuse(*_arguments: Any) -> None:
        raise error

    async def scenario(four: Four) -> None:
        for rank in four.ranks:
            rank.answers["begin"] = refuse
        with pytest.raises(type(error)):
            await four.gang.begin("b", (), LEFT, 1.0)
        assert four.gang.fault is None

    with_four(monkeypatch, scenario)


def test_a_fault_names_the_rank_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(four: Four) -> None:
        four.ranks[3].dies.set()
        await asyncio.sleep(0.01)
        assert four.gang.fault is not None
        assert four.gang.fault.ranks == {3}
        with pytest.raises(GangDied, match="rank 3 died"):
            await four.gang.begin("b", (), LEFT, 1.0)

    with_four(monkeypatch, scenario)


def test_a_call_that_does_not_end_blames_the_ranks_that_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_arguments: Any) -> None:
        await asyncio.sleep(60)

    async def scenario(four: Four) -> None:
        four.ranks[1].answers["begin"] = hang
        with pytest.raises(PhaseTimeout, match="begin did not end within 0 s") as failure:
            await four.gang.begin("b", (), LEFT, 0.05)
        assert failure.value.ranks == {1}

    with_four(monkeypatch, scenario)
