"""The settings, read once from the environment and ``.env`` and passed down from there.

The names are those of the environment variables in lower case. A test holds the table in ``README.md`` to them.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.alerts.correlation import DEFAULT_CORRELATION_THRESHOLDS, correlation_rules
from app.alerts.volatility import DEFAULT_VOLATILITY_THRESHOLDS, volatility_rules
from app.errors import ConfigurationError, InvalidPair
from app.market.pair import DEFAULT_PAIRS, CurrencyPair
from app.market.spike import DEFAULT_MULTIPLE
from app.origin import canonical_entry
from app.realtime.wire.forwarded import canonical_prefix
from app.validation import fault_message, plain_lines

SourceName = Literal["simulated", "replay", "oanda", "kraken", "ecb"]
LogLevel = Literal["debug", "info", "warning", "error"]
ReplayClock = Literal["now", "original"]


class Settings(BaseSettings):
    """The settings of one process, frozen."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    websocket_host: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1",),
        min_length=1,
        description="Addresses to listen on, comma separated; `::` is every address of IPv6 and IPv4",
    )
    websocket_port: int = Field(5001, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="Worker processes that serve the port")
    websocket_max_clients: int = Field(
        1000, ge=1, description="Maximum number of streaming clients (Socket.IO and SSE) of all `WORKERS` together"
    )
    websocket_ping_interval: float = Field(25, gt=0, description="Seconds between Socket.IO pings")
    websocket_ping_timeout: float = Field(
        5, gt=0, description="Seconds a client has to answer a ping, unless it shows other signs of life"
    )
    keepalive_timeout: float = Field(
        75, gt=0, description="Seconds for which an idle HTTP connection is kept; longer than a proxy in front keeps its own"
    )
    forwarded_allow_ips: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        description="Proxies whose `X-Forwarded-` headers and `Forwarded` are trusted: addresses or networks, comma separated; "
        "`*` trusts every peer",
    )
    root_path: str = Field("", description="Path prefix under which a proxy serves the gateway, such as `/fx`")
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("http://localhost:*", "http://127.0.0.1:*"),
        description="Web origins whose pages may connect, comma separated; `:*` is any port, `https://*.example.com` any host "
        "below it, `null` a page without an origin, `*` any origin",
    )
    cors_allow_credentials: bool = Field(
        False, description="Whether pages of `CORS_ALLOWED_ORIGINS` may send cookies and HTTP authentication; not with `*`"
    )

    data_dir: Path = Field(Path("data"), description="Folder of the private Valkey and the SQLite file")
    redis_url: SecretStr | None = Field(None, description="URL of a Redis or Valkey; by default a private Valkey is started")
    redis_host: str | None = Field(None, description="Host of a Redis, used without `REDIS_URL`")
    redis_port: int = Field(6379, ge=1, le=65535, description="Port of `REDIS_HOST`")
    redis_db: int = Field(0, ge=0, description="Database number of `REDIS_HOST`")
    redis_password: SecretStr | None = Field(None, description="Password of `REDIS_HOST`")
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL (`postgresql://…`) or SQLite (`sqlite:///…`); by default a SQLite file in `DATA_DIR`",
    )
    db_host: str | None = Field(None, description="Host of a PostgreSQL, used without `DATABASE_URL`")
    db_port: int = Field(5432, ge=1, le=65535, description="Port of `DB_HOST`")
    db_name: str = Field("fx_trading_data", description="Name of the database")
    db_user: str = Field("postgres", description="User of the database")
    db_password: SecretStr | None = Field(None, description="Password of the database")

    tracked_pairs: Annotated[tuple[str, ...], NoDecode] = Field(
        DEFAULT_PAIRS, description="The pairs to serve, comma separated; by default the twenty of the default list"
    )
    source: Annotated[tuple[SourceName, ...], NoDecode] = Field(
        ("simulated",),
        min_length=1,
        description="Source of prices: `simulated`, `replay`, `oanda`, `kraken`, `ecb`, or several in order of preference, "
        "comma separated: each takes over when the one before it is silent",
    )
    source_silence: float = Field(30, gt=0, description="Seconds of open market without prices after which a source is silent")
    spike_multiple: float = Field(
        DEFAULT_MULTIPLE,
        ge=0,
        description="Multiple of a pair's usual move from one quote to the next beyond which a quote is dropped unless the next "
        "one confirms it; 0 drops none",
    )
    oanda_token: SecretStr | None = Field(None, description="Token of an OANDA account")
    oanda_token_file: Path | None = Field(None, description="File with the token, instead of `OANDA_TOKEN`")
    oanda_account: str | None = Field(None, description="Id of the OANDA account; not needed if the token has only one")
    oanda_environment: Literal["practice", "live"] = Field("practice", description="`practice` or `live`")
    oanda_rest_url: str | None = Field(None, description="URL of OANDA's REST API; by default that of the environment")
    oanda_stream_url: str | None = Field(None, description="URL of OANDA's streaming API; by default that of the environment")
    kraken_url: str = Field("wss://ws.kraken.com/v2", description="Kraken's websocket")
    kraken_rest_url: str = Field("https://api.kraken.com", description="URL of Kraken's REST API")
    frankfurter_url: str = Field(
        "https://api.frankfurter.dev/v1", description="URL of Frankfurter, which serves the ECB's reference rates"
    )
    simulated_seed: int = Field(1, ge=0, description="Seed of the simulated prices; the same seed gives the same prices")
    simulated_rate: float = Field(20, gt=0, le=20_000, description="Simulated ticks per second, over all pairs")
    replay_files: Annotated[tuple[Path, ...], NoDecode] = Field((), description="Files to replay, comma separated")
    replay_speed: float = Field(1, gt=0, description="Speed of a replay as a multiple of real time")
    replay_clock: ReplayClock = Field(
        "now",
        description="Times of a replay: `now` shifts it to the present, `original` keeps the times that were recorded, "
        "for tests and backtests",
    )

    event_log_length: int = Field(100_000, ge=1000, description="Approximate number of events that the log retains")
    stale_after: float = Field(60, gt=0, description="Seconds of open market without an update after which a price is stale")
    heartbeat_interval: float = Field(15, gt=0, description="Seconds between heartbeats, to SSE clients and through the log")
    send_buffer_bytes: int = Field(65_536, ge=4096, description="Unsent bytes above which a client is lagging")
    alert_lane_events: int = Field(
        1000,
        ge=1,
        description="Alerts queued for a lagging client, which gets more from the log later; with more answers it is cut off",
    )
    alert_lane_bytes: int = Field(1_048_576, ge=1024, description="Bytes of alerts queued for a lagging client, and of answers")
    lagging_timeout: float = Field(120, gt=0, description="Seconds a lagging client may take nothing before it is cut off")
    shutdown_timeout: float = Field(5, gt=0, description="Seconds that clients have to disconnect when the gateway stops")

    annualization: float = Field(6240, gt=0, description="Hourly bars per year to which volatilities are annualized")
    volatility_thresholds: str = Field(
        DEFAULT_VOLATILITY_THRESHOLDS,
        description="Annualized volatilities that raise an alert, as info/warning/critical, for all pairs and for single ones: "
        "`*=0.12/0.18/0.3,USD_JPY=0.15/0.2/0.3,median *=2/3/4`, the last as multiples of the pair's own median",
    )
    correlation_thresholds: str = Field(
        DEFAULT_CORRELATION_THRESHOLDS,
        description="Correlations that raise an alert, and changes since the day before: "
        "`*=/0.8/0.9,EUR_USD:USD_CHF=//0.97,change *=/0.3/0.5`",
    )
    notify_info: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Apprise URLs (mail, SMS, Slack, Telegram, webhooks) to which every alert is sent, separated by spaces"
    )
    notify_warning: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Apprise URLs to which warnings and critical alerts are sent"
    )
    notify_critical: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Apprise URLs to which critical alerts are sent"
    )
    backfill_days: int = Field(30, ge=1, le=3650, description="Days of history to fetch the first time")
    hourly_job_delay: float = Field(10, gt=0, le=1800, description="Seconds after the hour when the hourly job runs")
    daily_job_delay: float = Field(60, gt=0, le=3600, description="Seconds after 17:00 in New York when the daily job runs")
    tick_retention_hours: int = Field(24, ge=1, description="Hours for which ticks are kept in the database")
    event_retention_days: int = Field(365, ge=1, description="Days for which events, alerts and figures are kept in the database")

    rate_limit_requests: int = Field(100, ge=0, description="Requests that a client may make in a window; 0 is no limit")
    rate_limit_window: float = Field(60, gt=0, description="Length of the window in seconds")
    publish_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Bearer tokens for `POST /api/v1/events`, comma separated; without any, publishing is refused"
    )
    alert_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Bearer tokens for setting and deleting price levels, comma separated; without any, no token is needed"
    )
    admin_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Bearer tokens for the operator page at `/admin`, comma separated; without any, the page is closed"
    )
    log_level: LogLevel = Field("info", description="`debug`, `info`, `warning` or `error`")

    @field_validator(
        "cors_allowed_origins",
        "forwarded_allow_ips",
        "websocket_host",
        "tracked_pairs",
        "source",
        "replay_files",
        "publish_tokens",
        "alert_tokens",
        "admin_tokens",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("notify_info", "notify_warning", "notify_critical", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("*", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        # Validators that run before pydantic's own run in reverse order: this one is the first.
        return plain_lines(value) if isinstance(value, str) else value

    @field_validator("volatility_thresholds", "correlation_thresholds")
    @classmethod
    def _thresholds(cls, text: str, field: ValidationInfo) -> str:
        (volatility_rules if field.field_name == "volatility_thresholds" else correlation_rules)(text)
        return text

    @field_validator("cors_allowed_origins")
    @classmethod
    def _origins(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(canonical_entry, entries))

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, path: str) -> str:
        if path in ("", "/"):
            return ""
        prefix = canonical_prefix(path)
        if prefix is None:
            raise ValueError("a path such as /fx is needed, of letters, digits and . _ ~ -")
        return prefix

    @field_validator("websocket_host")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(hosts))

    @field_validator("tracked_pairs")
    @classmethod
    def _pairs(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            pairs = tuple(dict.fromkeys(CurrencyPair.parse(name).name for name in names))
        except InvalidPair as error:
            raise ValueError(str(error)) from None
        if not pairs:
            raise ValueError("at least one pair is needed")
        return pairs

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgresql", "postgres:", "sqlite:")):
            raise ValueError("postgresql:// or sqlite:// is needed")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("redis://, rediss:// or unix:// is needed")
        return url

    @field_validator("publish_tokens", "alert_tokens", "admin_tokens")
    @classmethod
    def _tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(token.get_secret_value()) < 16 for token in tokens):
            raise ValueError("a token needs at least 16 characters")
        return tokens

    @field_validator("source")
    @classmethod
    def _sources(cls, names: tuple[SourceName, ...]) -> tuple[SourceName, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a source is named twice")
        return names

    @model_validator(mode="after")
    def _credentials_need_named_origins(self) -> Self:
        if self.cors_allow_credentials and "*" in self.cors_allowed_origins:
            raise ValueError("CORS_ALLOW_CREDENTIALS: CORS_ALLOWED_ORIGINS must name the origins, not *")
        return self

    @model_validator(mode="after")
    def _sources_have_what_they_need(self) -> Self:
        if "replay" in self.source and not self.replay_files:
            raise ValueError("source replay needs files: REPLAY_FILES, or --replay FILE")
        if self.keeps_recorded_times and len(self.source) > 1:
            raise ValueError("a replay on its original clock cannot be one of several sources")
        if "oanda" in self.source and self.oanda_token is None and self.oanda_token_file is None:
            raise ValueError("source oanda needs a token: OANDA_TOKEN, or OANDA_TOKEN_FILE")
        return self

    @property
    def keeps_recorded_times(self) -> bool:
        """True for a replay that keeps the times that were recorded, which the jobs then take for the present."""
        return self.replay_clock == "original" and "replay" in self.source

    @property
    def oanda_secret(self) -> str:
        """The token of the OANDA account. Raises ConfigurationError if there is none or its file cannot be read."""
        if self.oanda_token is not None:
            return self.oanda_token.get_secret_value()
        if self.oanda_token_file is None:
            raise ConfigurationError("OANDA_TOKEN: a token is needed")
        try:
            token = self.oanda_token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"OANDA_TOKEN_FILE: cannot be read: {type(error).__name__}") from None
        if not token:
            raise ConfigurationError("OANDA_TOKEN_FILE: the file is empty")
        return token

    @property
    def redis_address(self) -> str | None:
        """The URL of the Redis to use; None if the gateway starts its own."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        if self.redis_host is None:
            return None
        password = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        return f"redis://{password}{_in_url(self.redis_host)}:{self.redis_port}/{self.redis_db}"

    @property
    def database_address(self) -> str:
        """The URL of the database; a SQLite file in ``data_dir`` by default."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.db_host is None:
            return f"sqlite:///{self.data_dir / 'gateway.db'}"
        password = f":{quote(self.db_password.get_secret_value(), safe='')}" if self.db_password else ""
        return f"postgresql://{quote(self.db_user, safe='')}{password}@{_in_url(self.db_host)}:{self.db_port}/{self.db_name}"


def load_settings(**overrides: object) -> Settings:
    """Read the settings: overrides that are not None, environment, ``.env``. Raises ConfigurationError, one line."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError("; ".join(map(_sentence, error.errors(include_input=False)))) from None
    except UnicodeDecodeError:
        raise ConfigurationError(".env: not a file in UTF-8") from None


def _in_url(host: str) -> str:
    """A host in the form of a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _sentence(problem: object) -> str:
    """One wrong setting in words, without its value, which may be a secret."""
    assert isinstance(problem, dict)
    name = "_".join(str(part) for part in problem["loc"][:1]).upper()
    message = fault_message(problem)
    return f"{name}: {message}" if name else message
