"""What the operators' pages say of settings, metrics and sizes is what the code has."""

import re
from pathlib import Path

import pytest

from bot.discord.metrics import Metrics as BotMetrics
from bot.settings import BotSettings
from interpreter import Settings
from interpreter.metrics import Metrics
from interpreter.service import _most_spares, kernels_for

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPERATIONS, OPERATORS = (DOCS / name for name in ("operations.md", "operators.md"))


def _rows(page: Path, column: str) -> list[list[str]]:
    """The rows of the table that has such a column."""
    (table,) = re.findall(
        rf"^\|[^\n]*{re.escape(column)}.*?(?=\n\n)", page.read_text(), re.M | re.S
    )
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.split("\n")[2:]]


def test_sizes_are_those_that_the_code_takes() -> None:
    for machine, kernels, spares, measured in _rows(OPERATIONS, "kernels at once"):
        at_once = kernels_for(int(machine.split()[0]) << 30)
        assert int(kernels) == at_once
        assert int(spares) == _most_spares(Settings(), at_once)
        assert int(measured) >= at_once  # a default must not promise more than was measured
    for machine, memory_mb, kernels in _rows(OPERATORS, "kernels at once"):
        memory_bytes = int(machine.split()[0]) << 30
        assert int(kernels) == kernels_for(memory_bytes)
        assert int(memory_mb) << 20 <= memory_bytes / 2


def test_there_is_room_for_two_kernels_at_least() -> None:
    assert kernels_for(1 << 20) == 2


@pytest.mark.parametrize("page", [OPERATIONS, OPERATORS], ids=lambda page: page.stem)
def test_metrics_and_their_labels_are_those_there_are(page: Path) -> None:
    told = (Metrics().text() + BotMetrics().text()).decode()
    names = set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE))
    text = page.read_text()
    mentioned = set(re.findall(r"\bcellmate_\w+", text))
    assert len(mentioned) > 10
    assert not mentioned - names
    for name, label in re.findall(r'(cellmate_\w+)(\{\w+="\w+"\})', text):
        assert re.search(rf"^{name}(_count)?{re.escape(label)} ", told, re.MULTILINE), name


def test_settings_that_may_be_turned_are_there_with_the_defaults_that_are_told() -> None:
    documented = {
        setting.env_name: setting
        for settings in (Settings, BotSettings)
        for setting in settings.documented()
    }
    for setting, cost, _ in _rows(OPERATIONS, "what it costs"):
        name, default = re.fullmatch(r"`([A-Z_]+)` \((.*)\)", setting).groups()  # type: ignore[union-attr]
        assert cost
        if default[0].isdigit():
            assert documented[name].default == default, name
        else:
            assert not documented[name].default, name


def test_the_command_for_a_container_names_its_service_and_its_account() -> None:
    deploy = DOCS.parent / "deploy"
    command = r"docker compose -f deploy/compose.yaml exec --user (\S+) (\S+) python -m interpreter"
    ((account, service),) = re.findall(command, OPERATIONS.read_text())
    assert re.search(rf"useradd .*(\\\n.*)*\b{account} \\\n", (deploy / "Dockerfile").read_text())
    assert f"\nservices:\n  {service}:\n" in (deploy / "compose.yaml").read_text()
