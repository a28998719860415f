"""Meltano as it is, but that it asks some things only once: most of its time goes into looking for settings."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from meltano.core.settings_service import SettingsService
from meltano.core.settings_store import AutoStoreManager, EnvStoreManager

FLAG = "ff.strict_env_var_mode"
"""A flag of the project, which Meltano looks up with each setting."""


def remember_settings() -> None:
    """Have runs of Meltano in processes forked from this one remember what stays the same.

    To list the settings of a plugin, Meltano looks for all of them again with each of its extras; for one that inherits
    from another, those of both. So a list takes a second.
    """
    as_env, get = SettingsService.as_env, AutoStoreManager.get
    flag: list[Any] = []

    def as_env_once(self: SettingsService, *args: Any, **options: Any) -> dict[str, str]:
        listing = vars(options["source_manager"]) if options.get("source_manager") else {}  # one for each list
        if "as_env" not in listing:
            listing["as_env"] = options, as_env(self, *args, **options)
        same, found = listing["as_env"]
        return found if same == options else as_env(self, *args, **options)

    def get_once(self: AutoStoreManager, name: str, *args: Any, **options: Any) -> Any:
        if name != FLAG or args or options != {"cast_value": True}:
            return get(self, name, *args, **options)
        if not flag:
            flag.append(get(self, name, **options))
        return flag[0]

    SettingsService.as_env = as_env_once  # type: ignore[method-assign]
    AutoStoreManager.get = get_once  # type: ignore[method-assign]
    EnvStoreManager.env = cached_property(lambda self: self.settings_service.env)  # type: ignore[assignment]
    EnvStoreManager.env.__set_name__(EnvStoreManager, "env")  # type: ignore[attr-defined]
