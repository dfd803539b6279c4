"""What the settings serve: found out once, before anything starts, and handed to every part of the application."""

from __future__ import annotations

from engine.release import served_model, weights_folder
from hhray.memory_parts import Demand
from hhray.memory_plan import plan_memory
from hhray.prompting import load_rewriter
from hhray.served_model import ServedModel
from hhray.settings import Settings


def model_on_offer(settings: Settings) -> ServedModel:
    """The model of these settings, read from the headers of its checkpoint's files.

    Raises:
        ConfigError: there is no such preset or folder, a part is missing, a CPU cannot run it, or the prompt rewriter
            cannot be loaded.
    """
    engine = settings.engine
    load_rewriter(engine.prompt_rewriter)
    folder = weights_folder(engine.checkpoint, engine.preset)
    served = served_model(folder, engine.preset, engine.super_resolution, engine.base, engine.decoder)
    if engine.device == "cpu":  # what a GPU holds is known on its own machine only: there the ranks refuse
        share = served.native_share
        tiers, seconds, layout = engine.tiers, engine.max_seconds, engine.parallel_layout
        demand = Demand(served.size, tiers, seconds, engine.ranks, served.ladder, native_share=share, layout=layout)
        plan_memory(None, demand)
    return served
