"""nginx with nchan and TLS, as a peer to measure beside. Needs the packages nginx and libnginx-mod-nchan."""

import contextlib
import http.client
import os
import socket
import subprocess
import tempfile
import threading
import time

CONFIG = """
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr crit;
pid {directory}/nginx.pid;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_shared_memory_size 256m;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        listen 127.0.0.1:{plain} backlog=4096;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        location /ws {{ nchan_subscriber websocket; nchan_channel_id ticks; nchan_subscriber_first_message newest; }}
        location /publish {{ nchan_publisher; nchan_channel_id ticks; nchan_message_buffer_length 2; }}
    }}
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(cert, key, prefix=()):
    """A running nginx: (process, wss URL, plain port)."""
    port, plain = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="fanwire-") as directory:
        config = os.path.join(directory, "nginx.conf")
        with open(config, "w") as file:
            file.write(CONFIG.format(directory=directory, port=port, plain=plain, cert=cert, key=key))
        # One process: killing it leaves no worker behind.
        options = "daemon off; master_process off;"
        command = [*prefix, "nginx", "-p", directory, "-c", config, "-e", "stderr", "-g", options]
        process = subprocess.Popen(command)
        try:
            ends = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", plain), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > ends:
                        raise
                    time.sleep(0.05)
            yield process, f"wss://127.0.0.1:{port}/ws", plain
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def publishing(port, texts, per_s):
    """Publishes one text after the other, so many a second, from a thread."""
    ended, failures = threading.Event(), []

    def run():
        publisher = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        due = time.monotonic()
        try:
            for n in range(10**9):
                if ended.wait(max(0, due - time.monotonic())):
                    return
                publisher.request("POST", "/publish", texts[n % len(texts)].encode(), {"Content-Type": "text/plain"})
                answer = publisher.getresponse()
                answer.read()
                if answer.status not in (200, 201, 202):
                    raise OSError(f"nchan answered {answer.status}")
                due += 1 / per_s
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise RuntimeError(f"publishing failed: {failures[0]}")
