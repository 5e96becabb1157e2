# One image; its role is its command: `serve` (default), `migrate`, `sandbox registry`, `sandbox hospital`.
# Runs as a user without rights on a read-only root file system; writes only below /data (and /tmp, a tmpfs).
#   docker run --read-only --tmpfs /tmp -v procot:/data -v ./procot.toml:/etc/procot.toml:ro procot
# tests/docker/steps.py (make image-steps) runs these steps without a container engine, as far as that goes.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/runtime.txt
RUN python -m venv /opt/procot \
 && /opt/procot/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md ./
COPY gateway gateway
COPY adapters adapters
COPY schemas schemas
RUN /opt/procot/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/procot/bin/pip uninstall -y hatchling editables \
 && /opt/procot/bin/python -m compileall -q /opt/procot/lib

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin procot \
 && install -d -o procot -g procot -m 0700 /data
COPY --from=build /opt/procot /opt/procot
ENV PATH=/opt/procot/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PROCOT_DATABASE__DIRECTORY=/data \
    PROCOT_MLLP__LISTEN=0.0.0.0:2575 \
    PROCOT_HTTP__LISTEN=0.0.0.0:8080
USER procot
VOLUME /data
EXPOSE 2575 2576 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["procot"]
CMD ["serve", "--config", "/etc/procot.toml"]
