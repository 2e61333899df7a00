"""The OpenAPI document says what the daemon answers: what it allows is taken, and what it does not is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from asking import ask, ready
from following import following, write_config
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from listener.devnet.aggregator import Aggregator
from listener.testing import FakeNode

TASK = """
from typing import Literal
from pydantic import BaseModel
from listener import TaskResult

class Leg(BaseModel):
    amount: int

class Body(BaseModel):
    side: Literal["buy", "sell"]
    legs: list[Leg] = []
    note: str | None = None

async def execute(ctx):
    return TaskResult(ctx.key)
"""
RULES = """
[[rules]]
name = "orders"
task = "orders"
task_definition_id = 7
trigger = { type = "http" }
[[rules]]
name = "anything"
task = "anything"
task_definition_id = 8
trigger = { type = "http" }
[[rules]]
name = "judged"
task = "tasks.block_report"
task_definition_id = 9
trigger = { type = "block", every = 1000 }
"""
TOKEN = "word-by-word"  # noqa: S105 -- of these tests
EXAMPLES = 8


def config_of(folder: Path, node: FakeNode, aggregator: Aggregator) -> Path:
    (folder / "orders.py").write_text(TASK)
    (folder / "anything.py").write_text(
        "from listener import TaskResult\nasync def execute(ctx):\n    return TaskResult(ctx.key)\n"
    )
    http = f'token = "{TOKEN}"\nwait_s = 0.05\nhealthcheck = true'
    return write_config(folder, [node.ws_url], RULES, aggregator=aggregator.url, http=http)


def try_everything(url: str, mode: GenerationMode) -> list[str]:
    """Ask what the document allows, or what it does not, of every path; return the paths."""
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    document.config.generation.with_security_parameters = False  # the token is given, see below
    tried = []
    for found in document.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_one(case: Any) -> None:
            case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)

        try_one()
        tried.append(operation.label)
    return tried


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.filterwarnings("ignore")  # of libraries that the tests alone use
async def test_every_path_answers_as_the_document_says(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path, mode: GenerationMode
) -> None:
    async with following(config_of(tmp_path, node, aggregator), attests=True) as daemon:
        await ready(daemon.url)
        tried = await asyncio.to_thread(try_everything, daemon.url, mode)
        assert {"POST /task/execute", "POST /task/validate"} < set(tried)
        assert (await ask(daemon.url, "/health/live"))[0] == 200


async def test_the_document_describes_the_bodies_of_the_tasks(
    node: FakeNode, aggregator: Aggregator, tmp_path: Path
) -> None:
    async with following(config_of(tmp_path, node, aggregator)) as daemon:
        status, document = await ask(daemon.url, "/openapi.json")  # needs no token
        assert status == 200
        execute = document["paths"]["/task/execute"]["post"]
        orders, anything = execute["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
        assert orders["required"] == ["taskDefinitionId", "side"]
        assert orders["properties"]["taskDefinitionId"] == {"const": 7}
        assert orders["properties"]["legs"]["items"] == {"$ref": "#/components/schemas/orders.Leg"}
        assert "amount" in document["components"]["schemas"]["orders.Leg"]["properties"]
        assert anything["properties"] == {"taskDefinitionId": {"const": 8}}
        assert execute["security"] == [{"token": []}]
        assert "security" not in document["paths"]["/metrics"]["get"]
        assert {each["name"] for each in document["paths"]["/api/tasks"]["get"]["parameters"]} == {
            "limit", "cursor", "order", "state", "rule", "block", "since", "until",
        }  # fmt: skip
