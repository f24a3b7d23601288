"""The types of the events, made from the AsyncAPI document, against programs that use them."""

import asyncio
import shutil
from pathlib import Path

import pytest

from app.routers.documentation.pages import BUILT
from tests.generated.tools import ASYNCAPI, PACKAGES, PROGRAMS, PROJECT, run, script

_EXAMPLE = PROJECT / "examples" / "typed-client.ts"
_CHECKING = (
    "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2023",
    "--module", "nodenext", "--verbatimModuleSyntax", "--erasableSyntaxOnly", "--allowImportingTsExtensions",
    "--types", "node",
)  # fmt: skip

_SLIPS = {"price.mid": "price.middle", '"price_alert"': '"price_alarm"', "pairs: pairs.length": "pair: pairs.length"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the types, the example, and the packages that it needs."""
    shutil.copy(BUILT / "events.d.ts", tmp_path)
    shutil.copy(_EXAMPLE, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    return tmp_path


async def test_the_example_compiles_and_the_types_agree_with_those_of_another_generator(node: Path, folder: Path) -> None:
    """What json-schema-to-typescript makes of the schemas may be given for our types, and ours for those."""
    shutil.copy(PROGRAMS / "compare_types.mjs", folder)
    await run(node, "compare_types.mjs", ASYNCAPI, cwd=folder)
    await run(node, script("typescript", "bin/tsc"), *_CHECKING, _EXAMPLE.name, "comparison.ts", cwd=folder)


async def test_the_example_prints_prices(node: Path, folder: Path, furnished_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        node, _EXAMPLE.name, furnished_url, "EUR_USD", cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            lines = [await process.stdout.readline() for _ in range(2)]
    finally:
        process.kill()
        await process.communicate()
    assert sorted(lines) == [b"EUR_USD: 1.15000 (simulated)\n", b"Subscribed to 1 pairs\n"]


async def test_messages_of_plain_websockets_are_told_apart_by_their_type(node: Path, folder: Path) -> None:
    program = folder / "plain.ts"
    text = """
        import type { PlainMessage, PlainRequest } from "./events.d.ts";
        export const request: PlainRequest = { type: "subscribe", data: { pairs: ["EUR_USD"], max_hz: 2 } };
        export function mid(message: PlainMessage): string | undefined {
          return message.type === "price_update" ? message.data.price.mid : message.id;
        }
    """
    program.write_text(text, encoding="utf-8")
    await run(node, script("typescript", "bin/tsc"), *_CHECKING, program.name, cwd=folder)
    program.write_text(text.replace('"price_update"', '"volatility_alert"'), encoding="utf-8")
    with pytest.raises(AssertionError, match="price"):
        await run(node, script("typescript", "bin/tsc"), *_CHECKING, program.name, cwd=folder)


async def test_what_the_gateway_does_not_say_does_not_compile(node: Path, folder: Path) -> None:
    program = folder / _EXAMPLE.name
    text = program.read_text(encoding="utf-8")
    for right, wrong in _SLIPS.items():
        assert right in text
        text = text.replace(right, wrong)
    program.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError) as refused:
        await run(node, script("typescript", "bin/tsc"), *_CHECKING, program.name, cwd=folder)
    for wrong in ("middle", "price_alarm", "'pairs' is missing"):
        assert wrong in str(refused.value)
