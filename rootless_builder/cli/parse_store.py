"""The commands on the store as a whole: `check`."""

from .options import Commands, Parser, command

CHECK = (
    "Reads the whole store and tells what is wrong with it: blobs whose bytes do not have the digest that names them, "
    "images that lack a part or whose layers are not what their config says, names that lead nowhere, damaged indexes "
    "and records, layers unpacked in the scratch folder that are not what they were. Other commands may work on the "
    "store meanwhile. The exit code is 0 when nothing is wrong, or when --repair mended it without losing an image, "
    "else 14."
)


def add_check(commands: "Commands[Parser]") -> None:
    parser = command(commands, "check", "verify the store, and mend it", "do_store:check", description=CHECK)
    parser.add_argument("-r", "--repair", action="store_true",
                        help="remove what is damaged, make again what can be, and name the images that were lost")
    parser.add_argument("--quick", action="store_true", help="compare sizes, and read no layer")
    parser.add_argument("--format", "-f", metavar="FORMAT", default="",
                        help='"json", or a template such as "{{.Sound}}"')
