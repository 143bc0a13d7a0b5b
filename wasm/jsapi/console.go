//go:build js

package jsapi

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"syscall/js"
)

// consoleHandler writes log records to the console, with the console's own
// levels, which a person can filter by.
type consoleHandler struct {
	slog.Handler // writes into line
	mu           *sync.Mutex
	line         *bytes.Buffer
}

// NewConsoleHandler makes a handler for records of the level and above.
func NewConsoleHandler(level slog.Level) slog.Handler {
	line := new(bytes.Buffer)
	text := slog.NewTextHandler(line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{} // the console shows both
			}
			return a
		},
	})
	return &consoleHandler{Handler: text, mu: new(sync.Mutex), line: line}
}

func (h *consoleHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	method := "debug"
	switch {
	case r.Level >= slog.LevelError:
		method = "error"
	case r.Level >= slog.LevelWarn:
		method = "warn"
	case r.Level >= slog.LevelInfo:
		method = "info"
	}
	js.Global().Get("console").Call(method, "tombolo "+string(bytes.TrimRight(h.line.Bytes(), "\n")))
	return nil
}

func (h *consoleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &consoleHandler{Handler: h.Handler.WithAttrs(attrs), mu: h.mu, line: h.line}
}

func (h *consoleHandler) WithGroup(name string) slog.Handler {
	return &consoleHandler{Handler: h.Handler.WithGroup(name), mu: h.mu, line: h.line}
}
