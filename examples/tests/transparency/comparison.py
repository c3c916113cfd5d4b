"""The list of comparisons, and how two observations of one comparison are set against each other."""

import dataclasses
import typing

COMPARISONS = []


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A name, one line of words, and the function that makes the observation on one side."""

    name: str
    words: str
    observe: typing.Callable


def comparison(name):
    """Registers a function whose first line of documentation says what is compared."""

    def register(observe):
        COMPARISONS.append(Comparison(name, observe.__doc__.strip().splitlines()[0], observe))
        return observe

    return register


def for_each_kind(name):
    """Registers a function once for each kind of call; it is given the kind."""

    def register(observe):
        for kind in ("Unary", "ServerStream", "ClientStream", "Bidirectional"):
            bound = lambda side, kind=kind: observe(side, kind)  # noqa: E731
            bound.__doc__ = f"{kind}: {observe.__doc__.strip()}"
            comparison(f"{name}.{kind}")(bound)
        return observe

    return register


def differences(direct, bus, at=""):
    """Every place where two observations are not the same, with both values."""
    if isinstance(direct, dict) and isinstance(bus, dict):
        found = []
        for key in sorted(direct.keys() | bus.keys()):
            # What one of the two connections hides cannot be compared.
            if key == "reply on the wire" and None in (direct.get(key), bus.get(key)):
                continue
            found += differences(direct.get(key), bus.get(key), f"{at} / {key}" if at else key)
        return found
    return [] if direct == bus else [{"at": at, "direct": direct, "bus": bus}]


def count_facts(observation):
    """How many single values an observation holds."""
    if isinstance(observation, dict):
        return sum(count_facts(value) for value in observation.values())
    return 1
