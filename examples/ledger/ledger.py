"""Keep your books in a file: cheques, accounts, portfolios.

python ledger.py open current --balance 1200
python ledger.py add current -42.50 "Green Grocer" --category food
python ledger.py cheque current 300 "Landlord" --category rent
python ledger.py report
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import books
import click

import hubbub
from hubbub import HubbubError, SpaceInUseError


class Money(click.ParamType):
    """A decimal number, exact, with at most two places."""

    name = "amount"
    places = 2

    def convert(self, value: Any, param: Any, ctx: Any) -> Decimal:
        try:
            number = Decimal(str(value).replace(",", "").replace("_", ""))
        except InvalidOperation:
            self.fail(f"{value!r} is no amount; write 12.50 or -12.50", param, ctx)
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or -exponent > self.places or abs(number) >= 10**12:
            self.fail(f"{value!r} is no amount with up to {self.places} places", param, ctx)
        return number


class Shares(Money):
    name = "shares"
    places = 6


class Above(Money):
    """An amount above 0."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Decimal:
        number = super().convert(value, param, ctx)
        if number <= 0:
            self.fail(f"{value!r} is not above 0", param, ctx)
        return number


class SharesAbove(Above):
    name = "shares"
    places = 6


def _today() -> date:
    return datetime.now().astimezone().date()


def _day(_ctx: Any, _param: Any, value: datetime | None) -> date:
    return value.date() if value else _today()


ON = click.option(
    "--on",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    callback=_day,
    help="The day.  [default: today]",
)
# A negative amount is no option.
NEGATIVE = {"ignore_unknown_options": True}


class Books:
    """The file, opened when a command needs it."""

    def __init__(self, file: str) -> None:
        self.file = file

    def run(self, body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._with(lambda space: space.run(lambda root: body(root, *args, **kwargs)))

    def read(self, body: Callable[..., Any], *args: Any) -> Any:
        if "://" not in self.file and not Path(self.file).exists():
            raise click.ClickException(
                f"there are no books in {self.file} yet; begin with: ledger.py open current --balance 100"
            )
        return self._with(lambda space: space.read(body, *args))

    def _with(self, use: Callable[[hubbub.Space], Any]) -> Any:
        try:
            with hubbub.open(self.file) as space:
                return use(space)
        except SpaceInUseError as error:
            raise click.ClickException(f"the books are open elsewhere: {error}") from None
        except HubbubError as error:
            raise click.ClickException(str(error)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--file",
    "-f",
    envvar="LEDGER_FILE",
    default="ledger.hub",
    show_default=True,
    help="Where the books are, or hub://HOST:PORT of who serves them; also LEDGER_FILE.",
)
@click.pass_context
def main(ctx: click.Context, file: str) -> None:
    """Keep your books in a file: cheques, accounts, portfolios."""
    ctx.obj = Books(file)


@main.command(name="open")
@click.argument("account")
@click.option("--balance", type=Money(), default="0", help="What is in it now.")
@ON
@click.pass_obj
def open_(mine: Books, account: str, balance: Decimal, day: date) -> None:
    """Open ACCOUNT."""
    mine.run(books.open_account, account, balance, day)
    click.echo(f"{account} is open with {money(balance)}.")


@main.command(context_settings=NEGATIVE)
@click.argument("account")
@click.argument("amount", type=Money())
@click.argument("payee")
@click.option("--category", "-c", default="", help="Such as food or rent.")
@ON
@click.pass_obj
def add(mine: Books, account: str, amount: Decimal, payee: str, category: str, day: date) -> None:
    """Note AMOUNT, received from PAYEE or, below 0, spent there."""
    mine.run(books.add, account, books.Entry(day, amount, payee, category))
    _tell_balance(mine, account)


@main.command()
@click.argument("account")
@click.argument("amount", type=Above())
@click.argument("payee")
@click.option("--number", type=click.IntRange(1), help="Of the cheque.  [default: the next one]")
@click.option("--category", "-c", default="", help="Such as food or rent.")
@ON
@click.pass_obj
def cheque(
    mine: Books,
    account: str,
    amount: Decimal,
    payee: str,
    number: int | None,
    category: str,
    day: date,
) -> None:
    """Write a cheque of AMOUNT to PAYEE."""
    entry = books.Entry(day, -amount, payee, category, number)
    written = mine.run(books.add, account, entry, cheque=True)
    click.echo(f"cheque {written.cheque} to {payee}: {money(amount)}")
    _tell_balance(mine, account)


@main.command()
@click.argument("source")
@click.argument("target")
@click.argument("amount", type=Above())
@ON
@click.pass_obj
def transfer(mine: Books, source: str, target: str, amount: Decimal, day: date) -> None:
    """Move AMOUNT from account SOURCE to account TARGET."""
    mine.run(books.transfer, source, target, amount, day)
    _tell_balance(mine, source)
    _tell_balance(mine, target)


def _trade(sign: int) -> Callable[..., None]:
    def command(
        mine: Books,
        portfolio: str,
        symbol: str,
        shares: Decimal,
        price: Decimal,
        account: str,
        day: date,
    ) -> None:
        mine.run(books.trade, portfolio, books.Trade(day, symbol, sign * shares, price), account)
        _tell_balance(mine, account)

    for decorate in reversed(
        [
            click.argument("portfolio"),
            click.argument("symbol"),
            click.argument("shares", type=SharesAbove()),
            click.argument("price", type=SharesAbove()),
            click.option("--account", "-a", required=True, help="Which account pays, or is paid."),
            ON,
            click.pass_obj,
        ]
    ):
        command = decorate(command)
    return command


main.command(name="buy", help="Buy SHARES of SYMBOL at PRICE each.")(_trade(1))
main.command(name="sell", help="Sell SHARES of SYMBOL at PRICE each.")(_trade(-1))


@main.command()
@click.argument("symbol")
@click.argument("price", type=SharesAbove())
@click.pass_obj
def price(mine: Books, symbol: str, price: Decimal) -> None:
    """Note today's PRICE of SYMBOL."""

    def body(root: hubbub.Root) -> None:
        books.books(root).prices[symbol] = price

    mine.run(body)


@main.command(name="import")
@click.argument("account")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@click.pass_obj
def import_(mine: Books, account: str, file: Any) -> None:
    """Add all lines of a CSV FILE: day,amount,payee,category. All of them, or none."""
    entries = []
    for number, row in enumerate(csv.reader(file), 1):
        try:
            day, amount, payee, *rest = row
            value = Money().convert(amount, None, None)
            entries.append(books.Entry(date.fromisoformat(day), value, payee, "".join(rest)))
        except (ValueError, click.BadParameter) as error:
            raise click.ClickException(
                f"line {number} is no entry (day,amount,payee,category): {error}"
            ) from None
    count = mine.run(books.add_all, account, entries)
    click.echo(f"{count:,} entries")
    _tell_balance(mine, account)


@main.command()
@click.pass_obj
def strike(mine: Books) -> None:
    """Strike out the last thing that was done, both sides of it; again: the one before."""
    click.echo(f"struck out: {mine.run(books.strike_last)}")


@main.command(name="list")
@click.argument("account")
@click.option("--last", "-n", default=20, show_default=True, help="How many entries.")
@click.pass_obj
def list_(mine: Books, account: str, last: int) -> None:
    """List the last entries of ACCOUNT."""
    lines = mine.read(books.statement, account, last)
    if not lines:
        click.echo(f"{account} has no entries yet.")
        return
    table(
        ("day", "no.", "payee", "category", "amount", "balance"),
        [
            (
                entry.day.isoformat(),
                str(entry.cheque or ""),
                entry.payee,
                entry.category,
                entry.amount,
                balance,
            )
            for entry, balance in lines
        ],
    )


@main.command()
@ON
@click.pass_obj
def balance(mine: Books, day: date) -> None:
    """Show the balance of each account at the end of a day."""
    lines = mine.read(books.balances, day)
    table(("account", "balance"), [*lines, ("", sum((b for _, b in lines), Decimal(0)))])


@main.command()
@click.option("--year", type=int, help="Of that year.  [default: this one]")
@click.option("--month", metavar="YYYY-MM", help="Of that month only.")
@click.pass_obj
def report(mine: Books, year: int | None, month: str | None) -> None:
    """Show income and spending by category, accounts and portfolios."""
    since, until = _span(year, month)
    categories = mine.read(books.by_category, since, until)
    click.secho(f"{since} to {until}", bold=True)
    if categories:
        table(("category", "amount"), [*categories, ("", sum(a for _, a in categories))])
    else:
        click.echo("no income and no spending")
    click.echo()
    table(("account", "balance"), mine.read(books.balances, until))
    for name, held in mine.read(books.holdings):
        click.echo()
        click.secho(name, bold=True)
        if not held:
            click.echo("nothing is held")
            continue
        table(
            ("share", "number", "price", "cost", "value", "gain"),
            [(h.symbol, f"{h.shares:f}", f"{h.price:f}", h.cost, h.value, h.gain) for h in held],
        )


def _span(year: int | None, month: str | None) -> tuple[date, date]:
    try:
        if month is not None:
            first = date.fromisoformat(f"{month}-01")
            following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
            return first, date.fromordinal(following.toordinal() - 1)
        return date(year or _today().year, 1, 1), date(year or _today().year, 12, 31)
    except ValueError:
        raise click.BadParameter(f"{month or year!r} is no month or year") from None


def _tell_balance(mine: Books, account: str) -> None:
    for name, amount in mine.read(books.balances):
        if name == account:
            click.echo(f"{name}: {money(amount)}")


def money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in columns, numbers to the right and below 0 in red."""
    shown = [[money(c) if isinstance(c, Decimal) else c for c in row] for row in rows]
    numbers = [i for i, head in enumerate(heads) if head in NUMBERS]
    widths = [max(len(line[i]) for line in [list(heads), *shown]) for i in range(len(heads))]

    def line(cells: Sequence[str]) -> list[str]:
        return [
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]

    click.secho("  ".join(line(heads)).rstrip(), dim=True)
    for cells in shown:
        padded = line(cells)
        for i in numbers:
            if cells[i].startswith("-"):
                padded[i] = click.style(padded[i], fg="red")
        click.echo("  ".join(padded).rstrip())


NUMBERS = ("amount", "balance", "number", "price", "cost", "value", "gain")

if __name__ == "__main__":
    sys.exit(main())
