"""The rules by name: what each one asks for. Names and positions are those of BuildKit's build checks.

A rule's words to the user are made where it is checked; docs/checks.md explains each with an example.
"""

from ...span import Span
from ...values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`description` says what should be; an experimental rule is off unless asked for."""

    name: str
    description: str
    experimental: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`rule` is a name of RULES; `detail` is about this one place, `span`."""

    rule: str
    detail: str
    span: Span


_DESCRIPTIONS = {
    "StageNameCasing": "Names of stages should be lower case",
    "FromAsCasing": "The keyword AS should have the case of its FROM",
    "NoEmptyContinuation": "An empty line inside a continued instruction will be an error one day",
    "ConsistentInstructionCasing": "All instructions of a file should be upper case, or all lower case",
    "DuplicateStageName": "Names of stages should be unique",
    "ReservedStageName": "A stage should not have a reserved name",
    "JSONArgsRecommended": "CMD and ENTRYPOINT should be JSON arrays: a shell in between keeps signals to itself",
    "MaintainerDeprecated": "MAINTAINER is deprecated, a label should name the author",
    "UndefinedArgInFrom": "FROM should use ARGs that are declared before it",
    "WorkdirRelativePath": "A relative WORKDIR without an absolute one before it depends on the base image",
    "UndefinedVar": "Variables should be defined before they are used",
    "MultipleInstructionsDisallowed": "An instruction that only counts once should be in a stage only once",
    "LegacyKeyValueFormat": "Keys and values should be written with an equals sign between them",
    "InvalidBaseImagePlatform": "The platform of the base image should be the one asked for",
    "RedundantTargetPlatform": "FROM takes the target platform anyway, --platform need not name it",
    "SecretsUsedInArgOrEnv": "Secrets should be in neither ARG nor ENV, where everyone can read them",
    "InvalidDefaultArgInFrom": "Defaults of global ARGs should make a valid name of a base image",
    "FromPlatformFlagConstDisallowed": "--platform of FROM should not be a constant",
    "CopyIgnoredFile": "COPY and ADD should not name what the ignore file leaves out",
    "InvalidDefinitionDescription": "The comment right above a stage or ARG should begin with its name",
    "ExposeProtoCasing": "Protocols in EXPOSE should be lower case",
    "ExposeInvalidFormat": "EXPOSE takes ports of the container only: no address and no port of the host",
}
RULES = {name: Rule(name=name, description=text, experimental=name == "InvalidDefinitionDescription")
         for name, text in _DESCRIPTIONS.items()}

# Our own: about what a build did, found while it was built (effects/).
_EFFECTS = {
    "PackageCacheInLayer": "Package managers should leave no caches in a layer: remove them in the same RUN, or mount "
                           "them with --mount=type=cache",
    "UnreadableToOthers": "Files should be readable by whoever the image runs as: COPY --chmod or --chown says how",
    "SetIdAdded": "Programs with the set-user-id or set-group-id bit should be added on purpose alone",
    "SecretInLayer": "Secrets should be in no layer, where everyone who has the image can read them: "
                     "RUN --mount=type=secret leaves nothing behind",
    "SecretInHistory": "Secrets should not be in the history, where everyone who has the image can read them",
    "DeletedFromLowerLayer": "Files should be deleted by the step that makes them: a later one only hides them",
}
EFFECT_RULES = {name: Rule(name=name, description=text) for name, text in _EFFECTS.items()}
ALL_RULES = {**RULES, **EFFECT_RULES}
