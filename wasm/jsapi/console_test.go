//go:build js

package jsapi

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLogRecordsAreToldOfAtTheLevelAndAbove(t *testing.T) {
	type told struct{ level, message, attrs string }
	var got []told
	h := NewConsoleHandler(slog.LevelInfo)
	logger := slog.New(h)
	logger.Info("before anybody wants them")
	h.(*consoleHandler).setTell(func(level, attrs string, r slog.Record) {
		assert.False(t, r.Time.IsZero())
		got = append(got, told{level, r.Message, attrs})
		if r.Level == slog.LevelError {
			logger.Warn("by who is told")
		}
	})
	logger.Debug("below the level")
	logger.With("peer", "p").Info("a word", "msg", "theirs", "n", 1)
	logger.WithGroup("g").Error("grave", "time", 2)
	assert.Equal(t, []told{
		{"info", "a word", "peer=p msg=theirs n=1"},
		{"error", "grave", "g.time=2"},
		{"warn", "by who is told", ""},
	}, got)
}
