# The relay, with its page: docker build -t tombolo-relay . && docker run -p 8080:8080 -p 8080:8080/udp -v relay:/data tombolo-relay
# Another platform is compiled for on this one, without an emulator: docker buildx build --platform linux/arm64 .
FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS node

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY web/package.json web/package-lock.json web/
RUN cd web && npm ci --no-audit --no-fund
COPY . .
ARG VERSION=
RUN touch web/node_modules/.package-lock.json && make site VERSION=$VERSION
ARG TARGETARCH
RUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w ${VERSION:+-X github.com/tombolo-net/tombolo/core.released=$VERSION}" -o /out/tombolo-relay ./relay/cmd/tombolo-relay
RUN mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.source=https://github.com/tombolo-net/tombolo
LABEL org.opencontainers.image.description="A Tombolo relay, with its page"
LABEL org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /out/tombolo-relay /tombolo-relay
# A new volume takes its owner and mode from this folder.
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data
VOLUME /data
EXPOSE 8080/tcp 8080/udp
ENTRYPOINT ["/tombolo-relay", "--data-dir", "/data", "--no-map-ports"]
