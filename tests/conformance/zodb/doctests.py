"""ZODB's suites that are made of doctests, one test of ours for each of theirs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import unittest
from collections.abc import Iterator
from typing import Any

LEFT_OUT = {
    # It loads a blob from a storage that is closed.
    "ZODB.tests.testblob.loadblob_tmpstore",
}
"""Those that are not run; `docs/how-to/move-from-zodb.md` says why."""

_DAC_OVERRIDE = 1 << 1
_CAPABILITIES_VERSION = 0x20080522


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Yield the tests of ``suite``, without what they are grouped in."""
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from cases(part)
        elif part.id() not in LEFT_OUT:
            yield part


def name_of(case: unittest.TestCase) -> str:
    """Return a name for people, as unittest has it."""
    return case.id().rpartition("/")[2]


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Let file permissions count for this thread, also if it is root's: one test looks at them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or not hasattr(libc, "capget"):
        yield
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    before = (
        ctypes.c_uint32 * 6
    )()  # effective, permitted, inheritable: low words, then high words
    if libc.capget(header, before) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    during = (ctypes.c_uint32 * 6)(*before)
    during[0] &= ~_DAC_OVERRIDE
    if libc.capset(header, during) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        libc.capset(header, before)


def run(case: unittest.TestCase, layer: Any) -> None:
    """Run one of them as zope's test runner does: within its layer."""
    layer.testSetUp()
    try:
        result = unittest.TestResult()
        with bound_by_permissions():
            case.run(result)
    finally:
        layer.testTearDown()
    assert result.testsRun == 1
    assert not result.skipped
    assert result.wasSuccessful(), "".join(text for _, text in result.errors + result.failures)
