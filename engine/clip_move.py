"""Moves a batch from one block of ranks to another between two steps; the weights are there already.

The ranks of both blocks have begun the batch, so texts, pictures and segments are on all of them. What the steps have
changed goes from one rank of the old block to those of the new one that were not in it, directly; no other rank takes
part, so clips on other blocks are not held up. Ranks learn of the moves that concern them in the same order: then no
two wait for each other.
"""

from __future__ import annotations

import torch

from engine.block_groups import BlockGroups
from engine.clip_batch import ClipBatch
from engine.clip_state import ClipState
from hhray.blocks import Block
from hhray.parallel_layout import ParallelLayout


def move_batch(
    batch: ClipBatch,
    groups: BlockGroups,
    old: Block,
    new: Block,
    layout: ParallelLayout | None,
    device: torch.device,
) -> int:
    """Have the ranks of `new` make the next steps in place of those of `old`; all ranks of either call this.

    Returns:
        Bytes this rank sent.

    Raises:
        ConfigError: the layout does not fit the block's ranks or the heads.
    """
    source, targets = old.first, [rank for rank in new.ranks if rank not in old]
    state, sent = None, 0
    if groups.rank in targets:
        state = _received(batch, groups, source, targets, device)
    elif targets and groups.rank == source:
        sent = len(targets) * _send(batch, groups, targets, device)
    if groups.rank in new:
        batch.go_on(groups.link(new), layout, state)
    return sent


def _send(batch: ClipBatch, groups: BlockGroups, targets: list[int], device: torch.device) -> int:
    state = batch.state
    head, body = state.head().to(device), state.body()
    for part in (head, body):
        groups.hand_over(part, groups.rank, targets)
    return head.nbytes + body.nbytes


def _received(
    batch: ClipBatch, groups: BlockGroups, source: int, targets: list[int], device: torch.device
) -> ClipState:
    form = batch.state_form
    head = torch.empty(form.head_length, dtype=torch.uint8, device=device)
    groups.hand_over(head, source, targets)
    known = head.cpu()
    body = torch.empty(form.body_length(known), device=device)
    groups.hand_over(body, source, targets)
    return form.state(known, body)
