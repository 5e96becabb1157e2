# One image; its role is its command: `serve` (default), `migrate`, `sandbox registry`, `sandbox hospital`.
# Runs as a user without rights on a read-only root file system; writes only below /data (and /tmp, a tmpfs).
#   docker run --read-only --tmpfs /tmp -v procot:/data -v ./procot.toml:/etc/procot.toml:ro procot
# tests/docker/steps.py (make image-steps) runs these steps without a container engine, as far as that goes.

# The build stage has a C compiler, which makes the path of a message faster (docs/performance.md); the image needs none.
FROM python:3.13-bookworm AS build
WORKDIR /src
COPY requirements requirements
RUN python -m venv /opt/procot \
 && /opt/procot/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt \
 && /opt/procot/bin/pip uninstall -y hatchling editables
RUN python -m venv /opt/compile \
 && /opt/compile/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt \
 && /opt/compile/bin/pip install --no-cache-dir --require-hashes -r requirements/compile.txt
COPY pyproject.toml README.md ./
COPY gateway gateway
COPY adapters adapters
COPY schemas schemas
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=1 \
    /opt/compile/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /opt/compile/wheel . \
 && /opt/procot/bin/pip install --no-cache-dir --no-deps /opt/compile/wheel/*.whl \
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
    PROCOT_MLLP__INSECURE=plain \
    PROCOT_HTTP__LISTEN=0.0.0.0:8080 \
    PROCOT_HTTP__INSECURE=plain
USER procot
VOLUME /data
EXPOSE 2575 2576 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["procot"]
CMD ["serve", "--config", "/etc/procot.toml"]
