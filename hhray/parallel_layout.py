"""How the ranks of a block share one forward pass: the degrees of sequence parallelism, as a value.

It is given from outside the model, and may change between any two denoising steps. Two ways of sharing are combined:
within a group of `ulysses` consecutive ranks attention is split by heads (DeepSpeed-Ulysses, arXiv 2309.14509), and
across `gather` such groups by queries, each group fetching the keys and values it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

from hhray.errors import ConfigError
from hhray.model_size import ModelSize


@dataclass(frozen=True, slots=True)
class ParallelLayout:
    """Rank r is member r mod `ulysses` of group r // `ulysses`; there are `gather` groups.

    In layers that see near frames only a group fetches, with `halo`, just the frames it sees, else all of the clip.

    Raises:
        ConfigError: a degree below 1.
    """

    ulysses: int = 1
    gather: int = 1
    halo: bool = True

    def __post_init__(self) -> None:
        if self.ulysses < 1 or self.gather < 1:
            raise ConfigError(
                f"a layout of Ulysses degree {self.ulysses} x gather degree {self.gather}; both must be 1 or more"
            )

    @property
    def num_ranks(self) -> int:
        return self.ulysses * self.gather

    def peers(self, rank: int) -> range:
        """The ranks of `rank`'s group, itself among them: together they hold the group's tokens."""
        first = rank - rank % self.ulysses
        return range(first, first + self.ulysses)

    def counterparts(self, rank: int) -> range:
        """One rank of every group, in order: those that work on the same heads as `rank`, itself among them."""
        return range(rank % self.ulysses, self.num_ranks, self.ulysses)

    def check(self, num_ranks: int, size: ModelSize) -> None:
        """Whether `num_ranks` ranks can share a network of this size so.

        Raises:
            ConfigError: the degrees do not multiply to the ranks, or the key heads cannot be split.
        """
        if self.num_ranks != num_ranks:
            raise ConfigError(
                f"a layout of Ulysses degree {self.ulysses} x gather degree {self.gather} is for {self.num_ranks} "
                f"ranks, but the block has {num_ranks}; choose degrees that multiply to {num_ranks}"
            )
        if size.num_kv_heads % self.ulysses:
            raise ConfigError(
                f"{size.num_kv_heads} key heads cannot be split over a Ulysses degree of {self.ulysses}; gather keys "
                f"across more groups, with a degree of {', '.join(map(str, ulysses_degrees(num_ranks, size)))}"
            )


def ulysses_degrees(num_ranks: int, size: ModelSize) -> tuple[int, ...]:
    """The Ulysses degrees that divide both the ranks and the key heads, the largest first."""
    degrees = range(num_ranks, 0, -1)
    return tuple(degree for degree in degrees if num_ranks % degree == 0 and size.num_kv_heads % degree == 0)


def possible_layouts(num_ranks: int, size: ModelSize) -> tuple[ParallelLayout, ...]:
    """Every layout of that many ranks, with halo exchange, the most of Ulysses first."""
    return tuple(ParallelLayout(degree, num_ranks // degree) for degree in ulysses_degrees(num_ranks, size))
