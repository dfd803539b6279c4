"""From a folder of weights to what a server runs, by headers alone: no torch, no tensor is read.

A folder is what `hhray fetch-weights --to DIR` makes: transformers in any of the known layouts, and beside them the
components text/, video_vae/, turbo_vae/ and audio_vae/, or a hhray.json that names small codecs in their place. The
package comes with such a folder (engine.embedded), whose name is "embedded".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.checkpoint.capabilities import (
    FILE_NAME,
    SPRITE,
    read_capabilities,
    read_codecs,
    read_native_share,
    read_predicts_clean,
)
from engine.checkpoint.contents import find_problems, nearest_known, read_contents, require
from engine.checkpoint.names import TEXT_FILE, VIDEO_FILE, Layout, Part, Release, find_release
from engine.checkpoint.shapes import expected_tensors, size_from_shapes
from engine.embedded import WEIGHTS
from hhray.errors import ConfigError
from hhray.geometry import Resolution
from hhray.memory_parts import Stage
from hhray.model_size import EMBEDDED, ModelSize, preset
from hhray.served_model import ServedModel

RANDOM_PRESETS = ("tiny", "pico")
DECODERS = ("turbo", "wan")
NO_PART = "none"
# component folder -> which of text, video and sound it serves
COMPONENTS = {"text": "text", "video_vae": "video", "turbo_vae": "video", "audio_vae": "sound"}
SPRITE_FILES = {"text": TEXT_FILE, "video": VIDEO_FILE}


def weights_folder(checkpoint: str | Path, preset_name: str) -> Path | None:
    """Where the weights lie; None for random ones.

    Args:
        checkpoint: a folder, or "embedded" for the package's own, unless there is a folder of that name; empty: those
            of the preset.
        preset_name: "embedded", or one that has random weights.

    Raises:
        ConfigError: the package came without its own weights.
    """
    folder = Path(checkpoint).expanduser()
    if checkpoint and (str(checkpoint) != EMBEDDED or folder.is_dir()):
        return folder
    if (str(checkpoint) or preset_name) != EMBEDDED:
        return None
    if not (WEIGHTS / FILE_NAME).is_file():
        raise ConfigError(
            f"this installation lacks the embedded weights in {WEIGHTS}; install hhray anew, or choose a preset with "
            f"random weights: {', '.join(RANDOM_PRESETS)}"
        )
    return WEIGHTS


def served_model(
    folder: Path | None, preset_name: str, wishes: Mapping[Resolution, str], base: str = "auto", decoder: str = "turbo"
) -> ServedModel:
    """What a server runs on these weights.

    Args:
        folder: of a release; None: the preset's random weights, distilled, without super-resolution.
        preset_name: the network without a folder; with one, sizes are those of the files.
        wishes: of each tier "540p_sr", "1080p_sr" or "none". A tier whose wish is not there gets no super-resolution.
        base: "distill" or "base" weights; "auto": the distilled ones where they are, else the base ones.
        decoder: "turbo" or "wan": whose folder must be there.

    Raises:
        ConfigError: a part that is needed is absent, or headers do not fit each other; the message names all of it.
    """
    if folder is None:
        return ServedModel(_random_size(preset_name))
    release = find_release(folder)
    part = base_part(release, base)
    ladder = {tier: Stage(wish) for tier, wish in _checked(wishes).items() if wish in release.folders}
    require_components(folder, decoder)
    size = network_size(release.folder(part))
    for stage in sorted(set(ladder.values())):
        if network_size(release.folders[stage]) != size:
            raise ConfigError(f"{release.folders[stage]} and {release.folder(part)} hold networks of different sizes")
    capabilities = read_capabilities(release.folder(part), folder)
    share = read_native_share(folder)
    clean = read_predicts_clean(folder)
    return ServedModel(size, capabilities, ladder, part is Part.BASE, native_share=share, predicts_clean=clean)


def base_part(release: Release, base: str = "auto") -> Part:
    """The first transformer's part of a release. A single folder of weights is taken for distilled ones if not told.

    Raises:
        ConfigError: no such weights are there, or `base` is no choice.
    """
    choices = {"auto": (Part.DISTILL, Part.BASE), "distill": (Part.DISTILL,), "base": (Part.BASE,)}
    if base not in choices:
        raise ConfigError(f"no base weights {base!r}; choose one of: {', '.join(choices)}")
    there = choices[base] if release.layout is Layout.SINGLE else [p for p in choices[base] if p in release.folders]
    if not there:
        raise ConfigError(
            f"{release.root} has no {' or '.join(choices[base])} weights; it has {', '.join(release.folders)}. "
            f"`hhray fetch-weights --from huggingface --to {release.root}` gets them"
        )
    return there[0]


def network_size(folder: Path) -> ModelSize:
    """The sizes of the transformer in a folder of safetensors files, from their headers.

    Raises:
        ConfigError: the files are no whole network; all that is wrong is listed.
    """
    contents = read_contents(folder)
    derived = size_from_shapes({name: stored.shape for name, stored in contents.weights.items()})
    # a single damaged tensor can make the sizes nonsense: then it is the nearest known network that is compared with
    candidates = [size for size in (derived, nearest_known(contents)[0]) if size]
    size = min(candidates, key=lambda size: len("".join(find_problems(contents, expected_tensors(size)))))
    require(contents, expected_tensors(size), size.name)
    return size


def absent_components(folder: Path, decoder: str = "turbo") -> list[str]:
    """Folders of components that are neither there nor replaced by a small codec.

    Raises:
        ConfigError: hhray.json is wrong, or there is no such decoder.
    """
    if decoder not in DECODERS:
        raise ConfigError(f"no video decoder {decoder!r}; choose one of: {', '.join(DECODERS)}")
    codecs = read_codecs(folder)
    needed = [name for name, kind in COMPONENTS.items() if kind not in codecs]
    return [name for name in needed if not (folder / name).is_dir() and not (name == "turbo_vae" and decoder == "wan")]


def require_components(folder: Path, decoder: str = "turbo") -> None:
    """Nothing when all components are there.

    Raises:
        ConfigError: some are not; the message names the folders and how to get them, or the files of small codecs.
    """
    sprites = [kind for kind, name in read_codecs(folder).items() if name == SPRITE]
    files = [folder / file for kind, file in SPRITE_FILES.items() if kind in sprites]
    if lost := ", ".join(str(file) for file in files if not file.is_file()):
        raise ConfigError(f"no file {lost}, which {folder / FILE_NAME} calls for; get the release anew")
    if absent := absent_components(folder, decoder):
        folders = ", ".join(str(folder / name) for name in absent)
        command = f"hhray fetch-weights --from huggingface --to {folder} --parts {','.join(absent)}"
        raise ConfigError(f"no folder {folders}; `{command}` gets what is missing")


def _random_size(name: str) -> ModelSize:
    if name not in RANDOM_PRESETS:
        raise ConfigError(
            f"model preset {name!r} needs a checkpoint; `hhray fetch-weights` gets one, and without one "
            f"there are: {', '.join((EMBEDDED, *RANDOM_PRESETS))}"
        )
    return preset(name)


def _checked(wishes: Mapping[Resolution, str]) -> Mapping[Resolution, str]:
    known = (NO_PART, Part.SR_540P, Part.SR_1080P)
    for tier, wish in wishes.items():
        if wish not in known:
            raise ConfigError(f"no super-resolution {wish!r} for {tier}; choose one of: {', '.join(known)}")
    return wishes
