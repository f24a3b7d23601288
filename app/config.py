"""Every setting of the gateway, read once from the environment and ``.env`` and passed down from there.

The names are those of the environment variables in small letters. ``README.md`` lists them; a test holds the two together.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import ConfigurationError, InvalidPair
from app.market.pair import DEFAULT_PAIRS, CurrencyPair

SourceName = Literal["simulated", "replay"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """The settings of one process, frozen."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    websocket_host: str = Field("127.0.0.1", description="Address to listen on")
    websocket_port: int = Field(5001, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    websocket_max_clients: int = Field(1000, ge=1, description="Streaming clients (Socket.IO and SSE) served at once")
    websocket_ping_interval: float = Field(25, gt=0, description="Seconds between Socket.IO pings")
    websocket_ping_timeout: float = Field(5, gt=0, description="Seconds a client has to answer a ping")
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("http://localhost:*", "http://127.0.0.1:*"),
        description="Web origins whose pages may connect, comma separated; `:*` is any port, `*` is anyone",
    )

    data_dir: Path = Field(Path("data"), description="Where the private Valkey and the SQLite file live")
    redis_url: SecretStr | None = Field(None, description="A Redis or Valkey to use; without one a private Valkey is started")
    redis_host: str | None = Field(None, description="A Redis in parts, where no `REDIS_URL` is given")
    redis_port: int = Field(6379, ge=1, le=65535, description="Port of `REDIS_HOST`")
    redis_db: int = Field(0, ge=0, description="Database number of `REDIS_HOST`")
    redis_password: SecretStr | None = Field(None, description="Password of `REDIS_HOST`")
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL (`postgresql://…`) or SQLite (`sqlite:///…`); without one a SQLite file in `DATA_DIR`",
    )
    db_host: str | None = Field(None, description="A PostgreSQL in parts, where no `DATABASE_URL` is given")
    db_port: int = Field(5432, ge=1, le=65535, description="Port of `DB_HOST`")
    db_name: str = Field("fx_trading_data", description="Name of the database")
    db_user: str = Field("postgres", description="User of the database")
    db_password: SecretStr | None = Field(None, description="Password of the database")

    tracked_pairs: Annotated[tuple[str, ...], NoDecode] = Field(
        DEFAULT_PAIRS, description="The pairs served, comma separated; the twenty of the default list without it"
    )
    source: SourceName = Field("simulated", description="Where prices come from: `simulated` or `replay`")
    simulated_seed: int = Field(1, ge=0, description="Seed of the simulated prices; the same seed gives the same walk")
    simulated_rate: float = Field(20, gt=0, le=20_000, description="Simulated ticks a second, over all pairs")
    replay_files: Annotated[tuple[Path, ...], NoDecode] = Field((), description="Files to replay, comma separated")
    replay_speed: float = Field(1, gt=0, description="How many times faster than life a replay runs")

    event_log_length: int = Field(100_000, ge=1000, description="Events the log retains, about")
    stale_after: float = Field(60, gt=0, description="Seconds of open market after which a price without news is stale")
    heartbeat_interval: float = Field(15, gt=0, description="Seconds between heartbeats, to SSE clients and through the log")
    send_buffer_bytes: int = Field(65_536, ge=4096, description="Unsent bytes above which a client counts as lagging")
    alert_lane_events: int = Field(1000, ge=1, description="Alerts kept for a lagging client before it is cut off")
    lagging_timeout: float = Field(120, gt=0, description="Seconds a client may lag before it is cut off")
    shutdown_timeout: float = Field(5, gt=0, description="Seconds clients are given to leave when the gateway stops")

    rate_limit_requests: int = Field(100, ge=0, description="Requests a client may make in a window; 0 sets no limit")
    rate_limit_window: float = Field(60, gt=0, description="The window, in seconds")
    publish_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Bearer tokens that may `POST /api/v1/events`, comma separated; refused without one"
    )
    log_level: LogLevel = Field("info", description="`debug`, `info`, `warning` or `error`")

    @field_validator("cors_allowed_origins", "tracked_pairs", "replay_files", "publish_tokens", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

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

    @field_validator("publish_tokens")
    @classmethod
    def _tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(token.get_secret_value()) < 16 for token in tokens):
            raise ValueError("a token needs at least 16 characters")
        return tokens

    @model_validator(mode="after")
    def _replay_has_files(self) -> Self:
        if self.source == "replay" and not self.replay_files:
            raise ValueError("source replay needs files: REPLAY_FILES, or --replay FILE")
        return self

    @property
    def redis_address(self) -> str | None:
        """The URL of the Redis to use; None where the gateway runs its own."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        if self.redis_host is None:
            return None
        password = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        return f"redis://{password}{_in_url(self.redis_host)}:{self.redis_port}/{self.redis_db}"

    @property
    def database_address(self) -> str:
        """The URL of the database; a SQLite file in ``data_dir`` where none is named."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.db_host is None:
            return f"sqlite:///{self.data_dir / 'gateway.db'}"
        password = f":{quote(self.db_password.get_secret_value(), safe='')}" if self.db_password else ""
        return f"postgresql://{quote(self.db_user, safe='')}{password}@{_in_url(self.db_host)}:{self.db_port}/{self.db_name}"


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, ``.env`` and the overrides that are not None. Raises ConfigurationError, one line."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError("; ".join(map(_sentence, error.errors(include_input=False)))) from None
    except UnicodeDecodeError:
        raise ConfigurationError(".env: not a file in UTF-8") from None


def _in_url(host: str) -> str:
    """A host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _sentence(problem: object) -> str:
    """One wrong setting in words, its value left out because it may be a secret."""
    assert isinstance(problem, dict)
    name = "_".join(str(part) for part in problem["loc"][:1]).upper()
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
