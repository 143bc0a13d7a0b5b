//go:build js

package jsapi

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// consoleHandler writes log records to the console at the console's own levels, which
// people can filter by. It also passes them as data to output.tell.
type consoleHandler struct {
	slog.Handler // writes the attributes of a record into out.line
	out          *output
}

// output is shared by a handler and the handlers made from it.
type output struct {
	mu   sync.Mutex
	line bytes.Buffer
	tell func(level, attrs string, r slog.Record) // nil: nobody wants them
}

// NewConsoleHandler returns a handler that writes records of the given level and above to
// the browser's console.
func NewConsoleHandler(level slog.Level) slog.Handler {
	out := new(output)
	text := slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey, slog.LevelKey: // the console shows both
				return slog.Attr{}
			case slog.MessageKey:
				if a.Value.String() == "" { // Handle removed it
					return slog.Attr{}
				}
			}
			return a
		},
	})
	return &consoleHandler{Handler: text, out: out}
}

func (h *consoleHandler) Handle(ctx context.Context, r slog.Record) error {
	bare := r
	bare.Message = ""
	attrs, tell, err := h.out.format(ctx, h.Handler, bare)
	if err != nil {
		return err
	}
	level := levelName(r.Level)
	_, err = jsio.Call(js.Global().Get("console"), level, strings.TrimSpace("tombolo "+r.Message+" "+attrs))
	if tell != nil {
		tell(level, attrs, r) // without the lock, because tell may log
	}
	return err
}

func (o *output) format(ctx context.Context, text slog.Handler, r slog.Record) (string, func(level, attrs string, r slog.Record), error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line.Reset()
	err := text.Handle(ctx, r)
	return strings.TrimSpace(o.line.String()), o.tell, err
}

// levelName returns the name of the level, which is also the name of the console's method.
func levelName(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "error"
	case level >= slog.LevelWarn:
		return "warn"
	case level >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// setTell makes the handler pass records to tell from now on.
func (h *consoleHandler) setTell(tell func(level, attrs string, r slog.Record)) {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.tell = tell
}

func (h *consoleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &consoleHandler{Handler: h.Handler.WithAttrs(attrs), out: h.out}
}

func (h *consoleHandler) WithGroup(name string) slog.Handler {
	return &consoleHandler{Handler: h.Handler.WithGroup(name), out: h.out}
}
