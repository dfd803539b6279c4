"""What things, motions and backgrounds are called in English and Chinese; the usual name is the first."""

from __future__ import annotations

from dataclasses import dataclass

from engine.embedded.world.scene import Bulk, Motion, Speed

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Names in one language; a speed or size that goes without saying has no names."""

    shapes: dict[str, Names]
    colours: dict[str, str]
    motions: dict[Motion, Names]
    speeds: dict[Speed, Names]
    bulks: dict[Bulk, Names]
    backgrounds: dict[str, str]


ENGLISH = Words(
    shapes={
        "ball": ("ball", "circle", "disc"),
        "square": ("square", "box"),
        "triangle": ("triangle",),
        "star": ("star",),
        "diamond": ("diamond",),
        "heart": ("heart",),
        "ring": ("ring", "hoop"),
        "cross": ("cross", "plus sign"),
    },
    colours={name: name for name in ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")},
    motions={
        Motion.LEFT: ("moving left", "moving to the left", "going left", "sliding to the left", "gliding left"),
        Motion.RIGHT: ("moving right", "moving to the right", "going right", "sliding to the right", "gliding right"),
        Motion.UP: ("moving up", "rising", "going up", "floating upwards"),
        Motion.DOWN: ("moving down", "sinking", "going down", "floating downwards"),
        Motion.BOUNCE: ("bouncing", "bouncing up and down", "bouncing on the ground"),
        Motion.CIRCLE: ("moving in a circle", "circling", "going round in circles"),
        Motion.GROW: ("growing", "getting larger", "getting bigger"),
        Motion.STILL: ("standing still", "not moving", "at rest"),
    },
    speeds={Speed.SLOW: ("slowly",), Speed.NORMAL: (), Speed.FAST: ("fast", "quickly")},
    bulks={Bulk.SMALL: ("small", "little"), Bulk.MEDIUM: (), Bulk.LARGE: ("large", "big")},
    backgrounds={
        name: name for name in ("white", "grey", "dark", "black", "cream", "pale blue", "striped", "chequered")
    },
)

CHINESE = Words(
    shapes={
        "ball": ("球", "圆球"),
        "square": ("正方形", "方块"),
        "triangle": ("三角形",),
        "star": ("星星", "五角星"),
        "diamond": ("菱形",),
        "heart": ("心形", "爱心"),
        "ring": ("圆环",),
        "cross": ("十字",),
    },
    colours={
        "red": "红色",
        "orange": "橙色",
        "yellow": "黄色",
        "green": "绿色",
        "cyan": "青色",
        "blue": "蓝色",
        "purple": "紫色",
        "pink": "粉色",
    },
    motions={
        Motion.LEFT: ("向左移动", "往左走", "向左滑动"),
        Motion.RIGHT: ("向右移动", "往右走", "向右滑动"),
        Motion.UP: ("向上移动", "上升", "往上飘"),
        Motion.DOWN: ("向下移动", "下降", "往下飘"),
        Motion.BOUNCE: ("弹跳", "上下弹跳", "在地上弹跳"),
        Motion.CIRCLE: ("转圈", "绕圈移动"),
        Motion.GROW: ("变大", "长大"),
        Motion.STILL: ("静止不动", "停着不动"),
    },
    speeds={Speed.SLOW: ("慢慢地",), Speed.NORMAL: (), Speed.FAST: ("快速地",)},
    bulks={Bulk.SMALL: ("小",), Bulk.MEDIUM: (), Bulk.LARGE: ("大",)},
    backgrounds={
        "white": "白色",
        "grey": "灰色",
        "dark": "深色",
        "black": "黑色",
        "cream": "米色",
        "pale blue": "浅蓝色",
        "striped": "条纹",
        "chequered": "方格",
    },
)
