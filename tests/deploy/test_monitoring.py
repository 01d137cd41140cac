"""Alerts, dashboard and docs speak of metrics that there are, and alerts fire when they should."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.memory import MemoryEngine
from jobengine import AsyncClient, JobSpec
from server.app import Server
from server.config import Config
from server.metrics import Metrics
from server.metrics.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
ALERTS_TEST = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "jobengine.json"
OPERATIONS = ROOT / "docs" / "operations.md"

yaml: Any = importlib.import_module("yaml")  # it has no types

OF_PROMETHEUS = {"job", "instance", "le", "generation"}
"""Labels that the catalogue doesn't know."""


@pytest.fixture(scope="module")
def promtool() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    ours = cache / "jobengine" / "tools-promtool"
    found = shutil.which("promtool", path=os.pathsep.join([str(ours), os.environ["PATH"]]))
    if found is None:
        assert "CI" not in os.environ, "CI has to have promtool"
        pytest.skip("no promtool here: tests/deploy/install-promtool")
    return found


def run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=50, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return content


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """All of the dashboard's, with what Grafana puts in."""
    targets = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [
        expr.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
        for expr in targets
    ]


# -- names ------------------------------------------------------------------------------------


def known() -> dict[str, dict[str, tuple[str, ...]]]:
    """All metrics by the names of their series, and their labels with the values."""
    found: dict[str, dict[str, tuple[str, ...]]] = {"up": {}}
    for family in CATALOGUE:
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        found |= {family.name + suffix: dict(family.labels) for suffix in suffixes}
    for metric in Metrics("fake", streams_limit=1).registry.collect():
        found |= {sample.name: {} for sample in metric.samples if sample.name not in found}
    return found


def selectors(expression: str) -> Iterator[tuple[str, str]]:
    """Each metric of an expression, and what is in the braces after it."""
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", expression)
    bare = re.sub(r"\[[^]]*\]", " ", bare)
    pattern = r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\s*\()(?![\w:])"
    for name, matchers in re.findall(pattern, bare):
        if name not in ("group_left", "group_right", "and", "or", "unless", "offset", "bool"):
            yield name, matchers


def grouped_by(expression: str) -> Iterable[str]:
    groups = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    return {label.strip() for group in groups for label in group.split(",")}


@pytest.mark.parametrize(
    "expression", [*(rule["expr"] for rule in rules()), *expressions()], ids=lambda text: text[:60]
)
def test_an_expression_speaks_of_what_there_is(expression: str) -> None:
    metrics = known()
    labels: set[str] = set()
    used = list(selectors(expression))
    assert used
    for name, matchers in used:
        assert name in metrics, f"there is no metric {name}"
        labels |= metrics[name].keys()
        for label, _, values in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', matchers):
            if label in OF_PROMETHEUS:
                continue
            assert label in metrics[name], f"{name} has no label {label}"
            unknown = set(values.split("|")) - set(metrics[name][label])
            assert not unknown, f"{name} has no {label} {unknown}"
    assert set(grouped_by(expression)) <= labels | OF_PROMETHEUS


def test_the_selectors_are_found() -> None:
    expression = (
        'histogram_quantile(0.9, sum by (job, le) (rate(a_bucket{x="b(c)", y=~"d"}[5m]))) > 2.5\n'
        "and on (job) group_left max without (z) (e_total) - time() or absent(f == 1)"
    )
    assert [name for name, _ in selectors(expression)] == ["a_bucket", "e_total", "f"]
    assert grouped_by(expression) == {"job", "le", "z"}


def test_every_metric_of_ours_is_looked_at() -> None:
    """On the dashboard, that is: what nobody ever sees needn't be counted."""
    seen = {name for expression in expressions() for name, _ in selectors(expression)}
    stems = seen | {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen}
    assert {family.name for family in CATALOGUE} <= stems


# -- alerts -----------------------------------------------------------------------------------


def test_alerts_are_well_formed(promtool: str) -> None:
    assert f"SUCCESS: {len(rules())} rules found" in run(
        promtool, "check", "rules", "--lint-fatal", str(ALERTS)
    )


def test_alerts_fire_when_they_should(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", str(ALERTS_TEST))


def test_each_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load(ALERTS_TEST.read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook"}
    assert annotations["summary"].endswith(".")
    page, _, anchor = annotations["runbook"].partition("#")
    assert page == "docs/operations.md"
    if not OPERATIONS.exists():
        pytest.skip("docs/operations.md isn't there yet")
    headings = re.findall(r"^#+ (.*)$", OPERATIONS.read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


# -- the dashboard ----------------------------------------------------------------------------


def test_the_dashboard_can_be_imported() -> None:
    content = dashboard()
    assert content["schemaVersion"] >= 36
    assert content["uid"] == "jobengine"
    assert "id" not in content, "Grafana gives it one"
    variables = {variable["name"]: variable for variable in content["templating"]["list"]}
    assert variables.keys() == {"datasource", "job", "instance"}
    assert variables["datasource"]["type"] == "datasource"
    rows = [panel["title"] for panel in content["panels"] if panel["type"] == "row"]
    assert rows == ["RPCs", "Jobs", "Streams", "Engine", "Security", "Process"]


def test_panels_are_told_apart() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    for panel in panels():
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_panels_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_all_data_come_from_the_chosen_source() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == source
        for target in panel["targets"]:
            assert target["datasource"] == source
            assert 'job=~"$job", instance=~"$instance"' in target["expr"]


def test_the_dashboards_expressions_are_promql(promtool: str, tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    said = run(promtool, "check", "rules", str(file))
    assert f"{len(recorded)} rules found" in said


# -- what a server tells ----------------------------------------------------------------------


async def test_prometheus_likes_what_a_server_tells(promtool: str) -> None:
    config = Config(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", stop_grace_seconds=1.0)
    async with Server(MemoryEngine(), config) as server:
        assert await server.in_touch(10)
        async with AsyncClient(server.address) as client:
            await client.run(JobSpec(command=["fake"]))
        url = f"http://{server.metrics_address}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            page = response.read().decode()
    assert 'jobengine_jobs_ended_total{reason="COMPLETED",state="SUCCEEDED"} 1.0\n' in page
    assert run(promtool, "check", "metrics", given=page) == ""


def test_the_page_is_up_to_date() -> None:
    run(sys.executable, "scripts/metrics-docs", "--check")
