"""nginx with nchan, plain or with TLS, to measure beside. Needs the packages nginx and libnginx-mod-nchan."""

import contextlib
import http.client
import os
import tempfile

import process

CONFIG = """
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr crit;
pid {directory}/nginx.pid;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_shared_memory_size 256m;
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        {tls}
        location /ws {{ nchan_subscriber websocket; nchan_channel_id ticks; nchan_subscriber_first_message newest; }}
        location /own {{
            nchan_subscriber websocket;
            nchan_channel_id_split_delimiter ",";
            nchan_channel_id $arg_ids;
        }}
        location ~ ^/publish/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_store_messages off; }}
        location /publish {{ nchan_publisher; nchan_channel_id ticks; nchan_message_buffer_length 2; }}
    }}
}}
"""
TLS = """
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
"""


@contextlib.contextmanager
def server(cert=None, key=None, prefix=()):
    """A running nginx: (process id, URL, plain port). With a certificate the URL is a wss one."""
    plain = process.free_port()
    url, tls = f"ws://127.0.0.1:{plain}/ws", ""
    if cert:
        port = process.free_port()
        url, tls = f"wss://127.0.0.1:{port}/ws", TLS.format(port=port, cert=cert, key=key)
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        config = os.path.join(directory, "nginx.conf")
        with open(config, "w") as file:
            file.write(CONFIG.format(directory=directory, plain=plain, tls=tls))
        # One process: killing it leaves no worker behind.
        options = "daemon off; master_process off;"
        with process.running(*prefix, "nginx", "-p", directory, "-c", config, "-e", "stderr", "-g", options) as nginx:
            process.until_listening(plain).close()
            yield nginx.pid, url, plain


@contextlib.contextmanager
def publishing(port, text, per_s):
    """Publishes `text(0)`, `text(1)` and so on, so many a second, from a thread."""

    def publish(n):
        publisher.request("POST", "/publish", text(n).encode(), {"Content-Type": "text/plain"})
        answer = publisher.getresponse()
        answer.read()
        if answer.status not in (200, 201, 202):
            raise OSError(f"nchan answered {answer.status}")

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as publisher:
        with process.ticking(publish, per_s):
            yield
