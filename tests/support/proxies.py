# SPDX-License-Identifier: Apache-2.0
"""nginx, haproxy and Envoy before a server: the least configuration that lets gRPC through."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import tools


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[str]:
    log = folder / "log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, cwd=folder) as process:
        try:
            for _ in range(300):
                assert process.poll() is None, log.read_text()
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except ConnectionRefusedError:
                    time.sleep(0.1)
                else:
                    break
            else:
                raise AssertionError(f"{command[0]} does not listen: {log.read_text()}")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def nginx(target: str, folder: Path) -> Iterator[str]:
    """The address of an nginx before the target."""
    port = _free_port()
    (folder / "nginx.conf").write_text(f"""
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port} http2;
    location / {{ grpc_pass grpc://{target}; }}
  }}
}}
""")
    with _running([tools.tool("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")], port, folder) as address:
        yield address


@contextmanager
def haproxy(target: str, folder: Path) -> Iterator[str]:
    """The address of an haproxy before the target."""
    port = _free_port()
    (folder / "haproxy.cfg").write_text(f"""
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port} proto h2
  default_backend back
backend back
  server one {target} proto h2
""")
    with _running([tools.tool("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], port, folder) as address:
        yield address


@contextmanager
def envoy(target: str, folder: Path, *, hpack_table_size: int | None = None) -> Iterator[str]:
    """The address of an Envoy before the target, whose HPACK table towards the target has this size (Envoy's default is 4096)."""
    port = _free_port()
    host, target_port = target.rsplit(":", 1)
    protocol: dict[str, Any] = {} if hpack_table_size is None else {"hpack_table_size": hpack_table_size}
    extensions = "type.googleapis.com/envoy.extensions"
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "lossd", "timeout": "0s"}}
    manager = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    upstream = {
        "@type": f"{extensions}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": protocol},
    }
    configuration = {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "lossd",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": upstream},
                    "load_assignment": {
                        "cluster_name": "lossd",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(target_port)}}}}
                                ]
                            }
                        ],
                    },
                }
            ],
        }
    }
    (folder / "envoy.json").write_text(json.dumps(configuration))
    command = [tools.tool("envoy"), "--config-path", str(folder / "envoy.json"), "--use-dynamic-base-id", "--concurrency", "1"]
    with _running([*command, "--log-level", "warning"], port, folder) as address:
        yield address
