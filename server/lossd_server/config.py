# SPDX-License-Identifier: Apache-2.0
"""Settings: flags of `lossd serve`, LOSSD_* variables or a TOML file, in this order of precedence."""

import os
import sys
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from lossd_server import sockets

_MIB = 1 << 20


# Settings that few operators need: `--help` and the documentation list them after the others.
ADVANCED = frozenset(
    {
        "transport",
        "max_batch_bytes",
        "max_batch_elements",
        "max_connection_age_grace_seconds",
        "max_operations",
        "max_response_bytes",
        "probe_interval_seconds",
        "stuck_batch_seconds",
    }
)


class Settings(BaseSettings):
    """Every setting with its default; the description is the flag's help text."""

    model_config = SettingsConfigDict(env_prefix="LOSSD_", extra="forbid", frozen=True)

    listen: str = Field(
        "127.0.0.1:50051", description="Address of the gRPC server: HOST:PORT, with port 0 for any free port, or unix:PATH."
    )
    admin_listen: str = Field(
        "127.0.0.1:9464", description="Address of /metrics, /healthz and /readyz over HTTP: HOST:PORT; empty turns it off."
    )
    transport: Literal["lossd", "grpcio"] = Field(
        "lossd",
        description="Which HTTP/2 implementation serves gRPC: lossd, or grpcio, which does not bound memory and time under a flood.",
    )
    workers: int = Field(
        1, ge=1, description="Server processes. They share the port and divide threads and memory limits; more than one needs Linux."
    )
    tls_cert_file: str = Field("", description="Certificate chain in PEM, for TLS. Renewed files are used without a restart.")
    tls_key_file: str = Field("", description="Private key of the certificate, in PEM.")
    tls_client_ca_file: str = Field("", description="CA certificates in PEM. Clients then need a certificate that one of them signed.")
    tokens_file: str = Field(
        "", description="File of lines NAME SHA256_HEX, from `lossd token`. Callers then need one of these bearer tokens."
    )
    admin_insecure: bool = Field(
        False, description="Allow --admin-listen to be reachable from other machines; it has neither TLS nor authentication."
    )
    insecure: bool = Field(False, description="Allow an address that other machines can reach without TLS.")
    device: str = Field("auto", description="auto, cpu or cuda:N. auto is the first CUDA device if there is one, otherwise the CPU.")
    intra_op_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="CPU threads that one large batch may use."
    )
    max_request_bytes: int = Field(64 * _MIB, ge=1, description="Maximum size of a request message.")
    max_response_bytes: int = Field(64 * _MIB, ge=1, description="Maximum size of a response message.")
    max_workspace_bytes: int = Field(4096 * _MIB, ge=1, description="Maximum working memory of the computation of one request.")
    max_operations: int = Field(
        0,
        ge=0,
        description="Maximum multiply-adds of the computation of one request. 0: what the device does in about two seconds, "
        "6e10 for each intra-op thread of a CPU, up to 1e12, and 1e12 on a GPU.",
    )
    max_batch_bytes: int = Field(2 * _MIB, ge=1, description="Maximum tensor bytes in one batch; a larger call is computed by itself.")
    max_batch_elements: int = Field(16 * _MIB, ge=1, description="Maximum elements of the largest tensors in one batch.")
    max_queue_bytes: int = Field(
        512 * _MIB,
        ge=1,
        description="Maximum queued tensor bytes; one caller may hold at most half. Further calls are answered UNAVAILABLE.",
    )
    max_in_flight_bytes: int = Field(
        1024 * _MIB,
        ge=1,
        description="Maximum bytes of requests and answers held at once; one caller may hold at most half. "
        "Further requests are answered UNAVAILABLE.",
    )
    max_connections: int = Field(
        1024, ge=1, description="Maximum number of connections, of one host half; further ones are closed at once."
    )
    max_connection_age_seconds: float = Field(
        0.0,
        ge=0,
        description="Connections older than this, give or take a tenth, are asked to end, so that clients connect anew and load spreads; "
        "0: never.",
    )
    max_connection_age_grace_seconds: float = Field(
        0.0, ge=0, description="Time for the calls of such a connection to complete before it is closed; 0: as long as they take."
    )
    stuck_batch_seconds: float = Field(
        60.0, gt=0, description="A batch that takes longer than this, and more than 20 times its estimate, is abandoned with its device."
    )
    probe_interval_seconds: float = Field(
        10.0, gt=0, description="Seconds between readiness checks, each of which computes a known loss on the device."
    )
    drain_delay_seconds: float = Field(
        0.0, ge=0, description="At SIGTERM, seconds to keep serving while health checks say NOT_SERVING, so that load balancers notice."
    )
    drain_seconds: float = Field(10.0, ge=0, description="Seconds after that for accepted calls to complete.")
    reflection: bool = Field(True, description="Serve gRPC reflection.")
    log_level: str = Field("info", description="debug, info, warning or error.")

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value

    @field_validator("listen", "admin_listen")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        if info.field_name == "admin_listen" and not value:
            return value
        if info.field_name == "listen" and value.startswith("unix:"):
            return value
        host, _, port = value.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError("must be HOST:PORT with a port up to 65535")
        return value

    @field_validator("workers")
    @classmethod
    def _can_share_a_port(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and str(info.data.get("listen", "")).startswith("unix:"):
            raise ValueError("must be 1 if the server listens on a unix: address, which processes cannot share")
        if value > 1 and sys.platform != "linux":
            raise ValueError("must be 1 here: only Linux spreads the connections of a port over processes")
        return value

    @model_validator(mode="after")
    def _not_exposed(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("tls_cert_file and tls_key_file belong together: set both or neither")
        if self.tls_client_ca_file and not self.tls_cert_file:
            raise ValueError("tls_client_ca_file is for TLS: set tls_cert_file and tls_key_file too")
        if not (self.tls_cert_file or self.insecure or sockets.is_loopback(self.listen)):
            raise ValueError(f"other machines can reach {self.listen}: set tls_cert_file and tls_key_file, or insecure for no TLS")
        if self.admin_listen and not (self.admin_insecure or self.insecure or sockets.is_loopback(self.admin_listen)):
            raise ValueError(f"other machines can reach {self.admin_listen}, which has no TLS: set admin_insecure to allow it")
        return self

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: Any, env_settings: Any, dotenv_settings: Any, file_secret_settings: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables, then the file named by LOSSD_CONFIG or --config."""
        path = init_settings.init_kwargs.pop("config", None) or os.environ.get("LOSSD_CONFIG")
        files = () if path is None else (TomlConfigSettingsSource(settings_cls, toml_file=_existing(path)),)
        return init_settings, env_settings, *files


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return Path(path)
