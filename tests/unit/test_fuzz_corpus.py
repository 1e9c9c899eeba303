"""What the fuzzer found to be interesting, and every recorded octet, is refused or understood, and never a fault."""

import pytest

from tests.fuzz.layers import LAYERS
from tests.fuzz.search import kept


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "stream"])
def test_the_corpus_of_a_layer_is_refused_or_understood(layer: str) -> None:
    for octets in (*LAYERS[layer].seeds(), *kept(layer).values()):
        LAYERS[layer].play(octets)


def test_the_corpus_of_streams_leaves_the_front_ends_well() -> None:
    octets = list(kept("stream").values())
    assert octets
    for stream in octets:
        LAYERS["stream"].play(stream)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_has_a_corpus(layer: str) -> None:
    assert len(kept(layer)) > 10
