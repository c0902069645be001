"""The ledger: a program of the terminal with its books in a file, that loses nothing and tears nothing."""

from __future__ import annotations

import importlib
import random
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hubbub
from tests.e2e.hosts import EXAMPLES, Hosts, environment

LEDGER = EXAMPLES / "ledger"
Run = Callable[..., str]

# Moves money for ever, and says of each transfer that it is done.
MOVER = """
import sys
from datetime import date
from decimal import Decimal
import books, hubbub

with hubbub.open(sys.argv[1]) as space:
    for number in range(1, 1_000_000):
        space.run(books.transfer, "current", "savings", Decimal(number), date(2026, 1, 1))
        print(number, flush=True)
"""

HOLDER = """
import sys, hubbub
with hubbub.open(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(LEDGER))
    return sys.modules.get("books") or importlib.import_module("books")


@pytest.fixture
def ledger(tmp_path: Path) -> Run:
    def run(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, str(LEDGER / "ledger.py"), *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    return run


@pytest.mark.rule("SP2")
def test_a_month_of_books(ledger: Run, tmp_path: Path) -> None:
    assert "begin with: ledger.py open" in ledger("balance", status=1)
    assert not (tmp_path / "ledger.hub").exists(), "looking makes no books"
    ledger("open", "current", "--balance", "1200", "--on", "2026-10-31")
    ledger("open", "savings")
    assert ledger("list", "savings") == "savings has no entries yet.\n"
    on = ("--on", "2026-11-03")
    assert ledger("add", "current", "-42.50", "Green Grocer", "-c", "food", *on) == (
        "current: 1,157.50\n"
    )
    ledger("add", "current", "2,000", "Employer", "-c", "salary", *on)
    assert "cheque 1 to Landlord: 300.10" in ledger(
        "cheque", "current", "300.10", "Landlord", "-c", "rent", *on
    )
    assert "cheque 77 to Club" in ledger("cheque", "current", "20", "Club", "--number", "77", *on)
    assert "cheque 78 to Club" in ledger("cheque", "current", "20", "Club", *on)
    assert ledger("strike") == "struck out: Club: -20\n"
    assert ledger("transfer", "current", "savings", "500", *on) == (
        "current: 2,337.40\nsavings: 500.00\n"
    )
    ledger("buy", "retirement", "ACME", "10", "12.345", "-a", "savings", *on)
    ledger("sell", "retirement", "ACME", "4", "16", "-a", "savings", *on)
    ledger("price", "ACME", "15")
    assert "holds 6 ACME only" in ledger(
        "sell", "retirement", "ACME", "7", "16", "-a", "savings", status=1
    )
    lines = ledger("list", "current", "-n", "3").splitlines()
    assert re.split(r"\s{2,}", lines[1]) == [
        "2026-11-03", "1", "Landlord", "rent", "-300.10", "2,857.40",
    ]  # fmt: skip
    assert ledger("report", "--month", "2026-11").splitlines() == [
        "2026-11-01 to 2026-11-30",
        "category    amount",
        "rent       -300.10",
        "food        -42.50",
        "other       -20.00",
        "salary    2,000.00",
        "          1,637.40",
        "",
        "account   balance",
        "current  2,337.40",
        "savings    440.55",
        "",
        "retirement",
        "share  number  price   cost  value   gain",
        "ACME        6     15  74.07  90.00  15.93",
    ]
    assert ledger("strike") == "struck out: sold 4 ACME\n"
    assert ledger("strike") == "struck out: bought 10 ACME\n"
    assert "savings    500.00" in ledger("balance")
    assert "current  1,200.00" in ledger("balance", "--on", "2026-11-01")


def test_what_makes_no_sense_is_told_and_changes_nothing(ledger: Run, tmp_path: Path) -> None:
    ledger("open", "current", "--balance", "5")
    (tmp_path / "bank.csv").write_text("2026-11-01,-1.50,Baker,food\n2026-11-02,ten,Baker\n")
    for arguments, status, said in [
        (("add", "nowhere", "1", "x"), 1, "there is no account 'nowhere'; there are: current"),
        (("add", "current", "1.234", "x"), 2, "no amount with up to 2 places"),
        (("add", "current", "NaN", "x"), 2, "no amount"),
        (("cheque", "current", "0", "x"), 2, "is not above 0"),
        (("open", "current"), 1, "there is an account 'current' already"),
        (("report", "--month", "2026-13"), 2, "is no month"),
        (("import", "current", "bank.csv"), 1, "line 2 is no entry"),
    ]:
        assert said in ledger(*arguments, status=status)
    assert "5.00" in ledger("balance")


@pytest.mark.rule("ST8")
def test_the_second_one_at_the_same_books_is_told_who_has_them(
    hosts: Hosts, ledger: Run, tmp_path: Path
) -> None:
    ledger("open", "current")
    holder = hosts.run("-c", HOLDER, str(tmp_path / "ledger.hub"))
    holder.until_printed("open")
    for arguments in (("balance",), ("add", "current", "1", "x")):
        said = ledger(*arguments, status=1)
        assert said.startswith("Error: the books are open elsewhere: ")
        assert str(holder.pid) in said
    holder.kill()
    assert ledger("add", "current", "1", "x") == "current: 1.00\n"


@pytest.mark.rule("ST2")
@pytest.mark.parametrize("seed", range(3))
def test_after_kill_9_no_transfer_is_half_and_none_that_was_told_is_missing(
    hosts: Hosts, ledger: Run, books: ModuleType, tmp_path: Path, seed: int
) -> None:
    ledger("open", "current", "--balance", "1000000")
    ledger("open", "savings")
    file = tmp_path / "ledger.hub"
    mover = hosts.run("-c", MOVER, str(file), env=environment(PYTHONPATH=f"{LEDGER}:{SRC}"))
    mover.until_printed(rf"(?m)^{random.Random(seed).randrange(5, 60)}$")
    mover.kill()
    told = int(re.findall(r"^(\d+)$", mover.printed, re.MULTILINE)[-1])
    with hubbub.open(file) as space:
        balances = dict(space.read(books.balances))
        assert sum(balances.values()) == 1_000_000
        moved = len(space.read(books.statement, "savings", 10**9))
    assert moved in (told, told + 1)
    assert balances["savings"] == Decimal(moved * (moved + 1) // 2)


@pytest.mark.rule("ST2")
def test_an_import_that_is_killed_is_all_there_or_not_at_all(
    hosts: Hosts, ledger: Run, tmp_path: Path
) -> None:
    ledger("open", "current")
    (tmp_path / "bank.csv").write_text("2026-11-01,-0.01,Baker,food\n" * 5000)
    for wait_s in (0.05, 0.4, 0.6):
        before = ledger("balance")
        importing = hosts.run(
            str(LEDGER / "ledger.py"), "import", "current", "bank.csv", directory=tmp_path
        )
        try:
            importing.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            importing.kill()
        after = ledger("balance")
        assert after in (before, _less(before, Decimal(50)))


def _less(table: str, amount: Decimal) -> str:
    number = Decimal(table.split()[3].replace(",", "")) - amount
    width = max(len("balance"), len(f"{number:,.2f}"))
    lines = [("account", "balance"), ("current", f"{number:,.2f}"), ("", f"{number:,.2f}")]
    return "".join(f"{name:7}  {value:>{width}}\n" for name, value in lines)


@given(
    st.lists(
        st.tuples(st.integers(-50, 50).filter(bool), st.decimals("0.01", "999", places=2)),
        max_size=20,
    )
)
def test_holdings_are_what_was_bought_and_not_sold(trades: list[tuple[int, Decimal]]) -> None:
    sys.path.insert(0, str(LEDGER))
    try:
        books = importlib.import_module("books")
    finally:
        sys.path.remove(str(LEDGER))
    portfolio = books.Portfolio("p")
    held = 0
    for shares, price in trades:
        if held + shares >= 0:
            held += shares
            portfolio.add(books.Trade(date(2026, 1, 1), "A", Decimal(shares), price))
    found = portfolio.holdings({"A": Decimal(2)})
    assert [(h.shares, h.value) for h in found] == ([(held, held * 2)] if held else [])
    prices = [price for _, price in trades]
    for holding in found:
        assert holding.gain == holding.value - holding.cost
        assert min(prices) * held - 1 <= holding.cost <= max(prices) * held + 1


SRC = Path(hubbub.__file__).resolve().parents[1]
