"""Ids and names of containers: 64 hex digits, shown as 12; adjective_noun where the user gives no name."""

import os
import re

from ..errors import UsageError

SHOWN = 12

ADJECTIVES = (
    "able", "agile", "amber", "ancient", "bold", "brave", "bright", "brisk", "busy", "calm", "candid", "careful",
    "cheerful", "clever", "cosy", "crisp", "curious", "daring", "eager", "early", "easy", "elegant", "fair", "fancy",
    "fond", "frank", "free", "fresh", "gentle", "glad", "golden", "good", "grand", "happy", "hardy", "honest",
    "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "modest", "neat",
    "nimble", "noble", "patient", "plain", "polite", "proud", "quick", "quiet", "ready", "robust", "serene", "sharp",
    "silent", "simple", "sincere", "sleek", "smart", "snug", "sober", "steady", "sunny", "sweet", "swift", "tender",
    "thrifty", "tidy", "tranquil", "trusty", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
)
NOUNS = (
    "anchor", "anvil", "apple", "badger", "bakery", "beacon", "birch", "bison", "bridge", "brook", "canyon", "cedar",
    "cello", "clover", "comet", "compass", "coral", "crane", "delta", "dune", "eagle", "ember", "falcon", "fern",
    "finch", "fjord", "forest", "fox", "garden", "glacier", "grove", "harbour", "hazel", "heron", "hill", "island",
    "juniper", "kestrel", "kettle", "lagoon", "lantern", "lark", "lemon", "lichen", "lynx", "maple", "marble",
    "meadow", "meteor", "mill", "moss", "oak", "oasis", "olive", "orchard", "otter", "owl", "pebble", "pier", "pine",
    "plum", "prairie", "quartz", "quill", "raven", "reef", "ridge", "river", "robin", "rowan", "sail", "sparrow",
    "spruce", "summit", "swan", "thistle", "tulip", "tundra", "valley", "walnut", "willow", "wren",
)


def new_id() -> str:
    """64 random hex digits, never all decimal in the part shown (a shown id must not read as a number)."""
    while True:
        candidate = os.urandom(32).hex()
        if not candidate[:SHOWN].isdecimal():
            return candidate


def new_name() -> str:
    first, second = os.urandom(4), os.urandom(4)
    return (f"{ADJECTIVES[int.from_bytes(first) % len(ADJECTIVES)]}"
            f"_{NOUNS[int.from_bytes(second) % len(NOUNS)]}")


def is_name(text: str) -> bool:
    return re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}", text) is not None


def check_name(name: str) -> str:
    """`name` itself. Errors: UsageError, by the rule of docker and podman."""
    if not is_name(name):
        raise UsageError(f'cannot name the container "{name}": names are letters, digits, "_", "." and "-"',
                         hint="give another --name, for example web-1")
    return name


def is_id(text: str) -> bool:
    """Whether `text` can be an id or the beginning of one."""
    return re.fullmatch(r"[0-9a-f]{1,64}", text) is not None
