"""The mesh between the cores, by hand."""

import pytest
from mapping_cases import LAYER, QUAD

from offramp.cost.links import Links
from offramp.cost.splits import WHOLE, Split


def test_links_by_hand():
    """64 x 16 x 16 values of 8 bits are 131072 bits; a link carries 32 a cycle."""
    links, bits = Links(QUAD, 4), 64 * 16 * 16 * 8
    assert links.order == (0, 1, 3, 2)
    one, two, four = links.place(WHOLE), links.place(Split(2, "channels")), links.place(Split(4, "rows"))
    # To one neighbour: all of it over one link; depthwise by channels: half of it.
    assert links.feed(LAYER, one, two).cycles == bits / 32
    assert links.feed(LAYER._replace(groups=64), one, two).cycles == bits / 2 / 32
    # Whole to four parts of rows: those of cores 1 and 3, six rows each with their neighbours', pass the link 0 to 1.
    row = 64 * 16 * 8
    assert links.feed(LAYER, one, four).cycles == 2 * 6 * row / 32
    # Rows to rows: a row from each neighbour; core 1 gets one from 0 and one from 3, over different links.
    halo = links.feed(LAYER, four, four)
    assert halo.cycles == row / 32
    read, write = 416.16 / 2048, 378.4 / 2048
    assert halo.pj == pytest.approx(6 * row * (read + 3.2 / 32 + write))
    assert links.feed(LAYER._replace(kernel=1, pad=0), four, four) == (0, 0)
    # Copied to all: read once, over three links, written three times.
    everywhere = links.copy(LAYER.shape_in, 8, one, (0, 1, 3, 2))
    assert everywhere == (bits / 32, pytest.approx(bits * (read + 3 * 3.2 / 32 + 3 * write)))
