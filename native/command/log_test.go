package command

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/stretchr/testify/assert"
)

func TestAListenerThatWasClosedIsNoErrorInTheLog(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(noClosedListeners{slog.NewTextHandler(&text, nil)}).With("logger", "swarm2").WithGroup("g")
	log.Error("swarm listener accept error", "addr", "/p2p-circuit", "err", errors.New(transport.ErrListenerClosed.Error()))
	assert.Empty(t, text.String())
	log.Error("swarm listener accept error", "err", errors.New("too many open files"))
	assert.Contains(t, text.String(), "too many open files")
}
