// Package punch makes a go-libp2p host punch holes again (DCUtR). By itself, the host
// tries once, when a peer has dialled it through a relay, and only if it knows a public
// address of its own by then: two hosts that meet as soon as they start never try.
//
// Spec: https://github.com/libp2p/specs/blob/master/relay/DCUtR.md
package punch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
)

// askEvery is how often Punch checks whether the host's own attempt has ended.
const askEvery = 250 * time.Millisecond

// Puncher is the hole punching of one host. Make the host with Option.
type Puncher struct{ service *holepunch.Service }

// Option turns hole punching on, in the one host that is made with it.
func (p *Puncher) Option() libp2p.Option {
	return libp2p.EnableHolePunching(func(s *holepunch.Service) error {
		p.service = s
		return nil
	})
}

// Punch tries to make a direct connection to a peer that has dialled the host through a
// relay. It returns when there is one, when the attempt has failed, or when ctx ends. The
// host must handle holepunch.Protocol already, which it does once it knows a public
// address. Punch may be called concurrently.
func (p *Puncher) Punch(ctx context.Context, id peer.ID) error {
	done := make(chan error, 1)
	go func() { done <- p.try(ctx, id) }() // the attempt itself has no ctx, and ends with the host
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try first waits for the attempt that the host has begun by itself, if there is one.
func (p *Puncher) try(ctx context.Context, id peer.ID) error {
	for {
		err := p.service.DirectConnect(id)
		if !errors.Is(err, holepunch.ErrHolePunchActive) {
			if err != nil {
				err = fmt.Errorf("punch a hole: %w", err)
			}
			return err
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
