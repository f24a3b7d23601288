"""Which content coding a request asks for: RFC 9110, section 12.5.3."""

import re
from collections.abc import Iterable

_CODING = re.compile(r"[ \t]*([\w!#$%&'*+.^`|~-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*)?", re.ASCII)


def asks_for_gzip(headers: Iterable[str]) -> bool:
    """Return whether ``Accept-Encoding`` headers name gzip, and prefer nothing uncompressed to it.

    Any coding will do for ``*``, which is no reason to compress. An element that cannot be read is passed over.
    """
    weights: dict[str, float] = {}
    for element in ",".join(headers).split(","):
        if coding := _CODING.fullmatch(element):
            name = coding[1].lower().removeprefix("x-")  # x-gzip is another name of gzip
            weights[name] = max(weights.get(name, 0.0), float(coding[2] or 1))
    return weights.get("gzip", 0.0) > 0 and weights["gzip"] >= weights.get("identity", 0.0)
