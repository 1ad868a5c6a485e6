"""The toy endpoint answers by its rule, fails on its schedule, and logs what it served."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter

import pytest

from tamis.errors import RecipeError
from tamis.toy import FAULTS, Endpoint, FaultSchedule, prompt_digest, true_rating


def chat(user, **more):
    return {"model": "toy", "messages": [{"role": "user", "content": user}], **more}


def post(url, body, timeout=5.0, **headers):
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)


def content(answer):
    return json.loads(answer["choices"][0]["message"]["content"])


def schema(*names, values=(1, 2, 3, 4, 5)):
    properties = {name: {"type": "integer", "enum": list(values)} for name in names}
    form = {"name": "rating", "strict": True, "schema": {"type": "object", "properties": properties}}
    return {"type": "json_schema", "json_schema": form}


def test_every_criterion_of_the_schema_gets_the_planted_quality():
    with Endpoint() as endpoint:
        asked = chat("[[quality 4]]", response_format=schema("rarity", "overall"))
        assert content(post(f"{endpoint.url}/chat/completions", asked)) == {"rarity": 4, "overall": 4}
        assert content(post(f"{endpoint.url}/chat/completions", chat("[[quality 9]]"))) == {"overall": 9}


def test_a_rating_without_a_plant_is_a_function_of_the_message_within_the_scale():
    ratings = {user: true_rating(user, low=0, high=5) for user in map(str, range(300))}
    assert set(ratings.values()) == set(range(6))
    with Endpoint() as endpoint:
        for user in ("7", "8"):
            asked = chat(user, response_format=schema("overall", values=range(6)))
            assert content(post(f"{endpoint.url}/chat/completions", asked)) == {"overall": ratings[user]}


def test_usage_tokenize_and_template_agree():
    with Endpoint() as endpoint:
        root = endpoint.url.removesuffix("/v1")
        asked = chat("How many tokens?")
        prompt = post(f"{root}/apply-template", {"messages": asked["messages"]})["prompt"]
        counted = len(post(f"{root}/tokenize", {"content": prompt})["tokens"])
        assert counted == -(-len(prompt) // 4)
        assert post(f"{endpoint.url}/chat/completions", asked)["usage"]["prompt_tokens"] == counted


@pytest.mark.parametrize(
    ("fault", "status"), [("429", 429), ("429-after", 429), ("quota", 429), ("500", 500), ("529", 529)]
)
def test_faults_that_are_statuses(fault, status):
    with Endpoint(faults={fault: 1.0}, retry_after="0.2") as endpoint:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(f"{endpoint.url}/chat/completions", chat("x"))
        with caught.value as error:
            assert error.code == status
            assert error.headers.get("retry-after") == ("0.2" if fault == "429-after" else None)
    assert endpoint.log == [
        {"prompt": prompt_digest(chat("x")["messages"]), "attempt": 0, "fault": fault, "value": None}
    ]


def test_faults_of_the_connection_and_the_bytes():
    def meet(fault):
        with Endpoint(faults={fault: 1.0}) as endpoint:
            return post(f"{endpoint.url}/chat/completions", chat("x"), timeout=0.3)

    with pytest.raises(TimeoutError):
        meet("hang")
    with pytest.raises(http.client.RemoteDisconnected):
        meet("reset")
    with pytest.raises(http.client.IncompleteRead):
        meet("truncated")
    with pytest.raises(UnicodeDecodeError):
        meet("non-utf8")
    with pytest.raises(json.JSONDecodeError):
        meet("html")


def test_faults_of_the_content():
    def meet(fault):
        with Endpoint(faults={fault: 1.0}) as endpoint:
            return post(f"{endpoint.url}/chat/completions", chat("[[quality 10]]"))

    assert meet("empty")["choices"] == []
    assert meet("null")["choices"][0]["message"]["content"] is None
    assert meet("refuse")["choices"][0]["message"]["refusal"]
    assert meet("filter")["choices"][0]["finish_reason"] == "content_filter"
    assert meet("length")["choices"][0]["finish_reason"] == "length"
    assert "overall" not in content(meet("wrong-schema"))
    with pytest.raises(json.JSONDecodeError):
        content(meet("broken-json"))


def test_every_fault_can_be_served():
    with Endpoint(faults=dict.fromkeys(FAULTS, 1 / len(FAULTS))) as endpoint:
        for k in range(150):
            try:
                post(f"{endpoint.url}/chat/completions", chat(str(k)), timeout=0.2)
            except urllib.error.HTTPError as error:
                error.close()
            except (OSError, ValueError, http.client.HTTPException):
                continue
    assert {entry["fault"] for entry in endpoint.log} == set(FAULTS)


def test_shares_are_met_and_repeat_with_the_seed():
    schedule = FaultSchedule({"429": 0.2, "hang": 0.1}, seed=3)
    drawn = [schedule.draw(f"prompt {k}", attempt) for k in range(2000) for attempt in range(2)]
    counts = Counter(drawn)
    assert counts["429"] / 4000 == pytest.approx(0.2, abs=0.02)
    assert counts["hang"] / 4000 == pytest.approx(0.1, abs=0.015)
    again = FaultSchedule({"hang": 0.1, "429": 0.2}, seed=3)
    assert drawn == [again.draw(f"prompt {k}", attempt) for k in range(2000) for attempt in range(2)]
    assert drawn != [FaultSchedule({"429": 0.2, "hang": 0.1}, seed=4).draw(f"prompt {k}", 0) for k in range(4000)]
    first, second = drawn[::2], drawn[1::2]
    both = sum(a is not None and b is not None for a, b in zip(first, second, strict=True)) / 2000
    assert both == pytest.approx(0.09, abs=0.02), "a retry meets faults afresh"


@pytest.mark.parametrize("shares", [{"4292": 0.1}, {"hung": 0.1}, {"429": 1.5}, {"429": 0.6, "500": 0.6}])
def test_bad_shares_are_refused(shares):
    with pytest.raises(RecipeError):
        FaultSchedule(shares)


def test_a_key_is_required_when_asked_for():
    with Endpoint(key="sk-1") as endpoint:
        url = f"{endpoint.url}/chat/completions"
        assert content(post(url, chat("[[quality 3]]"), Authorization="Bearer sk-1")) == {"overall": 3}
        for headers in ({}, {"Authorization": "Bearer sk-2"}):
            with pytest.raises(urllib.error.HTTPError, match="401") as caught:
                post(url, chat("x"), **headers)
            caught.value.close()
    assert len(endpoint.log) == 1


def test_the_command_announces_its_address_and_writes_its_log(tmp_path):
    log = tmp_path / "served.jsonl"
    command = [sys.executable, "-W", "error", "-m", "tamis.toy.endpoint", "--fault", "500=0.5", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:")
            url = line.split()[-1]
            served = 0
            for k in range(40):
                try:
                    post(f"{url}/chat/completions", chat(f"{k} [[quality 2]]"))
                    served += 1
                except urllib.error.HTTPError as error:
                    error.close()
        finally:
            process.terminate()
    entries = [json.loads(entry) for entry in log.read_text().splitlines()]
    assert len(entries) == 40
    assert 0 < served == sum(entry["fault"] is None for entry in entries) < 40
    assert {entry["value"] for entry in entries if entry["fault"] is None} == {2}


def test_a_bad_command_line_is_one_sentence():
    command = [sys.executable, "-m", "tamis.toy.endpoint", "--fault", "hung=0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "Did you mean 'hang'" in done.stderr
    assert "Traceback" not in done.stderr
