"""A server that fails in every way it can: no row may end with a wrong status, none may be lost or rated twice."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tamis.curate.rating import Rubric, rate
from tamis.curate.rating.prompt import judge_prompt
from tamis.data import Table
from tamis.toy import Endpoint, prompt_digest

pytestmark = pytest.mark.e2e

ATTEMPTS, PATIENCE = 3, 8
UNUSABLE = {"broken-json": "unparsed", "wrong-schema": "unparsed", "refuse": "refused"}
PROMPT = ("429", "429-after", "500", "truncated", "empty", "non-utf8")
"""Faults that fail at once. A hang costs its time-out, which must be long enough for a slow machine."""
TRANSIENT = (*PROMPT, "hang")


def pool(n):
    return Table.from_records(
        {"id": f"r{i}", "prompt": f"question {i}", "response": f"answer [[quality {i % 10 + 1}]]"} for i in range(n)
    )


def outcomes(table, endpoint, *, timeout=30.0, **options):
    """Status and value of each row, and what the server did to it, by its own log."""
    found = rate(
        table,
        raters=f"openai:toy@{endpoint.url}",
        concurrency=64,
        timeout=timeout,
        first_wait=0.01,
        attempts=ATTEMPTS,
        patience=PATIENCE,
        **options,
    )
    served = defaultdict(list)
    for event in endpoint.log:
        served[event["prompt"]].append(event)
    overall = found.signal.frame.filter(found.signal.frame["criterion"] == "overall")
    rows = {unit: (status, value) for unit, status, value in overall.select("unit_id", "status", "value").iter_rows()}
    prompts = [judge_prompt(Rubric.default(), chat).prompt for chat in table.chats()]
    return [
        (*rows[unit], served[prompt_digest(prompt.messages())]) for unit, prompt in zip(table.ids, prompts, strict=True)
    ]


def check(status, value, events):
    good = [event for event in events if event["fault"] is None]
    if good:
        assert len(good) == 1, "rated twice"
        assert events[-1] is good[0], "asked again after an answer"
        assert (status, value) == ("ok", good[0]["value"])
        return
    assert value is None
    unusable = [UNUSABLE[event["fault"]] for event in events if event["fault"] in UNUSABLE]
    transient = [event for event in events if event["fault"] in TRANSIENT]
    if len(unusable) == ATTEMPTS:
        assert status == unusable[-1]
    else:
        assert len(transient) == PATIENCE, "given up too early"
        assert status == "missing"


def test_all_faults_at_once(cache_folder):
    faults = dict.fromkeys([*PROMPT, "broken-json", "wrong-schema"], 0.1)
    with Endpoint(faults=faults, seed=1) as endpoint:
        rows = outcomes(pool(2000), endpoint)
    assert len(rows) == 2000
    for row in rows:
        check(*row)
    statuses = {status for status, _, _ in rows}
    assert {"ok", "missing", "unparsed"} <= statuses  # or the test has not tested


def test_hangs_among_other_faults(cache_folder):
    with Endpoint(faults={"hang": 0.1, "500": 0.1, "wrong-schema": 0.1}, seed=4) as endpoint:
        rows = outcomes(pool(200), endpoint, timeout=2.0)
    for row in rows:
        check(*row)
    assert sum(event["fault"] == "hang" for _, _, events in rows for event in events) > 10


@pytest.mark.parametrize("fault", [*PROMPT, *UNUSABLE])
def test_each_fault_alone_at_thirty_percent(cache_folder, fault):
    with Endpoint(faults={fault: 0.3}, seed=2) as endpoint:
        rows = outcomes(pool(200), endpoint)
    for row in rows:
        check(*row)
    assert sum(status == "ok" for status, _, _ in rows) > 180


def test_a_second_call_asks_only_for_what_is_missing(cache_folder):
    table = pool(300)
    with Endpoint(faults={"500": 0.7}, seed=3) as endpoint:
        first = outcomes(table, endpoint)
        answered = {i for i, (status, _, _) in enumerate(first) if status == "ok"}
        assert 0 < len(answered) < 300
        endpoint.log.clear()
        second = outcomes(table, endpoint)
    for i, (status, _, events) in enumerate(second):
        assert not (i in answered and events), "asked again although the answer was there"
        assert i not in answered or status == "ok"
