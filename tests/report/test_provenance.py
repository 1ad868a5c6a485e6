from __future__ import annotations

from tamis.report.provenance import StepCost, moment, step_costs, wall_seconds


def at(second: int, event: str, **fields: object) -> dict[str, object]:
    return {"time": f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}+00:00", "event": event, **fields}


def test_time_between_sessions_is_not_counted() -> None:
    events = [
        at(0, "started"), at(10, "done", step="01-a"), at(500, "resumed"), at(520, "done", step="02-b"),
        at(521, "finished"),
    ]  # fmt: skip
    assert wall_seconds(events) == 31.0
    assert wall_seconds([]) == 0.0


def test_reused_step_costs_nothing_and_names_its_source() -> None:
    assert step_costs([at(0, "started"), at(1, "reused", step="01-a", source="/somewhere/runs/first")]) == [
        StepCost("01-a", "taken over from first", None)
    ]


def test_step_done_again_counts_once() -> None:
    events = [
        at(0, "started"), at(0, "step", step="01-a", shards=1, engine="process"),
        at(9, "done", step="01-a", seconds=9.5), at(60, "resumed"), at(62, "done", step="01-a"),
    ]  # fmt: skip
    assert step_costs(events) == [StepCost("01-a", "process, 1 shard", 2.0)]


def test_moment_without_a_time() -> None:
    assert moment(None) == "not finished"
