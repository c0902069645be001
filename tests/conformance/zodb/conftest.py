"""Counts ZODB's own tests, so that the end of a run says how many of them have passed."""

from __future__ import annotations

import pytest

_KINDS = ("embedded", "mounted")
_counts = {kind: [0, 0] for kind in _KINDS}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path, _, name = report.nodeid.partition("::")
    kind = next((kind for kind in _KINDS if f"zodb/test_{kind}" in path), None)
    if kind is not None and report.when == "call" and name:
        _counts[kind][0] += report.passed
        _counts[kind][1] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    said = [f"{passed} of {run}, {kind}" for kind, (passed, run) in _counts.items() if run]
    if said:
        terminalreporter.line(f"ZODB suites: {'; '.join(said)}")
