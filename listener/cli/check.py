"""``listener check``: everything that can be known before the daemon runs, one line each."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listener.cli.role import checked
from listener.errors import ConfigError, JournalError, NotAvailable

if TYPE_CHECKING:
    from listener.cli.preflight import Finding

_EXAMPLE = "Example: listener check --offline --config /etc/listener/config.toml"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EXAMPLE)(check)


def check(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no chain and no aggregator.")] = False,
    role: Annotated[str, typer.Option(help="For what: performer, attester or both.")] = "performer",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Annotated[Path, typer.Option("--config", help="The configuration file.")] = Path("config.toml"),
) -> None:
    """Check the configuration, the task modules, the ABIs and the key; exit 0 when all is well."""
    from listener.cli.preflight import FAILED, findings  # noqa: PLC0415 -- --help stays quick

    failed: list[Finding] = []
    performs, attests = checked(role) != "attester", role != "performer"
    for finding in findings(config, os.environ, require_key=not offline, performs=performs, attests=attests):
        typer.echo(json.dumps(asdict(finding), ensure_ascii=False) if as_json else _line(finding))
        if finding.status == FAILED:
            failed.append(finding)
    if failed:
        is_written_wrong = any(finding.check != "journal" for finding in failed)
        raise (ConfigError if is_written_wrong else JournalError)("\n".join(each.problem for each in failed))
    if not offline:
        raise NotAvailable("check of chains and aggregator: not available yet; use listener check --offline")


def _line(finding: "Finding") -> str:
    line = f"{finding.status:<8} {finding.check:<8} {finding.detail}"
    return line if finding.remedy is None else f"{line}\n{'':<17} {finding.remedy}"
