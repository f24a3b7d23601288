"""The sources of the pages, as a compiler of types reads them."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from app.market.pair import CurrencyPair
from tests.generated.tools import PROJECT, run, script
from tests.node_packages import packages

_WEB = PROJECT / "web"


async def test_the_compiler_finds_no_fault_in_the_scripts_of_the_pages(node: Path) -> None:
    packages("web")
    await run(node, script("typescript", "bin/tsc"), "--project", _WEB, cwd=_WEB)


async def test_the_pages_find_the_mid_of_a_bid_and_an_ask_as_the_gateway_does(node: Path) -> None:
    quotes = [("1.10000", "1.10020"), ("1.10000", "1.10001"), ("0.00009", "0.00010"), ("161.999", "162.001"),
              ("99.99999", "100.00000"), ("2650.124", "2650.351"), ("0.99999", "1.00000"), ("7.80000", "7.80000")]  # fmt: skip
    program = "const [, decimal, quotes] = process.argv; const { middle } = await import(decimal);"
    program += "console.log(JSON.stringify(JSON.parse(quotes).map(([bid, ask]) => middle(bid, ask))))"
    printed = await run(
        node, "--input-type=module", "--eval", program, (_WEB / "src" / "decimal.js").as_uri(), json.dumps(quotes), cwd=_WEB
    )
    assert json.loads(printed) == [_mid(bid, ask) for bid, ask in quotes]


def _mid(bid: str, ask: str) -> str:
    pair = CurrencyPair.parse("USD_JPY" if len(bid.partition(".")[2]) == 3 else "EUR_USD")
    return str(pair.round_mid((Decimal(bid) + Decimal(ask)) / 2))


async def test_the_compiler_does_find_faults(node: Path, tmp_path: Path) -> None:
    shutil.copytree(_WEB / "src", tmp_path / "src")
    shutil.copy(_WEB / "tsconfig.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages("web"))
    with (tmp_path / "src" / "store.js").open("a", encoding="utf-8") as source:
        source.write("new Store(null).prize('EUR_USD');\n")
    with pytest.raises(AssertionError, match="prize"):
        await run(node, script("typescript", "bin/tsc"), "--project", tmp_path, cwd=tmp_path)
