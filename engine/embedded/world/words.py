"""What things, motions and backgrounds are called in English and Chinese; the usual name is the first."""

from __future__ import annotations

from dataclasses import dataclass

from engine.embedded.world.scene import Bulk, Motion, Speed

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Names in one language. Medium size, normal speed and a white background go without saying, but may be said."""

    shapes: dict[str, Names]
    colours: dict[str, Names]
    motions: dict[Motion, Names]
    speeds: dict[Speed, Names]
    bulks: dict[Bulk, Names]
    backgrounds: dict[str, Names]


def _ways(verbs: str, *ends: str) -> Names:
    """Each verb with each end; the first verb with the first end first."""
    return tuple(f"{verb} {end}" for verb in verbs.split() for end in ends)


_SIDEWAYS = "moving going sliding gliding travelling traveling drifting heading rolling flying running shifting"
_UPRIGHT = "moving going floating travelling traveling drifting flying heading gliding"

ENGLISH = Words(
    shapes={
        "ball": ("ball", "circle", "disc", "sphere", "disk", "dot", "round ball"),
        "square": ("square", "box", "cube", "block"),
        "triangle": ("triangle", "triangular shape"),
        "star": ("star", "five-pointed star", "star shape"),
        "diamond": ("diamond", "rhombus", "lozenge"),
        "heart": ("heart", "heart shape", "love heart"),
        "ring": ("ring", "hoop", "donut", "doughnut"),
        "cross": ("cross", "plus sign", "plus"),
    },
    colours={
        "red": ("red", "bright red", "scarlet"),
        "orange": ("orange", "bright orange"),
        "yellow": ("yellow", "bright yellow", "golden"),
        "green": ("green", "bright green"),
        "cyan": ("cyan", "turquoise", "aqua"),
        "blue": ("blue", "bright blue"),
        "purple": ("purple", "violet"),
        "pink": ("pink", "bright pink", "magenta"),
    },
    motions={
        Motion.LEFT: _ways(
            _SIDEWAYS, "left", "to the left", "leftwards", "leftward", "towards the left", "from right to left"
        ),
        Motion.RIGHT: _ways(
            _SIDEWAYS, "right", "to the right", "rightwards", "rightward", "towards the right", "from left to right"
        ),
        Motion.UP: (
            *_ways(_UPRIGHT, "up", "upwards", "upward", "to the top", "towards the top", "from bottom to top"),
            *("rising", "rising up", "ascending", "climbing", "climbing up"),
        ),
        Motion.DOWN: (
            *_ways(_UPRIGHT, "down", "downwards", "downward", "to the bottom", "towards the bottom"),
            *("moving from top to bottom", "sinking", "falling", "falling down", "descending", "dropping"),
        ),
        Motion.BOUNCE: (
            *("bouncing", "bouncing up and down", "bouncing on the ground", "jumping", "jumping up and down"),
            *("hopping", "bouncing on the floor", "bouncing off the ground", "leaping up and down"),
        ),
        Motion.CIRCLE: (
            *("moving in a circle", "circling", "going round in circles", "moving in circles", "circling around"),
            *("spinning around in a circle", "going around in a circle", "orbiting", "turning in circles"),
            *("moving round and round", "running in circles", "travelling in a circle", "rotating in a circle"),
        ),
        Motion.GROW: (
            *("growing", "getting larger", "getting bigger", "expanding", "becoming larger", "becoming bigger"),
            *("increasing in size", "growing larger", "growing bigger", "swelling"),
        ),
        Motion.STILL: (
            *("standing still", "not moving", "at rest", "staying still", "motionless", "stationary"),
            *("staying in place", "sitting still", "resting", "without moving", "remaining still", "holding still"),
        ),
    },
    speeds={
        Speed.SLOW: ("slowly", "very slowly", "at a slow pace", "at low speed", "slow"),
        Speed.NORMAL: ("at normal speed", "at a normal speed", "at medium speed"),
        Speed.FAST: ("fast", "quickly", "rapidly", "very fast", "at high speed", "swiftly", "very quickly"),
    },
    bulks={
        Bulk.SMALL: ("small", "little", "tiny", "very small"),
        Bulk.MEDIUM: ("medium", "medium-sized", "medium sized", "normal-sized"),
        Bulk.LARGE: ("large", "big", "huge", "very big", "giant"),
    },
    backgrounds={
        "white": ("white", "plain white"),
        "grey": ("grey", "gray", "plain grey", "plain gray"),
        "dark": ("dark", "dark grey", "dark gray"),
        "black": ("black", "pitch black"),
        "cream": ("cream", "cream-coloured", "cream-colored", "beige", "cream coloured"),
        "pale blue": ("pale blue", "light blue", "pale-blue"),
        "striped": ("striped", "stripy", "grey striped"),
        "chequered": ("chequered", "checkered", "checkerboard", "checked"),
    },
)

_FINITE = {
    **{"moving": "moves", "going": "goes", "sliding": "slides", "gliding": "glides", "travelling": "travels"},
    **{"traveling": "travels", "drifting": "drifts", "heading": "heads", "rolling": "rolls", "flying": "flies"},
    **{"running": "runs", "shifting": "shifts", "floating": "floats", "rising": "rises", "ascending": "ascends"},
    **{"climbing": "climbs", "sinking": "sinks", "falling": "falls", "descending": "descends", "dropping": "drops"},
    **{"bouncing": "bounces", "jumping": "jumps", "hopping": "hops", "leaping": "leaps", "circling": "circles"},
    **{"spinning": "spins", "orbiting": "orbits", "turning": "turns", "rotating": "rotates", "growing": "grows"},
    **{"getting": "gets", "expanding": "expands", "becoming": "becomes", "increasing": "increases"},
    **{"swelling": "swells", "standing": "stands", "not": "does not", "staying": "stays", "sitting": "sits"},
    **{"resting": "rests", "remaining": "remains", "holding": "holds"},
}


def _finite(doing: str) -> str:
    verb, _, rest = doing.partition(" ")
    return f"{_FINITE[verb]} {'move' if verb == 'not' else rest}".strip()


# "moves left", beside the "moving left" of ENGLISH.motions
MOVES: dict[Motion, Names] = {
    motion: tuple(_finite(name) for name in names if name.partition(" ")[0] in _FINITE)
    for motion, names in ENGLISH.motions.items()
}

# a red ball, "leftward motion"
COURSES: dict[Motion, Names] = {
    Motion.LEFT: ("leftward motion", "motion to the left", "leftwards movement", "left direction", "going left"),
    Motion.RIGHT: ("rightward motion", "motion to the right", "rightwards movement", "right direction", "going right"),
    Motion.UP: ("upward motion", "motion upwards", "upwards movement", "up direction", "going up"),
    Motion.DOWN: ("downward motion", "motion downwards", "downwards movement", "down direction", "going down"),
    Motion.BOUNCE: ("bouncing motion", "bounce", "bouncy motion", "jumps"),
    Motion.CIRCLE: ("circular motion", "circular movement", "motion in a circle", "in circles", "circular path"),
    Motion.GROW: ("growing size", "growth", "increasing size"),
    Motion.STILL: ("no motion", "still", "static", "no movement", "does not move"),
}

CHINESE = Words(
    shapes={
        "ball": ("球", "圆球", "小圆球", "圆形"),
        "square": ("正方形", "方块", "方形"),
        "triangle": ("三角形", "三角"),
        "star": ("星星", "五角星", "星形"),
        "diamond": ("菱形", "钻石"),
        "heart": ("心形", "爱心", "心"),
        "ring": ("圆环", "环"),
        "cross": ("十字", "十字形", "加号"),
    },
    colours={
        "red": ("红色", "红", "大红色"),
        "orange": ("橙色", "橘色"),
        "yellow": ("黄色", "黄"),
        "green": ("绿色", "绿"),
        "cyan": ("青色", "青"),
        "blue": ("蓝色", "蓝"),
        "purple": ("紫色", "紫"),
        "pink": ("粉色", "粉红色", "粉"),
    },
    motions={
        Motion.LEFT: ("向左移动", "往左走", "向左滑动", "向左", "往左移动", "从右往左移动", "向左运动", "朝左边移动"),
        Motion.RIGHT: ("向右移动", "往右走", "向右滑动", "向右", "往右移动", "从左往右移动", "向右运动", "朝右边移动"),
        Motion.UP: ("向上移动", "上升", "往上飘", "向上", "往上移动", "升起", "向上运动", "往上飞"),
        Motion.DOWN: ("向下移动", "下降", "往下飘", "向下", "往下移动", "落下", "向下运动", "往下掉"),
        Motion.BOUNCE: ("弹跳", "上下弹跳", "在地上弹跳", "跳动", "蹦跳", "跳来跳去"),
        Motion.CIRCLE: ("转圈", "绕圈移动", "绕圈", "做圆周运动", "转圈圈", "绕着圈走"),
        Motion.GROW: ("变大", "长大", "逐渐变大", "越来越大", "放大"),
        Motion.STILL: ("静止不动", "停着不动", "静止", "不动", "站着不动", "保持不动"),
    },
    speeds={
        Speed.SLOW: ("慢慢地", "缓慢地", "缓缓", "慢速"),
        Speed.NORMAL: ("以正常速度", "匀速"),
        Speed.FAST: ("快速地", "飞快地", "迅速", "快速", "很快地"),
    },
    bulks={
        Bulk.SMALL: ("小", "小小的", "很小的", "小型"),
        Bulk.MEDIUM: ("中等大小的", "中等"),
        Bulk.LARGE: ("大", "很大的", "巨大的", "大型"),
    },
    backgrounds={
        "white": ("白色", "纯白色", "白"),
        "grey": ("灰色", "灰"),
        "dark": ("深色", "暗色", "深灰色"),
        "black": ("黑色", "黑", "纯黑色"),
        "cream": ("米色", "奶油色", "米白色"),
        "pale blue": ("浅蓝色", "淡蓝色"),
        "striped": ("条纹", "条纹状的"),
        "chequered": ("方格", "棋盘格", "格子"),
    },
)
