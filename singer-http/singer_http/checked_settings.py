"""Reads settings and checks them, before the first request: one sentence for each mistake, and never a secret."""

from __future__ import annotations

import abc
import ast
import contextlib
import difflib
import functools
import importlib
import importlib.util
import itertools
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from singer_sdk.configuration._dict_config import TRUTHY, parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import JSONSchemaValidator, PluginBase, _ConfigInput
from typing_extensions import override

from singer_http.http.connections import is_loopback
from singer_http.http.errors import ConfigurationError
from singer_http.http.session import UNREADABLE
from singer_http.http.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    import click

logger = logging.getLogger(__name__)

ENVIRONMENT = "ENV"
SQLITE = "sqlite:///"
SQLITE_BESIDE = "-(wal|shm|journal)"
"""The ends of the names of the files that SQLite keeps beside its own."""
MAP_OPTIONS = frozenset({"__alias__", "__else__", "__filter__", "__key_properties__", "__source__"})
_TRUTHS = {*TRUTHY, "false", "0", "no", "off"}
_LONG = 500  # characters of a sentence that are too many


class CheckedSettings(PluginBase, abc.ABC):
    """A plugin that says in one sentence what is wrong with a setting; goes before the SDK's class."""

    @abc.abstractmethod
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Sentences on what the JSON schema of the settings cannot tell; each names its setting."""

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        return from_environment(cls._whole_schema(), cls._env_var_prefix)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Clean up the settings, and name each that is wrong.

        A setting that is null counts as not set. Secrets lose the blanks and line breaks around them, which come with
        the files that they are kept in.
        """
        schema = self._whole_schema()
        warn_of_unknown(self._config, schema["properties"])
        secrets = {name for name, setting in schema["properties"].items() if setting.get("secret")}
        meant = self._config = {name: value for name, value in self._config.items() if value is not None}
        for name, value in meant.items():
            if isinstance(value, float) and value.is_integer():  # as JSON schema takes 1000.0
                meant[name] = int(value)
            if name in secrets and isinstance(value, str):
                meant[name] = value.strip()
        try:
            found = [setting_sentence(error, secrets) for error in JSONSchemaValidator(schema).iter_errors(meant)]
        except AttributeError:  # the schema of the SDK for this is not valid itself
            found = ["stream_maps is not valid: __else__ must be null."]
        # Several missing settings are one sentence, said for each of them.
        errors = list(dict.fromkeys(found)) or [*map_errors(meant), *batch_errors(meant), *self.setting_errors(meant)]
        if errors and raise_errors:
            raise ConfigValidationError("Config validation failed", errors=errors, schema=schema)
        return errors

    @classmethod
    def _whole_schema(cls) -> dict[str, Any]:
        cls.append_builtin_config(cls.config_jsonschema)
        return cls.config_jsonschema

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> _ConfigInput:
        return config_input(value)


def json_object(option: str, name: str, read: Callable[[], str]) -> dict[str, Any]:
    """Read a JSON object from a file on the command line, or raise :class:`ConfigurationError`."""
    try:
        return msgspec.json.decode(read().removeprefix("\ufeff"), type=dict[str, Any])
    except (OSError, *UNREADABLE):
        raise ConfigurationError(f"{option}: {name} does not hold a JSON object.") from None


def config_input(names: Sequence[str]) -> _ConfigInput:
    """Read the settings from files, where a later one overrides an earlier; ENV stands for the environment."""
    config: dict[str, Any] = {}
    for name in names:
        if name != ENVIRONMENT:
            config |= json_object("--config", name, functools.partial(Path(name).read_text, "utf-8"))
    return _ConfigInput(config, ENVIRONMENT in names)


def warn_of_unknown(settings: Iterable[str], known: Iterable[str]) -> None:
    """Warn of settings that do not exist, and so do nothing; a name with a leading underscore is a comment."""
    for name in sorted(name for name in set(settings).difference(known) if not name.startswith("_")):
        near = difflib.get_close_matches(name, known, 1)
        logger.warning("%s is no setting and does nothing%s", name, f": is {near[0]} meant?" if near else ".")


def from_environment(schema: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Read the settings from environment variables with a prefix, or raise :class:`ConfigurationError`."""
    settings: dict[str, Any] = {}
    named = {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
    warn_of_unknown(named - {"loglevel"}, schema["properties"])
    for name, setting in schema["properties"].items():
        try:
            settings |= parse_environment_config({"properties": {name: setting}}, prefix)
            if name in settings and "number" in setting["type"]:  # the SDK leaves it as text
                settings[name] = msgspec.json.decode(settings[name], type=float)
            is_truth = "boolean" in setting["type"]
            # The SDK takes any other word for false.
            if is_truth and os.environ.get(f"{prefix}{name.upper()}", "true").lower() not in _TRUTHS:
                raise ValueError  # noqa: TRY301 - named below, like every other kind
        except ValueError:
            kinds = _words(setting["type"])
            wanted = {"boolean": "true or false", "number": "a number"}.get(kinds, f"an {kinds}")
            raise ConfigurationError(f"{name} is not valid: {prefix}{name.upper()} must hold {wanted}.") from None
    return settings


def map_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """What the SDK would repeat of expressions that cannot be read: there may be a secret in them."""
    for name, value in config.get("stream_map_config", {}).items():
        if value is None or not str(value).strip():  # a hash without its key hides nothing
            yield f"stream_map_config is not valid: {name} is empty: set the variable that it comes from."
    for name, rule in config.get("stream_maps", {}).items():
        for key, value in rule.items() if isinstance(rule, dict) else ():
            if key in {"__alias__", "__source__"} and not value:
                yield f"stream_maps is not valid: {name}.{key} must be a name."
            if isinstance(value, str) and key not in MAP_OPTIONS - {"__filter__"}:
                try:
                    _ = ast.parse(value).body[0]
                except (SyntaxError, IndexError, ValueError, MemoryError, RecursionError):
                    yield f"stream_maps is not valid: {name}.{key} must be an expression."


def batch_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the settings of BATCH files; the SDK would fail on the first file."""
    if (batch := config.get("batch_config")) is None:
        return
    encoding, storage, size = batch.get("encoding") or {}, batch.get("storage") or {}, batch.get("batch_size", 1)
    if not encoding.get("format") or not storage.get("root"):
        yield "batch_config is not valid: it needs encoding.format and storage.root."
    elif encoding["format"] == "parquet" and importlib.util.find_spec("pyarrow") is None:
        yield "batch_config is not valid: parquet needs pyarrow, which is not installed; use jsonl."
    elif type(size) is not int or size < 1:
        yield "batch_config is not valid: batch_size must be a number of records."
    else:
        fsspec = importlib.import_module("fsspec")  # only for those who use it
        try:
            fsspec.get_filesystem_class(fsspec.utils.get_protocol(str(storage["root"])))
        except (ImportError, ValueError):
            yield "batch_config is not valid: storage.root is of a kind that is not known, or whose package is missing."


def setting_sentence(error: Any, secret_settings: Container[str]) -> str:
    """Say what jsonschema found, without values that may be secrets, if only in the wrong place."""
    if error.validator == "required":
        missing = [setting for setting in error.validator_value if setting not in error.instance]
        inside = f" in {_place(error.path)}" if error.path else ""
        return f"{', '.join(missing)} must be set{inside}."
    if not error.path:
        return f"The settings are not valid: {error.validator}."
    named = list(error.path)
    while isinstance(named[-1], int):
        named.pop()
    reason = error.message
    if error.validator == "pattern":
        reason = "it must be printable ASCII without blanks or line breaks, and not empty"
    elif error.validator in {"anyOf", "oneOf"}:
        reason = "it has none of the forms that it may have"
    elif error.validator == "type" or error.path[0] in secret_settings or len(reason) > _LONG:
        reason = f"{error.validator} must be {_words(error.validator_value)}"
    return f"{_place(named)} is not valid: {reason}."


def _words(value: Any) -> str:
    return " or ".join(str(each) for each in value if each != "null") if isinstance(value, list) else str(value)


def _place(path: Any) -> str:
    return ".".join(str(step) for step in path)


def url_errors(setting: str, url: str) -> Iterator[str]:
    """Say what is wrong with a URL that tokens are sent to."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in {"http", "https"} or not host or not re.fullmatch("[!-~]+", url):
        yield f"{setting} is not valid: it must be a URL such as https://api.example.com."
    elif parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        yield f"{setting} is not valid: it must hold no user, password, query or fragment."
    elif parts.scheme == "http" and not is_loopback(host):
        yield f"{setting} is not valid: plain http would send the token in clear; use https."


def is_postgres_url(url: str) -> bool:
    """Whether a URL may lead to a PostgreSQL: what is wrong without asking it is a mistake, and no outage."""
    if not re.fullmatch(r"postgres(ql)?(\+psycopg)?://[!-~]+", url):
        return False
    hosts = re.split("[/?]", re.sub("^[^@/]*@", "", url.split("//", 1)[1]))[0]  # there may be several
    ports = (re.sub(r"^(\[[^\]]*\]|[^:]*):?", "", host) for host in hosts.split(","))
    return all(re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 1 << 16 for port in ports if port)


def file_errors(files: Mapping[str, tuple[str | Path, str]]) -> Iterator[str]:
    """Say which settings lead to one file, where one would overwrite what the other one keeps.

    Args:
        files: By setting its file, and a regular expression for the ends of the names of files beside it.
    """
    for (one, own), (other, file) in itertools.combinations(files.items(), 2):
        if _is_of(own[0], *file) or _is_of(file[0], *own):
            yield f"{other} is not valid: it leads to a file of {one}, and one would overwrite the other; name another."


def _is_of(path: str | Path, file: str | Path, beside: str) -> bool:
    """Whether a path leads to a file, or to one beside it."""
    with contextlib.suppress(OSError):  # one of the two is not there
        if Path(path).samefile(file):
            return True
    return re.fullmatch(f"{re.escape(os.path.realpath(file))}({beside})?", os.path.realpath(path)) is not None


def api_errors(config: Mapping[str, Any], limit: str, most: int) -> Iterator[str]:
    """Say what is wrong with the URLs, and with a request limit above the vendor's, unless this machine is the host."""
    urls = [setting for setting in ("api_url", "auth_url") if config.get(setting) is not None]
    errors = [error for setting in urls for error in url_errors(setting, config[setting])]
    yield from errors
    if config[limit] > most and not errors and not is_loopback(urlsplit(config["api_url"]).hostname):
        yield f"{limit} is not valid: the vendor allows {most:,}, and blocks who sends more."
    yield from _sharing_errors(config)
    yield from _store_errors(config)


def _sharing_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the settings of runs that share their work."""
    try:
        if not Shard.of(config).is_whole and config["changes_only"]:
            yield (
                "changes_only and shard cannot be used together, as shards write the same tables and none knows what"
                " another has sent: leave out one of them."
            )
    except ValueError:
        yield "shard is not valid: it must be such as 2/8, for the second of eight."
    url = config.get("budget_url", "file:///tmp")
    if not re.fullmatch("file:///[!-~]+", url) and not is_postgres_url(url):
        yield "budget_url is not valid: it must be such as postgresql://user:password@host/database, or file:///folder."


def _store_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the files that runs keep."""
    report, changes = config.get("report_path"), config.get("changes_url") or ""
    if changes.startswith(SQLITE):
        path = Path(changes.removeprefix(SQLITE)).expanduser()
        if path.name == ":memory:":
            yield "changes_url is not valid: a database in memory is gone after the run; name a file."
        elif report is not None:
            yield from file_errors({"changes_url": (path, SQLITE_BESIDE), "report_path": (report, "")})
