import pytest

from app.realtime.transports.encoding import asks_for_gzip


@pytest.mark.parametrize(
    "headers",
    [["gzip"], ["GZip"], ["x-gzip"], ["gzip, deflate, br, zstd"], ["br;q=1.0, gzip;q=0.8, *;q=0.1"], ["deflate", "gzip"],
     ["gzip;q=0.5"], [" gzip ; q=0.001 "], ["identity;q=0.5, gzip;q=1.0"], ["gzip, identity"], ["gzip;q=1.0;x, gzip"]],
)  # fmt: skip
def test_gzip_is_asked_for(headers: list[str]) -> None:
    assert asks_for_gzip(headers)


@pytest.mark.parametrize(
    "headers",
    [[], [""], ["identity"], ["br, deflate"], ["*"], ["gzip;q=0"], ["gzip;q=0.000, *"], ["identity, gzip;q=0.5"], ["gzipped"],
     ["gzip;q=2"], ["gzip;q=abc"], ["not gzip"], [", ,"]],
)  # fmt: skip
def test_gzip_is_not_asked_for(headers: list[str]) -> None:
    assert not asks_for_gzip(headers)
