"""Accounts, cheques, transfers and portfolios: ordinary objects, kept in a file of the local disk.

Each function is one transaction's body, for ``space.run`` or ``space.read``. What belongs together, such as the two
sides of a transfer, is in one transaction: it is on the disk whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

import hubbub
from hubbub import Log, Map, Persistent, Refused, Root, SortedMap

CENT = Decimal("0.01")


class Entry(msgspec.Struct, frozen=True):
    """One line of an account. What is done in one go has one ``deed``."""

    day: date
    amount: Decimal
    payee: str
    category: str = ""
    cheque: int | None = None
    deed: str = ""


class Trade(msgspec.Struct, frozen=True):
    """Shares bought (above 0) or sold, at a price each."""

    day: date
    symbol: str
    shares: Decimal
    price: Decimal
    deed: str = ""


class Account(Persistent):
    """Entries by day, and within a day as they came."""

    next_cheque = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: SortedMap[tuple[str, str], Entry] = SortedMap()

    def add(self, entry: Entry) -> None:
        self.entries[entry.day.isoformat(), hubbub.unique()] = entry

    def cheque_number(self, number: int | None = None) -> int:
        """Take the next number of the cheque book, or ``number`` and go on from there."""
        taken = self.next_cheque if number is None else number
        self.next_cheque = taken + 1
        return taken

    def balance(self, until: date | None = None) -> Decimal:
        return sum((entry.amount for entry in self.up_to(until)), Decimal(0))

    def up_to(self, until: date | None) -> Iterable[Entry]:
        return (entry for entry in self.entries.values() if until is None or entry.day <= until)

    def strike(self, deed: str) -> None:
        for key in [key for key, entry in self.entries.items() if entry.deed == deed]:
            del self.entries[key]


class Holding(msgspec.Struct, frozen=True):
    """What is left of one share after all trades, at average cost."""

    symbol: str
    shares: Decimal
    cost: Decimal
    price: Decimal

    @property
    def value(self) -> Decimal:
        return (self.shares * self.price).quantize(CENT)

    @property
    def gain(self) -> Decimal:
        return self.value - self.cost


class Portfolio(Persistent):
    """Trades in the order in which they were made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trades: SortedMap[str, Trade] = SortedMap()

    def add(self, trade: Trade) -> None:
        self.trades[hubbub.unique()] = trade

    def shares(self, symbol: str) -> Decimal:
        return sum((t.shares for t in self.trades.values() if t.symbol == symbol), Decimal(0))

    def strike(self, deed: str) -> None:
        for key in [key for key, trade in self.trades.items() if trade.deed == deed]:
            del self.trades[key]

    def holdings(self, prices: dict[str, Decimal]) -> list[Holding]:
        shares: dict[str, Decimal] = {}
        cost: dict[str, Decimal] = {}
        last: dict[str, Decimal] = {}
        for trade in self.trades.values():
            held, paid = shares.get(trade.symbol, Decimal(0)), cost.get(trade.symbol, Decimal(0))
            if trade.shares > 0:
                paid += trade.shares * trade.price
            elif held:
                paid += paid / held * trade.shares
            shares[trade.symbol], cost[trade.symbol] = held + trade.shares, paid
            last[trade.symbol] = trade.price
        return [
            Holding(
                symbol,
                shares[symbol],
                cost[symbol].quantize(CENT),
                prices.get(symbol, last[symbol]),
            )
            for symbol in sorted(shares)
            if shares[symbol]
        ]


class Deed(msgspec.Struct, frozen=True):
    """What one command did, so that the last one can be struck out."""

    id: str
    what: str
    names: tuple[str, ...]


class Books(Persistent):
    """All of it."""

    def __init__(self) -> None:
        self.accounts: Map[str, Account] = Map()
        self.portfolios: Map[str, Portfolio] = Map()
        self.prices: Map[str, Decimal] = Map()
        self.deeds: Log[Deed] = Log()
        self.struck: Map[str, bool] = Map()

    def account(self, name: str) -> Account:
        found = self.accounts.get(name)
        if found is None:
            there = ", ".join(self.accounts) or "none yet"
            raise Refused("no_account", f"there is no account {name!r}; there are: {there}")
        return found

    def deed(self, what: str, *names: str) -> str:
        made = Deed(hubbub.unique(), what, names)
        self.deeds.append(made)
        return made.id


def books(root: Root) -> Books:
    """Return the books, which are there from the first transaction on."""
    found: Books = root.setdefault("books", Books())
    return found


def read_books(root: Root) -> Books:
    """As `books`, where only reading is allowed: empty ones if there are none."""
    found: Books = root.get("books") or Books()
    return found


# --- deeds ------------------------------------------------------------------------------------------------------------


def open_account(root: Root, name: str, opening: Decimal, day: date) -> None:
    mine = books(root)
    if name in mine.accounts:
        raise Refused("taken", f"there is an account {name!r} already")
    account = mine.accounts[name] = Account(name)
    deed = mine.deed(f"opened {name}", name)
    if opening:
        account.add(Entry(day, opening, "opening balance", "opening", deed=deed))


def add(root: Root, name: str, entry: Entry, *, cheque: bool = False) -> Entry:
    """Add ``entry`` to an account; with ``cheque`` it gets the next number of the cheque book."""
    mine = books(root)
    account = mine.account(name)
    deed = mine.deed(f"{entry.payee}: {entry.amount}", name)
    number = account.cheque_number(entry.cheque) if cheque or entry.cheque is not None else None
    entry = msgspec.structs.replace(entry, cheque=number, deed=deed)
    account.add(entry)
    return entry


def add_all(root: Root, name: str, entries: list[Entry]) -> int:
    """Add all ``entries`` in one go."""
    mine = books(root)
    account = mine.account(name)
    deed = mine.deed(f"{len(entries)} imported entries", name)
    for entry in entries:
        account.add(msgspec.structs.replace(entry, deed=deed))
    return len(entries)


def transfer(root: Root, source: str, target: str, amount: Decimal, day: date) -> None:
    mine = books(root)
    payer, payee = mine.account(source), mine.account(target)
    deed = mine.deed(f"{source} to {target}: {amount}", source, target)
    payer.add(Entry(day, -amount, f"to {target}", "transfer", deed=deed))
    payee.add(Entry(day, amount, f"from {source}", "transfer", deed=deed))


def trade(root: Root, portfolio: str, trade: Trade, account: str) -> None:
    """Buy or sell, and pay from or into ``account``, in one go."""
    mine = books(root)
    money = mine.account(account)
    held = mine.portfolios.setdefault(portfolio, Portfolio(portfolio))
    if trade.shares < 0 and held.shares(trade.symbol) < -trade.shares:
        raise Refused(
            "not_held", f"{portfolio} holds {held.shares(trade.symbol)} {trade.symbol} only"
        )
    verb = "bought" if trade.shares > 0 else "sold"
    what = f"{verb} {abs(trade.shares)} {trade.symbol}"
    deed = mine.deed(what, account, portfolio)
    held.add(msgspec.structs.replace(trade, deed=deed))
    amount = -(trade.shares * trade.price).quantize(CENT)
    money.add(Entry(trade.day, amount, f"{what} at {trade.price}", "shares", deed=deed))
    mine.prices[trade.symbol] = trade.price


def strike_last(root: Root) -> str:
    """Take back the last deed that is not taken back yet; return what it was."""
    mine = books(root)
    for deed in reversed(mine.deeds.last(1000)):
        if deed.id in mine.struck:
            continue
        for name in deed.names:
            for place in (mine.accounts.get(name), mine.portfolios.get(name)):
                if place is not None:
                    place.strike(deed.id)
        if deed.what == f"opened {deed.names[0]}":
            if len(mine.accounts[deed.names[0]].entries):
                raise Refused("in_use", f"{deed.names[0]} has entries")
            del mine.accounts[deed.names[0]]
        mine.struck[deed.id] = True
        return deed.what
    raise Refused("nothing", "there is nothing to strike out")


# --- reports ----------------------------------------------------------------------------------------------------------


def balances(root: Root, until: date | None = None) -> list[tuple[str, Decimal]]:
    return [(name, acc.balance(until)) for name, acc in read_books(root).accounts.items()]


def statement(root: Root, name: str, last: int) -> list[tuple[Entry, Decimal]]:
    """Return the last entries of an account, each with the balance after it."""
    balance = Decimal(0)
    lines: list[tuple[Entry, Decimal]] = []
    for entry in read_books(root).account(name).entries.values():
        balance += entry.amount
        lines.append((entry, balance))
    return lines[-last:]


def by_category(root: Root, since: date, until: date) -> list[tuple[str, Decimal]]:
    """Return income and spending between two days, the largest spending first. Transfers are neither."""
    totals: dict[str, Decimal] = {}
    for entry in _entries(root):
        if since <= entry.day <= until and entry.category not in ("transfer", "opening", "shares"):
            name = entry.category or "other"
            totals[name] = totals.get(name, Decimal(0)) + entry.amount
    return sorted(totals.items(), key=lambda pair: pair[1])


def _entries(root: Root) -> Iterator[Entry]:
    for account in read_books(root).accounts.values():
        yield from account.entries.values()


def holdings(root: Root) -> list[tuple[str, list[Holding]]]:
    mine = read_books(root)
    prices: dict[str, Any] = dict(mine.prices)
    return [(name, p.holdings(prices)) for name, p in mine.portfolios.items()]
