import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from app.config import Settings, load_settings
from app.errors import ConfigurationError
from app.market.pair import DEFAULT_PAIRS

_DOCUMENTED = {
    "WEBSOCKET_HOST": ("127.0.0.1",),
    "WEBSOCKET_PORT": 5001,
    "WEBSOCKET_MAX_CLIENTS": 1000,
    "WEBSOCKET_PING_INTERVAL": 25,
    "WEBSOCKET_PING_TIMEOUT": 5,
    "REDIS_HOST": None,
    "REDIS_PORT": 6379,
    "REDIS_DB": 0,
    "REDIS_PASSWORD": None,
    "DB_HOST": None,
    "DB_PORT": 5432,
    "DB_NAME": "fx_trading_data",
    "DB_USER": "postgres",
    "DB_PASSWORD": None,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings, in a folder without a ``.env``."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


# ----------------------------------------------------------------- where from


def test_without_any_setting_the_documented_names_have_the_documented_values() -> None:
    settings = load_settings()
    assert {name: getattr(settings, name.lower()) for name in _DOCUMENTED} == _DOCUMENTED
    assert settings.tracked_pairs == DEFAULT_PAIRS
    assert settings.redis_address is None
    assert settings.database_address == "sqlite:///data/gateway.db"


def test_settings_come_from_the_environment_in_any_case(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBSOCKET_PORT", "6001")
    environment.setenv("websocket_max_clients", "5000")
    settings = load_settings()
    assert (settings.websocket_port, settings.websocket_max_clients) == (6001, 5000)


def test_settings_come_from_a_file_which_the_environment_overrides(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# our settings\nWEBSOCKET_PORT=6001\nREDIS_PORT=6380\nDB_USER='jürgen'\nSOMEBODY_ELSES=1\n", encoding="utf-8"
    )
    environment.setenv("REDIS_PORT", "6381")
    settings = load_settings()
    assert (settings.websocket_port, settings.redis_port, settings.db_user) == (6001, 6381, "jürgen")


def test_what_is_given_overrides_everything_unless_it_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBSOCKET_PORT", "6001")
    assert load_settings(websocket_port=7001).websocket_port == 7001
    assert load_settings(websocket_port=None).websocket_port == 6001


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.websocket_port = 1


# ---------------------------------------------------------------------- lists


def test_lists_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CORS_ALLOWED_ORIGINS", " https://a.example , https://b.example:* ,")
    environment.setenv("REPLAY_FILES", "a.zip,b.csv")
    environment.setenv("PUBLISH_TOKENS", "0123456789abcdef, fedcba9876543210")
    settings = load_settings()
    assert settings.cors_allowed_origins == ("https://a.example", "https://b.example:*")
    assert settings.replay_files == (Path("a.zip"), Path("b.csv"))
    assert [token.get_secret_value() for token in settings.publish_tokens] == ["0123456789abcdef", "fedcba9876543210"]


def test_pairs_are_kept_once_each_in_the_spelling_of_the_gateway(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TRACKED_PAIRS", "usd/jpy, EURUSD,USD_JPY,eur_gbp")
    assert load_settings().tracked_pairs == ("USD_JPY", "EUR_USD", "EUR_GBP")
    assert load_settings(tracked_pairs=("EUR/CHF",)).tracked_pairs == ("EUR_CHF",)


# ------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"REDIS_HOST": "redis"}, "redis://redis:6379/0"),
        ({"REDIS_HOST": "redis", "REDIS_PORT": "6380", "REDIS_DB": "2"}, "redis://redis:6380/2"),
        ({"REDIS_HOST": "redis", "REDIS_PASSWORD": "a/b:c@d?e f"}, "redis://:a%2Fb%3Ac%40d%3Fe%20f@redis:6379/0"),
        ({"REDIS_HOST": "redis", "REDIS_PASSWORD": ""}, "redis://redis:6379/0"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
        ({"REDIS_HOST": "[::1]"}, "redis://[::1]:6379/0"),
        ({"REDIS_URL": "redis://other/3", "REDIS_HOST": "redis"}, "redis://other/3"),
        ({"REDIS_PORT": "6380", "REDIS_PASSWORD": "alone"}, None),
    ],
)
def test_redis_is_named_by_a_url_or_in_parts(
    environment: pytest.MonkeyPatch, settings: dict[str, str], address: str | None
) -> None:
    for name, value in settings.items():
        environment.setenv(name, value)
    assert load_settings().redis_address == address


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"DATA_DIR": "/var/lib/fx"}, "sqlite:////var/lib/fx/gateway.db"),
        ({"DB_HOST": "db"}, "postgresql://postgres@db:5432/fx_trading_data"),
        (
            {"DB_HOST": "db", "DB_PORT": "5433", "DB_NAME": "fx", "DB_USER": "a@b", "DB_PASSWORD": "p/q:r"},
            "postgresql://a%40b:p%2Fq%3Ar@db:5433/fx",
        ),
        ({"DB_HOST": "fe80::1"}, "postgresql://postgres@[fe80::1]:5432/fx_trading_data"),
        ({"DATABASE_URL": "postgresql://x/y", "DB_HOST": "db", "DATA_DIR": "/d"}, "postgresql://x/y"),
    ],
)
def test_the_database_is_named_by_a_url_or_in_parts_or_is_a_file(
    environment: pytest.MonkeyPatch, settings: dict[str, str], address: str
) -> None:
    for name, value in settings.items():
        environment.setenv(name, value)
    assert load_settings().database_address == address


# ---------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WEBSOCKET_PORT", "many", "Input should be a valid integer, unable to parse string as an integer"),
        ("WEBSOCKET_PORT", "65536", "Input should be less than or equal to 65535"),
        ("WEBSOCKET_MAX_CLIENTS", "0", "Input should be greater than or equal to 1"),
        ("WEBSOCKET_PING_INTERVAL", "nan", "Input should be greater than 0"),
        ("REDIS_PORT", "0", "Input should be greater than or equal to 1"),
        ("REDIS_DB", "-1", "Input should be greater than or equal to 0"),
        ("EVENT_LOG_LENGTH", "10", "Input should be greater than or equal to 1000"),
        ("SOURCE", "bloomberg", r"Input should be .*"),
        ("REDIS_URL", "http://:s3cret@host", "redis://, rediss:// or unix:// is needed"),
        ("DATABASE_URL", "mysql://user:s3cret@host/db", "postgresql:// or sqlite:// is needed"),
        ("LOG_LEVEL", "loud", "Input should be 'debug', 'info', 'warning' or 'error'"),
        ("TRACKED_PAIRS", " , ", "at least one pair is needed"),
        ("TRACKED_PAIRS", "EUR_USD,EUR_EUR", "Invalid instrument: 'EUR_EUR'"),
        ("PUBLISH_TOKENS", "0123456789abcdef,s3cret", "a token needs at least 16 characters"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(
    environment: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: {message}$") as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 1


_WHOLE = {
    "websocket_port": (0, 65535),
    "websocket_max_clients": (1, None),
    "redis_port": (1, 65535),
    "redis_db": (0, None),
    "db_port": (1, 65535),
    "simulated_seed": (0, None),
    "event_log_length": (1000, None),
    "send_buffer_bytes": (4096, None),
    "alert_lane_events": (1, None),
    "alert_lane_bytes": (1024, None),
    "rate_limit_requests": (0, None),
}


@pytest.mark.parametrize("name", _WHOLE)
def test_a_whole_number_has_bounds(name: str) -> None:
    least, most = _WHOLE[name]
    assert getattr(load_settings(**{name: least}), name) == least
    with pytest.raises(ConfigurationError, match=name.upper()):
        load_settings(**{name: least - 1})
    if most is not None:
        assert getattr(load_settings(**{name: most}), name) == most
        with pytest.raises(ConfigurationError, match=name.upper()):
            load_settings(**{name: most + 1})


def test_the_multiple_of_spikes_may_be_zero() -> None:
    assert load_settings(spike_multiple=0).spike_multiple == 0
    with pytest.raises(ConfigurationError, match=r"^SPIKE_MULTIPLE: Input should be greater than or equal to 0$"):
        load_settings(spike_multiple=-1)


def test_every_other_number_is_above_zero() -> None:
    names = [name for name, field in Settings.model_fields.items() if field.annotation is float and name != "spike_multiple"]
    assert len(names) >= 9
    for name in names:
        assert getattr(load_settings(**{name: 1e-9}), name) == 1e-9
        with pytest.raises(ConfigurationError, match=f"^{name.upper()}: Input should be greater than 0$"):
            load_settings(**{name: 0})
    assert load_settings(simulated_rate=20_000).simulated_rate == 20_000
    with pytest.raises(ConfigurationError, match="SIMULATED_RATE"):
        load_settings(simulated_rate=20_001)


def test_every_wrong_value_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBSOCKET_PORT", "x")
    environment.setenv("STALE_AFTER", "0")
    with pytest.raises(ConfigurationError, match=r"^WEBSOCKET_PORT: .*; STALE_AFTER: Input should be greater than 0$"):
        load_settings()


def test_a_replay_on_its_original_clock_is_alone() -> None:
    files = (Path("a.zip"),)
    assert load_settings(source="replay", replay_files=files, replay_clock="original").keeps_recorded_times
    assert not load_settings(source="replay", replay_files=files).keeps_recorded_times
    assert not load_settings(replay_clock="original").keeps_recorded_times
    with pytest.raises(ConfigurationError, match=r"^a replay on its original clock cannot be one of several sources$"):
        load_settings(source="kraken,replay", replay_files=files, replay_clock="original")


def test_a_replay_needs_files(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SOURCE", "replay")
    with pytest.raises(ConfigurationError, match=r"^source replay needs files: REPLAY_FILES, or --replay FILE$"):
        load_settings()
    environment.setenv("REPLAY_FILES", "ticks.csv")
    assert load_settings().source == ("replay",)


def test_a_wrong_value_that_is_given_is_named_like_its_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"^TRACKED_PAIRS: Input should be a valid tuple$"):
        load_settings(tracked_pairs=7)


def test_a_file_that_is_no_text_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"REDIS_PASSWORD=\xff\xfe")
    with pytest.raises(ConfigurationError, match=re.escape(".env: not a file in UTF-8")):
        load_settings()


# --------------------------------------------------------------------- secrets

_SECRETS = (
    "redis_url", "redis_password", "database_url", "db_password", "publish_tokens", "alert_tokens", "admin_tokens",
    "oanda_token", "notify_info", "notify_warning", "notify_critical",
)  # fmt: skip


def test_whatever_may_hold_a_password_is_a_secret() -> None:
    settings = load_settings(
        redis_url="redis://:s3cret@host",
        redis_password="s3cret",
        database_url="postgresql://user:s3cret@host/db",
        db_password="s3cret",
        publish_tokens="s3cret-of-sixteen",
        alert_tokens="s3cret-of-sixteen",
        admin_tokens="s3cret-of-sixteen",
        oanda_token="s3cret",
        notify_info="json://s3cret.example",
        notify_warning="json://s3cret.example",
        notify_critical="json://s3cret.example",
    )
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    assert "s3cret" not in settings.model_dump_json()
    hidden = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert hidden == set(_SECRETS)


@pytest.mark.parametrize("name", _SECRETS)
def test_no_wrong_value_tells_a_secret(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name.upper(), "s3cret")
    environment.setenv("WEBSOCKET_PORT", "x")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
    for wrong in (7, ["s3cret"], b"\xff"):
        with pytest.raises(ConfigurationError) as caught:
            load_settings(websocket_port="x", **{name: wrong})
        assert "s3cret" not in str(caught.value)


@given(st.sampled_from(sorted(Settings.model_fields)), st.text(st.characters(exclude_characters="\0"), max_size=30))
def test_any_text_is_a_setting_or_one_line(name: str, value: str) -> None:
    try:
        settings = load_settings(**{name: value})
    except ConfigurationError as error:
        message = str(error)
        assert message.startswith((f"{name.upper()}: ", "source "))
        assert "\n" not in message.replace(value, "")
    else:
        chosen = getattr(settings, name)
        assert (chosen.get_secret_value() if isinstance(chosen, SecretStr) else chosen) is not None


@pytest.mark.parametrize("name", ["db_name", "database_url", "oanda_account", "volatility_thresholds", "tracked_pairs"])
def test_a_setting_with_control_characters_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name.upper()}: control characters are not allowed$"):
        load_settings(**{name: "sqlite:///a\x1bb"})


def test_a_list_may_be_on_several_lines() -> None:
    assert load_settings(tracked_pairs="EUR_USD,\n\tUSD_JPY\n").tracked_pairs == ("EUR_USD", "USD_JPY")
