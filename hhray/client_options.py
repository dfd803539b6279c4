"""Options of the client's verbs."""

from __future__ import annotations

import argparse
from pathlib import Path

from hhray.geometry import MAX_DURATION, MIN_DURATION, Ratio, Resolution
from hhray.request import AudioSetting, Language

DEFAULT_WAIT_SECONDS = 3600.0


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Which server, with which key, and how the result is printed."""
    parser.add_argument("--url", help="server (default: setting client.url, http://127.0.0.1:8000)")
    parser.add_argument("--api-key", help="bearer key (better: HHRAY_CLIENT__API_KEY, which process lists do not show)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_wait_options(parser: argparse.ArgumentParser) -> None:
    """Where the clip goes and how long to wait for it."""
    parser.add_argument("--out", type=Path, metavar="CLIP.mp4", help="download the clip to this file")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_WAIT_SECONDS,
        metavar="SECONDS",
        help="longest wait (default: %(default)s)",
    )


def configure_submit(parser: argparse.ArgumentParser) -> None:
    """All of a request, and what to do after it was accepted."""
    parser.add_argument("--prompt", default="", help="what is to be seen and heard")
    parser.add_argument("--image", metavar="FILE|URL", help="first frame: makes an image-to-video request")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="reference image, [Image 1] .. in the prompt; repeatable: makes a reference-to-video request",
    )
    parser.add_argument("--video", default="", metavar="FILE|URL", help="video to edit: makes a video-edit request")
    parser.add_argument("--model", help="default: happyhorse-1.0-t2v, -i2v, -r2v or -video-edit, by what is given")
    parser.add_argument("--resolution", choices=[tier.value for tier in Resolution])
    parser.add_argument("--ratio", choices=[ratio.value for ratio in Ratio])
    parser.add_argument("--duration", type=int, metavar="SECONDS", help=f"{MIN_DURATION} to {MAX_DURATION}")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--language", type=_language, metavar="NAME", help=f"of speech: {', '.join(Language)}")
    parser.add_argument("--dialogue", metavar="TEXT", help="the words that are spoken")
    parser.add_argument(
        "--audio-setting", choices=[setting.value for setting in AudioSetting], help="sound of an edited video"
    )
    parser.add_argument("--strict", action="store_true", help="refuse a mode the checkpoint was not trained for")
    parser.add_argument("--deadline", type=int, metavar="SECONDS", help="when the clip is wanted, from now")
    parser.add_argument("--wait", action="store_true", help="wait for the clip (implied by --out)")
    add_wait_options(parser)
    add_server_options(parser)


def _language(text: str) -> str:
    """A language in any case of letters, as it is spelled in the menu."""
    for language in Language:
        if language.value.lower() == text.lower():
            return language.value
    raise argparse.ArgumentTypeError(f"expected one of {', '.join(Language)}, got {text[:40]!r}")
